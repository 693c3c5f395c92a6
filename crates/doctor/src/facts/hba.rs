//! What pg_hba.conf says to a client (manual, "The pg_hba.conf File"): the first line that fits decides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A line of pg_hba.conf, as `pg_hba_file_rules` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HbaRule {
    /// `local`, `host`, `hostssl`, `hostnossl`, `hostgssenc`, `hostnogssenc`; empty: the line is wrong.
    pub kind: String,
    /// Databases.
    pub databases: Vec<String>,
    /// Roles.
    pub users: Vec<String>,
    /// An address, or a word such as `all` or `samenet`, or a host name; empty for `local`.
    pub address: String,
    /// The mask that goes with an address; empty if there is none.
    pub netmask: String,
    /// The authentication method.
    pub method: String,
    /// What is wrong with the line, and keeps the whole file from being read anew; empty: nothing.
    pub error: String,
}

impl HbaRule {
    /// From a row of [`super::Question::hba`].
    #[must_use]
    pub fn read(row: &[Option<String>]) -> Self {
        let text = |at: usize| row.get(at).and_then(Option::clone).unwrap_or_default();
        let list = |at: usize| text(at).lines().map(str::to_owned).collect();
        Self {
            kind: text(1),
            databases: list(2),
            users: list(3),
            address: text(4),
            netmask: text(5),
            method: text(6),
            error: text(7),
        }
    }
}

/// Who would like a replication connection, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client<'a> {
    /// The role.
    pub user: &'a str,
    /// The address that it comes from.
    pub address: IpAddr,
    /// Whether its connection is encrypted.
    pub encryption: Encryption,
}

/// Whether a connection is encrypted, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Whenever the server can, and it can.
    Tls,
    /// Never: one of the two cannot, or does not want to.
    Never,
    /// That depends on who refuses what.
    Unknown,
}

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// It may try to log in by this method.
    Method(&'a str),
    /// A line with `reject` fits first.
    Rejected,
    /// No line fits.
    NoLine,
    /// A line comes first of which one cannot tell from here whether it fits.
    Unknown,
}

/// Whether a part of a line fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    Perhaps,
    Yes,
}

impl Client<'_> {
    /// What these lines, in their order, say to it.
    #[must_use]
    pub fn access<'a>(&self, rules: &'a [HbaRule]) -> Access<'a> {
        for rule in rules {
            match self.fit(rule) {
                Fit::No => {}
                Fit::Perhaps => return Access::Unknown,
                Fit::Yes if rule.method == "reject" => return Access::Rejected,
                Fit::Yes => return Access::Method(&rule.method),
            }
        }
        Access::NoLine
    }

    fn fit(&self, rule: &HbaRule) -> Fit {
        let kind = match (rule.kind.as_str(), self.encryption) {
            ("host", _) | ("hostssl", Encryption::Tls) | ("hostnossl", Encryption::Never) => Fit::Yes,
            // after a refusal sslmode=prefer tries without
            ("hostssl", Encryption::Unknown) | ("hostnossl", Encryption::Tls | Encryption::Unknown) => {
                Fit::Perhaps
            }
            ("hostgssenc" | "hostnogssenc", _) => Fit::Perhaps,
            _ => Fit::No,
        };
        // "all" is all databases, and replication is none.
        let database =
            if rule.databases.iter().any(|name| name == "replication") { Fit::Yes } else { Fit::No };
        let user = rule.users.iter().map(|name| self.is_meant_by(name)).max().unwrap_or(Fit::No);
        kind.min(database).min(user).min(self.comes_from(rule))
    }

    fn is_meant_by(&self, name: &str) -> Fit {
        match name.chars().next() {
            _ if name == "all" || name == self.user => Fit::Yes,
            // a role and its members; a regular expression
            Some('+' | '/') => Fit::Perhaps,
            _ => Fit::No,
        }
    }

    fn comes_from(&self, rule: &HbaRule) -> Fit {
        let Ok(network) = rule.address.parse::<IpAddr>() else {
            return match rule.address.as_str() {
                "all" => Fit::Yes,
                "" => Fit::No,
                // of the server's own addresses nothing is known; a name would have to be looked up there
                _ => Fit::Perhaps,
            };
        };
        let fits = match (network, rule.netmask.parse::<IpAddr>(), self.address.to_canonical()) {
            (IpAddr::V4(network), Ok(IpAddr::V4(mask)), IpAddr::V4(address)) => {
                within_v4(network, mask, address)
            }
            (IpAddr::V6(network), Ok(IpAddr::V6(mask)), IpAddr::V6(address)) => {
                within_v6(network, mask, address)
            }
            _ => false,
        };
        if fits { Fit::Yes } else { Fit::No }
    }
}

fn within_v4(network: Ipv4Addr, mask: Ipv4Addr, address: Ipv4Addr) -> bool {
    let mask = u32::from(mask);
    u32::from(network) & mask == u32::from(address) & mask
}

fn within_v6(network: Ipv6Addr, mask: Ipv6Addr, address: Ipv6Addr) -> bool {
    let mask = u128::from(mask);
    u128::from(network) & mask == u128::from(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kind database user address/netmask method`
    fn rule(text: &str) -> HbaRule {
        let words: Vec<&str> = text.split(' ').collect();
        let (address, netmask) = words[3].split_once('/').unwrap_or((words[3], ""));
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        HbaRule {
            kind: words[0].to_owned(),
            databases: list(words[1]),
            users: list(words[2]),
            address: address.to_owned(),
            netmask: netmask.to_owned(),
            method: words[4].to_owned(),
            error: String::new(),
        }
    }

    #[track_caller]
    fn check(lines: &[&str], expected: Access<'_>) {
        let rules: Vec<HbaRule> = lines.iter().map(|line| rule(line)).collect();
        check_encrypted(&rules, Encryption::Unknown, expected);
    }

    #[track_caller]
    fn check_encrypted(rules: &[HbaRule], encryption: Encryption, expected: Access<'_>) {
        let client = Client { user: "pgherd", address: "10.0.1.7".parse().unwrap(), encryption };
        assert_eq!(client.access(rules), expected, "{rules:?}");
    }

    #[test]
    fn lines_for_encrypted_connections_fit_those() {
        let rules = [rule("hostssl replication pgherd all cert")];
        check_encrypted(&rules, Encryption::Tls, Access::Method("cert"));
        check_encrypted(&rules, Encryption::Never, Access::NoLine);
        check_encrypted(&rules, Encryption::Unknown, Access::Unknown);
        let rules = [rule("hostnossl replication pgherd all md5")];
        check_encrypted(&rules, Encryption::Tls, Access::Unknown);
        check_encrypted(&rules, Encryption::Never, Access::Method("md5"));
    }

    #[test]
    fn the_first_line_that_fits_decides() {
        check(&[], Access::NoLine);
        check(
            &["local replication all  trust", "host replication pgherd 10.0.1.0/255.255.255.0 scram-sha-256"],
            Access::Method("scram-sha-256"),
        );
        check(
            &["host replication all 10.0.1.7/255.255.255.255 reject", "host replication all all trust"],
            Access::Rejected,
        );
        check(&["host replication other,app all trust"], Access::NoLine);
        check(&["host replication pgherd 10.0.2.0/255.255.255.0 md5"], Access::NoLine);
        check(&["host replication pgherd ::/:: md5"], Access::NoLine);
    }

    #[test]
    fn all_databases_are_not_replication() {
        check(&["host all all all trust"], Access::NoLine);
        check(&["host all,replication all all trust"], Access::Method("trust"));
    }

    #[test]
    fn what_cannot_be_told_from_here_is_not_guessed() {
        for line in [
            "host replication +standbys all md5",
            "host replication /^pg all md5",
            "host replication pgherd samenet md5",
            "host replication pgherd .example.com md5",
            "hostssl replication pgherd all md5",
        ] {
            check(&[line, "host replication pgherd all reject"], Access::Unknown);
        }
    }
}

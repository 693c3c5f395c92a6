use super::{Value, Wrong};
use crate::tree::Node;

/// PostgreSQL's registered port.
pub(crate) const DEFAULT_PORT: u16 = 5432;

/// Where a server is: a host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Value for HostPort {
    fn expected() -> String {
        "\"host:port\", \"host\" or \"[IPv6]:port\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        parse(node.text().ok_or_else(Wrong::default)?, DEFAULT_PORT)
    }

    fn show(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Reads host and perhaps port.
///
/// # Errors
/// [`Wrong`] if it is neither.
pub(super) fn parse(text: &str, default_port: u16) -> Result<HostPort, Wrong> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| Wrong::because("the ] is missing"))?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| Wrong::because("no IPv6 address in the brackets"))?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(Wrong::default)?) })
    } else {
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => {
                return Err(Wrong::because("IPv6 addresses go in brackets"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.starts_with('/') {
        return Err(Wrong::because("Unix sockets have no region; name the host"));
    }
    let valid = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    // programs that are given it would take a leading dash for an option
    if host.is_empty() || host.starts_with('-') || host.len() > 253 || !host.chars().all(valid) {
        return Err(Wrong::default());
    }
    let port = match port {
        Some(port) => {
            port.parse().ok().filter(|port| *port > 0).ok_or_else(|| Wrong::because("no such port"))?
        }
        None => default_port,
    };
    Ok(HostPort { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, u16)>) {
        let read = parse(text, DEFAULT_PORT).ok();
        assert_eq!(read.as_ref().map(|address| (address.host.as_str(), address.port)), expected, "{text}");
    }

    #[test]
    fn addresses_are_a_host_and_perhaps_a_port() {
        check("10.0.1.1:5433", Some(("10.0.1.1", 5433)));
        check("pg-eu", Some(("pg-eu", 5432)));
        check("[::1]:6000", Some(("::1", 6000)));
        check("[::1]", Some(("::1", 5432)));
        for wrong in [
            "",
            ":5432",
            "::1",
            "[::1",
            "[x]:1",
            "[::1]5432",
            "h:",
            "h:0",
            "h:70000",
            "a b",
            "/run/pg",
            "h:1:2",
            "-h",
        ] {
            check(wrong, None);
        }
    }
}

//! The script that makes pgherd's roles and grants them what they need.

use std::{fmt, str::FromStr};

use crate::{
    Mode, Privilege, Secrets,
    identifier::{do_block, quote_identifier, quote_literal},
};

/// Which servers a script is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerVersion {
    /// Any of 14 to 18: it looks when it runs.
    #[default]
    Any,
    /// This major version alone.
    Major(u32),
}

/// Major versions that scripts are written for.
const MAJORS: std::ops::RangeInclusive<u32> = 14..=18;

/// Not a version that scripts are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownVersion;

impl fmt::Display for UnknownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a major version from {} to {}", MAJORS.start(), MAJORS.end())
    }
}

impl std::error::Error for UnknownVersion {}

impl FromStr for ServerVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let major = text.split('.').next().and_then(|major| major.parse().ok()).ok_or(UnknownVersion)?;
        if MAJORS.contains(&major) { Ok(Self::Major(major)) } else { Err(UnknownVersion) }
    }
}

/// What becomes of the monitor's password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Password {
    /// It is left to whoever runs the script.
    #[default]
    Untouched,
    /// It becomes this SCRAM verifier's.
    Verifier(String),
}

/// What a script is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitSql {
    /// The monitor's role.
    pub user: String,
    /// Its password.
    pub password: Password,
    /// The database that the monitor connects to: privileges on functions are kept by each database.
    pub database: String,
    /// The role by which agents rewind and copy; `None`: no such role.
    pub agent: Option<String>,
    /// What pgherd does about a lost primary.
    pub mode: Mode,
    /// What the look-up of secrets reads, and in which database.
    pub secrets: (Secrets, String),
    /// Which servers it is for.
    pub version: ServerVersion,
}

/// Statements for every version, and those for later ones.
#[derive(Default)]
struct Grants {
    always: Vec<(Privilege, Vec<String>)>,
    since_15: Vec<(Privilege, Vec<String>)>,
}

impl Grants {
    fn of(privileges: &[Privilege], role: &str) -> Self {
        let mut grants = Self::default();
        for &privilege in privileges {
            let list = if privilege.since() > 14 { &mut grants.since_15 } else { &mut grants.always };
            list.push((privilege, privilege.statements(role)));
        }
        grants
    }
}

impl fmt::Display for InitSql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        f.write_str("BEGIN;\n\n")?;
        f.write_str(&self.guard())?;
        self.role(f, &self.user, "The role that probes and looks things up.")?;
        if let Password::Verifier(verifier) = &self.password {
            writeln!(f, "ALTER ROLE {} PASSWORD {};", quote_identifier(&self.user), quote_literal(verifier))?;
        }
        if self.mode == Mode::Manage {
            f.write_str(
                "-- Guard its password as that of a superuser: who may set primary_conninfo decides what standbys replay,\n\
                 -- and who may set restore_command which commands their servers run.\n",
            )?;
        }
        self.grants(f, &Privilege::of_monitor(self.mode, self.secrets.0), &self.user)?;
        if self.secrets.0 == Secrets::Elsewhere {
            f.write_str(
                "-- The configured auth.query reads neither pg_authid nor pg_shadow: grant what it needs by hand.\n",
            )?;
        }
        if let Some(agent) = &self.agent {
            self.role(
                f,
                agent,
                "The role by which agents rewind (pg_rewind) and copy (pg_basebackup) nodes. It can read every file\n\
                 -- of the server: guard its password as that of a superuser.",
            )?;
            self.grants(f, &Privilege::of_agent(), agent)?;
        }
        f.write_str("\nCOMMIT;\n")
    }
}

impl InitSql {
    /// The databases in which it has to be run.
    fn databases(&self) -> Vec<&str> {
        let mut databases = vec![self.database.as_str()];
        let (secrets, database) = &self.secrets;
        if matches!(secrets, Secrets::Authid | Secrets::Shadow) && *database != self.database {
            databases.push(database);
        }
        databases
    }

    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let databases: Vec<String> =
            self.databases().iter().map(|name| in_comment(&quote_identifier(name))).collect();
        let (user, quoted) = (in_comment(&hba_name(&self.user)), in_comment(&quote_identifier(&self.user)));
        let does = match self.mode {
            Mode::Follow => "follows the promotions of others",
            Mode::Manage => "promotes standbys itself",
        };
        writeln!(f, "-- What pgherd needs of PostgreSQL when it {does}.")?;
        writeln!(f, "--")?;
        writeln!(
            f,
            "-- Run it on the primary, as a superuser, in the database {}; standbys",
            databases.join(" and then in ")
        )?;
        writeln!(f, "-- get it by replication. It may be run again at any time: it adds what is missing.")?;
        if self.password == Password::Untouched {
            writeln!(f, "--")?;
            writeln!(f, "-- Passwords are not set here. In psql: \\password {quoted}")?;
        }
        writeln!(f, "--")?;
        writeln!(
            f,
            "-- Every node's pg_hba.conf has to let the roles in from where pgherd runs (and standbys from"
        )?;
        writeln!(
            f,
            "-- wherever a standby runs that streams with this role). With <address> as 10.0.1.0/24 or the like:"
        )?;
        writeln!(f, "--   host  all          {user}  <address>  scram-sha-256")?;
        writeln!(f, "--   host  replication  {user}  <address>  scram-sha-256")?;
        if let Some(agent) = self.agent.as_deref().map(|agent| in_comment(&hba_name(agent))) {
            writeln!(f, "--   host  all          {agent}  <address>  scram-sha-256")?;
            writeln!(f, "--   host  replication  {agent}  <address>  scram-sha-256")?;
        }
        writeln!(f)
    }

    /// Stops the script where it would do no good.
    fn guard(&self) -> String {
        let databases: Vec<String> = self.databases().iter().map(|name| quote_literal(name)).collect();
        let mut body = format!(
            "BEGIN\n    \
             IF pg_catalog.pg_is_in_recovery() THEN\n        \
             RAISE EXCEPTION 'this is a standby' USING HINT = 'Run it on the primary.';\n    \
             END IF;\n    \
             IF pg_catalog.current_database() NOT IN ({}) THEN\n        \
             RAISE EXCEPTION 'privileges on functions are kept by each database, and pgherd uses others than %', \
             pg_catalog.current_database()\n            USING HINT = 'Run it in ' || {} || '.';\n    \
             END IF;\n",
            databases.join(", "),
            databases.join(" || ' and in ' || "),
        );
        let (wrong, says) = match self.version {
            ServerVersion::Any => (format!("< {}", MAJORS.start()), format!("{} or later", MAJORS.start())),
            ServerVersion::Major(major) => (format!("<> {major}"), major.to_string()),
        };
        body.push_str(&format!(
            "    IF pg_catalog.current_setting('server_version_num')::int / 10000 {wrong} THEN\n        \
             RAISE EXCEPTION 'this script is for PostgreSQL {says}';\n    END IF;\nEND",
        ));
        do_block(&body)
    }

    fn role(&self, f: &mut fmt::Formatter<'_>, role: &str, about: &str) -> fmt::Result {
        let (name, literal) = (quote_identifier(role), quote_literal(role));
        let body = format!(
            "BEGIN\n    \
             IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal}) THEN\n        \
             CREATE ROLE {name};\n    END IF;\nEND"
        );
        write!(f, "\n-- {about}\n{}ALTER ROLE {name} LOGIN;\n", do_block(&body))
    }

    fn grants(&self, f: &mut fmt::Formatter<'_>, privileges: &[Privilege], role: &str) -> fmt::Result {
        let grants = Grants::of(privileges, role);
        write_each(f, &grants.always)?;
        if grants.since_15.is_empty() {
            return Ok(());
        }
        match self.version {
            ServerVersion::Any => {
                let mut body = String::from(
                    "BEGIN\n    \
                     IF pg_catalog.current_setting('server_version_num')::int >= 150000 THEN\n",
                );
                for (_, statements) in &grants.since_15 {
                    for statement in statements {
                        body.push_str(&format!("        EXECUTE {};\n", quote_literal(statement)));
                    }
                }
                body.push_str(&format!(
                    "    ELSIF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = {}) THEN\n        \
                     RAISE WARNING 'before PostgreSQL 15 only a superuser may use ALTER SYSTEM and CHECKPOINT, which a failover takes'\n            \
                     USING HINT = {};\n    END IF;\nEND",
                    quote_literal(role),
                    quote_literal(&superuser(role)),
                ));
                writeln!(f, "-- From PostgreSQL 15 on no superuser is needed:")?;
                for (privilege, _) in &grants.since_15 {
                    writeln!(f, "--   {}: {}", privilege.name(), privilege.purpose())?;
                }
                f.write_str(&do_block(&body))
            }
            ServerVersion::Major(major) if major < 15 => {
                writeln!(
                    f,
                    "-- PostgreSQL {major} lets only superusers use ALTER SYSTEM and CHECKPOINT, which a failover takes."
                )?;
                writeln!(
                    f,
                    "-- If that is what you want, take away the dashes (PostgreSQL 15 and later do without):"
                )?;
                writeln!(f, "-- {}", in_comment(&superuser(role)))
            }
            ServerVersion::Major(_) => write_each(f, &grants.since_15),
        }
    }
}

/// A name that cannot end the comment that it stands in.
fn in_comment(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

fn superuser(role: &str) -> String {
    format!("ALTER ROLE {} SUPERUSER;", quote_identifier(role))
}

fn write_each(f: &mut fmt::Formatter<'_>, grants: &[(Privilege, Vec<String>)]) -> fmt::Result {
    for (privilege, statements) in grants {
        writeln!(f, "-- {}: {}", privilege.name(), privilege.purpose())?;
        for statement in statements {
            writeln!(f, "{statement};")?;
        }
    }
    Ok(())
}

/// A role's name as pg_hba.conf writes it: in quotes unless it is plain, and not a keyword.
pub(crate) fn hba_name(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && !name.is_empty() && !["all", "replication"].contains(&name) {
        name.to_owned()
    } else {
        quote_identifier(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(change: impl FnOnce(&mut InitSql)) -> String {
        let mut script = InitSql {
            user: "pgherd".to_owned(),
            password: Password::Untouched,
            database: "postgres".to_owned(),
            agent: None,
            mode: Mode::Follow,
            secrets: (Secrets::Own, "postgres".to_owned()),
            version: ServerVersion::Any,
        };
        change(&mut script);
        script.to_string()
    }

    #[test]
    fn a_follower_gets_no_right_to_change_anything() {
        let text = script(|_| {});
        assert!(text.contains("GRANT pg_monitor TO \"pgherd\";"), "{text}");
        for word in ["ALTER SYSTEM", "pg_promote", "SUPERUSER", "pg_signal_backend", "pg_authid"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }

    #[test]
    fn what_14_cannot_parse_is_hidden_from_it() {
        let text = script(|script| script.mode = Mode::Manage);
        assert!(
            text.contains("EXECUTE 'GRANT ALTER SYSTEM ON PARAMETER primary_conninfo TO \"pgherd\"'"),
            "{text}"
        );
        let text = script(|script| (script.mode, script.version) = (Mode::Manage, ServerVersion::Major(14)));
        assert!(!text.contains("\nGRANT ALTER SYSTEM"), "{text}");
        assert!(text.contains("\n-- ALTER ROLE \"pgherd\" SUPERUSER;\n"), "{text}");
        let text = script(|script| (script.mode, script.version) = (Mode::Manage, ServerVersion::Major(17)));
        assert!(
            text.contains("\nGRANT ALTER SYSTEM ON PARAMETER restore_command TO \"pgherd\";\n"),
            "{text}"
        );
    }

    #[test]
    fn hostile_names_stay_names() {
        let text = script(|script| {
            script.user = "a\"b'$pgherd$".to_owned();
            script.agent = Some("All\nDROP TABLE t;".to_owned());
        });
        // within quotes a name may have lines, within comments not
        let head = text.split("BEGIN;").next().unwrap();
        assert!(head.lines().all(|line| line.is_empty() || line.starts_with("--")), "{head}");
        assert!(text.contains("rolname = 'a\"b''$pgherd$'"), "{text}");
        assert!(text.contains("CREATE ROLE \"a\"\"b'$pgherd$\";"), "{text}");
        assert!(text.contains("DO $pgherd_$"), "{text}");
        assert!(text.contains("host  all          \"All DROP TABLE t;\"  "), "{text}");
    }

    #[test]
    fn both_databases_are_named_when_secrets_are_looked_up_in_another() {
        let text = script(|script| script.secrets = (Secrets::Authid, "auth".to_owned()));
        assert!(text.contains("in the database \"postgres\" and then in \"auth\""), "{text}");
        assert!(text.contains("NOT IN ('postgres', 'auth')"), "{text}");
        assert!(text.contains("GRANT SELECT ON pg_catalog.pg_authid"), "{text}");
    }

    #[test]
    fn versions_are_read_as_people_write_them() {
        assert_eq!("17".parse(), Ok(ServerVersion::Major(17)));
        assert_eq!("15.20".parse(), Ok(ServerVersion::Major(15)));
        assert_eq!("13".parse::<ServerVersion>(), Err(UnknownVersion));
        assert_eq!("new".parse::<ServerVersion>(), Err(UnknownVersion));
    }
}

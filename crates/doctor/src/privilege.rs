//! What the proxy's roles must be allowed to do, for each thing that pgherd may be asked to do.
//!
//! One table for three uses: the SQL that grants, the SQL that asks whether it is granted, and the finding that says what
//! does not work without. What is public in PostgreSQL (system_functions.sql has the list of what is not) is not in it.

use crate::identifier::quote_identifier;

/// What pgherd does about a primary that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It follows what others promote.
    #[default]
    Follow,
    /// It promotes.
    Manage,
}

/// Where the proxy finds secrets of roles, as far as privileges are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Secrets {
    /// In its own files.
    #[default]
    Own,
    /// In `pg_authid`, by a query of its own.
    Authid,
    /// In `pg_shadow`, by a query of its own.
    Shadow,
    /// By a query that calls or reads something else, whose owner has to grant that.
    Elsewhere,
}

impl Secrets {
    /// What a configured query reads.
    #[must_use]
    pub fn of_query(sql: &str) -> Self {
        let sql = sql.to_ascii_lowercase();
        if sql.contains("pg_authid") {
            Self::Authid
        } else if sql.contains("pg_shadow") {
            Self::Shadow
        } else {
            Self::Elsewhere
        }
    }
}

/// Something that a role has to be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// `REPLICATION`: histories of timelines, slots, and streaming if standbys use this role.
    Replication,
    /// Membership of `pg_monitor`: positions, receivers and settings that others may not see.
    Monitor,
    /// `pg_hba_file_rules`, for CHECK CLUSTER alone.
    HbaRules,
    /// `SELECT` on `pg_authid`.
    Authid,
    /// `SELECT` on `pg_shadow`.
    Shadow,
    /// `ALTER SYSTEM SET` of this parameter; before 15 only a superuser may.
    AlterSystem(&'static str),
    /// `EXECUTE` on a function, with its argument types.
    Execute(&'static str),
    /// Membership of `pg_checkpoint`; before 15 only a superuser may.
    Checkpoint,
    /// Membership of `pg_signal_backend`.
    SignalBackend,
}

/// The parameters that the failover manager sets: who to follow, by which slot, whom commits wait for, and nothing from
/// the archive while a standby is cut off.
pub(crate) const MANAGED_PARAMETERS: [&str; 4] =
    ["primary_conninfo", "primary_slot_name", "synchronous_standby_names", "restore_command"];

const FOLLOW: [Privilege; 3] = [Privilege::Replication, Privilege::Monitor, Privilege::HbaRules];

const MANAGE: [Privilege; 9] = [
    Privilege::AlterSystem(MANAGED_PARAMETERS[0]),
    Privilege::AlterSystem(MANAGED_PARAMETERS[1]),
    Privilege::AlterSystem(MANAGED_PARAMETERS[2]),
    Privilege::AlterSystem(MANAGED_PARAMETERS[3]),
    Privilege::Execute("pg_reload_conf()"),
    Privilege::Execute("pg_promote(boolean, integer)"),
    Privilege::Execute("pg_wal_replay_resume()"),
    Privilege::SignalBackend,
    Privilege::Checkpoint,
];

/// What pg_rewind calls on its source (manual, "pg_rewind", Notes).
const REWIND: [Privilege; 4] = [
    Privilege::Execute("pg_ls_dir(text, boolean, boolean)"),
    Privilege::Execute("pg_stat_file(text, boolean)"),
    Privilege::Execute("pg_read_binary_file(text)"),
    Privilege::Execute("pg_read_binary_file(text, bigint, bigint, boolean)"),
];

impl Privilege {
    /// All that the monitor's role needs.
    #[must_use]
    pub fn of_monitor(mode: Mode, secrets: Secrets) -> Vec<Self> {
        let mut all = FOLLOW.to_vec();
        all.extend(match secrets {
            Secrets::Authid => Some(Self::Authid),
            Secrets::Shadow => Some(Self::Shadow),
            Secrets::Own | Secrets::Elsewhere => None,
        });
        if mode == Mode::Manage {
            all.extend(MANAGE);
        }
        all
    }

    /// All that the role needs by which an agent rewinds and copies nodes.
    #[must_use]
    pub fn of_agent() -> Vec<Self> {
        let mut all = vec![Self::Replication];
        all.extend(REWIND);
        all
    }

    /// The first major version in which others than superusers can be given it.
    #[must_use]
    pub fn since(self) -> u32 {
        match self {
            Self::AlterSystem(_) | Self::Checkpoint => 15,
            Self::Replication
            | Self::Monitor
            | Self::HbaRules
            | Self::Authid
            | Self::Shadow
            | Self::Execute(_)
            | Self::SignalBackend => 14,
        }
    }

    /// The statements that give it to `role`, as it is called.
    #[must_use]
    pub fn statements(self, role: &str) -> Vec<String> {
        let role = quote_identifier(role);
        match self {
            Self::Replication => vec![format!("ALTER ROLE {role} REPLICATION")],
            Self::Monitor => vec![format!("GRANT pg_monitor TO {role}")],
            Self::HbaRules => vec![
                format!("GRANT SELECT ON pg_catalog.pg_hba_file_rules TO {role}"),
                format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO {role}"),
            ],
            Self::Authid => vec![format!("GRANT SELECT ON pg_catalog.pg_authid TO {role}")],
            Self::Shadow => vec![format!("GRANT SELECT ON pg_catalog.pg_shadow TO {role}")],
            Self::AlterSystem(parameter) => {
                vec![format!("GRANT ALTER SYSTEM ON PARAMETER {parameter} TO {role}")]
            }
            Self::Execute(function) => {
                vec![format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {role}")]
            }
            Self::Checkpoint => vec![format!("GRANT pg_checkpoint TO {role}")],
            Self::SignalBackend => vec![format!("GRANT pg_signal_backend TO {role}")],
        }
    }

    /// A boolean expression that says whether the role that runs it has it, on a server of this major version.
    #[must_use]
    pub fn question(self, major: u32) -> String {
        if major < self.since() {
            return "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)".to_owned();
        }
        let member = |of: &str| format!("pg_catalog.pg_has_role('{of}', 'usage')");
        match self {
            Self::Replication => "(SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles \
                                  WHERE rolname = current_user)"
                .to_owned(),
            Self::Monitor => member("pg_monitor"),
            Self::HbaRules => "(pg_catalog.has_table_privilege('pg_catalog.pg_hba_file_rules', 'select') AND \
                               pg_catalog.has_function_privilege('pg_catalog.pg_hba_file_rules()', 'execute'))"
                .to_owned(),
            // Not the table as a whole: a query may do with the columns that were granted.
            Self::Authid => {
                "pg_catalog.has_any_column_privilege('pg_catalog.pg_authid', 'select')".to_owned()
            }
            Self::Shadow => {
                "pg_catalog.has_any_column_privilege('pg_catalog.pg_shadow', 'select')".to_owned()
            }
            Self::AlterSystem(parameter) => {
                format!("pg_catalog.has_parameter_privilege('{parameter}', 'alter system')")
            }
            Self::Execute(function) => {
                format!("pg_catalog.has_function_privilege('pg_catalog.{function}', 'execute')")
            }
            Self::Checkpoint => member("pg_checkpoint"),
            Self::SignalBackend => member("pg_signal_backend"),
        }
    }

    /// A word for it that people and tests know it by.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Replication => "REPLICATION".to_owned(),
            Self::Monitor => "pg_monitor".to_owned(),
            Self::HbaRules => "pg_hba_file_rules".to_owned(),
            Self::Authid => "pg_authid".to_owned(),
            Self::Shadow => "pg_shadow".to_owned(),
            Self::AlterSystem(parameter) => format!("ALTER SYSTEM SET {parameter}"),
            Self::Execute(function) => function.to_owned(),
            Self::Checkpoint => "CHECKPOINT".to_owned(),
            Self::SignalBackend => "pg_signal_backend".to_owned(),
        }
    }

    /// What does not work without it.
    #[must_use]
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Replication => "the histories of timelines, by which a promotion is believed, and slots",
            Self::Monitor => {
                "positions and states of WAL senders and receivers, and settings with secrets in them"
            }
            Self::HbaRules => "CHECK CLUSTER, to see whether standbys could log in to each other",
            Self::Authid | Self::Shadow => "logins of roles whose secrets are not in pgherd's own files",
            Self::AlterSystem("primary_conninfo" | "primary_slot_name") => {
                "cutting standbys off a lost primary, and making them follow the new one"
            }
            Self::AlterSystem("synchronous_standby_names") => {
                "fencing a primary, and whom commits wait for after a promotion"
            }
            Self::AlterSystem(_) => "keeping a standby that is being cut off from reading on in the archive",
            Self::Execute("pg_reload_conf()") => "making what ALTER SYSTEM sets come true",
            Self::Execute("pg_promote(boolean, integer)") => "promoting a standby",
            Self::Execute("pg_wal_replay_resume()") => "letting a candidate whose replay was paused catch up",
            Self::Execute(_) => "pg_rewind, which reads the files of the new primary by it",
            Self::SignalBackend => "ending what still runs on a fenced primary",
            Self::Checkpoint => {
                "a checkpoint after a promotion, without which pg_rewind sees the old timeline"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_needs_all_that_a_follower_needs() {
        let follow = Privilege::of_monitor(Mode::Follow, Secrets::Authid);
        let manage = Privilege::of_monitor(Mode::Manage, Secrets::Authid);
        assert!(follow.iter().all(|one| manage.contains(one)));
        assert!(follow.contains(&Privilege::Authid));
        assert!(!Privilege::of_monitor(Mode::Follow, Secrets::Own).contains(&Privilege::Authid));
    }

    #[test]
    fn what_14_leaves_to_superusers_is_asked_as_that() {
        assert!(Privilege::Checkpoint.question(14).contains("rolsuper"));
        assert!(Privilege::Checkpoint.question(15).contains("pg_checkpoint"));
    }

    #[test]
    fn what_a_query_for_secrets_reads_is_seen_in_its_text() {
        assert_eq!(Secrets::of_query("SELECT rolname FROM PG_AUTHID"), Secrets::Authid);
        assert_eq!(Secrets::of_query("SELECT usename, passwd FROM pg_shadow"), Secrets::Shadow);
        assert_eq!(Secrets::of_query("SELECT * FROM lookup($1)"), Secrets::Elsewhere);
    }
}

//! The questions, as SQL.

use std::fmt::Write as _;

use crate::{Privilege, identifier::quote_literal};

/// What is asked of a node, in three round trips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Statements that everybody may run; of what a role may not see they tell nothing. The first column of each row says
    /// what it is about.
    pub base: String,
    /// Fails if the role may not read it.
    pub hba: String,
    /// Fails if the role may not read it, which is common.
    pub md5_roles: String,
}

/// The parameters that are looked at, beside those that wait for a restart.
pub(crate) const SETTINGS: [&str; 43] = [
    "allow_alter_system",
    "archive_command",
    "archive_library",
    "archive_mode",
    "cluster_name",
    "data_directory",
    "default_transaction_read_only",
    "fsync",
    "full_page_writes",
    "hot_standby",
    "hot_standby_feedback",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_standby_streaming_delay",
    "max_wal_senders",
    "max_worker_processes",
    "password_encryption",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_min_apply_delay",
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "reserved_connections",
    "restore_command",
    "shared_preload_libraries",
    "ssl",
    "superuser_reserved_connections",
    "synchronous_commit",
    "synchronous_standby_names",
    "synchronized_standby_slots",
    "sync_replication_slots",
    "wal_keep_size",
    "wal_level",
    "wal_log_hints",
    "wal_receiver_timeout",
    "wal_sender_timeout",
];

/// The timeline: see `health`'s probe for why `pg_control_checkpoint()` comes last.
const NODE: &str = "SELECT 'node', pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()), \
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END, \
    (SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()), \
    (SELECT data_page_checksum_version > 0 FROM pg_control_init()), \
    extract(epoch FROM clock_timestamp())::float8, \
    pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), \
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END, \
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), \
    current_setting('server_version_num');\n";

const SENDERS: &str = "SELECT 'sender', application_name, state, sync_state, usename, client_addr \
    FROM pg_stat_replication;\n";

const RECEIVER: &str =
    "SELECT 'receiver', status, sender_host, sender_port, slot_name FROM pg_stat_wal_receiver;\n";

/// Failing: the last attempt was not one that succeeded.
const ARCHIVER: &str = "SELECT 'archiver', failed_count, last_failed_wal, \
    last_failed_time IS NOT NULL AND (last_archived_time IS NULL OR last_failed_time > last_archived_time) \
    FROM pg_stat_archiver;\n";

const TABLESPACES: &str = "SELECT 'tablespace', spcname, pg_tablespace_location(oid) FROM pg_tablespace \
    WHERE spcname NOT IN ('pg_default', 'pg_global');\n";

/// What to ask a server of this major version about itself and about these privileges of the role that asks.
#[must_use]
pub fn question(major: u32, privileges: &[Privilege]) -> Question {
    let names: Vec<String> = SETTINGS.iter().map(|name| quote_literal(name)).collect();
    let mut base = String::from(NODE);
    let _ = writeln!(
        base,
        "SELECT 'setting', name, setting, pending_restart, source FROM pg_settings \
         WHERE pending_restart OR name IN ({});",
        names.join(", ")
    );
    // Temporary slots go with their sessions. A slot without a position holds nothing.
    let failover = if major >= 17 { "failover OR synced" } else { "false" };
    let _ = writeln!(
        base,
        "SELECT 'slot', slot_name, slot_type, active, wal_status, \
         greatest(0, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() \
         THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END, \
         restart_lsn)), {failover} FROM pg_replication_slots WHERE NOT temporary;"
    );
    for statement in [SENDERS, RECEIVER, ARCHIVER, TABLESPACES] {
        base.push_str(statement);
    }
    if !privileges.is_empty() {
        let columns: Vec<String> =
            privileges.iter().map(|privilege| format!("({})::bool", privilege.question(major))).collect();
        let _ = writeln!(base, "SELECT 'privileges', {};", columns.join(", "));
    }
    Question {
        base,
        hba: "SELECT line_number, type, array_to_string(database, E'\\n'), array_to_string(user_name, E'\\n'), \
              address, netmask, auth_method, error FROM pg_hba_file_rules ORDER BY line_number"
            .to_owned(),
        md5_roles: "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword LIKE 'md5%' ORDER BY rolname"
            .to_owned(),
    }
}

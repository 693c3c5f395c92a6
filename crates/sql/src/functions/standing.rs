//! The functions of PostgreSQL and its contrib modules that a read must not call, and why.

use super::harmless::HARMLESS;

/// What the built-in lists say of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A read may call it.
    Harmless,
    /// It tells about the node it runs on, so the primary's answer is meant unless a hint says otherwise.
    Node,
    /// It writes, takes a transaction id, or runs SQL that it is given. A rollback undoes what it did.
    Writes,
    /// What it does is not undone by a rollback.
    Outside,
    /// It takes a lock that the session holds after the transaction.
    SessionLock,
    /// It tells what the session got from a sequence.
    SequenceValue,
    /// It changes the session in a way that cannot be followed.
    SessionState,
    /// `set_config`.
    SetConfig,
    /// Not in the lists.
    Unknown,
}

/// What the lists say of `name`, in lower case, unqualified or in `pg_catalog`.
pub(crate) fn standing(name: &[u8]) -> Standing {
    const PREFIX_STARTS: [u128; PREFIXES.len()] = starts_of(&names_of::<{ PREFIXES.len() }>(PREFIXES));

    if let Some(standing) = exact(name) {
        return standing;
    }
    // most names end here: see PREFIXES
    if !matches!(name, [b'p', b'g', b'_', ..] | [b'b'..=b'd' | b'l' | b'q' | b's' | b't', ..]) {
        return Standing::Unknown;
    }
    // no prefix is the start of another: only the last one not behind the name can be its start
    let start = start_of(name);
    let behind = PREFIX_STARTS.partition_point(|known| *known <= start);
    let family = behind.checked_sub(1).and_then(|at| PREFIXES.get(at));
    let family = family.filter(|(prefix, _)| name.starts_with(prefix.as_bytes()));
    family.map_or(Standing::Unknown, |(_, standing)| *standing)
}

/// The functions that are in the lists by their whole names.
const NAMED: usize = HARMLESS.len() + EXACT.len();

/// By hash of its name, where the numbers of the functions begin that have it; at the end, how many there are.
type Buckets = [u16; (1 << HASH_BITS) + 1];

/// Of the hash of a name.
const HASH_BITS: u32 = 10;

/// What the lists say of a function by its whole name.
fn exact(name: &[u8]) -> Option<Standing> {
    const INDEX: &(Buckets, [u16; NAMED]) = &index();
    let (buckets, numbers) = INDEX;
    let bucket = hash(name);
    let from = usize::from(*buckets.get(bucket)?);
    let to = usize::from(*buckets.get(bucket.wrapping_add(1))?);
    for number in numbers.get(from..to)? {
        let (known, standing) = function(usize::from(*number))?;
        if known.as_bytes() == name {
            return Some(standing);
        }
    }
    None
}

/// The name of a function by its number, and what the lists say of it.
fn function(number: usize) -> Option<(&'static str, Standing)> {
    match HARMLESS.get(number) {
        Some(name) => Some((name, Standing::Harmless)),
        None => EXACT.get(number.wrapping_sub(HARMLESS.len())).copied(),
    }
}

/// Of its length, its first and its last bytes: less than 2 to the power of [`HASH_BITS`].
const fn hash(name: &[u8]) -> usize {
    let (first, last) = if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        (u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64)
    } else {
        match name {
            [] => (0, 0),
            [first, .., last] => (*first as u64, *last as u64),
            [only] => (*only as u64, 0),
        }
    };
    let mixed = (first ^ last.rotate_left(29) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - HASH_BITS)) as usize
}

/// Where the functions of each hash begin, and the numbers of all by their hashes.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "the compiler runs it"
)]
const fn index() -> (Buckets, [u16; NAMED]) {
    let exact = names_of::<{ EXACT.len() }>(EXACT);
    let mut hashes = [0; NAMED];
    let mut buckets = [0; (1 << HASH_BITS) + 1];
    let mut i = 0;
    while i < NAMED {
        let name = if i < HARMLESS.len() { HARMLESS[i] } else { exact[i - HARMLESS.len()] };
        hashes[i] = hash(name.as_bytes());
        buckets[hashes[i] + 1] += 1;
        i += 1;
    }
    i = 1;
    while i < buckets.len() {
        buckets[i] += buckets[i - 1];
        i += 1;
    }
    let mut numbers = [0; NAMED];
    let mut next = buckets;
    i = 0;
    while i < NAMED {
        numbers[next[hashes[i]] as usize] = i as u16;
        next[hashes[i]] += 1;
        i += 1;
    }
    (buckets, numbers)
}

/// The first 16 bytes of a name as a number that sorts as they do: a search compares one number a step.
fn start_of(name: &[u8]) -> u128 {
    let mut start = [0; 16];
    for (to, from) in start.iter_mut().zip(name) {
        *to = *from;
    }
    u128::from_be_bytes(start)
}

/// [`start_of`] each of `names`.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn starts_of<const N: usize>(names: &[&str]) -> [u128; N] {
    let mut starts = [0; N];
    let mut i = 0;
    while i < N {
        let name = names[i].as_bytes();
        let mut start = [0; 16];
        let mut at = 0;
        while at < name.len() && at < start.len() {
            start[at] = name[at];
            at += 1;
        }
        starts[i] = u128::from_be_bytes(start);
        i += 1;
    }
    starts
}

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn names_of<const N: usize>(list: &[(&'static str, Standing)]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = list[i].0;
        i += 1;
    }
    names
}

use Standing::{Node, Outside, SequenceValue, SessionLock, SessionState, SetConfig, Writes};

/// Sorted by name. From the manual's "System Administration Functions", "Session Information Functions" and "Large
/// Objects", and every volatile function in `pg_proc` of PostgreSQL 15 that is not harmless.
pub(super) const EXACT: &[(&str, Standing)] = &[
    ("autoprewarm_dump_now", Outside),
    ("autoprewarm_start_worker", Outside),
    ("currtid", Writes),
    ("currtid2", Writes),
    ("currval", SequenceValue),
    ("dblink_connect", SessionState),
    ("dblink_connect_u", SessionState),
    ("gin_clean_pending_list", Writes),
    ("heap_force_freeze", Writes),
    ("heap_force_kill", Writes),
    ("inet_server_addr", Node),
    ("inet_server_port", Node),
    ("lastval", SequenceValue),
    ("lo_export", Outside),
    ("loread", Writes),
    ("lowrite", Writes),
    ("nextval", Writes),
    ("pg_advisory_lock", SessionLock),
    ("pg_advisory_lock_shared", SessionLock),
    ("pg_backend_pid", Node),
    ("pg_backup_start", Outside),
    ("pg_backup_stop", Outside),
    ("pg_blocking_pids", Node),
    ("pg_cancel_backend", Outside),
    ("pg_clear_attribute_stats", Writes),
    ("pg_clear_relation_stats", Writes),
    ("pg_conf_load_time", Node),
    ("pg_copy_logical_replication_slot", Outside),
    ("pg_copy_physical_replication_slot", Outside),
    ("pg_create_logical_replication_slot", Outside),
    ("pg_create_physical_replication_slot", Outside),
    ("pg_create_restore_point", Outside),
    ("pg_current_logfile", Node),
    ("pg_current_xact_id", Writes),
    ("pg_disable_data_checksums", Outside),
    ("pg_drop_replication_slot", Outside),
    ("pg_enable_data_checksums", Outside),
    ("pg_export_snapshot", Writes),
    ("pg_extension_config_dump", Writes),
    ("pg_get_backend_memory_contexts", Node),
    ("pg_get_sequence_data", Node),
    ("pg_get_shmem_allocations", Node),
    ("pg_get_wal_replay_pause_state", Node),
    ("pg_hba_file_rules", Node),
    ("pg_ident_file_mappings", Node),
    ("pg_import_system_collations", Writes),
    ("pg_is_in_backup", Node),
    ("pg_is_in_recovery", Node),
    ("pg_is_wal_replay_paused", Node),
    ("pg_isolation_test_session_is_blocked", Node),
    ("pg_last_committed_xact", Node),
    ("pg_last_xact_replay_timestamp", Node),
    ("pg_listening_channels", Node),
    ("pg_lock_status", Node),
    ("pg_log_backend_memory_contexts", Outside),
    ("pg_log_standby_snapshot", Outside),
    ("pg_nextoid", Writes),
    ("pg_notification_queue_usage", Node),
    ("pg_notify", Writes),
    ("pg_postmaster_start_time", Node),
    ("pg_prepared_xact", Node),
    ("pg_prewarm", Outside),
    ("pg_promote", Outside),
    ("pg_reload_conf", Outside),
    ("pg_replication_origin_session_setup", SessionState),
    ("pg_restore_attribute_stats", Writes),
    ("pg_restore_relation_stats", Writes),
    ("pg_rotate_logfile", Outside),
    ("pg_rotate_logfile_old", Outside),
    ("pg_safe_snapshot_blocking_pids", Node),
    ("pg_sequence_last_value", Node),
    ("pg_show_all_file_settings", Node),
    ("pg_start_backup", Outside),
    ("pg_stat_file", Node),
    ("pg_stat_force_next_flush", Outside),
    ("pg_stop_backup", Outside),
    ("pg_stop_making_pinned_objects", Outside),
    ("pg_switch_wal", Outside),
    ("pg_sync_replication_slots", Outside),
    ("pg_terminate_backend", Outside),
    ("pg_truncate_visibility_map", Outside),
    ("pg_try_advisory_lock", SessionLock),
    ("pg_try_advisory_lock_shared", SessionLock),
    ("pg_xact_commit_timestamp", Node),
    ("pg_xact_commit_timestamp_origin", Node),
    ("pg_xact_status", Node),
    ("set_config", SetConfig),
    ("setseed", SessionState),
    ("setval", Writes),
    ("ts_rewrite", Writes),
    ("ts_stat", Writes),
    ("txid_current", Writes),
    ("txid_status", Node),
    ("xpath_table", Writes),
];

/// Families, looked at when no whole name matched. `*_to_xml` run the query or read the table they are given.
pub(super) const PREFIXES: &[(&str, Standing)] = &[
    ("binary_upgrade_", Outside),
    ("brin_desummarize", Writes),
    ("brin_summarize", Writes),
    ("cursor_to_xml", Writes),
    ("database_to_xml", Writes),
    ("dblink", Outside),
    ("lo_", Writes),
    ("pg_advisory_", Writes),
    ("pg_control_", Node),
    ("pg_current_wal_", Writes),
    ("pg_file_", Outside),
    ("pg_last_wal_", Node),
    ("pg_logical_", Outside),
    ("pg_ls_", Node),
    ("pg_read_", Node),
    ("pg_replication_", Outside),
    ("pg_stat_reset", Outside),
    ("pg_stat_statements_reset", Outside),
    ("pg_try_advisory_", Writes),
    ("pg_wal_replay_", Outside),
    ("pg_walfile_name", Writes),
    ("query_to_xml", Writes),
    ("schema_to_xml", Writes),
    ("table_to_xml", Writes),
];

//! The query of a probe, and how its answer reads.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use conn::{QueryError, Row, ServerConnection};
use topology::{Checkpoint, CheckpointKind, Receiver, Replication, Role, Sample, SyncState, Xid, XidSample};
use wire::{Lsn, SqlState, TimelineId, message::backend::timeline_of_wal_file};

/// One round trip for all that a probe wants to know; needs no privilege, but without `pg_monitor` the columns about WAL
/// receivers and who receives are NULL.
///
/// A checkpoint that begins where its redo begins is one of a shutdown or of the end of a recovery: an online one is
/// preceded by a record of its own, unless `wal_level` is minimal.
///
/// The timeline: after a promotion `pg_control_checkpoint()` tells the old one until the next checkpoint, while the name
/// of the current WAL file and `received_tli` are right at once (measured on 15.20). A standby whose WAL receiver has
/// ended is asked for [`FOLLOWED`] as well.
const SQL: &str = "\
    SELECT pg_is_in_recovery(), \
    (SELECT system_identifier FROM pg_control_system()), \
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END, \
    (SELECT timeline_id FROM pg_control_checkpoint()), \
    (SELECT received_tli FROM pg_stat_wal_receiver), \
    (SELECT coalesce(status = 'streaming', true) FROM pg_stat_wal_receiver), \
    (SELECT (1000 * extract(epoch FROM clock_timestamp() - last_msg_receipt_time))::bigint FROM pg_stat_wal_receiver), \
    CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
    ELSE pg_current_wal_insert_lsn() END, \
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END, \
    current_setting('server_version_num'), \
    pg_snapshot_xmax(pg_current_snapshot()), \
    (SELECT concat_ws(' ', checkpoint_lsn, timeline_id, next_xid, \
    CASE WHEN redo_lsn = checkpoint_lsn AND current_setting('wal_level') <> 'minimal' THEN 'quiet' ELSE 'online' END) \
    FROM pg_control_checkpoint()), \
    concat_ws(' ', host(inet_client_addr()), inet_client_port()), \
    has_function_privilege('pg_ls_waldir()', 'EXECUTE'), \
    (SELECT string_agg(concat_ws(chr(9), sync_state, coalesce(host(client_addr), '-'), coalesce(flush_lsn, '0/0'), \
    application_name), chr(10)) \
    FROM pg_stat_replication WHERE sync_state IS NOT NULL), \
    (SELECT conninfo FROM pg_stat_wal_receiver), \
    current_setting('synchronous_standby_names'), \
    coalesce(CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') \
    THEN substring(current_setting('primary_conninfo', true) from \
    '(?:^|[[:space:]])application_name[[:space:]]*=[[:space:]]*(''[^'']*''|[^''[:space:]]+)') END, \
    nullif(current_setting('cluster_name'), ''))";

/// The timeline that a standby has followed, by the WAL that it has received: nothing else tells it between the end of its
/// WAL receiver and its next restartpoint. For members of `pg_monitor`.
const FOLLOWED: &str =
    "SELECT ('x' || max(substr(name, 1, 8)))::bit(32)::int FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'";

/// Where the timeline that is received stands in a row of [`SQL`].
const RECEIVED: usize = 4;

/// Columns before those of [`read_xids`].
const SAMPLE_COLUMNS: usize = 10;

/// Asks. A promotion in the middle of the query makes it fail with 55000; it is asked once more then.
pub(super) async fn run(connection: &mut ServerConnection) -> Result<Vec<Row>, QueryError> {
    let mut rows = match connection.simple_query(SQL).await {
        Err(error) if error.sqlstate() == Some(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
            connection.simple_query(SQL).await?
        }
        answer => answer?,
    };
    if let [row] = rows.as_mut_slice()
        && has_unseen_timeline(row)
        && let Some(received) = row.get_mut(RECEIVED)
    {
        let followed = connection.simple_query(FOLLOWED).await?;
        *received = followed.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    }
    Ok(rows)
}

/// Whether it is a standby without a WAL receiver, whose WAL may be looked at.
fn has_unseen_timeline(row: &Row) -> bool {
    let is = |at: usize, value: Option<&str>| row.get(at).is_some_and(|found| found.as_deref() == value);
    is(0, Some("t")) && is(RECEIVED, None) && is(RECEIVED + 1, None) && is(SAMPLE_COLUMNS + 3, Some("t"))
}

/// Reads the answer; `None` if it is not one.
pub(super) fn read(rows: &[Row], sent_at: Instant, received_at: Instant) -> Option<Sample> {
    let [row] = rows else { return None };
    let [recovery, system_id, wal_file, checkpoint, received, streaming, silence, wal, replay, version, ..] =
        row.as_slice()
    else {
        return None;
    };
    let recovery = recovery.as_deref()? == "t";
    let lsn = |text: &Option<String>| text.as_deref()?.parse::<Lsn>().ok();
    let timeline = |text: &Option<String>| text.as_deref()?.parse::<u32>().ok().map(TimelineId);
    let wal_lsn = lsn(wal).unwrap_or_default();
    Some(Sample {
        sent_at,
        received_at,
        role: if recovery { Role::Standby } else { Role::Primary },
        system_id: system_id.as_deref()?.parse().ok()?,
        timeline: if recovery {
            timeline(received).or_else(|| timeline(checkpoint))?
        } else {
            timeline_of_wal_file(wal_file.as_deref()?)?
        },
        wal_lsn,
        replay_lsn: if recovery { lsn(replay).unwrap_or_default() } else { wal_lsn },
        streaming: recovery && streaming.as_deref() == Some("t"),
        upstream_silence: silence
            .as_deref()
            .and_then(|ms| ms.parse::<i64>().ok())
            // a clock that was set back makes it negative: as if just heard
            .map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
        server_version: version.as_deref()?.parse().ok()?,
    })
}

/// What the same answer says of transaction ids, in the columns behind.
pub(super) fn read_xids(rows: &[Row], sample: &Sample) -> Option<XidSample> {
    let [row] = rows else { return None };
    let [next, checkpoint, ..] = row.get(SAMPLE_COLUMNS..)? else { return None };
    Some(XidSample {
        role: sample.role,
        timeline: sample.timeline,
        next: Xid(next.as_deref()?.parse().ok()?),
        // of the same statement, whose snapshot was taken before anything else was read
        replay_lsn: sample.replay_lsn,
        checkpoint: checkpoint.as_deref().and_then(read_checkpoint),
    })
}

/// Whether the node sees this end of the connection at its own address: whoever ends the connection is the node then, and
/// nobody in between.
pub(super) fn is_direct(rows: &[Row], local: Option<SocketAddr>) -> bool {
    let seen = rows.first().and_then(|row| row.get(SAMPLE_COLUMNS + 2)?.as_deref());
    local.is_some_and(|local| seen == Some(&format!("{} {}", local.ip(), local.port())))
}

/// What the same answer says of the node's part in replication.
pub(super) fn read_replication(rows: &[Row]) -> Replication {
    let cell = |at: usize| rows.first().and_then(|row| row.get(SAMPLE_COLUMNS + at)?.as_deref());
    Replication {
        name: cell(5).and_then(receiver_name).or_else(|| cell(7).and_then(own_name)),
        receivers: cell(4).unwrap_or_default().lines().filter_map(read_receiver).collect(),
        sync_names: cell(6).map(Into::into),
    }
}

/// Reads state, address, position and name. PostgreSQL lets only printable ASCII into a name, so neither separator is in one.
fn read_receiver(line: &str) -> Option<Receiver> {
    let mut cells = line.splitn(4, '\t');
    let state = SyncState::of_word(cells.next()?)?;
    let address = cells.next()?.parse::<IpAddr>().ok();
    let flushed = cells.next()?.parse().ok()?;
    Some(Receiver { name: cells.next()?.into(), address, state, flushed })
}

/// The `application_name` of a WAL receiver's connection, or else what stands for it. PostgreSQL shows connection strings
/// as `keyword=value` without quotes, so a value goes on until a word looks like the next keyword; but of a receiver that
/// has changed its timeline it shows the string as it was set, with quotes (measured on 15.18).
fn receiver_name(conninfo: &str) -> Option<Box<str>> {
    let mut values: Vec<(&str, String)> = Vec::new();
    for word in conninfo.split(' ') {
        let keyword = word.split_once('=').filter(|(keyword, _)| {
            !keyword.is_empty() && keyword.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        });
        match (keyword, values.last_mut()) {
            (Some((keyword, value)), _) => values.push((keyword, value.to_owned())),
            (None, Some((_, value))) => *value = format!("{value} {word}"),
            (None, None) => {}
        }
    }
    let value =
        |wanted: &str| values.iter().find(|(keyword, _)| *keyword == wanted).map(|(_, value)| &**value);
    value("application_name").or_else(|| value("fallback_application_name")).and_then(own_name)
}

/// The name that a WAL receiver has or would have, perhaps in quotes. One with a backslash is not worth reading.
fn own_name(text: &str) -> Option<Box<str>> {
    let name = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
    (!name.is_empty() && !name.contains('\\')).then(|| name.into())
}

/// Reads position, timeline, next id (`epoch:xid`) and kind of a checkpoint.
pub(crate) fn read_checkpoint(text: &str) -> Option<Checkpoint> {
    let mut words = text.split(' ');
    let lsn = words.next()?.parse().ok()?;
    let timeline = TimelineId(words.next()?.parse().ok()?);
    let (epoch, xid) = words.next()?.split_once(':')?;
    let (epoch, xid) = (epoch.parse::<u32>().ok()?, xid.parse::<u32>().ok()?);
    let kind = match words.next()? {
        "quiet" => CheckpointKind::Quiet,
        _ => CheckpointKind::Online,
    };
    Some(Checkpoint { lsn, timeline, next: Xid(u64::from(epoch) << 32 | u64::from(xid)), kind })
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    fn row(text: &str) -> Row {
        text.split(' ').map(|value| (value != "-").then(|| value.to_owned())).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: Option<(Role, u32, &str, &str, bool)>) {
        let now = time::Instant::now().into_std();
        let found = read(&[row(text)], now, now).map(|sample| {
            assert_eq!((sample.system_id, sample.server_version), (7_412_345_678_901_234_567, 150_020));
            let Sample { role, timeline, wal_lsn, replay_lsn, streaming, .. } = sample;
            (role, timeline.0, wal_lsn.to_string(), replay_lsn.to_string(), streaming)
        });
        let expected = expected.map(|(role, tli, wal, replay, s)| (role, tli, wal.into(), replay.into(), s));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_primary_tells_its_timeline_by_the_file_it_writes() {
        check(
            "f 7412345678901234567 0000000200000000000000A1 1 - - - 0/A1000028 - 150020",
            Some((Role::Primary, 2, "0/A1000028", "0/A1000028", false)),
        );
    }

    #[test]
    fn a_standby_tells_the_timeline_it_receives_or_else_restarted_on() {
        check(
            "t 7412345678901234567 - 1 2 t 20 0/5000000 0/4000000 150020",
            Some((Role::Standby, 2, "0/5000000", "0/4000000", true)),
        );
        check(
            "t 7412345678901234567 - 1 - - - 0/4000000 0/4000000 150020",
            Some((Role::Standby, 1, "0/4000000", "0/4000000", false)),
        );
        check("t 7412345678901234567 - 1 2 f - - - 150020", Some((Role::Standby, 2, "0/0", "0/0", false)));
    }

    #[test]
    fn who_receives_is_read_with_state_address_and_name() {
        let mut answer =
            row("f 7412345678901234567 0000000200000000000000A1 1 - - - 0/A1000028 - 150020 - - - -");
        answer
            .push(Some("sync\t10.0.0.2\t0/A1000000\tus east\nasync\t-\t0/0\tap\nodd\t-\t0/0\tx".to_owned()));
        answer.extend([None, Some("ANY 1 (us)".to_owned()), Some("'eu west'".to_owned())]);
        let found = read_replication(&[answer]);
        assert_eq!(found.sync_names.as_deref(), Some("ANY 1 (us)"));
        let receivers: Vec<_> = found
            .receivers
            .iter()
            .map(|one| (one.state.as_str(), one.address.is_some(), &*one.name))
            .collect();
        assert_eq!(
            (found.name.as_deref(), receivers),
            (Some("eu west"), vec![("sync", true, "us east"), ("async", false, "ap")])
        );
    }

    #[test]
    fn a_receiver_is_called_as_its_connection_says() {
        let name = |conninfo| receiver_name(conninfo);
        let given =
            "user=rep application_name=us east host=h fallback_application_name=walreceiver sslmode=prefer";
        assert_eq!(name(given).as_deref(), Some("us east"));
        assert_eq!(name("user=rep host=h fallback_application_name=c1").as_deref(), Some("c1"));
        let set =
            "host='h' fallback_application_name='pgherd_e2' application_name='us east' sslmode='disable'";
        assert_eq!(name(set).as_deref(), Some("us east"));
        assert_eq!(name(""), None);
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        check("f 7412345678901234567 x 1 - - - 0/1 - 150020", None);
        check("f - 000000020000000000000001 1 - - - 0/1 - 150020", None);
        check("t 7412345678901234567 - - - - - 0/1 0/1 150020", None);
        check("f 7412345678901234567", None);
    }
}

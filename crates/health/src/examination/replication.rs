//! CHECK REPLICATION: a marker on the primary, and a look-out for it on each standby.

use std::{sync::Arc, time::Duration};

use conn::{Row, ServerConnection, TlsFileError};
use doctor::{Outcome, Refusal, Replay, Replicated, judge_replication};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use wire::{Lsn, TimelineId, message::backend::timeline_of_wal_file};

use super::{LIMIT, ask, dial_refusal, target, told};
use crate::{
    Settings,
    dialer::{Dialer, Purpose},
};

/// Time between looks at a standby.
const POLL: Duration = Duration::from_millis(10);

/// The name of the file that it writes tells a primary's timeline; a standby has none.
const ROLE: &str =
    "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END";

/// In a transaction, so that its commit flushes the WAL; commits that wait for standbys do not hold it up.
const MARK: &str = "SELECT set_config('synchronous_commit', 'local', true), \
    pg_logical_emit_message(true, 'pgherd', 'CHECK REPLICATION')";

/// A process that replay waits for: the one that has the lock, or the one with the oldest transaction.
const STANDING: &str = "SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), \
    (SELECT status FROM pg_stat_wal_receiver), pg_is_wal_replay_paused(), \
    (SELECT setting FROM pg_settings WHERE name = 'recovery_min_apply_delay'), \
    (SELECT wait_event_type || ':' || wait_event FROM pg_stat_activity WHERE backend_type = 'startup'), \
    coalesce((SELECT (pg_blocking_pids(pid))[1] FROM pg_stat_activity WHERE backend_type = 'startup'), \
    (SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND xact_start IS NOT NULL \
    AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1))";

/// Writes a marker on the primary, and waits on each standby until it is replayed, at most for `wait`; a row for each
/// node, in their order. Leaves nothing behind but some bytes of WAL.
///
/// # Errors
/// [`TlsFileError`] if a certificate file cannot be used.
///
/// # Cancel safety
/// Its connections are closed.
pub async fn check_replication(
    settings: &Settings,
    topology: &topology::Settings,
    wait: Duration,
) -> Result<Vec<Replicated>, TlsFileError> {
    let dialer = Arc::new(Dialer::new(settings)?);
    let mut dialing = JoinSet::new();
    for (at, node) in topology.nodes.iter().cloned().enumerate() {
        let dialer = Arc::clone(&dialer);
        dialing.spawn(async move { (at, meet(&dialer, &target(&node)).await) });
    }
    let mut met = dialing.join_all().await;
    met.sort_by_key(|(at, _)| *at);
    let newest = met
        .iter()
        .filter_map(|(at, node)| Some((node.as_ref().ok()?.writes?, std::cmp::Reverse(*at))))
        .max()
        .map(|(_, std::cmp::Reverse(at))| at);

    let is_spare = |at: usize| topology.nodes.get(at).is_some_and(|node| node.service.is_spare());
    let mut outcomes: Vec<Option<Outcome>> = vec![None; met.len()];
    let mut standbys = Vec::new();
    let mut marker = None;
    for (at, node) in met {
        outcomes[at] = match node {
            Err(refusal) if is_spare(at) && refusal.sqlstate.is_none() => Some(Outcome::Resting),
            Err(refusal) => Some(Outcome::Unreachable(refusal)),
            Ok(mut node) if newest == Some(at) => Some(match mark(&mut node.connection).await {
                Ok(lsn) => {
                    marker = Some((lsn, Instant::now()));
                    Outcome::Wrote(lsn)
                }
                Err(refusal) => Outcome::WroteNot(refusal),
            }),
            Ok(node) if node.writes.is_some() => Some(Outcome::SecondPrimary),
            Ok(node) => {
                standbys.push((at, node.connection));
                None
            }
        };
    }
    if let Some((lsn, written_at)) = marker {
        let mut waiting = JoinSet::new();
        for (at, connection) in standbys {
            waiting.spawn(async move { (at, look_out(connection, lsn, written_at, wait).await) });
        }
        for (at, outcome) in waiting.join_all().await {
            outcomes[at] = Some(outcome);
        }
    }
    let names = topology.nodes.iter().map(|node| node.name.clone());
    let nodes: Vec<_> =
        names.zip(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Unasked))).collect();
    Ok(judge_replication(&nodes, wait))
}

/// A node that answers.
struct Met {
    connection: ServerConnection,
    /// The timeline that it writes; `None`: it is a standby.
    writes: Option<TimelineId>,
}

async fn meet(dialer: &Dialer, target: &conn::Target) -> Result<Met, Refusal> {
    let dialed = dialer.dial(target, Purpose::Probe, LIMIT).await;
    let mut connection = dialed.map_err(|failure| dial_refusal(&failure))?;
    let rows = ask(&mut connection, ROLE).await?;
    let writes = text(&rows, 0).and_then(timeline_of_wal_file);
    Ok(Met { connection, writes })
}

async fn mark(connection: &mut ServerConnection) -> Result<Lsn, Refusal> {
    let rows = ask(connection, MARK).await?;
    let lsn = text(&rows, 1).and_then(|text| text.parse().ok());
    lsn.ok_or_else(|| told(None, "it did not tell where the marker is".to_owned()))
}

/// Waits until the marker is replayed, or no longer than `wait`.
async fn look_out(
    mut connection: ServerConnection,
    marker: Lsn,
    written_at: Instant,
    wait: Duration,
) -> Outcome {
    let deadline = written_at + wait;
    loop {
        let rows = match ask(&mut connection, STANDING).await {
            Ok(rows) => rows,
            Err(refusal) => return Outcome::Unreachable(refusal),
        };
        let mut replay = standing(&rows);
        let now = Instant::now();
        if replay.replayed >= marker {
            replay.after = Some(now.duration_since(written_at));
        }
        if replay.after.is_some() || now >= deadline {
            connection.close().await;
            return Outcome::Standby(replay);
        }
        sleep(POLL.min(deadline - now)).await;
    }
}

fn standing(rows: &[Row]) -> Replay {
    let lsn = |at| text(rows, at).and_then(|text| text.parse().ok()).unwrap_or_default();
    Replay {
        after: None,
        received: lsn(0),
        replayed: lsn(1),
        receiver: text(rows, 2).map(str::to_owned),
        paused: text(rows, 3) == Some("t"),
        delay_ms: text(rows, 4).and_then(|text| text.parse().ok()).unwrap_or_default(),
        waits: text(rows, 5).map(str::to_owned),
        blocker: text(rows, 6).and_then(|text| text.parse().ok()),
    }
}

fn text(rows: &[Row], column: usize) -> Option<&str> {
    rows.first()?.get(column)?.as_deref()
}

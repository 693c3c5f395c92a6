//! What became of commits whose answers were lost: asked on whoever is the primary by now.

use std::{sync::Arc, time::Duration};

use conn::{QueryError, Row, ServerConnection, Target};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use topology::{Doubtful, History, InDoubt, NodeId, Resolution, Role, Xid, XidSample, XidStatus};
use wire::{TimelineId, message::backend::timeline_of_wal_file};

use crate::{
    dialer::{DialFailure, Purpose},
    history,
    probe::sample::read_checkpoint,
    shared::Shared,
};

/// A commit whose answer was lost, and where to say what became of it.
pub type Question = (Doubtful, oneshot::Sender<Resolution>);

/// One that the primary has to be asked about.
type Open = (InDoubt, oneshot::Sender<Resolution>);

/// Questions that may wait to be taken in; there are never more than server connections.
pub(crate) const QUESTIONS_LIMIT: usize = 4096;

/// How long a login, and how long the answer, may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Time between two attempts while something is open.
const AGAIN_AFTER: Duration = Duration::from_millis(25);

/// One statement, so one snapshot, for all ids of `$1`. An id that is not below the snapshot's end may not have been given
/// out, of which `pg_xact_status` is an error.
const SQL: &str = "\
    SELECT pg_is_in_recovery(), \
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END, \
    pg_snapshot_xmax(pg_current_snapshot()), \
    (SELECT concat_ws(' ', checkpoint_lsn, timeline_id, next_xid, \
    CASE WHEN redo_lsn = checkpoint_lsn AND current_setting('wal_level') <> 'minimal' THEN 'quiet' ELSE 'online' END) \
    FROM pg_control_checkpoint()), \
    xid, \
    CASE WHEN xid < pg_snapshot_xmax(pg_current_snapshot()) \
    THEN coalesce(pg_xact_status(xid), 'forgotten') ELSE 'ahead' END \
    FROM unnest($1::xid8[]) AS xid";

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Dial(#[from] DialFailure),
    #[error("the query failed")]
    Query(#[from] QueryError),
    #[error("no answer within {LIMIT:?}")]
    Timeout,
    #[error("the answer is not of the form that was asked for")]
    Answer,
}

/// Answers questions until nobody can ask any more.
pub(crate) async fn resolve_all(shared: Arc<Shared>, mut questions: mpsc::Receiver<Question>) {
    let mut changes = shared.changes.subscribe();
    let mut open: Vec<Open> = Vec::new();
    let mut told = false;
    loop {
        if open.is_empty() {
            told = false;
            match questions.recv().await {
                Some(question) => open.extend(take(&shared, question)),
                None => return,
            }
        }
        while let Ok(question) = questions.try_recv() {
            open.extend(take(&shared, question));
        }
        open.retain(|(_, answer)| !answer.is_closed());
        if let Err(error) = attempt(&shared, &mut open).await
            && !std::mem::replace(&mut told, true)
        {
            let error: &dyn std::error::Error = &error;
            tracing::info!(error, open = open.len(), "commits in doubt cannot be resolved yet");
        }
        if open.is_empty() {
            continue;
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = sleep(AGAIN_AFTER) => {}
        }
    }
}

/// Answers what can be answered without asking anybody.
fn take(shared: &Shared, (doubtful, answer): Question) -> Option<Open> {
    match doubtful {
        Doubtful::Reached(doubt) => Some((doubt, answer)),
        Doubtful::NotReached(node, Some(doubt)) if !shared.is_direct(node) => Some((doubt, answer)),
        Doubtful::NotReached(node, _) => {
            let is_direct = shared.is_direct(node);
            let resolution = if is_direct { Resolution::Aborted } else { Resolution::Unknown };
            tracing::info!(on = %node, ?resolution, "a commit that its server had not come to");
            // whoever asked may have gone
            let _ = answer.send(resolution);
            None
        }
    }
}

/// Asks the primary, if there is one, and answers what is decided.
async fn attempt(shared: &Shared, open: &mut Vec<Open>) -> Result<(), Unanswered> {
    let Some((node, target)) = primary(shared).filter(|_| !open.is_empty()) else { return Ok(()) };
    let dialer = shared.dialer.load_full();
    let mut connection = dialer.dial(&target, Purpose::Probe, LIMIT).await?;
    let ids: Vec<String> = open.iter().map(|(doubt, _)| doubt.xid.to_string()).collect();
    let rows = ask(&mut connection, &format!("{{{}}}", ids.join(","))).await?;
    let (seen, statuses) = read(&rows).ok_or(Unanswered::Answer)?;
    if seen.role != Role::Primary {
        return Ok(());
    }
    let is_later = |(doubt, _): &Open| doubt.timeline < seen.timeline;
    let history = if open.iter().any(is_later) {
        let read = history::read(&dialer, &target, seen.timeline).await;
        if let Err(error) = &read {
            let error: &dyn std::error::Error = error;
            tracing::warn!(node = %target, error, "the timeline's history could not be read");
        }
        read.ok()
    } else {
        None
    };
    judge(shared, open, node, &seen, history.as_ref(), &statuses);
    Ok(())
}

fn judge(
    shared: &Shared,
    open: &mut Vec<Open>,
    node: NodeId,
    seen: &XidSample,
    history: Option<&History>,
    statuses: &[(Xid, XidStatus)],
) {
    let mut book = shared.xids();
    book.observe(node, seen);
    let undecided = open.drain(..).filter_map(|(doubt, answer)| {
        let status = statuses.iter().find(|(xid, _)| *xid == doubt.xid).map(|(_, status)| *status);
        let Some(resolution) = status.and_then(|status| book.judge(&doubt, node, seen, history, status))
        else {
            return Some((doubt, answer));
        };
        tracing::info!(
            xid = %doubt.xid, timeline = %doubt.timeline, on = %node, now = %seen.timeline, ?status, ?resolution,
            "a commit in doubt"
        );
        // whoever asked may have gone
        let _ = answer.send(resolution);
        None
    });
    let undecided: Vec<_> = undecided.collect();
    *open = undecided;
}

fn primary(shared: &Shared) -> Option<(NodeId, Target)> {
    let snapshot = shared.snapshots.load();
    let view = snapshot.primary()?;
    Some((view.id, Target { host: view.host.to_string(), port: view.port }))
}

async fn ask(connection: &mut ServerConnection, ids: &str) -> Result<Vec<Row>, Unanswered> {
    match timeout(LIMIT, connection.query(SQL, &[Some(ids)])).await {
        Ok(rows) => Ok(rows?),
        Err(_) => Err(Unanswered::Timeout),
    }
}

/// What was seen of the node, and of each id.
fn read(rows: &[Row]) -> Option<(XidSample, Vec<(Xid, XidStatus)>)> {
    let mut seen = None;
    let mut statuses = Vec::with_capacity(rows.len());
    for row in rows {
        let [recovery, wal_file, next, checkpoint, xid, status] = row.as_slice() else { return None };
        let role = if recovery.as_deref()? == "t" { Role::Standby } else { Role::Primary };
        let timeline = match wal_file.as_deref() {
            Some(name) => timeline_of_wal_file(name)?,
            None => TimelineId(0),
        };
        seen = Some(XidSample {
            role,
            timeline,
            next: Xid(next.as_deref()?.parse().ok()?),
            replay_lsn: wire::Lsn(0),
            checkpoint: checkpoint.as_deref().and_then(read_checkpoint),
        });
        let status = match status.as_deref()? {
            "committed" => XidStatus::Committed,
            "aborted" => XidStatus::Aborted,
            "in progress" => XidStatus::InProgress,
            "ahead" => XidStatus::Ahead,
            _ => XidStatus::Forgotten,
        };
        statuses.push((Xid(xid.as_deref()?.parse().ok()?), status));
    }
    Some((seen?, statuses))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Row {
        text.split('|').map(|value| (value != "-").then(|| value.to_owned())).collect()
    }

    #[test]
    fn an_answer_tells_of_the_node_and_of_each_id() {
        let node = "f|000000020000000000000003|900|0/3000028 2 1:77 quiet";
        let rows = [row(&format!("{node}|800|committed")), row(&format!("{node}|901|ahead"))];
        let (seen, statuses) = read(&rows).unwrap();
        assert_eq!((seen.role, seen.timeline, seen.next), (Role::Primary, TimelineId(2), Xid(900)));
        assert_eq!(seen.checkpoint.unwrap().next, Xid((1 << 32) + 77));
        assert_eq!(statuses, [(Xid(800), XidStatus::Committed), (Xid(901), XidStatus::Ahead)]);
        assert!(read(&[row("f|x|900|-|800|committed")]).is_none());
        assert!(read(&[]).is_none());
    }
}

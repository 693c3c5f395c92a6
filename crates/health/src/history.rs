//! Where a timeline comes from.

use std::time::Duration;

use conn::{QueryError, ServerConnection, Target};
use tokio::time::timeout;
use topology::{History, ParseHistoryError};
use wire::TimelineId;

use crate::dialer::{DialFailure, Dialer, Purpose};

/// How long one way of reading it may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Why a history could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    #[error(transparent)]
    Dial(#[from] DialFailure),
    #[error("the node did not tell the history")]
    Query(#[from] QueryError),
    #[error("the node did not tell the history in time")]
    Timeout,
    #[error("the node's answer is no history")]
    Answer,
    #[error(transparent)]
    Parse(#[from] ParseHistoryError),
}

/// Reads the history of `timeline` from the node at `target`: by the replication protocol, for which the monitor needs
/// REPLICATION and a line in `pg_hba.conf`, or else from the file, for which it needs `pg_read_server_files`.
pub(crate) async fn read(
    dialer: &Dialer,
    target: &Target,
    timeline: TimelineId,
) -> Result<History, HistoryError> {
    // Timeline 1 is the first: it has no parents and no file.
    if timeline <= TimelineId(1) {
        return Ok(History::default());
    }
    let by_protocol = by_protocol(dialer, target, timeline).await;
    match by_protocol {
        Ok(history) => Ok(history),
        Err(first) => by_file(dialer, target, timeline).await.map_err(|_| first),
    }
}

async fn by_protocol(
    dialer: &Dialer,
    target: &Target,
    timeline: TimelineId,
) -> Result<History, HistoryError> {
    let connection = dialer.dial(target, Purpose::Replication, LIMIT).await?;
    // Columns: the file's name and its content.
    ask(connection, &format!("TIMELINE_HISTORY {timeline}"), 1).await
}

async fn by_file(dialer: &Dialer, target: &Target, timeline: TimelineId) -> Result<History, HistoryError> {
    let connection = dialer.dial(target, Purpose::Probe, LIMIT).await?;
    ask(connection, &format!("SELECT pg_read_file('pg_wal/{:08X}.history')", timeline.0), 0).await
}

async fn ask(mut connection: ServerConnection, sql: &str, column: usize) -> Result<History, HistoryError> {
    let rows = timeout(LIMIT, connection.simple_query(sql)).await.map_err(|_| HistoryError::Timeout)??;
    let [row] = rows.as_slice() else { return Err(HistoryError::Answer) };
    let content = row.get(column).and_then(Option::as_deref).ok_or(HistoryError::Answer)?;
    Ok(content.parse()?)
}

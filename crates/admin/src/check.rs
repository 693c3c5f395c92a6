//! CHECK CLUSTER and CHECK REPLICATION.

use std::time::Duration;

use wire::{SqlState, message::error::ErrorMessage};

use crate::{
    CannotCheck,
    console::{Answer, Console},
    table::{Column, Table, columns},
};

/// How long CHECK REPLICATION waits for standbys if it is not told.
pub(crate) const WAIT: Duration = Duration::from_secs(5);

/// How long it may be told to wait, in seconds.
pub(crate) const WAIT_MAX: u64 = 60;

pub(crate) const CLUSTER: &[Column] =
    columns![node Text, cluster Text, check Text, value Text, verdict Text, why Text, fix Text];

pub(crate) const REPLICATION: &[Column] = columns![
    node Text, cluster Text, state Text, replayed_ms Int8, lag_bytes Int8, verdict Text, why Text, fix Text
];

impl Console {
    /// What is found, the worst first; clusters in their order.
    pub(crate) async fn check_cluster(&self) -> Result<Answer, ErrorMessage> {
        let clusters = self.control.examine().await.map_err(refused)?;
        let mut table = Table::new(CLUSTER);
        for (cluster, findings) in clusters {
            for finding in findings {
                table.push([
                    finding.node.into(),
                    (&cluster).into(),
                    finding.check.into(),
                    finding.value.into(),
                    finding.verdict.as_str().into(),
                    finding.why.into(),
                    finding.fix.into(),
                ]);
            }
        }
        Ok(Answer::table(table))
    }

    /// What became of a marker, a row for each node.
    pub(crate) async fn check_replication(&self, wait: Duration) -> Result<Answer, ErrorMessage> {
        let clusters = self.control.check_replication(wait).await.map_err(refused)?;
        let mut table = Table::new(REPLICATION);
        for (cluster, rows) in clusters {
            for row in rows {
                let after = row.after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                table.push([
                    row.node.into(),
                    (&cluster).into(),
                    row.state.into(),
                    after.into(),
                    row.lag_bytes.into(),
                    row.verdict.as_str().into(),
                    row.why.into(),
                    row.fix.into(),
                ]);
            }
        }
        Ok(Answer::table(table))
    }
}

fn refused(error: CannotCheck) -> ErrorMessage {
    ErrorMessage::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, error.to_string()).with_hint(
        "The nodes are dialed with the certificates of cluster.tls: see whether its files are there.",
    )
}

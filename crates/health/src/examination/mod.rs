//! CHECK CLUSTER and CHECK REPLICATION: every node is asked what `doctor` wants to know. Nothing here needs a watch that
//! runs; connections are made for the occasion.

mod cluster;
mod replication;

use std::time::Duration;

use conn::{DialError, QueryError, Row, ServerConnection, Target};
use doctor::Refusal;
use tokio::time::timeout;
use topology::NodeSettings;

pub use cluster::examine;
pub use replication::check_replication;

use crate::dialer::DialFailure;

/// How long a login, and how long an answer, may take. A node that takes longer is told as one that does not answer.
const LIMIT: Duration = Duration::from_secs(5);

fn target(node: &NodeSettings) -> Target {
    Target { host: node.host.clone(), port: node.port }
}

/// Runs one or several statements.
async fn ask(connection: &mut ServerConnection, sql: &str) -> Result<Vec<Row>, Refusal> {
    match timeout(LIMIT, connection.simple_query(sql)).await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => Err(query_refusal(&error)),
        Err(_) => Err(told(None, format!("no answer within {LIMIT:?}"))),
    }
}

fn query_refusal(error: &QueryError) -> Refusal {
    match error {
        QueryError::Server(error) => told(Some(error.code.to_string()), error.message.to_string()),
        error => told(None, with_sources(error)),
    }
}

fn dial_refusal(failure: &DialFailure) -> Refusal {
    match failure {
        DialFailure::Dial(DialError::Server(error)) => {
            told(Some(error.code.to_string()), error.message.to_string())
        }
        DialFailure::Dial(error) => told(None, with_sources(error)),
        DialFailure::Timeout(_) => told(None, failure.to_string()),
    }
}

fn told(sqlstate: Option<String>, message: String) -> Refusal {
    Refusal { sqlstate, message }
}

/// An error with what caused it.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

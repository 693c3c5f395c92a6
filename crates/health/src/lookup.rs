//! Small read-only queries of the proxy itself: secrets of roles, catalogs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use conn::{DialError, QueryError, Row, ServerConnection, Target};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use topology::{Health, NodeId, NodeView, Role, Snapshot};
use wire::SqlState;

use crate::dialer::{DialFailure, Dialer, Purpose};

/// Databases that a connection is kept to.
const KEPT_LIMIT: usize = 32;

/// How long a dial, and how long a query, may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Why a look-up has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No node can be asked now.
    #[error("no node can be asked now")]
    NoNode,
    /// No login within this time.
    #[error("no login within {0:?}")]
    LoginTimeout(Duration),
    /// No answer within this time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The node could not be dialed.
    #[error("the node could not be dialed")]
    Dial(#[source] DialError),
    /// The query failed.
    #[error("the query failed")]
    Query(#[from] QueryError),
}

impl LookupError {
    /// The server's SQLSTATE, if it answered with one: 3D000 for an unknown database.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        match self {
            Self::Dial(error) => error.sqlstate(),
            Self::Query(error) => error.sqlstate(),
            Self::NoNode | Self::LoginTimeout(_) | Self::Timeout(_) => None,
        }
    }
}

impl From<DialFailure> for LookupError {
    fn from(failure: DialFailure) -> Self {
        match failure {
            DialFailure::Timeout(limit) => Self::LoginTimeout(limit),
            DialFailure::Dial(error) => Self::Dial(error),
        }
    }
}

/// A connection to one database, used by one query at a time.
type Slot = Arc<Mutex<Option<(NodeId, ServerConnection)>>>;

/// The kept connections by database, and when each was last used.
type Slots = HashMap<Box<str>, (Instant, Slot)>;

/// Runs look-ups on the primary, or on a standby while there is none.
#[derive(Debug)]
pub(crate) struct Lookups {
    snapshots: Arc<ArcSwap<Snapshot>>,
    dialer: ArcSwap<Dialer>,
    slots: StdMutex<Slots>,
}

impl Lookups {
    pub(crate) fn new(snapshots: Arc<ArcSwap<Snapshot>>, dialer: Arc<Dialer>) -> Self {
        Self { snapshots, dialer: ArcSwap::new(dialer), slots: StdMutex::default() }
    }

    /// From now on connections are dialed like this.
    pub(crate) fn redial(&self, dialer: Arc<Dialer>) {
        self.dialer.store(dialer);
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) async fn query(
        &self,
        database: &str,
        sql: &str,
        parameters: &[Option<&str>],
    ) -> Result<Vec<Row>, LookupError> {
        let (node, target) = self.node().ok_or(LookupError::NoNode)?;
        let slot = self.slot(database);
        let mut kept = slot.lock().await;
        if let Some((of, mut connection)) = kept.take().filter(|(of, _)| *of == node) {
            match run(&mut connection, sql, parameters).await {
                // The server may have closed it while it was idle: a fresh one will tell.
                Err(LookupError::Query(QueryError::Io(_))) => {}
                Err(LookupError::Query(QueryError::Server(error))) if error.is_fatal() => {}
                answer => {
                    put_back(&mut kept, of, connection, &answer);
                    return answer;
                }
            }
        }
        let dialer = self.dialer.load_full();
        let mut connection = dialer.dial(&target, Purpose::Lookup { database }, LIMIT).await?;
        let answer = run(&mut connection, sql, parameters).await;
        put_back(&mut kept, node, connection, &answer);
        answer
    }

    fn node(&self) -> Option<(NodeId, Target)> {
        let snapshot = self.snapshots.load();
        let replica = |node: &&NodeView| node.role == Role::Standby && node.health == Health::Up;
        let view = snapshot.primary().or_else(|| snapshot.nodes.iter().find(replica))?;
        Some((view.id, Target { host: view.host.to_string(), port: view.port }))
    }

    fn slot(&self, database: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((used, slot)) = slots.get_mut(database) {
            *used = now;
            return Arc::clone(slot);
        }
        if slots.len() >= KEPT_LIMIT {
            let oldest = slots.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| slots.remove(&oldest));
        }
        Arc::clone(&slots.entry(database.into()).or_insert_with(|| (now, Slot::default())).1)
    }
}

async fn run(
    connection: &mut ServerConnection,
    sql: &str,
    parameters: &[Option<&str>],
) -> Result<Vec<Row>, LookupError> {
    match timeout(LIMIT, connection.query(sql, parameters)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LookupError::Timeout(LIMIT)),
    }
}

/// Keeps a connection that is still in order.
fn put_back(
    kept: &mut Option<(NodeId, ServerConnection)>,
    node: NodeId,
    connection: ServerConnection,
    answer: &Result<Vec<Row>, LookupError>,
) {
    let in_order = match answer {
        Ok(_) => true,
        Err(LookupError::Query(QueryError::Server(error))) => !error.is_fatal(),
        Err(_) => false,
    };
    if in_order {
        *kept = Some((node, connection));
    }
}

use std::{net::SocketAddr, sync::Arc};

use auth::{Authenticated, Secret};
use conn::Stream;
use routing::Policy;

use crate::{CancelKey, ClientId};

/// A setting's name and value.
pub type Setting = (Box<[u8]>, Box<[u8]>);

/// What a client came for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// SQL over pooled server connections.
    #[default]
    Session,
    /// A walsender for the cluster as a whole (`replication=true`).
    PhysicalReplication,
    /// A walsender in a database, which takes SQL as well (`replication=database`).
    LogicalReplication,
}

impl Purpose {
    /// The word in the console, as in PgBouncer's column `replication`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "none",
            Self::PhysicalReplication => "physical",
            Self::LogicalReplication => "logical",
        }
    }
}

/// A client that has logged in, on its way to its worker.
#[derive(Debug)]
pub struct NewClient {
    /// Its id.
    pub id: ClientId,
    /// Its connection.
    pub stream: Stream,
    /// Where it comes from; `None`: over a Unix-domain socket.
    pub address: Option<SocketAddr>,
    /// Proof that it is who it says.
    pub user: Authenticated,
    /// The database that it asked for.
    pub database: Box<str>,
    /// Settings from its startup packet, in order.
    pub settings: Vec<Setting>,
    /// What to log in to servers with.
    pub secret: Option<Arc<Secret>>,
    /// What its listener is for.
    pub policy: Policy,
    /// What it came for.
    pub purpose: Purpose,
    /// Its cancel key.
    pub key: CancelKey,
}

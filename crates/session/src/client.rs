use std::{net::SocketAddr, rc::Rc, sync::Arc};

use auth::{Authenticated, Secret};
use conn::Stream;
use routing::Policy;
use tokio::time::Instant;

use crate::{CancelKey, ClientId, handle::Handle, pool_set::PoolSet, stats::count, worker::Worker};

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

/// A client that its worker knows of, until whoever serves it takes it off the worker's list.
pub(crate) struct Admitted {
    pub(crate) handle: Rc<Handle>,
    pub(crate) pools: Rc<PoolSet>,
    pub(crate) stream: Stream,
    pub(crate) settings: Vec<Setting>,
    /// The database's policy, if it has one, else the listener's.
    pub(crate) policy: Policy,
}

impl NewClient {
    /// Makes it known to its worker, which is to serve it. `None`: there is nothing to serve it with any more.
    pub(crate) fn admit(self, worker: &Rc<Worker>, now: Instant) -> Option<Admitted> {
        let Self { id, mut stream, address, user, database, settings, secret, policy, purpose, key } = self;
        let handle = Handle::new(id, key, address, stream.is_tls(), purpose, now);
        let pools = worker.pool_set(&database, user.user());
        let rebound = stream.rebind();
        let (Some(pools), Ok(())) = (pools, rebound) else {
            worker.unregister(&handle);
            return None;
        };
        count(&pools.stats.logins, 1);
        if let Some(secret) = secret {
            worker.adopt_secret(&pools, secret);
        }
        worker.register(&handle, &pools);
        let policy = pools.settings.borrow().policy.unwrap_or(policy);
        Some(Admitted { handle, pools, stream, settings, policy })
    }
}

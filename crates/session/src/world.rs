use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use conn::{ServerTlsConfig, Target};
use tokio::sync::{mpsc, watch};
use topology::{NodeId, Report, Snapshot};

use crate::{DatabaseSettings, Disabled, FunctionsNow, Settings};

/// Where what is known about a database's functions comes from.
pub trait FunctionSource: fmt::Debug + Send + Sync {
    /// What is known of the functions of `database`, as the servers call it, by now. Never waits.
    fn functions(&self, database: &str) -> FunctionsNow;

    /// Some of them were made, changed or dropped: what is known is to be made up to date soon. Never waits.
    fn refresh(&self, _database: &str) {}
}

/// A cluster as sessions see it.
#[derive(Debug, Clone)]
pub struct ClusterHandle {
    /// Its name.
    pub name: Arc<str>,
    /// Its state, replaced as a whole.
    pub snapshots: Arc<ArcSwap<Snapshot>>,
    /// Changes whenever a snapshot with news was published.
    pub changes: watch::Receiver<u64>,
    /// Takes what traffic shows about nodes; a full channel loses nothing that probes would not find.
    pub reports: mpsc::Sender<(NodeId, Report)>,
    /// How to dial its servers.
    pub tls: Arc<ServerTlsConfig>,
    /// What is known about functions.
    pub functions: Arc<dyn FunctionSource>,
}

impl ClusterHandle {
    /// Where a node listens.
    pub(crate) fn target(snapshot: &Snapshot, node: NodeId) -> Option<Target> {
        let view = snapshot.node(node)?;
        Some(Target { host: view.host.to_string(), port: view.port })
    }
}

/// Everything that is configured, as workers see it: one immutable value, replaced as a whole by a reload.
#[derive(Debug, Clone)]
pub struct World {
    /// Bounds on clients.
    pub session: Settings,
    /// How reads find their replica.
    pub routing: routing::Settings,
    /// Databases by name; the first that fits wins.
    pub databases: Vec<DatabaseSettings>,
    /// The clusters that databases live in.
    pub clusters: Vec<ClusterHandle>,
    /// Databases that take no new clients; the same over all reloads.
    pub disabled: Arc<Disabled>,
}

impl World {
    /// The entry for a database of this name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&DatabaseSettings> {
        self.databases.iter().find(|database| database.name == name || database.name == "*")
    }
}

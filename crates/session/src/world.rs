use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use conn::{ServerTlsConfig, Target};
use pool::{Bounds, Caps, Quota};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};
use topology::{Doubtful, NodeId, Report, Resolution, Snapshot, Toll};

use crate::{DatabaseSettings, Disabled, FunctionsNow, Settings, UserSettings, pool_set::PoolSet};

/// Where what is known about a database's functions comes from.
pub trait FunctionSource: fmt::Debug + Send + Sync {
    /// What is known of the functions of `database`, as the servers call it, by now. Never waits.
    fn functions(&self, database: &str) -> FunctionsNow;

    /// Whether what [`FunctionSource::functions`] tells is what there is, or all that will be known. False until they were
    /// read for the first time, which this call sets off. Never waits.
    fn are_known(&self, _database: &str) -> bool {
        true
    }

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
    /// Takes commits whose answers were lost, each with where to say what became of it.
    pub questions: mpsc::Sender<(Doubtful, oneshot::Sender<Resolution>)>,
    /// Takes what the loss of a primary costs clients.
    pub tolls: mpsc::Sender<Toll>,
    /// How to dial its servers.
    pub tls: Arc<ServerTlsConfig>,
    /// What is known about functions.
    pub functions: Arc<dyn FunctionSource>,
    /// Most server connections to each node; `None`, the default: as many as pools allow.
    pub max_server_connections: Option<u32>,
    /// Most server connections to each node that are being made at a time (default 16).
    pub max_logins: u32,
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
    /// Roles by name; the first that fits wins.
    pub users: Vec<UserSettings>,
    /// Most server connections in total; `None`, the default: as many as pools allow.
    pub max_server_connections: Option<u32>,
    /// Databases that take no new clients; the same over all reloads.
    pub disabled: Arc<Disabled>,
    /// What all pools share in; the same over all reloads.
    pub quota: Arc<Quota>,
}

impl World {
    /// The entry for a database of this name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&DatabaseSettings> {
        self.databases.iter().find(|database| database.name == name || database.name == "*")
    }

    /// The entry for a role of this name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&UserSettings> {
        self.users.iter().find(|user| user.name == name || user.name == "*")
    }

    /// Waits until it is known what the functions of a database leave behind in a session, which takes a moment when its
    /// first client has come: one that calls such a function before would not be pinned, and the next client would find
    /// what is left.
    pub(crate) async fn until_functions_are_known(&self, database: &str) {
        /// A server that does not answer for so long does not keep clients out.
        const PATIENCE: Duration = Duration::from_secs(2);
        const POLL: Duration = Duration::from_millis(10);
        let Some(settings) = self.database(database) else { return };
        let Some(cluster) = self.clusters.get(settings.cluster) else { return };
        let name = settings.server_name.as_deref().unwrap_or(database);
        let known = async {
            while !cluster.functions.are_known(name) {
                sleep(POLL).await;
            }
        };
        let _ = timeout(PATIENCE, known).await;
    }

    /// The bounds that the pool of this database and user on a node is under.
    pub(crate) fn bounds(&self, settings: &DatabaseSettings, pools: &PoolSet, node: NodeId) -> Bounds {
        let cluster = self.clusters.get(settings.cluster);
        let caps = Caps {
            total: self.max_server_connections,
            node: cluster.and_then(|cluster| cluster.max_server_connections),
            database: settings.max_server_connections,
            user: self.user(&pools.user).and_then(|user| user.max_server_connections),
            database_user: settings.user(&pools.user).and_then(|user| user.max_server_connections),
            logins: cluster.map(|cluster| cluster.max_logins),
        };
        Bounds::new(settings.cluster, node, &pools.database, &pools.user, &caps)
    }
}

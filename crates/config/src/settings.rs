use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::{
    change::Row,
    load::Loaded,
    mistake::{Mistake, Mistakes},
};

/// A whole configuration. That it exists means that every value in it is valid.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The proxy itself.
    pub proxy: ProxySettings,
    /// What is logged.
    pub log: LogSettings,
    /// Where clients connect to; at least one.
    pub listeners: Vec<ListenSettings>,
    /// Where HTTP says whether the proxy is well; `None`: nowhere.
    pub health_listener: Option<conn::ListenAddress>,
    /// TLS towards clients.
    pub client_tls: conn::ClientTls,
    /// Who may log in.
    pub auth: AuthSettings,
    /// Who may use the console.
    pub admin: AdminSettings,
    /// Bounds on clients, and how long they are held.
    pub session: session::Settings,
    /// How reads find their replica.
    pub routing: routing::Settings,
    /// What the user knows better than the function catalog.
    pub function_lists: FunctionLists,
    /// The clusters; at least one.
    pub clusters: Vec<ClusterSettings>,
    /// The databases as clients name them; at least one.
    pub databases: Vec<session::DatabaseSettings>,
    /// What is set for single roles; `*` comes last.
    pub users: Vec<session::UserSettings>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Mistake>,
    pub(crate) rows: Vec<Row>,
    /// What they were made from, to make them again with one key changed.
    pub(crate) loaded: Arc<Loaded>,
    /// Every secret by its key, to tell that one changed.
    pub(crate) secrets: BTreeMap<String, Arc<auth::Secret>>,
}

impl Settings {
    /// The same with another value for `key`, which is dotted and has list positions from 0. Neither file nor
    /// environment is read again, except for the files that the configuration names.
    ///
    /// # Errors
    /// All [`Mistakes`] together.
    pub fn with(&self, key: &str, value: &str) -> Result<Self, Mistakes> {
        self.loaded.with(key, value)
    }

    /// Takes over what the secrets of `previous` have learned since they were loaded, so that a reload does not make
    /// clients log in again before servers can be dialed.
    pub fn adopt_secrets(&self, previous: &Self) {
        for (user, secret) in &self.auth.users {
            if let Some(previous) = previous.auth.users.get(user) {
                secret.adopt(previous);
            }
        }
    }
}

impl Settings {
    /// Puts the clusters into the order that they have in `previous`, by which everything that runs counts them.
    ///
    /// # Errors
    /// [`OtherClusters`] if they are not the same ones by name; then nothing has changed.
    pub fn order_clusters_as(&mut self, previous: &Self) -> Result<(), OtherClusters> {
        let name = |cluster: &ClusterSettings| cluster.topology.cluster.clone();
        let before: Vec<String> = previous.clusters.iter().map(name).collect();
        let now: Vec<String> = self.clusters.iter().map(name).collect();
        let places: Option<Vec<usize>> =
            now.iter().map(|name| before.iter().position(|earlier| earlier == name)).collect();
        let places = places.filter(|_| before.len() == now.len()).ok_or(OtherClusters)?;
        self.clusters.sort_by_key(|cluster| before.iter().position(|name| *name == cluster.topology.cluster));
        for database in &mut self.databases {
            database.cluster = places.get(database.cluster).copied().unwrap_or(database.cluster);
        }
        let moved = |key: &str| {
            let (place, rest) = key.strip_prefix("cluster.")?.split_once('.')?;
            Some(format!("cluster.{}.{rest}", places.get(place.parse::<usize>().ok()?)?))
        };
        for row in &mut self.rows {
            row.key = moved(&row.key).unwrap_or_else(|| std::mem::take(&mut row.key));
        }
        let secrets = std::mem::take(&mut self.secrets).into_iter();
        self.secrets = secrets.map(|(key, secret)| (moved(&key).unwrap_or(key), secret)).collect();
        Ok(())
    }
}

/// Clusters were added, removed or renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("adding, removing or renaming a [[cluster]] needs a restart")]
pub struct OtherClusters;

/// The proxy itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySettings {
    /// A name for people.
    pub name: String,
    /// The region it stands in.
    pub region: String,
    /// The zone inside the region.
    pub zone: Option<String>,
    /// How many threads serve clients.
    pub workers: Workers,
    /// Where state is kept over restarts; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Where a new process can take the listening sockets over; `None`: nowhere.
    pub takeover_socket: Option<PathBuf>,
    /// Most server connections in total; `None`: as many as the pools allow.
    pub max_server_connections: Option<u32>,
}

/// How many threads serve clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Workers {
    /// A quarter of the cores, from 1 to 4.
    #[default]
    Auto,
    /// This many, from 1 to 64.
    Count(u32),
}

impl Workers {
    /// The number for a machine of this many cores.
    #[must_use]
    pub fn count(self, cores: usize) -> usize {
        match self {
            Self::Auto => (cores / 4).clamp(1, 4),
            Self::Count(count) => count as usize,
        }
    }
}

/// What is logged, to standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// How an event is written.
    pub format: LogFormat,
    /// Which events: directives that `tracing_subscriber::EnvFilter` takes.
    pub level: String,
}

/// How an event is written; one line in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object, for machines.
    Json,
}

/// An address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSettings {
    /// Where it is.
    pub address: conn::ListenAddress,
    /// What its clients may do.
    pub policy: routing::Policy,
    /// The permissions of its Unix-domain socket.
    pub socket_mode: u32,
    /// Load balancers in front of it.
    pub proxy_protocol: conn::ProxyPeers,
}

/// Who may log in.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// The secrets by role, from file and entries.
    pub users: HashMap<String, Arc<auth::Secret>>,
    /// How to find users who are not among them.
    pub query: Option<AuthQuery>,
}

/// A query that finds a user's secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthQuery {
    /// The SQL; `$1` stands for the role's name. Returns name and secret.
    pub sql: String,
    /// The database to run it in, as the monitor's role.
    pub database: String,
    /// How long an answer is remembered.
    pub cache: Duration,
    /// Whether logins go on with the known users when the monitor's role may not run it.
    pub optional: bool,
}

/// Who may use the console.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminSettings {
    /// Users who may do everything.
    pub users: Vec<String>,
    /// Users who may only look.
    pub stats_users: Vec<String>,
}

/// What the user knows better than the function catalog. Names as PostgreSQL stores them, with or without schema.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FunctionLists {
    /// Functions that belong on the primary.
    pub primary: Vec<String>,
    /// Functions that are safe on a replica.
    pub replica: Vec<String>,
}

/// Who decides about the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manage {
    /// Others.
    Off,
    /// This process.
    Single,
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Its nodes.
    pub topology: topology::Settings,
    /// How its failovers are decided, and where that is recorded, if this process does it.
    pub failover: Option<(failover::Settings, PathBuf)>,
    /// How they are watched, and how all server connections to them are dialed (`health.tls`).
    pub health: health::Settings,
    /// What its nodes can be acted on with: agents and commands.
    pub hands: agent::HandsSettings,
    /// Most server connections to each node; `None`: as many as the pools allow.
    pub max_server_connections: Option<u32>,
    /// Most server connections to each node that are being made at a time.
    pub max_logins: u32,
}

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use doctor::{Finding, Replicated};

use ::health::{AttachError, Detached, FailoverRecord, ManageError};
use ::health::{ManagementState, PatroniReport};
use routing::Policy;
use session::World;
use topology::{Event, NodeId};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the console needs of the rest of the proxy, beside its workers.
pub trait Control: Send + Sync {
    /// The configuration in force.
    fn world(&self) -> Arc<World>;

    /// Every setting, for `SHOW CONFIG`. Secrets are masked by whoever implements this.
    fn settings(&self) -> Vec<Setting>;

    /// The roles that are configured to log in, for `SHOW USERS`.
    fn users(&self) -> Vec<Box<str>>;

    /// Where clients connect to, for `SHOW ENDPOINTS`.
    fn endpoints(&self) -> Vec<Endpoint>;

    /// What happened to a cluster (an index into [`World::clusters`]), oldest first.
    fn events(&self, cluster: usize) -> Vec<LoggedEvent>;

    /// The last failovers of a cluster, oldest first.
    fn failovers(&self, cluster: usize) -> Vec<FailoverRecord>;

    /// Whether the failover manager of a cluster acts, and what hinders it; `None` if nobody manages it from here.
    fn management(&self, cluster: usize) -> Option<Arc<ManagementState>>;

    /// Has the failover manager of a cluster do something, and waits until it has ended.
    ///
    /// # Errors
    /// [`ManageError`]: why it was not done.
    fn manage(&self, cluster: usize, command: failover::Command) -> BoxFuture<'_, Result<(), ManageError>>;

    /// Has nothing read from a node of a cluster any more, and waits until what was under way there has ended.
    ///
    /// # Errors
    /// [`AttachError`]: nothing has changed.
    fn detach(&self, cluster: usize, node: NodeId) -> BoxFuture<'_, Result<Detached, AttachError>>;

    /// Takes that back; whether it held.
    ///
    /// # Errors
    /// [`AttachError`]: nothing has changed.
    fn attach(&self, cluster: usize, node: NodeId) -> BoxFuture<'_, Result<bool, AttachError>>;

    /// Writes a node into the configuration and applies that; what changed, a line each.
    ///
    /// # Errors
    /// [`ReloadRefused`]: nothing was changed.
    fn add_node<'a>(
        &'a self,
        cluster: usize,
        node: &'a NewNode,
    ) -> BoxFuture<'a, Result<Vec<String>, ReloadRefused>>;

    /// Detaches a node, takes it out of the configuration and applies that; what changed, a line each.
    ///
    /// # Errors
    /// [`DropError`]: nothing was changed.
    fn drop_node(&self, cluster: usize, node: NodeId) -> BoxFuture<'_, Result<Vec<String>, DropError>>;

    /// What Patroni says of a cluster; `None` if it does not manage it, or has not been asked yet.
    fn patroni(&self, cluster: usize) -> Option<Arc<PatroniReport>>;

    /// Asks all agents of nodes how they are, for `SHOW AGENTS`; in configured order.
    fn agents(&self) -> BoxFuture<'_, Vec<AgentState>>;

    /// Reads the configuration anew and applies it as a whole; what changed, a line each.
    ///
    /// # Errors
    /// [`ReloadRefused`]: nothing was changed.
    fn reload(&self) -> BoxFuture<'_, Result<Vec<String>, ReloadRefused>>;

    /// Gives one key of [`Control::settings`] another value until it is changed again or reloaded; what changed, a
    /// line each.
    ///
    /// # Errors
    /// [`ReloadRefused`]: nothing was changed.
    fn set<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<Vec<String>, ReloadRefused>>;

    /// Asks all nodes of all clusters what would break a failover; clusters in the order of [`World::clusters`]. Changes
    /// nothing.
    ///
    /// # Errors
    /// [`CannotCheck`] if nobody can be asked.
    fn examine(&self) -> BoxFuture<'_, Result<Vec<Checked<Finding>>, CannotCheck>>;

    /// Writes a marker on each cluster's primary and waits on its standbys, at most for `wait`, until it is replayed.
    ///
    /// # Errors
    /// [`CannotCheck`] if nobody can be asked.
    fn check_replication(
        &self,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Vec<Checked<Replicated>>, CannotCheck>>;

    /// Begins to shut down, and returns at once.
    fn shutdown(&self, mode: ShutdownMode);
}

/// A cluster's name, and what a check says of it.
pub type Checked<T> = (Arc<str>, Vec<T>);

/// Why a check was not made.
#[derive(Debug, thiserror::Error)]
#[error("nobody can be asked: {0}")]
pub struct CannotCheck(pub Box<dyn std::error::Error + Send + Sync>);

/// A node that an operator adds. What is not said is as the configuration has it by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewNode {
    /// Its name.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The region it stands in.
    pub region: Option<String>,
    /// The zone inside the region.
    pub zone: Option<String>,
    /// How gladly it is made the primary.
    pub priority: Option<u32>,
    /// Where its agent is called.
    pub agent: Option<String>,
    /// Its data folder, for commands.
    pub data_directory: Option<String>,
}

/// Why a node is not dropped.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// It cannot be set aside.
    #[error(transparent)]
    Attached(#[from] AttachError),
    /// The configuration cannot be changed.
    #[error(transparent)]
    Refused(#[from] ReloadRefused),
}

/// A row of `SHOW AGENTS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentState {
    /// The node's cluster.
    pub cluster: String,
    /// The node.
    pub node: String,
    /// Where its agent is called.
    pub agent: String,
    /// Why nothing is known; all below is empty then.
    pub error: Option<String>,
    /// What PostgreSQL does there, in a word.
    pub server: Option<String>,
    /// `standby` or `primary`, by its files.
    pub role: Option<String>,
    /// Whether it may not be started.
    pub fenced: Option<bool>,
    /// What the agent is doing.
    pub activity: Option<String>,
    /// What it did last, and how that ended.
    pub last: Option<String>,
    /// The timeline of its last checkpoint.
    pub timeline: Option<u32>,
    /// PostgreSQL's version.
    pub version: Option<String>,
}

/// An address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As it is configured.
    pub address: String,
    /// What its clients may do.
    pub policy: Policy,
}

/// A row of `SHOW CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, as in `section.key`.
    pub key: String,
    /// Its value now.
    pub value: String,
    /// Its value when nothing is configured.
    pub default: String,
    /// A reload can change it; otherwise only a restart.
    pub changeable: bool,
}

/// Something that happened to a cluster, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// When.
    pub at: SystemTime,
    /// What.
    pub event: Event,
}

/// Why a new configuration was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration was refused")]
pub struct ReloadRefused {
    /// All that is wrong with it, a line each.
    pub mistakes: Vec<String>,
}

/// How the proxy stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShutdownMode {
    /// Now.
    Immediate,
    /// Takes no new clients; idle clients leave, the others at the end of their transactions.
    WaitForServers,
    /// Takes no new clients and waits until the last one has left.
    WaitForClients,
}

impl fmt::Display for ShutdownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Immediate => "at once",
            Self::WaitForServers => "when transactions have ended",
            Self::WaitForClients => "when clients have left",
        })
    }
}

use std::{sync::Arc, time::Duration};

/// How the cluster is watched.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The role that probes log in as; pg_monitor and REPLICATION let it see everything.
    pub user: String,
    /// Its secret; `None`: the server asks for none.
    pub secret: Option<Arc<auth::Secret>>,
    /// The database that probes connect to (default `postgres`).
    pub database: String,
    /// Time between probes of a node (default 500 ms, ±10 %).
    pub interval: Duration,
    /// How long one probe may take (default 500 ms).
    pub timeout: Duration,
    /// How to dial.
    pub tls: conn::ServerTls,
    /// Where the highest timeline seen is remembered over restarts; `None`: it is not.
    pub state_file: Option<std::path::PathBuf>,
    /// Whether this process decides who is the primary; `None`: others do, and it follows them.
    pub management: Option<crate::Management>,
    /// Patroni, which manages the cluster; `None`: it does not.
    pub patroni: Option<patroni::Settings>,
    /// How clients are spared when a node is detached, and in moves that Patroni is asked for; `None`: they are not.
    pub planned: Option<PlannedMoves>,
}

/// What it takes to have nothing under way on a node.
#[derive(Debug, Clone)]
pub struct PlannedMoves {
    /// What counts it.
    pub traffic: Arc<dyn crate::Traffic>,
    /// How long transactions may go on.
    pub drain_timeout: Duration,
}

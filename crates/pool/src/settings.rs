use std::time::Duration;

/// When a server connection goes back to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PoolMode {
    /// At the end of each transaction.
    #[default]
    Transaction,
    /// When the client leaves.
    Session,
    /// At the end of each statement; transactions of several are refused.
    Statement,
}

impl PoolMode {
    /// The word in configuration and console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Statement => "statement",
        }
    }
}

/// What becomes of a statement that leaves something behind which only its server connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatePolicy {
    /// Its client keeps the connection until that is gone.
    #[default]
    Pin,
    /// It is refused.
    Refuse,
    /// It runs, and whoever uses the connection next finds what it left.
    Allow,
}

/// What becomes of commits whose server is lost before it has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitResolution {
    /// Transactions that write are asked for their id, by which the next primary knows what became of them.
    #[default]
    Xid,
    /// Their clients are told that it is not known.
    Off,
}

/// One pool: the server connections of one database and user on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// When a server connection goes back.
    pub mode: PoolMode,
    /// Most server connections of one pool (default 20).
    pub size: u32,
    /// Server connections that are kept even when idle (default 0).
    pub min_size: u32,
    /// Server connections beyond `size` for when a client has waited for `reserve_timeout` (default 0).
    pub reserve_size: u32,
    /// See `reserve_size` (default 5 s).
    pub reserve_timeout: Duration,
    /// How long a client waits for a server connection (default 30 s).
    pub wait_timeout: Duration,
    /// Most clients that wait for one pool (default 10,000).
    pub max_waiting: u32,
    /// A server connection is retired at this age (default 1 h).
    pub server_lifetime: Duration,
    /// An idle server connection beyond `min_size` is closed after this time (default 10 min).
    pub server_idle_timeout: Duration,
    /// How long dialing a server and logging in may take (default 5 s).
    pub connect_timeout: Duration,
    /// What becomes of statements that leave something behind in transaction pooling (default: pin).
    pub session_state: StatePolicy,
    /// Most pinned connections of one pool; `None`: see [`Settings::pinned_max`].
    pub max_pinned: Option<u32>,
    /// Most prepared statements kept on one server connection (default 200).
    pub max_prepared_statements: u32,
    /// What becomes of commits in doubt (default: they are resolved by transaction id).
    pub commit_resolution: CommitResolution,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: PoolMode::default(),
            size: 20,
            min_size: 0,
            reserve_size: 0,
            reserve_timeout: Duration::from_secs(5),
            wait_timeout: Duration::from_secs(30),
            max_waiting: 10_000,
            server_lifetime: Duration::from_secs(3600),
            server_idle_timeout: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(5),
            session_state: StatePolicy::default(),
            max_pinned: None,
            max_prepared_statements: 200,
            commit_resolution: CommitResolution::default(),
        }
    }
}

impl Settings {
    /// Most pinned connections of one pool. Unless it is set, a quarter of the pool is left to others; a pool of
    /// fewer than four connections is too small to be shared out.
    #[must_use]
    pub fn pinned_max(&self) -> u32 {
        self.max_pinned.unwrap_or(self.size.saturating_sub(self.size / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_pool_is_never_pinned_unless_that_is_asked_for() {
        let max = |size, max_pinned| Settings { size, max_pinned, ..Settings::default() }.pinned_max();
        assert_eq!([1, 2, 3, 4, 20].map(|size| max(size, None)), [1, 2, 3, 3, 15]);
        assert_eq!(max(20, Some(0)), 0);
    }
}

/// Whether a pool hands out connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolState {
    /// It does.
    #[default]
    Open,
    /// It makes clients wait until RESUME.
    Paused,
}

/// How many connections and clients a pool has, for the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Existing connections, those being made included.
    pub live: u32,
    /// Connections that wait for work.
    pub idle: u32,
    /// Connections being made.
    pub dialing: u32,
    /// Connections that listen for clients, or are being made for that.
    pub listening: u32,
    /// Clients that wait.
    pub waiting: u32,
    /// Connections in use that are closed when they come back, since the pool dials under other data by now.
    pub stale: u32,
    /// Connections that their clients keep after a transaction.
    pub pinned: u32,
}

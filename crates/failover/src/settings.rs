use std::{sync::Arc, time::Duration};

/// How a cluster is managed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Regions in the order in which the primary is best placed; others come after them.
    pub regions: Vec<Arc<str>>,
    /// A candidate that lacks more WAL than this of what the primary was last seen to have is not promoted by itself, in
    /// bytes (default 1 MiB).
    pub max_lost_bytes: u64,
    /// Least time between two failovers that the manager begins by itself, unless the new primary has certainly died
    /// (default 60 s).
    pub damping: Duration,
    /// How long standbys may take to be cut off and to say how far they are (default 1 s).
    pub recruit_timeout: Duration,
    /// How long transactions may go on after a switchover began (default 3 s).
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            regions: Vec::new(),
            max_lost_bytes: 1 << 20,
            damping: Duration::from_secs(60),
            recruit_timeout: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(3),
        }
    }
}

use std::time::Duration;

use topology::SyncState;

/// What a listener or database may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// Reads to replicas, everything else to the primary.
    #[default]
    Smart,
    /// Everything to the primary.
    ReadWrite,
    /// Everything to replicas; writes are refused by them with 25006.
    ReadOnly,
    /// The same, to replicas that commits may wait for: synchronous ones and members of a quorum.
    Sync,
    /// The same, to replicas that no commit waits for.
    Async,
}

impl Policy {
    /// The word in configuration and console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smart => "smart",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }

    /// Whether nothing may be written under it.
    #[must_use]
    pub fn is_read_only(self) -> bool {
        match self {
            Self::Smart | Self::ReadWrite => false,
            Self::ReadOnly | Self::Sync | Self::Async => true,
        }
    }

    /// Whether a replica of this state may be read from under it. One that does not receive from the primary itself, or of
    /// which that is not known, is none that commits wait for.
    pub(crate) fn takes(self, state: Option<SyncState>) -> bool {
        let is_synchronous = state.is_some_and(SyncState::is_synchronous);
        match self {
            Self::Smart | Self::ReadWrite | Self::ReadOnly => true,
            Self::Sync => is_synchronous,
            Self::Async => !is_synchronous,
        }
    }
}

/// What a session may expect of a read after its own writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReadYourWrites {
    /// Reads may miss the session's own writes (within the lag bound).
    Off,
    /// Reads see the session's own writes.
    #[default]
    Session,
}

/// Where a read of a session under a read-only policy goes when no replica is fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReadOnlyFallback {
    /// To the primary; a statement that is not known to be a read is refused even then.
    #[default]
    Primary,
    /// Nowhere yet: it waits for one.
    Hold,
    /// Nowhere: it is refused.
    Refuse,
}

impl ReadOnlyFallback {
    /// The word in configuration and console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
        }
    }
}

/// How reads find their replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where this proxy stands; its region's replicas come first.
    pub region: String,
    /// The zone inside the region.
    pub zone: Option<String>,
    /// A replica further behind than this many bytes is not read from (default 16 MiB).
    pub max_lag_bytes: u64,
    /// A replica further behind than this is not read from (default 10 s).
    pub max_lag: Duration,
    /// A replica whose last answer is older than this is not read from (default 3 s).
    pub max_sample_age: Duration,
    /// What a session may expect of a read after its own writes.
    pub read_your_writes: ReadYourWrites,
    /// Where a read under a read-only policy goes when no replica is fit (default: the primary).
    pub read_only_fallback: ReadOnlyFallback,
}

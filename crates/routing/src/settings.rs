use std::time::Duration;

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
}

impl Policy {
    /// The word in configuration and console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smart => "smart",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
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

/// Where a read of a [`Policy::ReadOnly`] session goes when no replica is fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReadOnlyFallback {
    /// To the primary; a statement that is not known to be a read is refused even then.
    #[default]
    Primary,
    /// Nowhere: it is refused.
    Refuse,
}

impl ReadOnlyFallback {
    /// The word in configuration and console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
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
    /// Where a read under the read-only policy goes when no replica is fit (default: the primary).
    pub read_only_fallback: ReadOnlyFallback,
}

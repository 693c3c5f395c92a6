use std::fmt;

use topology::{NoPrimary, NodeId};

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// To this node.
    Use {
        /// The node.
        node: NodeId,
        /// Why this one.
        reason: Reason,
    },
    /// Nowhere yet: decide again under the next snapshot.
    Hold(HoldReason),
    /// Nowhere: answer with an error.
    Refuse(RefuseReason),
}

/// Why a node was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It writes, or is not known not to.
    NeedsPrimary,
    /// The policy sends everything to the primary.
    PolicyReadWrite,
    /// The policy sends everything to replicas.
    PolicyReadOnly,
    /// The policy sends everything to replicas, but none is fit.
    ReadOnlyFallback,
    /// A hint asked for the primary.
    HintPrimary,
    /// A hint asked for a replica.
    HintReplica,
    /// A hint named the region.
    HintRegion,
    /// No replica is known to have replayed the session's own writes.
    ReadYourWrites,
    /// A read; the replica is in the proxy's zone.
    SameZone,
    /// A read; the replica is in the proxy's region.
    SameRegion,
    /// A read; the replica has the shortest round trip.
    NearestReplica,
    /// A read, but no replica is fit.
    NoReplicaFit,
    /// It answers the same everywhere; the nearest node.
    Anywhere,
}

impl Reason {
    /// All of them, in the order of their declaration; for metrics.
    pub const ALL: [Self; 13] = [
        Self::NeedsPrimary,
        Self::PolicyReadWrite,
        Self::PolicyReadOnly,
        Self::ReadOnlyFallback,
        Self::HintPrimary,
        Self::HintReplica,
        Self::HintRegion,
        Self::ReadYourWrites,
        Self::SameZone,
        Self::SameRegion,
        Self::NearestReplica,
        Self::NoReplicaFit,
        Self::Anywhere,
    ];

    /// A stable word for `EXPLAIN ROUTE`, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeedsPrimary => "needs_primary",
            Self::PolicyReadWrite => "policy_read_write",
            Self::PolicyReadOnly => "policy_read_only",
            Self::ReadOnlyFallback => "read_only_fallback",
            Self::HintPrimary => "hint_primary",
            Self::HintReplica => "hint_replica",
            Self::HintRegion => "hint_region",
            Self::ReadYourWrites => "read_your_writes",
            Self::SameZone => "same_zone",
            Self::SameRegion => "same_region",
            Self::NearestReplica => "nearest_replica",
            Self::NoReplicaFit => "no_replica_fit",
            Self::Anywhere => "anywhere",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeedsPrimary => "it writes, or is not known not to",
            Self::PolicyReadWrite => "the policy sends everything to the primary",
            Self::PolicyReadOnly => "the policy sends everything to replicas",
            Self::ReadOnlyFallback => "the policy sends everything to replicas, but none is fit",
            Self::HintPrimary => "a hint asks for the primary",
            Self::HintReplica => "a hint asks for a replica",
            Self::HintRegion => "a hint names the region",
            Self::ReadYourWrites => "no replica is known to have replayed the session's own writes",
            Self::SameZone => "a read, and the replica is in this zone",
            Self::SameRegion => "a read, and the replica is in this region",
            Self::NearestReplica => "a read, and the replica is the nearest",
            Self::NoReplicaFit => "a read, but no replica is fit",
            Self::Anywhere => "it answers the same everywhere",
        })
    }
}

/// Why a request waits for the next snapshot. Where a reason is inside there is no primary, for that reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldReason {
    /// It needs the primary.
    NoPrimary(NoPrimary),
    /// It is a read, but no replica is fit either.
    NoReplicaFit(NoPrimary),
    /// The policy allows replicas only, none is fit, and the settings say to wait for one.
    AwaitsReplica,
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPrimary(why) => why.fmt(f),
            Self::NoReplicaFit(why) => write!(f, "{why}, and no replica is fit"),
            Self::AwaitsReplica => f.write_str("no replica is fit for this listener or database"),
        }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefuseReason {
    /// The policy allows replicas only, none is fit and the settings name no fallback.
    NoReplicaFit,
    /// The policy allows replicas only, none is fit, and the request is not known to be a read: the primary might
    /// carry out a write.
    MightWrite,
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoReplicaFit => "no replica is fit, and this listener or database is read-only",
            Self::MightWrite => {
                "no replica is fit, and this listener or database is read-only: only reads may fall back to the primary"
            }
        })
    }
}

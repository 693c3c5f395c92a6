use std::sync::Arc;

use topology::Epoch;
use wire::TimelineId;

/// What has been decided about the primary. It is stored where a successor of this manager finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Grows with every failover that is begun, finished or not.
    pub epoch: Epoch,
    /// How far it is.
    pub phase: Phase,
    /// Addresses (`host:port`) of nodes that were the primary before and have not come back as standbys.
    pub deposed: Vec<Arc<str>>,
}

/// How far a failover is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nobody was ever the primary.
    Vacant,
    /// Done: this node is the primary.
    Serving {
        /// Its address.
        node: Arc<str>,
        /// The timeline it writes.
        timeline: TimelineId,
    },
    /// This primary may have been stopped in good order, to be replaced or restarted; nobody has been promoted, so it is
    /// to go on.
    Halting {
        /// Its address.
        from: Arc<str>,
    },
    /// Standbys are being cut off from the primary; nobody has been promoted.
    Fencing {
        /// The address of the primary that is to be replaced.
        from: Option<Arc<str>>,
    },
    /// This node may have been promoted.
    Promoting {
        /// Its address.
        node: Arc<str>,
        /// It will write a timeline above this one.
        above: TimelineId,
        /// The address of the primary that is to be replaced.
        from: Option<Arc<str>>,
        /// Addresses of candidates of earlier attempts, who may have been promoted as well.
        earlier: Vec<Arc<str>>,
    },
}

impl Default for Record {
    fn default() -> Self {
        Self { epoch: Epoch(0), phase: Phase::Vacant, deposed: Vec::new() }
    }
}

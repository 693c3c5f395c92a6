use std::sync::Arc;

use wire::TimelineId;

use crate::{branch::Branch, node::NodeId, snapshot::Epoch};

/// What the shell is asked to do; see [`crate::Cluster::poll_action`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Probe this node now instead of at its next turn. A probe that is already under way is enough.
    ProbeNow(NodeId),
    /// Read the history of this timeline from this node (`TIMELINE_HISTORY` of the replication protocol) and hand it
    /// to [`crate::Cluster::handle_history`]. If it cannot be read, do nothing: it is asked for again.
    ReadHistory(NodeId, TimelineId),
    /// Ask now who leads, whoever hands hints to [`crate::Cluster::handle_hint`]: an old one stands against a new claim.
    AskLeader,
    /// Persist this, before the next snapshot is published.
    Remember(Remembered),
}

/// What must survive a restart of the proxy, so that it never goes back to an older timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The cluster's `system_identifier`; a node with another one is never used.
    pub system_id: u64,
    /// The highest timeline that was ever written through this proxy.
    pub timeline: TimelineId,
    /// Which timeline of that number; `None` if an earlier version of pgherd remembered.
    pub branch: Option<Branch>,
    /// The primary's `synchronous_standby_names`, unless nobody was waited for or it was not known.
    pub sync_names: Option<Arc<str>>,
    /// The epoch when this was remembered; a restarted proxy begins above it.
    pub epoch: Epoch,
}

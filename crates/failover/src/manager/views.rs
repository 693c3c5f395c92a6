//! The cluster as the manager sees it.

use std::{sync::Arc, time::Instant};

use topology::{Health, NodeId, NodeView, Role, Snapshot, Writable};

use super::{Manager, Reign};

impl Manager {
    /// The node that may be written to.
    pub(crate) fn primary(&self) -> Option<&NodeView> {
        self.snapshot.primary()
    }

    pub(crate) fn view(&self, id: NodeId) -> Option<&NodeView> {
        self.snapshot.node(id)
    }

    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(crate) fn is_acting(&self) -> bool {
        !self.is_maintenance && self.superseded.is_none()
    }

    /// A successor would begin in no earlier epoch than orders are given in now.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored >= self.record.epoch
    }

    pub(super) fn find(&self, wanted: &str) -> Option<NodeId> {
        self.snapshot.nodes.iter().find(|node| *address(node) == *wanted).map(|node| node.id)
    }

    /// The reign of the last primary, which has another id if it was removed and added again.
    pub(super) fn found_anew(&self, reign: Option<Reign>) -> Option<Reign> {
        let is_known = |node: NodeId| self.view(node).is_some();
        match reign? {
            Reign { node: Some(node), .. } if is_known(node) => reign,
            reign => Some(Reign { node: self.reigned_at().and_then(|place| self.find(place)), ..reign }),
        }
    }

    /// Whether a node is a standby that receives what the primary writes.
    pub(crate) fn follows(&self, node: &NodeView) -> bool {
        node.role == Role::Standby
            && node.health == Health::Up
            && node.streaming
            && Some(node.timeline) == self.snapshot.timeline
    }

    pub(super) fn vacant_since(&self) -> Option<Instant> {
        match self.snapshot.writable {
            Writable::Primary(_) => None,
            Writable::None { since, .. } => Some(since),
        }
    }
}

/// How a node is named over restarts.
pub(crate) fn address(node: &NodeView) -> Arc<str> {
    format!("{}:{}", node.host, node.port).into()
}

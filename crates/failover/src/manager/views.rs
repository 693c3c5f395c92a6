//! The cluster as the manager sees it.

use std::{sync::Arc, time::Instant};

use topology::{Health, NodeId, NodeView, Role, Snapshot, Writable};

use super::Manager;

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

    pub(super) fn find(&self, wanted: &str) -> Option<NodeId> {
        self.snapshot.nodes.iter().find(|node| *address(node) == *wanted).map(|node| node.id)
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

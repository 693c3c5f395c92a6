//! Nodes that are set aside: nothing is read from them any more, and what was under way ends.

use std::{sync::Arc, time::Instant};

use crate::{
    cluster::Cluster,
    event::Event,
    mandate::Mandate,
    node::{Node, NodeId},
    snapshot::Reads,
};

/// Who is set aside, and by whom.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Addresses, by an operator's word, until it is taken back.
    detached: Vec<Arc<str>>,
    /// By the failover manager, while it restarts this one.
    resting: Option<NodeId>,
    /// Nothing is to be read from them, says an outside authority.
    withheld: Vec<NodeId>,
}

/// Why a node is not detached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetachError {
    /// No such node is configured (any more).
    #[error("there is no such node")]
    NoNode,
    /// Writes go to it.
    #[error("{0} is the primary, and the primary cannot be detached")]
    IsPrimary(Arc<str>),
    /// Who will be the primary is being decided.
    #[error("the primary is being replaced or restarted")]
    Moving,
}

impl Cluster {
    /// Nothing is read from this node any more, nor is it promoted by itself, until it is attached again. It is still
    /// probed.
    ///
    /// # Errors
    /// [`DetachError`]: nothing has changed.
    pub fn detach(&mut self, node: NodeId, now: Instant) -> Result<(), DetachError> {
        let found = self.node(node).ok_or(DetachError::NoNode)?;
        if self.present().is_some_and(|reign| reign.node == node) {
            return Err(DetachError::IsPrimary(Arc::clone(&found.name)));
        }
        match self.mandate() {
            Mandate::Draining | Mandate::Closed | Mandate::Only(_) => return Err(DetachError::Moving),
            Mandate::Open | Mandate::Recorded(..) | Mandate::Above(_) => {}
        }
        let (address, named) = (Arc::clone(&found.address), found.named());
        if !self.aside.detached.contains(&address) {
            self.aside.detached.push(address);
            self.tell(Event::NodeDetached { node: named });
        }
        self.settle(now);
        Ok(())
    }

    /// Takes the word back; whether it had been given.
    pub fn attach(&mut self, node: NodeId, now: Instant) -> bool {
        let Some(found) = self.node(node) else { return false };
        let (address, named) = (Arc::clone(&found.address), found.named());
        let before = self.aside.detached.len();
        self.aside.detached.retain(|detached| *detached != address);
        let was_detached = self.aside.detached.len() < before;
        if was_detached {
            self.tell(Event::NodeAttached { node: named });
        }
        self.settle(now);
        was_detached
    }

    /// The addresses (`host:port`) of detached nodes.
    #[must_use]
    pub fn detached(&self) -> &[Arc<str>] {
        &self.aside.detached
    }

    /// What was detached when an earlier run ended; those that are no nodes any more are forgotten.
    pub fn remember_detached(&mut self, addresses: Vec<Arc<str>>) {
        self.aside.detached = addresses;
        self.forget_unconfigured();
    }

    /// Only nodes that are configured stay detached.
    pub(crate) fn forget_unconfigured(&mut self) {
        let mut detached = std::mem::take(&mut self.aside.detached);
        detached.retain(|address| self.nodes().iter().any(|node| node.address == *address));
        self.aside.detached = detached;
    }

    /// Somebody has promoted a detached node: it is written to, and so not detached any more.
    pub(crate) fn attach_primary(&mut self) {
        let Some(primary) = self.present().and_then(|reign| self.node(reign.node)) else { return };
        let (address, named) = (Arc::clone(&primary.address), primary.named());
        if self.aside.detached.contains(&address) {
            self.aside.detached.retain(|detached| *detached != address);
            self.tell(Event::NodeAttached { node: named });
        }
    }

    /// The failover manager is about to restart this node, and nobody else.
    pub fn rest(&mut self, node: Option<NodeId>) {
        self.aside.resting = node;
    }

    /// These nodes, and no others, are not to be read from.
    pub fn withhold_reads(&mut self, nodes: &[NodeId]) {
        if self.aside.withheld != nodes {
            self.aside.withheld = nodes.to_vec();
        }
    }

    /// Whether anything may be read from the node.
    pub(crate) fn reads_of(&self, node: &Node) -> Reads {
        if self.aside.detached.contains(&node.address) {
            Reads::Detached
        } else if self.aside.resting == Some(node.id) {
            Reads::Resting
        } else if self.aside.withheld.contains(&node.id) || self.is_unneeded(node) {
            Reads::Withheld
        } else {
            Reads::Offered
        }
    }

    /// Whether it is a spare in whose place nobody is missing. The primary serves all the same.
    fn is_unneeded(&self, node: &Node) -> bool {
        self.duty_of(node).is_idle() && self.present().is_none_or(|reign| reign.node != node.id)
    }

    pub(crate) fn is_detached(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| self.aside.detached.contains(&node.address))
    }

    pub(crate) fn is_resting(&self, id: NodeId) -> bool {
        self.aside.resting == Some(id)
    }
}

//! Whom the primary waits for before it acknowledges a commit.

use std::{sync::Arc, time::Instant};

use super::Cluster;
use crate::{node::Node, replication::SyncState, synchrony::Synchrony};

impl Cluster {
    /// How the present or last primary treats a standby.
    pub(super) fn sync_state_of(&self, standby: &Node) -> Option<SyncState> {
        let reign = self.present().or_else(|| self.vacancy()?.last)?;
        let primary = self.node(reign.node).filter(|primary| primary.id != standby.id)?;
        primary.replication.state_of(standby.host(), &standby.replication)
    }

    /// Takes in whom the primary waits for, and what its standbys are called.
    pub(super) fn learn_synchrony(&mut self, now: Instant) {
        let before = self.synchrony.as_deref();
        // one that is not trusted at present may still acknowledge what it was sent
        let last = self.present().or_else(|| self.vacancy()?.last);
        let reign = last.filter(|reign| self.claimed_by(*reign).is_some());
        let primary = reign.and_then(|reign| self.node(reign.node));
        let learnt = primary.and_then(|primary| Synchrony::learn(before, primary, &self.nodes));
        let written_at = self.branch.as_ref().map(|branch| &*branch.address);
        let after = learnt.or_else(|| before.cloned()).map(|known| known.with_names(&self.nodes, written_at));
        if after.as_ref() == before {
            return;
        }
        let is_news = after.as_ref().map(|after| &after.text) != before.map(|before| &before.text);
        self.synchrony = after.map(Arc::new);
        if is_news {
            self.remember(now);
        }
    }
}

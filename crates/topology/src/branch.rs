use std::{collections::HashSet, sync::Arc};

use wire::{Lsn, TimelineId};

use crate::{history::Fork, node::Node};

/// How many addresses of other nodes are remembered, so that a herd whose servers come and go for years is no burden.
const OTHERS_MAX: usize = 1000;

/// What tells the timeline that was written from another of the same number.
///
/// A standby that is promoted takes the next number that it has not heard of. So if the new primary dies before a second
/// standby has heard of its timeline, that one is promoted to the same number, without what the first one acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Host and port of the node that was written to.
    pub address: Arc<str>,
    /// Those of the other nodes, then and while the timelines before were written to. They were other servers, so none of
    /// them can be the one that was written to. The newest last.
    pub others: Arc<[Arc<str>]>,
    /// How far that node's WAL was last seen.
    pub wal_lsn: Lsn,
    /// Where the timeline began; `None` if that was not read, and for timeline 1, which has no parent.
    pub fork: Option<Fork>,
}

/// The newest of `addresses`, each once, without `address`.
pub(crate) fn others_than<'a>(
    address: &Arc<str>,
    addresses: impl Iterator<Item = &'a Arc<str>>,
) -> Arc<[Arc<str>]> {
    let mut met = HashSet::from([address]);
    let others: Vec<_> = addresses.filter(|other| met.insert(other)).cloned().collect();
    others.into_iter().rev().take(OTHERS_MAX).rev().collect()
}

impl Branch {
    /// Whether the timeline of `node` is known to be this one, whose number is `timeline`, or to descend from it.
    pub(crate) fn leads_to(&self, node: &Node, timeline: TimelineId) -> bool {
        let began = node.history().and_then(|history| history.began(node.timeline(), timeline));
        let contradicted = began.zip(self.fork).is_some_and(|(its, ours)| its != ours);
        if contradicted || !node.descends_from(timeline) {
            return false;
        }
        // The same server goes on after a crash, although that may cost it the end of its WAL.
        node.timeline() != timeline || node.address == self.address || self.has_moved_to(node, timeline)
    }

    /// Whether a node that is new is the server that was written to, at another address.
    fn has_moved_to(&self, node: &Node, timeline: TimelineId) -> bool {
        let is_new = !self.others.contains(&node.address);
        let began = node.history().and_then(|history| history.began(timeline, timeline));
        let same_fork = timeline <= TimelineId(1) || began.is_some() && began == self.fork;
        is_new && same_fork && node.said.is_some_and(|said| said.wal_lsn >= self.wal_lsn)
    }
}

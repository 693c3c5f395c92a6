use std::cmp::Reverse;

use topology::{NodeId, NodeView, Snapshot};
use wire::{Lsn, TimelineId};

use crate::settings::Settings;

/// A standby that is cut off, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recruit {
    /// The standby.
    pub node: NodeId,
    /// The timeline it has followed.
    pub timeline: TimelineId,
    /// The end of the WAL that it has.
    pub received: Lsn,
}

impl Recruit {
    fn reach(&self) -> (TimelineId, Lsn) {
        (self.timeline, self.received)
    }
}

/// Whom to promote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one: nobody has more.
    Promote(NodeId),
    /// This one, after it has received what another has, who may not be promoted.
    CatchUp {
        /// The candidate.
        node: NodeId,
        /// Who has more.
        upstream: NodeId,
        /// How much.
        lsn: Lsn,
    },
    /// Nobody may be.
    Nobody,
}

/// Chooses among those who have been cut off. Nobody is promoted without everything that any of them has; of those who
/// have it, the first region wins, then the highest priority, then the shortest way. `wanted`: the one that an operator
/// named, whatever its region and priority.
#[must_use]
pub fn choose(
    recruits: &[Recruit],
    snapshot: &Snapshot,
    settings: &Settings,
    wanted: Option<NodeId>,
) -> Choice {
    let Some(best) = recruits.iter().max_by_key(|recruit| recruit.reach()) else { return Choice::Nobody };
    let may = |(recruit, node): &(&Recruit, &NodeView)| match wanted {
        Some(wanted) => recruit.node == wanted,
        None => node.priority > 0,
    };
    // who is behind on another timeline cannot be brought forward by streaming
    let reachable = |(recruit, _): &(&Recruit, &NodeView)| recruit.timeline == best.timeline;
    let candidates = (recruits.iter())
        .filter_map(|recruit| Some((recruit, snapshot.node(recruit.node)?)))
        .filter(may)
        .filter(reachable);
    let chosen = candidates.min_by_key(|(recruit, node)| {
        let region = settings.regions.iter().position(|region| *region == node.region);
        (
            Reverse(recruit.received),
            region.unwrap_or(usize::MAX),
            Reverse(node.priority),
            node.rtt.unwrap_or(std::time::Duration::MAX),
            node.id,
        )
    });
    match chosen {
        None => Choice::Nobody,
        Some((recruit, _)) if recruit.reach() == best.reach() => Choice::Promote(recruit.node),
        Some((recruit, _)) => Choice::CatchUp { node: recruit.node, upstream: best.node, lsn: best.received },
    }
}

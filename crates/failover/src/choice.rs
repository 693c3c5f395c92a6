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

/// Who may be promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// The one that an operator named, whatever its region and priority.
    Named(NodeId),
    /// Those that serve. If there is nobody, the primary can go on.
    Serving,
    /// The same; and if there is none of those, a spare, for there is no primary.
    AtNeed,
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
/// have it, those win for whom commits waited, then the first region, then the highest priority, then the shortest way.
#[must_use]
pub fn choose(recruits: &[Recruit], snapshot: &Snapshot, settings: &Settings, wanted: Candidates) -> Choice {
    let Some(best) = recruits.iter().max_by_key(|recruit| recruit.reach()) else { return Choice::Nobody };
    let serving = |(recruit, node): &(&Recruit, &NodeView)| match wanted {
        Candidates::Named(wanted) => recruit.node == wanted,
        Candidates::Serving | Candidates::AtNeed => node.may_be_promoted(),
    };
    let at_need =
        |(_, node): &(&Recruit, &NodeView)| wanted == Candidates::AtNeed && node.may_be_promoted_at_need();
    // who is behind on another timeline cannot be brought forward by streaming
    let reachable = |(recruit, _): &(&Recruit, &NodeView)| recruit.timeline == best.timeline;
    let candidates = || {
        (recruits.iter())
            .filter_map(|recruit| Some((recruit, snapshot.node(recruit.node)?)))
            .filter(reachable)
    };
    let rank = |(recruit, node): &(&Recruit, &NodeView)| {
        let region = settings.regions.iter().position(|region| *region == node.region);
        (
            Reverse(recruit.received),
            !node.sync_state.is_some_and(topology::SyncState::is_synchronous),
            region.unwrap_or(usize::MAX),
            Reverse(node.priority),
            node.rtt.unwrap_or(std::time::Duration::MAX),
            node.id,
        )
    };
    let chosen = candidates().filter(serving).min_by_key(rank);
    let chosen = chosen.or_else(|| candidates().filter(at_need).min_by_key(rank));
    match chosen {
        None => Choice::Nobody,
        Some((recruit, _)) if recruit.reach() == best.reach() => Choice::Promote(recruit.node),
        Some((recruit, _)) => Choice::CatchUp { node: recruit.node, upstream: best.node, lsn: best.received },
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary beginning; no time passes in these tests")]
mod tests {
    use std::time::Instant;

    use topology::{Cluster, NodeSettings, SyncState};

    use super::*;

    /// Nodes of these regions and priorities.
    fn snapshot(nodes: &[(&str, u16)]) -> Snapshot {
        let node = |(index, (region, priority)): (usize, &(&str, u16))| NodeSettings {
            name: format!("n{index}"),
            host: format!("n{index}"),
            port: 5432,
            region: (*region).to_owned(),
            zone: None,
            priority: *priority,
            service: topology::Service::Always,
        };
        let settings = topology::Settings {
            cluster: "main".to_owned(),
            nodes: nodes.iter().enumerate().map(node).collect(),
            down_after_probes: 3,
            crash_grace: std::time::Duration::from_secs(5),
            spares: topology::SpareSettings::default(),
        };
        let now = Instant::now();
        Cluster::new(settings, None, now).snapshot(now)
    }

    /// Standbys of these nodes that are so far.
    #[track_caller]
    fn check(nodes: &[(&str, u16)], recruits: &[(u32, u64)], wanted: Option<u16>, expected: Choice) {
        check_in(&snapshot(nodes), recruits, wanted, expected);
    }

    #[track_caller]
    fn check_in(snapshot: &Snapshot, recruits: &[(u32, u64)], wanted: Option<u16>, expected: Choice) {
        let recruit = |(node, (timeline, lsn)): (u16, &(u32, u64))| Recruit {
            node: NodeId(node),
            timeline: TimelineId(*timeline),
            received: Lsn(*lsn),
        };
        let recruits: Vec<_> = (0..).zip(recruits).map(recruit).collect();
        let settings = Settings { regions: vec!["us".into(), "eu".into()], ..Settings::default() };
        let wanted = wanted.map_or(Candidates::Serving, |node| Candidates::Named(NodeId(node)));
        assert_eq!(choose(&recruits, snapshot, &settings, wanted), expected);
    }

    const EQUAL: [(&str, u16); 3] = [("eu", 100), ("eu", 100), ("eu", 100)];

    fn promote(node: u16) -> Choice {
        Choice::Promote(NodeId(node))
    }

    fn catch_up(node: u16, upstream: u16, lsn: u64) -> Choice {
        Choice::CatchUp { node: NodeId(node), upstream: NodeId(upstream), lsn: Lsn(lsn) }
    }

    #[test]
    fn who_has_most_is_promoted_whatever_else_speaks_for_others() {
        check(&EQUAL, &[(1, 10), (1, 30), (1, 20)], None, promote(1));
        check(&[("us", 900), ("asia", 1), ("us", 900)], &[(1, 10), (1, 30), (1, 20)], None, promote(1));
        check(&EQUAL, &[(1, 90), (2, 30), (1, 20)], None, promote(1));
    }

    #[test]
    fn of_equals_the_region_decides_then_the_priority_then_the_order() {
        let equal = [(1, 10), (1, 10), (1, 10)];
        check(&[("asia", 900), ("eu", 900), ("us", 1)], &equal, None, promote(2));
        check(&[("eu", 100), ("eu", 200), ("asia", 900)], &equal, None, promote(1));
        check(&EQUAL, &equal, None, promote(0));
    }

    #[test]
    fn of_equals_those_come_first_for_whom_commits_waited() {
        let states = [Some(SyncState::Potential), Some(SyncState::Quorum), Some(SyncState::Sync)];
        let mut snapshot = snapshot(&[("us", 900), ("eu", 100), ("eu", 200)]);
        for (node, state) in snapshot.nodes.iter_mut().zip(states) {
            node.sync_state = state;
        }
        check_in(&snapshot, &[(1, 10), (1, 10), (1, 10)], None, promote(2));
        check_in(&snapshot, &[(1, 11), (1, 10), (1, 10)], None, promote(0));
    }

    #[test]
    fn who_may_not_be_promoted_gives_what_it_has_to_who_may() {
        check(&[("eu", 100), ("eu", 0), ("eu", 100)], &[(1, 10), (1, 30), (1, 20)], None, catch_up(2, 1, 30));
        check(&EQUAL, &[(1, 10), (1, 30), (1, 20)], Some(0), catch_up(0, 1, 30));
        check(&[("eu", 0), ("eu", 100), ("eu", 100)], &[(1, 30), (1, 30), (1, 20)], Some(0), promote(0));
    }

    #[test]
    fn nobody_is_promoted_who_cannot_get_what_another_has() {
        check(&EQUAL, &[], None, Choice::Nobody);
        check(&EQUAL, &[(1, 10), (1, 10)], Some(2), Choice::Nobody);
        check(&[("eu", 100), ("eu", 0), ("eu", 100)], &[(1, 90), (2, 30)], None, Choice::Nobody);
        check(&[("eu", 0), ("eu", 0), ("eu", 0)], &[(1, 10), (1, 10)], None, Choice::Nobody);
    }
}

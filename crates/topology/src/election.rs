//! Who may be written to, given what the nodes last said. A function of values; [`crate::cluster`] acts on it.
//!
//! A node claims to be the primary by saying "not in recovery". The claim stands, even in silence, until the node
//! says otherwise or is certainly gone; so a rival behind a network cut is not forgotten. Of the claims on timelines
//! that are not below the floor (the highest timeline ever written) the highest wins if it is known to descend from
//! the floor and from every other claim; otherwise nobody wins. A number alone is no proof: see [`Branch`].

use std::time::{Duration, Instant};

use wire::TimelineId;

use crate::{
    branch::Branch,
    mandate::Mandate,
    node::{Ancestry, DownReason, Node, NodeId, Reach},
    probe::Role,
};

/// How long a history may take to be read before the claim counts as unproven for good.
pub(crate) const HISTORY_PATIENCE: Duration = Duration::from_secs(1);

/// The present primary: a node in its reign on one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reign {
    pub(crate) node: NodeId,
    pub(crate) timeline: TimelineId,
}

/// What an election is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ballot<'a> {
    pub(crate) nodes: &'a [Node],
    /// The cluster's identifier; until it is known nobody is elected.
    pub(crate) system_id: Option<u64>,
    /// The highest timeline ever written.
    pub(crate) floor: Option<TimelineId>,
    /// Which one of that number.
    pub(crate) branch: Option<&'a Branch>,
    /// The present primary.
    pub(crate) present: Option<Reign>,
    /// There is no primary since then.
    pub(crate) vacant_since: Option<Instant>,
    /// No primary was found since the proxy started.
    pub(crate) first: bool,
    /// Who may be elected at all.
    pub(crate) mandate: Mandate,
    /// Whose claims count for nothing.
    pub(crate) deposed: &'a [NodeId],
    pub(crate) now: Instant,
}

/// How an election ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// Claimants on abandoned timelines.
    pub(crate) stale: Vec<NodeId>,
    /// The node whose history would help.
    pub(crate) wants_history: Option<NodeId>,
}

/// Who won.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This node may be written to.
    Primary(NodeId),
    /// Nobody claims, or nobody who can be reached.
    Absent,
    /// A primary found or returning, while nodes that may have been promoted meanwhile are still to be heard.
    Early,
    /// Those who claim are on abandoned timelines.
    OnlyStale,
    /// Two claims and no order between them.
    Split(NodeId, NodeId),
    /// A claim whose descent is being looked up.
    Waiting,
    /// The one who would be may not be: see [`Mandate`].
    Forbidden,
    /// A claim that does not descend from this timeline.
    Unproven { node: NodeId, expected: TimelineId },
}

/// How much a claim is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The node may be elected.
    Firm,
    /// It only stands in the way of others.
    Silent,
}

#[derive(Debug, Clone, Copy)]
struct Claim<'a> {
    node: &'a Node,
    timeline: TimelineId,
    standing: Standing,
}

impl Ballot<'_> {
    /// Elects.
    pub(crate) fn decide(&self) -> Verdict {
        let verdict = self.decide_by_claims();
        let timeline_of = |id: NodeId| self.nodes.iter().find(|node| node.id == id).map(Node::timeline);
        let elected = match verdict.outcome {
            Outcome::Primary(id) => timeline_of(id),
            Outcome::Absent
            | Outcome::Early
            | Outcome::OnlyStale
            | Outcome::Split(..)
            | Outcome::Waiting
            | Outcome::Forbidden
            | Outcome::Unproven { .. } => None,
        };
        Verdict { outcome: self.mandate.restrict(verdict.outcome, elected), ..verdict }
    }

    fn decide_by_claims(&self) -> Verdict {
        let floor = self.floor.unwrap_or(TimelineId(0));
        let (mut claims, below): (Vec<_>, Vec<_>) = (self.nodes.iter())
            .filter_map(|node| self.claim(node))
            .partition(|claim| claim.timeline >= floor && !self.deposed.contains(&claim.node.id));
        let mut stale: Vec<NodeId> = below.iter().map(|claim| claim.node.id).collect();
        if let Some(highest) = claims.iter().map(|claim| claim.timeline).max()
            && let Some(recorded) = self.mandate.recorded(highest)
            && claims.iter().any(|claim| claim.node.id == recorded && claim.timeline == highest)
        {
            let void = |claim: &Claim| claim.timeline == highest && claim.node.id != recorded;
            stale.extend(claims.iter().filter(|claim| void(claim)).map(|claim| claim.node.id));
            claims.retain(|claim| !void(claim));
        }
        claims.sort_by_key(|claim| (std::cmp::Reverse(claim.timeline), claim.standing == Standing::Silent));
        let Some((top, rest)) = claims.split_first() else {
            let outcome = if below.is_empty() { Outcome::Absent } else { Outcome::OnlyStale };
            return Verdict { outcome, stale, wants_history: None };
        };
        if let Some(rival) = rest.first().filter(|rival| rival.timeline == top.timeline) {
            let outcome = match top.standing {
                Standing::Firm => Outcome::Split(top.node.id, rival.node.id),
                Standing::Silent => Outcome::Absent,
            };
            return Verdict { outcome, stale, wants_history: None };
        }
        let rival = rest.iter().find(|claim| !top.node.descends_from(claim.timeline));
        let unproven =
            rival.map(|rival| rival.timeline).or(self.floor.filter(|floor| !self.follows(top.node, *floor)));
        if let Some(expected) = unproven {
            return Verdict {
                outcome: self.doubt(top, rest, expected),
                stale,
                wants_history: Some(top.node.id),
            };
        }
        stale.extend(rest.iter().map(|claim| claim.node.id));
        let firm_below = rest.iter().chain(&below).any(|claim| claim.standing == Standing::Firm);
        let outcome = match top.standing {
            Standing::Firm if self.outdated(top) => {
                stale.push(top.node.id);
                Outcome::OnlyStale
            }
            Standing::Firm if self.premature(top) => Outcome::Early,
            Standing::Firm => Outcome::Primary(top.node.id),
            Standing::Silent if firm_below => Outcome::OnlyStale,
            Standing::Silent => Outcome::Absent,
        };
        Verdict { outcome, stale, wants_history: None }
    }

    /// Whether the node is known to be on the timeline that was written last, whose number is `floor`, or on a descendant.
    fn follows(&self, node: &Node, floor: TimelineId) -> bool {
        self.branch.map_or_else(|| node.descends_from(floor), |branch| branch.leads_to(node, floor))
    }

    fn claim<'a>(&self, node: &'a Node) -> Option<Claim<'a>> {
        let said = node.said.as_ref()?;
        if said.role != Role::Primary || Some(said.system_id) != self.system_id {
            return None;
        }
        let present = Some(Reign { node: node.id, timeline: said.timeline }) == self.present;
        let standing = match node.reach {
            Reach::Up => Standing::Firm,
            Reach::Suspect { .. } if present => Standing::Firm,
            Reach::Suspect { .. } | Reach::Recovering { .. } | Reach::Unknown => Standing::Silent,
            Reach::Down(DownReason::Silent | DownReason::Unusable(_)) => Standing::Silent,
            Reach::Down(DownReason::Refused | DownReason::StartsForTooLong) => return None,
        };
        Some(Claim { node, timeline: said.timeline, standing })
    }

    /// The top claim is not known to descend from `expected`, which the floor or another claim is on.
    fn doubt(&self, top: &Claim, rest: &[Claim], expected: TimelineId) -> Outcome {
        let pending = match &top.node.ancestry {
            _ if top.standing == Standing::Silent => false,
            Ancestry::Read { timeline, .. } if *timeline == top.timeline => false,
            Ancestry::Asked { timeline, since, .. } if *timeline == top.timeline => {
                self.now.saturating_duration_since(*since) < HISTORY_PATIENCE
            }
            Ancestry::Unread | Ancestry::Read { .. } | Ancestry::Asked { .. } => true,
        };
        let reachable = top.standing == Standing::Firm || rest.iter().any(|c| c.standing == Standing::Firm);
        match rest.iter().find(|claim| claim.timeline == expected) {
            _ if pending => Outcome::Waiting,
            _ if !reachable => Outcome::Absent,
            Some(rival) => Outcome::Split(top.node.id, rival.node.id),
            None => Outcome::Unproven { node: top.node.id, expected },
        }
    }

    /// A standby was seen on a higher timeline: somebody was promoted whom we cannot see. Against the primary in
    /// place that counts only while the standby streams, for then it has a living source there.
    fn outdated(&self, top: &Claim) -> bool {
        let present = self.present.is_some_and(|reign| reign.node == top.node.id);
        self.nodes.iter().any(|node| {
            node.said.as_ref().is_some_and(|said| {
                said.role == Role::Standby
                    && Some(said.system_id) == self.system_id
                    && node.timeline() > top.timeline
                    && (said.streaming || !present)
            })
        })
    }

    /// A primary found or returning, not one promoted before our eyes, waits until every node that might have been
    /// promoted meanwhile was heard once: at the start all, later those that answered before.
    fn premature(&self, top: &Claim) -> bool {
        let Some(since) = self.vacant_since else { return false };
        if !self.first && self.floor != Some(top.timeline) {
            return false;
        }
        self.nodes.iter().filter(|node| node.id != top.node.id).any(|node| match node.reach {
            Reach::Unknown => self.first,
            Reach::Up | Reach::Suspect { .. } => node.heard_at.is_none_or(|heard| heard < since),
            Reach::Recovering { .. } | Reach::Down(_) => false,
        })
    }
}

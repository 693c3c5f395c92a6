//! What an outside authority (Patroni) says about who leads. It prompts and it forbids; it never makes a primary.
//!
//! Patroni moves its leader key before the promotion is over, so a change means: ask that node, again and again, until
//! it says by itself that it is not in recovery. A missing key proves nothing (Patroni may be paused, or have lost its
//! store): whoever was the primary stays it while SQL confirms it. And of two nodes that claim, the one that the key
//! speaks against is not taken, even if its timeline is the higher one: somebody else than Patroni promoted it.

use std::time::{Duration, Instant};

use wire::TimelineId;

use crate::{
    action::Action,
    cluster::Cluster,
    election::{Outcome, Reign, Verdict},
    event::Event,
    node::{Node, NodeId, Reach},
    probe::Role,
};

/// Time between probes of a node that leads by its word alone: what it costs to notice that it may be written to.
const CHASE_INTERVAL: Duration = Duration::from_millis(15);

/// For how long it is probed in this haste. Patroni itself gives a promotion up sooner or later.
const CHASE_FOR: Duration = Duration::from_secs(60);

/// How long a claim may wait for a hint that is newer than it, while another node claims that an older hint names.
const HINT_PATIENCE: Duration = Duration::from_millis(300);

/// Who leads, says somebody who is no node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderHint {
    /// Who.
    pub leader: HintedLeader,
    /// It was true at this moment or later.
    pub asked_at: Instant,
}

/// Whom a hint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HintedLeader {
    /// This node.
    Node(NodeId),
    /// Nobody. That is no proof of anything.
    Nobody,
    /// A server that is not among the nodes, or the leader of a cluster that itself follows another one.
    Elsewhere,
}

/// What is remembered of hints.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    last: Option<LeaderHint>,
    chase: Option<Chase>,
    /// Since when each node that claims does so.
    claims: Vec<ClaimSince>,
    /// When a claim has waited for long enough.
    patience_ends: Option<Instant>,
    /// A contradiction that was told, so that it is told once.
    told: Option<(NodeId, NodeId)>,
}

#[derive(Debug)]
struct Chase {
    node: NodeId,
    since: Instant,
    next: Instant,
}

#[derive(Debug, Clone, Copy)]
struct ClaimSince {
    node: NodeId,
    timeline: TimelineId,
    since: Instant,
}

impl Cluster {
    /// An outside authority named the leader. One that is older than the last is ignored. To be called whenever it was
    /// asked, changed or not: a hint counts for what is not newer than it.
    pub fn handle_hint(&mut self, hint: LeaderHint, now: Instant) {
        let before = self.hints.last;
        if before.is_some_and(|last| last.asked_at > hint.asked_at) {
            return;
        }
        self.hints.last = Some(hint);
        if before.map(|last| last.leader) != Some(hint.leader) {
            self.leader_named(hint.leader, before.is_none(), now);
        }
        self.settle(now);
    }

    /// Nothing is said about the leader any more, as after a reload without an outside authority.
    pub fn forget_hints(&mut self, now: Instant) {
        self.hints = Hints::default();
        self.withhold_reads(&[]);
        self.settle(now);
    }

    fn leader_named(&mut self, leader: HintedLeader, first: bool, now: Instant) {
        self.hints.chase = None;
        let named = match leader {
            HintedLeader::Node(id) => self.node(id).map(Node::named),
            HintedLeader::Nobody | HintedLeader::Elsewhere => None,
        };
        if !first || named.is_some() {
            self.tell(Event::LeaderNamed { leader: named });
        }
        match leader {
            HintedLeader::Node(node) if !self.is_primary(node) => {
                self.hints.chase = Some(Chase { node, since: now, next: now + CHASE_INTERVAL });
                self.ask(Action::ProbeNow(node));
            }
            HintedLeader::Node(_) | HintedLeader::Nobody | HintedLeader::Elsewhere => {}
        }
        let present = self.present().map(|reign| HintedLeader::Node(reign.node));
        if present != Some(leader) {
            // The primary in place may have stepped down.
            self.burst_all(now);
        }
    }

    /// When [`Cluster::run_hints`] is due.
    pub(crate) fn hints_due(&self) -> Option<Instant> {
        let chase = self.hints.chase.as_ref().map(|chase| chase.next);
        chase.into_iter().chain(self.hints.patience_ends).min()
    }

    /// Probes the node that leads by its word alone, until it says so itself.
    pub(crate) fn run_hints(&mut self, now: Instant) {
        let Some(chase) = &self.hints.chase else { return };
        let (node, over) = (chase.node, now.saturating_duration_since(chase.since) >= CHASE_FOR);
        if over || self.is_primary(node) {
            self.hints.chase = None;
        } else if now >= chase.next {
            self.hints.chase.as_mut().expect("there is one").next = now + CHASE_INTERVAL;
            self.ask(Action::ProbeNow(node));
        }
    }

    /// What becomes of an election when the one who would win is not the one who is said to lead, although that one
    /// claims too.
    pub(crate) fn heed_hint(&mut self, verdict: Verdict, now: Instant) -> Verdict {
        self.note_claims(now);
        self.hints.patience_ends = None;
        let contradiction = match (verdict.outcome, self.hints.last) {
            (Outcome::Primary(elected), Some(LeaderHint { leader: HintedLeader::Node(named), asked_at }))
                if elected != named && self.claims_firmly(named) =>
            {
                Some((elected, named, asked_at))
            }
            _ => None,
        };
        let Some((elected, named, asked_at)) = contradiction else {
            self.hints.told = None;
            return verdict;
        };
        let claimed =
            self.hints.claims.iter().find(|claim| claim.node == elected).map_or(now, |claim| claim.since);
        let is_older = asked_at < claimed;
        if is_older {
            if now.saturating_duration_since(claimed) >= HINT_PATIENCE {
                return verdict;
            }
            self.hints.patience_ends = Some(claimed + HINT_PATIENCE);
            self.ask(Action::AskLeader);
        } else {
            self.tell_contradiction(elected, named);
        }
        let outcome = match self.keeps(named) {
            true => Outcome::Primary(named),
            false if is_older => Outcome::Waiting,
            false => Outcome::Split(elected, named),
        };
        let stale = verdict.stale.into_iter().filter(|id| *id != named).collect();
        Verdict { outcome, stale, ..verdict }
    }

    fn tell_contradiction(&mut self, elected: NodeId, named: NodeId) {
        if self.hints.told != Some((elected, named)) {
            self.hints.told = Some((elected, named));
            let both = self.node(elected).zip(self.node(named));
            let event = both.map(|(node, leader)| Event::ContradictedPrimary {
                node: node.named(),
                timeline: node.timeline(),
                leader: leader.named(),
            });
            event.into_iter().for_each(|event| self.tell(event));
        }
    }

    /// Since when each claim stands.
    fn note_claims(&mut self, now: Instant) {
        let known = std::mem::take(&mut self.hints.claims);
        self.hints.claims = (self.nodes().iter())
            .filter_map(|node| {
                let said = node.said.filter(|said| said.role == Role::Primary)?;
                let (node, timeline) = (node.id, said.timeline);
                let before = known.iter().find(|claim| (claim.node, claim.timeline) == (node, timeline));
                Some(before.copied().unwrap_or(ClaimSince { node, timeline, since: now }))
            })
            .collect();
    }

    /// Whether the primary in place stays it although another node claims a higher timeline. Not if a standby streams
    /// that timeline: then the cluster has moved on, and only people can say where to.
    fn keeps(&self, named: NodeId) -> bool {
        let Some(node) = self.node(named) else { return false };
        let reigns = self.present() == Some(Reign { node: named, timeline: node.timeline() });
        let has_moved_on = self.nodes().iter().any(|other| {
            let said = other.said.as_ref();
            said.is_some_and(|said| {
                said.role == Role::Standby && said.streaming && other.timeline() > node.timeline()
            })
        });
        reigns && !has_moved_on
    }

    /// Whether the node itself says, now, that it is a primary.
    fn claims_firmly(&self, id: NodeId) -> bool {
        let of_cluster = |node: &Node| node.said.is_some_and(|said| self.is_of_cluster(said.system_id));
        self.node(id)
            .is_some_and(|node| node.role() == Role::Primary && node.reach == Reach::Up && of_cluster(node))
    }

    fn is_primary(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.role() == Role::Primary && node.reach == Reach::Up)
    }
}

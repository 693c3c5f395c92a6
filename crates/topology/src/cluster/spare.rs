//! Spares: nodes that serve in place of others that were lost, and not before.
//!
//! A function of what is seen and for how long: nothing of it is stored, so that after a restart the same comes about again
//! as soon as a node has been missed for the time that is set.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use super::Cluster;
use crate::{
    event::Event,
    node::{DownReason, Node, NodeId, Reach},
    probe::Role,
    settings::{Service, SpareSettings},
    snapshot::{Duty, Health},
};

/// For how long a node that was lost has to follow the primary before its spare steps back, at most.
const BACK_FOR: Duration = Duration::from_secs(10);
/// What a standby may lack of the primary's WAL to be a full one, in bytes.
const CAUGHT_UP: u64 = 16 << 20;

/// What is known of spares, and of those that they stand in for.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    settings: SpareSettings,
    /// Of the nodes that are no spares; empty while there are no spares.
    presences: Vec<(NodeId, Presence)>,
    /// Of the spares.
    duties: Vec<(NodeId, Duty)>,
}

/// Whether a node that is no spare is there.
/// ```text
///   Here --it is down or of no use--> Missing --`SpareSettings::after`--> Lost --it follows--> Returning --a while--> Here
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    Missing { since: Instant },
    Lost,
    Returning { since: Instant },
}

impl Presence {
    fn next(self, is_here: bool, is_back: bool, settings: &SpareSettings, now: Instant) -> Self {
        let since = |since: Instant| now.saturating_duration_since(since);
        match self {
            Self::Here | Self::Missing { .. } if is_here => Self::Here,
            Self::Here => Self::Missing { since: now },
            Self::Missing { since: at } if since(at) >= settings.after => Self::Lost,
            Self::Lost if is_back => Self::Returning { since: now },
            Self::Returning { .. } if !is_back => Self::Lost,
            Self::Returning { since: at } if since(at) >= back_for(settings) => Self::Here,
            Self::Missing { .. } | Self::Lost | Self::Returning { .. } => self,
        }
    }

    fn due(self, settings: &SpareSettings) -> Option<Instant> {
        match self {
            Self::Here | Self::Lost => None,
            // too far off to be told is never
            Self::Missing { since } => since.checked_add(settings.after),
            Self::Returning { since } => since.checked_add(back_for(settings)),
        }
    }

    fn is_lost(self) -> bool {
        match self {
            Self::Here | Self::Missing { .. } => false,
            Self::Lost | Self::Returning { .. } => true,
        }
    }
}

fn back_for(settings: &SpareSettings) -> Duration {
    settings.after.min(BACK_FOR)
}

impl Cluster {
    pub(crate) fn set_spares(&mut self, settings: SpareSettings) {
        self.spares.settings = settings;
    }

    /// What a node is there for.
    pub(crate) fn duty_of(&self, node: &Node) -> Duty {
        let duty = self.spares.duties.iter().find(|(id, _)| *id == node.id).map(|(_, duty)| *duty);
        duty.unwrap_or(if node.service.is_spare() { Duty::Spare } else { Duty::Member })
    }

    /// When [`Cluster::judge_spares`] has something to do although nothing has happened.
    pub(crate) fn spares_due(&self) -> Option<Instant> {
        let spares = &self.spares;
        spares.presences.iter().filter_map(|(_, presence)| presence.due(&spares.settings)).min()
    }

    /// Finds who is lost, and who stands in for it.
    pub(crate) fn judge_spares(&mut self, now: Instant) {
        if self.nodes().iter().all(|node| !node.service.is_spare()) {
            (self.spares.presences, self.spares.duties) = (Vec::new(), Vec::new());
            return;
        }
        self.spares.presences = self.presences(now);
        let lost: Vec<NodeId> = (self.spares.presences.iter())
            .filter(|(id, presence)| presence.is_lost() && !self.is_detached(*id))
            .map(|(id, _)| *id)
            .collect();
        let mut duties = self.kept_duties(&lost);
        for lost in &lost {
            if duties.iter().any(|(_, duty)| *duty == Duty::StandingIn(*lost)) {
                continue;
            }
            let called = duties.iter().position(|(_, duty)| *duty == Duty::Called(*lost));
            let next = match self.best_to_stand_in(*lost, &duties) {
                Some(at) => Some((at, Duty::StandingIn(*lost))),
                None => self.best_to_call(*lost, &duties).map(|at| (at, Duty::Called(*lost))),
            };
            if let Some((at, duty)) = next {
                if let Some(called) = called {
                    duties[called].1 = Duty::Spare;
                }
                duties[at].1 = duty;
            }
        }
        self.tell_duties(&duties);
        self.spares.duties = duties;
    }

    fn presences(&self, now: Instant) -> Vec<(NodeId, Presence)> {
        let members = self.nodes().iter().filter(|node| !node.service.is_spare());
        let next = |node: &Node| {
            let before = self.spares.presences.iter().find(|(id, _)| *id == node.id);
            let before = before.map_or(Presence::Here, |(_, presence)| *presence);
            // who was not asked yet is not missed
            let is_here = matches!(node.health, Health::Up | Health::Suspect | Health::Unknown)
                || self.is_resting(node.id);
            let is_back = self.reigns(node.id) || self.follows(node);
            (node.id, before.next(is_here, is_back, &self.spares.settings, now))
        };
        members.map(next).collect()
    }

    /// What every spare did before, if there is still a reason for it and it still can.
    fn kept_duties(&self, lost: &[NodeId]) -> Vec<(NodeId, Duty)> {
        let spares = self.nodes().iter().filter(|node| node.service.is_spare());
        let keep = |node: &Node| {
            let duty = match self.duty_of(node) {
                Duty::StandingIn(whom) if lost.contains(&whom) && self.still_serves(node) => {
                    Duty::StandingIn(whom)
                }
                Duty::Called(whom) if lost.contains(&whom) && self.may_be_called(node) => Duty::Called(whom),
                Duty::Member | Duty::Spare | Duty::Called(_) | Duty::StandingIn(_) => Duty::Spare,
            };
            (node.id, duty)
        };
        spares.map(keep).collect()
    }

    /// Of the spares that can take a lost node's place at once, the best placed. One that is the primary has taken it.
    fn best_to_stand_in(&self, lost: NodeId, duties: &[(NodeId, Duty)]) -> Option<usize> {
        let can =
            |(_, (_, duty)): &(usize, (&Node, Duty))| *duty == Duty::Spare || *duty == Duty::Called(lost);
        let ready = |(_, (node, _)): &(usize, (&Node, Duty))| {
            !self.is_detached(node.id) && (self.reigns(node.id) || self.follows(node))
        };
        let rank = |(_, (node, duty)): &(usize, (&Node, Duty))| {
            (!self.reigns(node.id), *duty != Duty::Called(lost), self.distance(node, lost))
        };
        self.with_nodes(duties).filter(can).filter(ready).min_by_key(rank).map(|(at, _)| at)
    }

    /// Of the spares that have to be made standbys first, the best placed; those whose host surely answers before others,
    /// and one that was called already before its equals.
    fn best_to_call(&self, lost: NodeId, duties: &[(NodeId, Duty)]) -> Option<usize> {
        let rank = |(at, (node, duty)): (usize, (&Node, Duty))| {
            let is_called = duty == Duty::Called(lost);
            let is_silent = match node.reach {
                Reach::Down(DownReason::Refused) => false,
                Reach::Down(DownReason::Silent) => true,
                // of others there is a server, and it may be somebody else's
                Reach::Down(DownReason::StartsForTooLong | DownReason::Unusable(_)) if is_called => true,
                Reach::Unknown | Reach::Up | Reach::Suspect { .. } | Reach::Recovering { .. }
                    if is_called =>
                {
                    false
                }
                Reach::Down(DownReason::StartsForTooLong | DownReason::Unusable(_))
                | Reach::Unknown
                | Reach::Up
                | Reach::Suspect { .. }
                | Reach::Recovering { .. } => return None,
            };
            let can = (duty == Duty::Spare || is_called) && self.may_be_called(node);
            can.then(|| (at, (is_silent, !is_called, self.distance(node, lost))))
        };
        let best = self.with_nodes(duties).filter_map(rank).min_by_key(|(_, rank)| *rank);
        best.map(|(at, _)| at)
    }

    fn with_nodes<'a>(
        &'a self,
        duties: &'a [(NodeId, Duty)],
    ) -> impl Iterator<Item = (usize, (&'a Node, Duty))> {
        let with_node = |(at, (id, duty)): (usize, &(NodeId, Duty))| Some((at, (self.node(*id)?, *duty)));
        duties.iter().enumerate().filter_map(with_node)
    }

    /// Whether it may be made a standby: nothing is there, or a server of this cluster that may be replaced.
    fn may_be_called(&self, node: &Node) -> bool {
        node.service == Service::Buildable
            && !self.is_detached(node.id)
            && !matches!(node.health, Health::Foreign | Health::Stale)
    }

    /// How far a spare is from being the very best for this one: another region, one that comes late, a low priority.
    fn distance(&self, spare: &Node, lost: NodeId) -> (bool, usize, Reverse<u16>) {
        let regions = &self.spares.settings.regions;
        let place = regions.iter().position(|region| **region == *spare.region).unwrap_or(usize::MAX);
        let is_elsewhere = self.node(lost).is_none_or(|lost| lost.region != spare.region);
        (is_elsewhere, place, Reverse(spare.priority))
    }

    fn reigns(&self, id: NodeId) -> bool {
        self.present().is_some_and(|reign| reign.node == id)
    }

    /// Whether it receives what the primary writes, and has nearly all of it.
    fn follows(&self, node: &Node) -> bool {
        // while there is no primary, nobody streams from it
        let vacant = self.vacancy().is_some();
        let view = node.view(self.floor, &self.wal, vacant);
        view.role == Role::Standby
            && view.health == Health::Up
            && (view.streaming || vacant)
            && view.lag_bytes.is_some_and(|lag| lag <= CAUGHT_UP)
    }

    /// Less is asked of one that serves already: what it lacks is judged by each request.
    fn still_serves(&self, node: &Node) -> bool {
        let is_up = matches!(node.health, Health::Up | Health::Suspect) || self.is_resting(node.id);
        !self.is_detached(node.id) && (self.reigns(node.id) || node.role() == Role::Standby && is_up)
    }

    /// Says what has changed.
    fn tell_duties(&mut self, duties: &[(NodeId, Duty)]) {
        let mut events = Vec::new();
        for (id, duty) in duties {
            let Some(node) = self.node(*id) else { continue };
            let before = self.duty_of(node);
            let name = |id: NodeId| self.node(id).map(Node::named);
            let spare = node.named();
            match (before, *duty) {
                (before, duty) if before == duty => {}
                (_, Duty::StandingIn(lost)) => {
                    events.extend(name(lost).map(|lost| Event::SpareServes { spare, lost }));
                }
                (_, Duty::Called(lost)) => {
                    events.extend(name(lost).map(|lost| Event::SpareCalled { spare, lost }));
                }
                (Duty::StandingIn(_), Duty::Spare | Duty::Member) => events.push(Event::SpareRests { spare }),
                (Duty::Called(_) | Duty::Spare | Duty::Member, Duty::Spare | Duty::Member) => {}
            }
        }
        events.into_iter().for_each(|event| self.tell(event));
    }
}

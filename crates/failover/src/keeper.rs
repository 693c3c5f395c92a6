//! What keeps every other node a standby of the primary, one node at a time, while no failover is under way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use topology::{Health, NodeId, NodeView, Role};

use crate::{
    manager::{Manager, address, outcome},
    note::Step,
    order::{Answer, Failure, OrderId, Task},
};

/// How long a standby may be without its primary before it is told whom to follow.
const ASTRAY_AFTER: Duration = Duration::from_secs(2);
/// How long a standby that was told may take.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(10);
/// How soon a former primary is seen to, so that a failover is over first.
const REJOIN_AFTER: Duration = Duration::from_millis(500);
/// Time to the next attempt after a failed one, which doubles …
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// … up to this.
const RETRY_LAST: Duration = Duration::from_secs(60);

/// How far one node is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// Nothing is to be done.
    Content,
    /// It does not follow the primary, since then.
    Astray(Instant),
    /// It is being told whom to follow.
    Telling(OrderId),
    /// It has been told, and may take until then.
    Told(Instant),
    /// It is being made a standby.
    Rejoining(OrderId),
    /// It is left alone until then, after so many failures.
    Resting { until: Instant, failures: u32 },
}

impl Keeper {
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Telling(_) | Self::Rejoining(_))
    }
}

impl Manager {
    /// Looks after every node but the primary.
    pub(crate) fn keep(&mut self, now: Instant) {
        let snapshot = Arc::clone(self.snapshot());
        self.keepers.retain(|id, keeper| snapshot.node(*id).is_some() || keeper.is_busy());
        let Some(primary) = self.primary().map(|primary| primary.id) else { return };
        if self.is_running() || !self.is_acting() {
            return;
        }
        for node in snapshot.nodes.iter().filter(|node| node.id != primary) {
            self.keep_one(node, primary, now);
        }
    }

    fn keep_one(&mut self, node: &NodeView, primary: NodeId, now: Instant) {
        let follows = node.role == Role::Standby
            && node.health == Health::Up
            && node.streaming
            && Some(node.timeline) == self.snapshot().timeline;
        let place = address(node);
        let is_deposed = self.record().deposed.contains(&place);
        let keeper = self.keepers.get(&node.id).copied().unwrap_or(Keeper::Content);
        let next = match keeper {
            busy @ (Keeper::Telling(_) | Keeper::Rejoining(_)) => busy,
            _ if follows => {
                if is_deposed {
                    self.is_back_in_line(&place);
                    self.note(now, Some(node.id), Step::Rejoined);
                }
                Keeper::Content
            }
            // who is neither up nor known to be in need is left to those who stopped it
            _ if !is_deposed && (node.health != Health::Up || node.role != Role::Standby) => Keeper::Content,
            Keeper::Content => Keeper::Astray(now),
            Keeper::Astray(since) if is_deposed && self.is_calm(now, REJOIN_AFTER) => {
                let _ = since;
                self.rejoin(node.id, primary, now)
            }
            Keeper::Astray(since) if !is_deposed && now.saturating_duration_since(since) >= ASTRAY_AFTER => {
                return self.follow(node.id, primary, now);
            }
            Keeper::Told(until) if now >= until && is_deposed => self.rejoin(node.id, primary, now),
            Keeper::Told(until) if now >= until => resting(1, now),
            Keeper::Resting { until, .. } if now >= until && is_deposed => self.rejoin(node.id, primary, now),
            Keeper::Resting { until, .. } if now >= until => Keeper::Astray(now - ASTRAY_AFTER),
            waiting @ (Keeper::Astray(_) | Keeper::Told(_) | Keeper::Resting { .. }) => waiting,
        };
        self.keepers.insert(node.id, next);
    }

    fn is_calm(&self, now: Instant, least: Duration) -> bool {
        now.saturating_duration_since(self.calm_since) >= least
    }

    /// Tells a standby to follow `primary`.
    pub(crate) fn follow(&mut self, node: NodeId, primary: NodeId, _now: Instant) {
        let order = self.order(Task::Follow { node, upstream: primary }, self.record().epoch);
        self.keepers.insert(node, Keeper::Telling(order));
    }

    fn rejoin(&mut self, node: NodeId, primary: NodeId, now: Instant) -> Keeper {
        self.note(now, Some(node), Step::Rejoining);
        Keeper::Rejoining(self.order(Task::Rejoin { node, upstream: primary }, self.record().epoch))
    }

    fn is_back_in_line(&mut self, place: &Arc<str>) {
        let mut record = self.record().clone();
        record.deposed.retain(|address| address != place);
        self.store(record);
    }

    /// The end of an order that no run waits for.
    pub(crate) fn keeper_answered(&mut self, id: OrderId, answer: Answer, now: Instant) {
        let waiting = self.keepers.iter().find(
            |(_, keeper)| matches!(keeper, Keeper::Telling(order) | Keeper::Rejoining(order) if *order == id),
        );
        let Some((node, keeper)) = waiting.map(|(node, keeper)| (*node, *keeper)) else { return };
        let next = match (&keeper, outcome(&answer)) {
            (Keeper::Telling(_), Ok(())) => {
                self.note(now, Some(node), Step::Followed);
                Keeper::Told(now + FOLLOW_PATIENCE)
            }
            (_, Ok(())) => Keeper::Told(now + FOLLOW_PATIENCE),
            (_, Err(why)) => {
                let is_impossible = matches!(answer, Err(Failure::Impossible(_)));
                self.note(now, Some(node), Step::Failed(why));
                if is_impossible {
                    Keeper::Resting { until: now + RETRY_LAST, failures: u32::MAX }
                } else {
                    resting(1, now)
                }
            }
        };
        self.keepers.insert(node, next);
    }

    /// When [`Manager::keep`] has something to do although nothing has happened.
    pub(crate) fn keepers_due(&self) -> Option<Instant> {
        if self.is_running() || self.primary().is_none() {
            return None;
        }
        self.keepers
            .values()
            .filter_map(|keeper| match keeper {
                Keeper::Astray(since) => Some((*since + REJOIN_AFTER).max(self.calm_since + REJOIN_AFTER)),
                Keeper::Told(until) | Keeper::Resting { until, .. } => Some(*until),
                Keeper::Content | Keeper::Telling(_) | Keeper::Rejoining(_) => None,
            })
            .min()
    }
}

fn resting(failures: u32, now: Instant) -> Keeper {
    let pause = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(5)).min(RETRY_LAST);
    Keeper::Resting { until: now + pause, failures }
}

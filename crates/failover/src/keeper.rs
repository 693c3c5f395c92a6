//! What keeps every other node a standby of the primary, one node at a time, while no failover is under way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use topology::{Duty, Health, NodeId, NodeView, Reads, Role};

use crate::{
    manager::{Manager, address},
    note::Step,
    order::{Answer, Failure, OrderId, Task, outcome},
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
/// A standby that has been told so many times in vain may have gone another way than its primary, which no telling mends.
const TELLINGS: u32 = 2;

/// How far one node is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keeper {
    state: State,
    /// Attempts in a row that have brought nothing.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is to be done.
    Content,
    /// It does not follow the primary, since then.
    Astray(Instant),
    /// It is being told whom to follow.
    Telling(OrderId),
    /// It has been told, or made a standby, and may take until then.
    Told(Instant),
    /// It is being made a standby.
    Rejoining(OrderId),
    /// It is left alone until then.
    Resting(Instant),
    /// It can neither be told whom to follow nor be made a standby, and is left alone until then or until it can be told.
    Helpless(Instant),
}

impl Keeper {
    const CONTENT: Self = Self { state: State::Content, failures: 0 };

    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.state, State::Telling(_) | State::Rejoining(_))
    }

    fn with(self, state: State) -> Self {
        Self { state, ..self }
    }

    /// Once more in vain: it rests, ever longer.
    fn failed(self, now: Instant) -> Self {
        let failures = self.failures.saturating_add(1);
        let pause = RETRY_FIRST.saturating_mul(1 << self.failures.min(5)).min(RETRY_LAST);
        Self { state: State::Resting(now + pause), failures }
    }

    /// Whether the next attempt on a standby is to make it one anew.
    fn is_beyond_telling(&self) -> bool {
        self.failures % (TELLINGS + 1) == TELLINGS
    }
}

/// Whether SQL reaches it as a standby.
fn can_be_told(node: &NodeView) -> bool {
    node.role == Role::Standby && node.health == Health::Up
}

impl Manager {
    /// Looks after every node but the primary.
    pub(crate) fn keep(&mut self, now: Instant) {
        let snapshot = Arc::clone(self.snapshot());
        self.keepers.retain(|id, keeper| snapshot.node(*id).is_some() || keeper.is_busy());
        let Some(primary) = self.kept_for() else { return };
        for node in snapshot.nodes.iter().filter(|node| node.id != primary) {
            self.keep_one(node, primary, now);
        }
    }

    /// The primary that others are made to follow; `None` while nobody is.
    fn kept_for(&self) -> Option<NodeId> {
        let primary = self.primary().map(|primary| primary.id);
        primary.filter(|_| !self.is_running() && self.is_acting() && self.is_stored())
    }

    fn keep_one(&mut self, node: &NodeView, primary: NodeId, now: Instant) {
        let can_be_told = can_be_told(node);
        let follows = self.follows(node);
        let place = address(node);
        let is_deposed = self.record().deposed.contains(&place);
        let is_called = matches!(node.duty, Duty::Called(_)) && node.health == Health::Down;
        let keeper = self.keepers.get(&node.id).copied().unwrap_or(Keeper::CONTENT);
        let next = match keeper.state {
            State::Telling(_) | State::Rejoining(_) => keeper,
            _ if follows => {
                if is_deposed {
                    self.is_back_in_line(&place);
                    self.note(now, Some(node.id), Step::Rejoined);
                    self.order(Task::DropSlots { node: node.id, upstream: primary }, self.record().epoch);
                }
                Keeper::CONTENT
            }
            // what an operator has set aside is told whom to follow, and is neither rewound nor copied over
            _ if node.reads == Reads::Detached && !can_be_told => Keeper::CONTENT,
            // who is neither up nor known to be in need is left to those who stopped it
            _ if !is_deposed && !is_called && (node.health != Health::Up || node.role != Role::Standby) => {
                Keeper::CONTENT
            }
            State::Content => keeper.with(State::Astray(now)),
            // how it got there is past: it was started by somebody else
            State::Helpless(_) if can_be_told => Keeper::CONTENT.with(State::Astray(now)),
            State::Told(until) if now >= until => keeper.failed(now),
            State::Astray(_) | State::Resting(_) | State::Helpless(_)
                if self.acts_at(&keeper, is_deposed) <= Some(now) =>
            {
                let is_beyond_telling = keeper.is_beyond_telling() && node.reads != Reads::Detached;
                match !can_be_told || is_beyond_telling {
                    true => keeper.with(self.rejoin(node.id, primary, now)),
                    false => keeper.with(self.tell(node.id, primary)),
                }
            }
            State::Astray(_) | State::Told(_) | State::Resting(_) | State::Helpless(_) => keeper,
        };
        self.keepers.insert(node.id, next);
    }

    /// When a keeper does something although nothing has happened.
    fn acts_at(&self, keeper: &Keeper, is_deposed: bool) -> Option<Instant> {
        match keeper.state {
            State::Astray(_) if is_deposed => Some(self.calm_since + REJOIN_AFTER),
            State::Astray(since) => Some(since + ASTRAY_AFTER),
            State::Told(until) | State::Resting(until) | State::Helpless(until) => Some(until),
            State::Content | State::Telling(_) | State::Rejoining(_) => None,
        }
    }

    /// Tells a standby to follow `primary`.
    pub(crate) fn follow(&mut self, node: NodeId, primary: NodeId) {
        let state = self.tell(node, primary);
        self.keepers.insert(node, Keeper::CONTENT.with(state));
    }

    fn tell(&mut self, node: NodeId, primary: NodeId) -> State {
        State::Telling(self.order(Task::Follow { node, upstream: primary }, self.record().epoch))
    }

    fn rejoin(&mut self, node: NodeId, primary: NodeId, now: Instant) -> State {
        self.note(now, Some(node), Step::Rejoining);
        State::Rejoining(self.order(Task::Rejoin { node, upstream: primary }, self.record().epoch))
    }

    fn is_back_in_line(&mut self, place: &Arc<str>) {
        let mut record = self.record().clone();
        record.deposed.retain(|address| address != place);
        self.store(record);
    }

    /// There is another primary: what has failed with the last one may succeed with it.
    pub(crate) fn keep_anew(&mut self, now: Instant) {
        for keeper in self.keepers.values_mut().filter(|keeper| !keeper.is_busy()) {
            *keeper = Keeper { state: State::Astray(now), failures: 0 };
        }
    }

    /// The end of an order that no run waits for.
    pub(crate) fn keeper_answered(&mut self, id: OrderId, answer: Answer, now: Instant) {
        let waiting = self.keepers.iter().find(|(_, keeper)| {
            matches!(keeper.state, State::Telling(order) | State::Rejoining(order) if order == id)
        });
        let Some((node, keeper)) = waiting.map(|(node, keeper)| (*node, *keeper)) else { return };
        let next = match outcome(&answer) {
            Ok(()) => {
                if let State::Telling(_) = keeper.state {
                    self.note(now, Some(node), Step::Followed);
                }
                keeper.with(State::Told(now + FOLLOW_PATIENCE))
            }
            Err(why) => {
                self.note(now, Some(node), Step::Failed(why));
                let until = now + RETRY_LAST;
                match answer {
                    Err(Failure::Impossible(_)) if self.view(node).is_some_and(can_be_told) => {
                        Keeper { state: State::Resting(until), ..keeper.failed(now) }
                    }
                    Err(Failure::Impossible(_)) => {
                        Keeper { state: State::Helpless(until), ..keeper.failed(now) }
                    }
                    _ => keeper.failed(now),
                }
            }
        };
        self.keepers.insert(node, next);
    }

    /// When [`Manager::keep`] has something to do although nothing has happened.
    pub(crate) fn keepers_due(&self) -> Option<Instant> {
        let primary = self.kept_for()?;
        let due = |(id, keeper): (&NodeId, &Keeper)| {
            let place = address(self.view(*id)?);
            self.acts_at(keeper, self.record().deposed.contains(&place))
        };
        self.keepers.iter().filter(|(id, _)| **id != primary).filter_map(due).min()
    }
}

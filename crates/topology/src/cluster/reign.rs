//! From the outcome of an election to epochs, memory and events.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{Lsn, TimelineId};

use super::Cluster;
use crate::{
    action::{Action, Remembered},
    branch::{self, Branch},
    election::{HISTORY_PATIENCE, Outcome, Reign, Verdict},
    event::Event,
    mandate::Mandate,
    node::{Ancestry, NodeId, Reach},
    probe::{Role, Sample},
    snapshot::{Epoch, NoPrimary},
};

/// After how many bytes of WAL it is remembered again how far the primary is: half of what `max_lost_bytes` is by default.
pub(super) const REMEMBER_BYTES: u64 = 512 << 10;
/// How often at most: each time a file is written and synchronised.
const REMEMBER_INTERVAL: Duration = Duration::from_secs(5);

/// Whether there is a primary.
///   Vacant --elected--> Held --elected another--> Held (next epoch)
///     ^                   '---nobody elected----> Vacant (next epoch, unless it merely recovers from a crash)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tenure {
    /// This one.
    Held(Reign),
    /// None.
    Vacant(Vacancy),
}

/// A time without a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vacancy {
    pub(super) since: Instant,
    pub(super) reason: NoPrimary,
    /// Who reigned before, in this run of the proxy.
    pub(super) last: Option<Reign>,
    /// Whose the epoch still is, in a crash restart; otherwise it is nobody's yet.
    epoch_of: Option<Reign>,
    /// When all nodes are probed next.
    pub(super) next_hunt: Instant,
}

impl Vacancy {
    pub(super) fn at_the_start(now: Instant) -> Self {
        Self { since: now, reason: NoPrimary::NotFoundYet, last: None, epoch_of: None, next_hunt: now }
    }
}

/// A promotion whose cost is not known yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    from: Reign,
    to: Reign,
    /// When it was found. While `from` still answers, its position before that does not tell what it wrote last.
    since: Instant,
    /// The last known position of `from`.
    lsn: Lsn,
}

impl Cluster {
    /// Whom the failover manager allows to be the primary from now on, and the least epoch for it: what begins under
    /// this mandate must not be taken for what came before.
    pub fn set_mandate(&mut self, mandate: Mandate, epoch: Epoch, now: Instant) {
        self.mandate = mandate;
        if epoch > self.epoch {
            self.epoch = epoch;
            self.remember(now);
        }
        self.settle(now);
    }

    /// Whose claims to be the primary count for nothing from now on, as the failover manager says: they were replaced, or
    /// may have been promoted and were given up, and have not been seen as standbys since. Whatever their timeline is, it
    /// is not one that anybody was sent to. To be followed by [`Cluster::set_mandate`].
    pub fn depose(&mut self, nodes: Vec<NodeId>) {
        self.deposed = nodes;
    }

    /// Acts on who won.
    pub(super) fn apply(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Primary(node) => self.enthrone(node, now),
            Outcome::Early => {
                // Only a vacancy can be ended too early, and it goes on as it was.
                debug_assert!(self.present().is_none());
            }
            Outcome::Absent => self.vacate(self.absence(), now),
            Outcome::OnlyStale => self.vacate(NoPrimary::OnlyStale, now),
            Outcome::Forbidden => self.vacate(NoPrimary::Replacing, now),
            Outcome::Split(a, b) => {
                self.vacate(NoPrimary::SplitBrain, now);
                let (a, b) = (self.node(a), self.node(b));
                let event = a.zip(b).map(|(a, b)| Event::SplitBrain { a: a.named(), b: b.named() });
                self.tell_once(outcome, event);
            }
            Outcome::Waiting => self.vacate(NoPrimary::Unproven, now),
            Outcome::Unproven { node, expected } => {
                self.vacate(NoPrimary::Unproven, now);
                let event = self.node(node).map(|node| Event::UnprovenPrimary {
                    node: node.named(),
                    timeline: node.timeline(),
                    expected,
                });
                self.tell_once(outcome, event);
            }
        }
    }

    fn tell_once(&mut self, outcome: Outcome, event: Option<Event>) {
        if self.told != Some(outcome) {
            self.told = Some(outcome);
            event.into_iter().for_each(|event| self.tell(event));
        }
    }

    /// Why nobody can be elected when nobody (reachable) claims.
    fn absence(&self) -> NoPrimary {
        let recovering =
            |id: NodeId| self.node(id).is_some_and(|n| matches!(n.reach, Reach::Recovering { .. }));
        let last = match &self.tenure {
            Tenure::Held(reign) => Some(*reign),
            Tenure::Vacant(vacancy) => vacancy.last,
        };
        match last {
            Some(reign) if recovering(reign.node) => NoPrimary::Starting,
            Some(_) => NoPrimary::Down,
            None if self.nodes.iter().any(|node| recovering(node.id)) => NoPrimary::Starting,
            None => NoPrimary::NotFoundYet,
        }
    }

    fn enthrone(&mut self, id: NodeId, now: Instant) {
        let Some((node, said)) = self.node(id).and_then(|node| Some((node, node.said?))) else { return };
        let (named, left) = (node.named(), node.history().cloned().unwrap_or_default());
        let reign = Reign { node: id, timeline: said.timeline };
        let (last, epoch_of, gap) = match self.tenure {
            Tenure::Held(held) if held == reign => {
                self.wal.record(said.timeline, said.sent_at, said.wal_lsn);
                if self.know_branch(reign) || self.has_outgrown_memory(now) {
                    self.remember(now);
                }
                return;
            }
            Tenure::Held(held) => (Some(held), Some(held), Duration::ZERO),
            Tenure::Vacant(vacancy) => {
                (vacancy.last, vacancy.epoch_of, now.saturating_duration_since(vacancy.since))
            }
        };
        if epoch_of.is_some_and(|owner| owner != reign) {
            self.next_epoch();
        }
        let epoch = self.epoch;
        let event = match last {
            None => Event::PrimaryFound { node: named, timeline: reign.timeline, epoch },
            Some(last) if last == reign => Event::PrimaryBack { node: named, epoch, gap },
            Some(last) => {
                let tail = self.tail_of(last, reign, now);
                let switch_lsn = left.left(last.timeline);
                let known = tail.filter(|tail| self.has_ended(tail));
                self.tail = tail.filter(|_| switch_lsn.is_none() || known.is_none());
                Event::Promoted {
                    node: named,
                    from: self.node(last.node).map(|node| node.named()),
                    timeline: reign.timeline,
                    epoch,
                    switch_lsn,
                    lost_bytes: known.zip(switch_lsn).map(|(tail, switch)| tail.lsn.bytes_since(switch)),
                    gap,
                }
            }
        };
        self.tell(event);
        self.told = None;
        self.tenure = Tenure::Held(reign);
        self.know_branch(reign);
        self.floor = self.floor.max(Some(reign.timeline));
        self.wal.record(said.timeline, said.sent_at, said.wal_lsn);
        self.remember(now);
    }

    /// Takes in what tells the timeline of `reign` from another of its number. True if there is more news than the
    /// growth of the WAL.
    fn know_branch(&mut self, reign: Reign) -> bool {
        let Some(node) = self.node(reign.node) else { return false };
        let read = node.history().and_then(|history| history.began(reign.timeline, reign.timeline));
        let known = self.branch.as_ref().filter(|_| self.floor == Some(reign.timeline));
        // who was another server while the timeline before was written to is one still
        let met = (self.branch.iter())
            .flat_map(|branch| branch.others.iter().chain(known.is_none().then_some(&branch.address)));
        let present = self.nodes.iter().map(|node| &node.address);
        let others = branch::others_than(&node.address, met.chain(present));
        let same = known.filter(|branch| branch.others == others);
        let branch = Branch {
            address: Arc::clone(&node.address),
            others,
            wal_lsn: node.said.map_or(Lsn(0), |said| said.wal_lsn),
            fork: read.or(known.and_then(|branch| branch.fork)),
        };
        let is_news = same.is_none_or(|same| (&same.address, same.fork) != (&branch.address, branch.fork));
        self.branch = Some(branch);
        is_news
    }

    /// The primary, if it is not known where its timeline began.
    fn of_unknown_branch(&self) -> Option<NodeId> {
        let reign = self.present().filter(|reign| reign.timeline > TimelineId(1))?;
        self.branch.as_ref().is_none_or(|branch| branch.fork.is_none()).then_some(reign.node)
    }

    pub(super) fn vacate(&mut self, reason: NoPrimary, now: Instant) {
        match self.tenure {
            Tenure::Held(reign) => {
                let recovers = reason == NoPrimary::Starting;
                if !recovers {
                    self.next_epoch();
                }
                if let Some(node) = self.node(reign.node).map(|node| node.named()) {
                    self.tell(Event::PrimaryLost { node, reason });
                }
                let epoch_of = recovers.then_some(reign);
                self.tenure = Tenure::Vacant(Vacancy {
                    since: now,
                    reason,
                    last: Some(reign),
                    epoch_of,
                    next_hunt: now,
                });
                self.hunt(now);
                self.remember(now);
            }
            Tenure::Vacant(vacancy) if vacancy.reason != reason => {
                let mut vacancy = Vacancy { reason, ..vacancy };
                if reason != NoPrimary::Starting && vacancy.epoch_of.take().is_some() {
                    self.next_epoch();
                    self.remember(now);
                }
                self.tenure = Tenure::Vacant(vacancy);
            }
            Tenure::Vacant(_) => {}
        }
    }

    fn next_epoch(&mut self) {
        self.epoch = Epoch(self.epoch.0.saturating_add(1));
    }

    /// Whether so much was written since that what a standby lacks would be misjudged by much, should the primary and the
    /// proxy end at once.
    fn has_outgrown_memory(&self, now: Instant) -> bool {
        let written = self.branch.as_ref().map(|branch| branch.wal_lsn).unwrap_or_default();
        self.remembered.is_none_or(|(at, lsn)| {
            written.bytes_since(lsn) >= REMEMBER_BYTES && now >= at + REMEMBER_INTERVAL
        })
    }

    pub(super) fn remember(&mut self, now: Instant) {
        if let (Some(system_id), Some(timeline)) = (self.system_id, self.floor) {
            let branch = self.branch.clone();
            self.remembered = branch.as_ref().map(|branch| (now, branch.wal_lsn));
            let sync_names = self.synchrony.as_ref().filter(|known| known.waits()).map(|known| &known.text);
            let sync_names = sync_names.cloned();
            let epoch = self.epoch;
            self.ask(Action::Remember(Remembered { system_id, timeline, branch, sync_names, epoch }));
        }
    }

    /// What of `last`'s WAL may be missing from `next`.
    fn tail_of(&self, last: Reign, next: Reign, now: Instant) -> Option<Tail> {
        let sampled =
            self.wal.last().filter(|_| self.wal.timeline() == Some(last.timeline)).map(|(_, lsn)| lsn);
        let lsn = sampled.max(self.claimed_by(last).map(|said| said.wal_lsn))?;
        (next.timeline > last.timeline).then_some(Tail { from: last, to: next, since: now, lsn })
    }

    /// What the node said last, if that was still as the primary of `reign`.
    pub(super) fn claimed_by(&self, reign: Reign) -> Option<Sample> {
        let said = self.node(reign.node)?.said?;
        (said.role == Role::Primary && said.timeline == reign.timeline).then_some(said)
    }

    /// Whether no more is to be learned of the old primary's position: it was asked after the promotion, or is gone.
    fn has_ended(&self, tail: &Tail) -> bool {
        let Some(node) = self.node(tail.from.node) else { return true };
        match node.reach {
            Reach::Down(_) | Reach::Unknown => true,
            Reach::Up | Reach::Suspect { .. } | Reach::Recovering { .. } => {
                self.claimed_by(tail.from).is_none_or(|said| said.sent_at >= tail.since)
            }
        }
    }

    /// Tells the cost of the last promotion once the new primary's history is read.
    pub(super) fn count_tail(&mut self) {
        let Some(tail) = self.tail else { return };
        if self.present().is_some_and(|reign| reign != tail.to) {
            self.tail = None;
            return;
        }
        if !self.has_ended(&tail) {
            return;
        }
        let Some(node) = self.node(tail.to.node).filter(|node| node.timeline() == tail.to.timeline) else {
            return;
        };
        let Some(history) = node.history() else { return };
        let (named, left) = (node.named(), history.left(tail.from.timeline));
        self.tail = None;
        if let Some(switch_lsn) = left {
            let lsn = tail.lsn.max(self.claimed_by(tail.from).map_or(tail.lsn, |said| said.wal_lsn));
            let (timeline, lost_bytes) = (tail.from.timeline, lsn.bytes_since(switch_lsn));
            self.tell(Event::TailCounted { node: named, timeline, switch_lsn, lost_bytes });
        }
    }

    /// Asks for the history that would decide the election, or else tell the cost of the last one, or else prove later
    /// who was written to; again ever more rarely while it does not come.
    pub(super) fn ask_history(&mut self, verdict: &Verdict, now: Instant) {
        self.history_due = None;
        let counts = self.tail.map(|tail| tail.to.node);
        let Some(id) = verdict.wants_history.or(counts).or(self.of_unknown_branch()) else { return };
        let Some(node) = self.node_mut(id).filter(|node| node.reach == Reach::Up) else { return };
        let timeline = node.timeline();
        let (since, again_at, ask) = match &node.ancestry {
            Ancestry::Read { timeline: read, .. } if *read == timeline => return,
            Ancestry::Asked { timeline: asked, since, again_at } if *asked == timeline => {
                let waited = now.saturating_duration_since(*since).max(HISTORY_PATIENCE);
                let due = now >= *again_at;
                (*since, if due { now + waited } else { *again_at }, due)
            }
            Ancestry::Unread | Ancestry::Read { .. } | Ancestry::Asked { .. } => {
                (now, now + HISTORY_PATIENCE, true)
            }
        };
        node.ancestry = Ancestry::Asked { timeline, since, again_at };
        let gives_up = (verdict.outcome == Outcome::Waiting).then_some(since + HISTORY_PATIENCE);
        self.history_due = Some(gives_up.map_or(again_at, |at| at.min(again_at)));
        if ask {
            self.ask(Action::ReadHistory(id, timeline));
        }
    }
}

//! The state machine: snapshots, answers, commands and time in; orders, notes, replies and a mandate out.

mod begin;
mod covered;
mod elect;
mod end;
mod errand;
mod home;
mod planned;
mod run;
mod stages;
#[cfg(test)]
mod tests;
mod views;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use topology::{Epoch, Mandate, NodeId, Snapshot};
use wire::TimelineId;

use crate::{
    command::{Command, Refusal, Reply, Ticket},
    hindrance::Hindrance,
    keeper::Keeper,
    note::{Note, Step},
    order::{Answer, Failure, Order, OrderId, Task},
    record::{Phase, Record},
    settings::Settings,
};
use errand::Errand;
use home::Homecoming;
use run::Run;
pub(crate) use views::address;

/// Notes kept for a shell that does not drain them; the oldest go first.
const NOTES_MAX: usize = 1024;
/// Time to the next attempt to store a record that could not be stored.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// Who was the primary last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reign {
    /// `None` if it is not configured any more.
    pub(crate) node: Option<NodeId>,
    pub(crate) timeline: TimelineId,
}

/// Decides alone about one cluster. See the crate's documentation for the protocol between it and its shell.
#[derive(Debug)]
pub struct Manager {
    settings: Settings,
    snapshot: Arc<Snapshot>,
    /// As it was last ordered to be stored.
    record: Record,
    reign: Option<Reign>,
    run: Option<Run>,
    errand: Option<Errand>,
    home: Homecoming,
    /// The last failover that it began by itself: when it ended, and who was promoted.
    last: Option<(Instant, Option<NodeId>)>,
    /// A halt that could not be undone is not tried to be undone before this.
    resume_at: Option<Instant>,
    /// No attempt before this, since the last one failed, and why.
    failed: Option<(Instant, String)>,
    /// The record as it was ordered to be stored last, and when to order it again if it could not be.
    last_store: Option<OrderId>,
    unsaved: Option<Instant>,
    is_maintenance: bool,
    superseded: Option<Epoch>,
    /// The last epoch that was stored: nodes take orders of no earlier one any more, so no later one may be ordered in.
    stored: Epoch,
    pub(crate) keepers: BTreeMap<NodeId, Keeper>,
    /// Since when the primary has been as it is.
    pub(crate) calm_since: Instant,
    /// Sessions with nodes are open for a run.
    has_sessions: bool,
    next_order: u64,
    orders: VecDeque<Order>,
    notes: VecDeque<Note>,
    replies: VecDeque<Reply>,
}

impl Manager {
    /// Goes on from what a predecessor has stored; [`Record::default`] if there was none.
    #[must_use]
    pub fn new(settings: Settings, record: Record, snapshot: Arc<Snapshot>, now: Instant) -> Self {
        let stored = record.epoch;
        let mut manager = Self {
            settings,
            snapshot,
            record,
            reign: None,
            run: None,
            errand: None,
            home: Homecoming::default(),
            last: None,
            resume_at: None,
            failed: None,
            last_store: None,
            unsaved: None,
            is_maintenance: false,
            superseded: None,
            stored,
            keepers: BTreeMap::new(),
            calm_since: now,
            has_sessions: false,
            next_order: 0,
            orders: VecDeque::new(),
            notes: VecDeque::new(),
            replies: VecDeque::new(),
        };
        manager.take_up(now);
        manager
    }

    /// What a predecessor left: who reigned, and perhaps a failover in the middle.
    fn take_up(&mut self, now: Instant) {
        // a run goes on in an epoch of its own, so that what the predecessor had sent does nothing late
        match self.record.phase.clone() {
            Phase::Vacant => {}
            Phase::Serving { node, timeline } => {
                self.reign = Some(Reign { node: self.find(&node), timeline });
            }
            Phase::Halting { from } => {
                let timeline = self.snapshot.timeline.unwrap_or(TimelineId(0));
                self.reign = Some(Reign { node: self.find(&from), timeline });
                self.run = Some(Run::to_revert(self.next_epoch(), self.reign, now));
                self.note(now, self.find(&from), Step::TakenUp);
            }
            Phase::Fencing { from } => {
                let timeline = self.snapshot.timeline.unwrap_or(TimelineId(0));
                self.reign = Some(Reign { node: from.and_then(|from| self.find(&from)), timeline });
            }
            Phase::Promoting { node, above, from, .. } => {
                self.reign = Some(Reign { node: from.and_then(|from| self.find(&from)), timeline: above });
                let tried = self.maybe_promoted();
                self.run = Some(Run::taken_up(
                    self.next_epoch(),
                    self.reign,
                    self.settings.max_lost_bytes,
                    tried,
                    now,
                ));
                self.note(now, self.find(&node), Step::TakenUp);
            }
        }
    }

    /// Where those are who may have been promoted by attempts of which no end is recorded; the last candidate last.
    fn maybe_promoted(&self) -> Vec<Arc<str>> {
        match &self.record.phase {
            Phase::Vacant | Phase::Serving { .. } | Phase::Halting { .. } | Phase::Fencing { .. } => {
                Vec::new()
            }
            Phase::Promoting { node, earlier, .. } => earlier.iter().chain([node]).cloned().collect(),
        }
    }

    /// The address of who reigned last.
    fn reigned_at(&self) -> Option<&Arc<str>> {
        match &self.record.phase {
            Phase::Vacant => None,
            Phase::Serving { node, .. } => Some(node),
            Phase::Halting { from } => Some(from),
            Phase::Fencing { from } | Phase::Promoting { from, .. } => from.as_ref(),
        }
    }

    /// The cluster as it is now; to be called with every snapshot, before it is published.
    pub fn handle_snapshot(&mut self, snapshot: Arc<Snapshot>, now: Instant) {
        self.snapshot = snapshot;
        self.reign = self.found_anew(self.reign);
        let old = self.found_anew(self.run.as_ref().and_then(|run| run.old));
        if let Some(run) = &mut self.run {
            run.old = old;
        }
        self.advance(now);
    }

    /// The end of an order.
    pub fn handle_answer(&mut self, id: OrderId, answer: Answer, now: Instant) {
        // an order of its own may have come after a later one
        if let Err(Failure::Superseded(epoch)) = answer {
            self.superseded = self.superseded.max(Some(epoch).filter(|epoch| *epoch > self.mandate().1));
        }
        if self.last_store == Some(id) {
            self.unsaved = answer.is_err().then_some(now + STORE_AGAIN);
            if answer.is_ok() {
                self.stored = self.record.epoch;
            }
        }
        if self.run.as_ref().is_some_and(|run| run.awaits(id)) {
            self.run_answered(id, answer, now);
        } else if self.errand.as_ref().is_some_and(|errand| errand.awaits(id)) {
            self.errand_answered(answer, now);
        } else {
            self.keeper_answered(id, answer, now);
        }
        self.advance(now);
    }

    /// What an operator asks for. Answered by a [`Reply`] with this ticket.
    pub fn handle_command(&mut self, ticket: Ticket, command: Command, now: Instant) {
        if let Some(result) = self.begin_command(ticket, command, now) {
            self.replies.push_back(Reply { ticket, result });
        }
        self.advance(now);
    }

    /// To be called at [`Manager::poll_timeout`]; earlier or later does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// Goes on with other settings.
    pub fn replace_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// When [`Manager::handle_timeout`] is due; `None`: not before another input.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let run = self.run.as_ref().and_then(Run::due);
        let retry = self.failed.as_ref().map(|(until, _)| *until);
        let unsaved = self.unsaved.filter(|_| self.run.is_none());
        let errand = self.errand.as_ref().and_then(Errand::due).into_iter().chain(self.home.due());
        errand.chain(run).chain(retry).chain(self.resume_at).chain(unsaved).chain(self.keepers_due()).min()
    }

    /// What is to be done, oldest first; to be drained after every `handle_*`.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// What was done, oldest first; to be drained after every `handle_*`.
    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// How commands ended; to be drained after every `handle_*`.
    pub fn poll_reply(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// Who may be the primary, and the least epoch for that; to be given to the topology after every `handle_*`.
    #[must_use]
    pub fn mandate(&self) -> (Mandate, Epoch) {
        let at_rest = match &self.record.phase {
            Phase::Serving { node, timeline } => {
                self.find(node).map_or(Mandate::Open, |node| Mandate::Recorded(node, *timeline))
            }
            Phase::Promoting { above, .. } => Mandate::Above(*above),
            Phase::Vacant | Phase::Halting { .. } | Phase::Fencing { .. } => Mandate::Open,
        };
        self.run.as_ref().map_or((at_rest, self.record.epoch), |run| (run.mandate(), run.epoch))
    }

    /// Whose claims to be the primary count for nothing; to be given to the topology with [`Manager::mandate`].
    #[must_use]
    pub fn deposed(&self) -> Vec<NodeId> {
        self.record.deposed.iter().filter_map(|place| self.find(place)).collect()
    }

    /// What has been decided last, as it was ordered to be stored.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether it does nothing by itself from now on; as a predecessor of this manager was told.
    pub fn set_maintenance(&mut self, on: bool) {
        self.is_maintenance = on;
    }

    /// Whether nothing is done by itself.
    #[must_use]
    pub fn is_maintenance(&self) -> bool {
        self.is_maintenance
    }

    /// Whether a failover, switchover or restart is under way.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.run.is_some()
    }

    /// Why nothing is done about it that there is no primary; `None` if there is one, or something is being done.
    #[must_use]
    pub fn hindrance(&self, now: Instant) -> Option<Hindrance> {
        if self.run.is_some() || self.primary().is_some() {
            return None;
        }
        self.may_begin(now).err()
    }

    /// Draws the conclusions from all that is known; the end of every input.
    fn advance(&mut self, now: Instant) {
        self.resume_at = self.resume_at.filter(|at| now < *at);
        self.failed = self.failed.take().filter(|(until, _)| now < *until);
        if self.run.is_none() && self.unsaved.is_some_and(|due| now >= due) {
            self.store(self.record.clone());
        }
        self.learn_reign(now);
        self.revert_again(now);
        self.step_run(now);
        if self.run.is_none() && self.primary().is_none() && self.may_begin(now).is_ok() {
            self.begin_automatic(now);
        }
        self.step_errand(now);
        self.step_home(now);
        self.keep(now);
        self.release();
    }

    /// Takes in who is the primary.
    fn learn_reign(&mut self, now: Instant) {
        let Some(primary) = self.primary() else { return };
        let reign = Reign { node: Some(primary.id), timeline: primary.timeline };
        let address = address(primary);
        if self.reign != Some(reign) {
            self.calm_since = now;
            self.keep_anew(now);
        }
        self.reign = Some(reign);
        let is_halted = matches!(&self.record.phase, Phase::Halting { from } if *from == address);
        if is_halted {
            return;
        }
        self.failed = None;
        let phase = Phase::Serving { node: Arc::clone(&address), timeline: reign.timeline };
        let is_news = self.record.phase != phase || self.record.deposed.contains(&address);
        if self.run.is_none() && is_news {
            let mut deposed = self.record.deposed.clone();
            match &self.record.phase {
                Phase::Vacant | Phase::Serving { .. } => {}
                Phase::Halting { from } => deposed.push(Arc::clone(from)),
                Phase::Fencing { from } => deposed.extend(from.clone()),
                Phase::Promoting { from, .. } => {
                    deposed.extend(from.iter().cloned().chain(self.maybe_promoted()))
                }
            }
            deposed.sort();
            deposed.dedup();
            deposed.retain(|node| *node != address);
            self.store(Record { epoch: self.record.epoch.max(self.snapshot.epoch), phase, deposed });
        }
    }

    /// Closes the sessions of a run once nothing needs them.
    fn release(&mut self) {
        if self.has_sessions
            && self.run.is_none()
            && self.errand.is_none()
            && !self.keepers.values().any(Keeper::is_busy)
        {
            self.has_sessions = false;
            self.order(Task::Release, self.record.epoch);
        }
    }

    pub(crate) fn order(&mut self, task: Task, epoch: Epoch) -> OrderId {
        let id = OrderId(self.next_order);
        self.next_order += 1;
        self.has_sessions |= !matches!(task, Task::Store(_) | Task::Release | Task::CountBusy(_));
        self.orders.push_back(Order { id, epoch, task });
        id
    }

    /// Orders a record to be stored.
    pub(crate) fn store(&mut self, record: Record) -> OrderId {
        self.record = record.clone();
        self.unsaved = None;
        let order = self.order(Task::Store(record), self.record.epoch);
        self.last_store = Some(order);
        order
    }

    pub(crate) fn note(&mut self, at: Instant, node: Option<NodeId>, step: Step) {
        let epoch = self.run.as_ref().map_or(self.record.epoch, |run| run.epoch);
        if self.notes.len() == NOTES_MAX {
            self.notes.pop_front();
        }
        self.notes.push_back(Note { at, epoch, node, step });
    }

    fn reply(&mut self, ticket: Option<Ticket>, result: Result<(), Refusal>) {
        self.replies.extend(ticket.map(|ticket| Reply { ticket, result }));
    }
}

//! The story of each failover, whoever brought it about: what the topology saw and what the manager did.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use failover::{Kind, Note, Outcome, Step};
use tokio::sync::mpsc;
use topology::{Epoch, Event, Named, NodeId, Snapshot, Toll};

use crate::{events::wall_clock, shared::Shared};

/// Failovers that are kept.
const KEPT: usize = 100;
/// Steps that are kept of each.
const STEPS_MAX: usize = 200;
/// A suspicion as old as this has nothing to do with the loss of the primary.
const SUSPICION_LASTS: Duration = Duration::from_secs(30);

/// Tolls that may wait; each worker has at most a few.
pub(crate) const TOLLS_LIMIT: usize = 64;
/// A toll told this long before a failover was known of belongs to it: clients notice before probes do.
const EARLY: Duration = Duration::from_secs(5);
/// Tolls kept in case that a failover follows.
const EARLY_MAX: usize = 64;
/// A toll told this long after the last step of a failover still belongs to it: clients may have been held.
const LATE: Duration = Duration::from_secs(60);
/// The step of the first write.
const FIRST_WRITE: &str = "the first write was answered";

/// One failover, from the first suspicion to the last node that came back.
#[derive(Debug, Clone)]
pub struct FailoverRecord {
    /// Counts them, from 1, since the proxy started.
    pub number: u64,
    /// What brought it about; `None`: somebody else did.
    pub kind: Option<Kind>,
    /// The epoch it led to.
    pub epoch: Epoch,
    /// The primary before it.
    pub from: Option<Arc<str>>,
    /// The primary after it, once there is one.
    pub to: Option<Arc<str>>,
    /// When it began, by the wall clock.
    pub began: SystemTime,
    /// For how long there was no primary, once there is one again.
    pub gap: Option<Duration>,
    /// WAL of the old primary that the new one does not have, in bytes, as far as it was seen.
    pub lost_bytes: Option<u64>,
    /// How long after its begin the first write through this proxy was answered by the new primary.
    pub first_write: Option<Duration>,
    /// What it cost clients of this proxy.
    pub toll: Toll,
    /// How it ended, if it has.
    pub outcome: Option<String>,
    /// What happened, in order.
    pub steps: Vec<FailoverStep>,
    /// When it began, by the clock that steps are measured with.
    pub started: Instant,
}

/// Something that happened in a failover.
#[derive(Debug, Clone)]
pub struct FailoverStep {
    /// How long after its begin.
    pub after: Duration,
    /// The node that it is about.
    pub node: Option<Arc<str>>,
    /// What, for people.
    pub what: String,
}

impl FailoverRecord {
    /// Takes in what it cost clients.
    fn charge(&mut self, toll: &Toll) {
        self.toll.add(toll);
        let first = self.toll.first_write.filter(|_| self.to.is_some());
        let Some(after) = first.map(|at| at.saturating_duration_since(self.started)) else { return };
        if self.first_write != Some(after) {
            // workers tell of it one by one, and not in order
            self.steps.retain(|step| step.what != FIRST_WRITE);
            self.first_write = Some(after);
            self.push(self.started + after, self.to.clone(), FIRST_WRITE.to_owned());
        }
    }

    /// Whether what is told of now may be of it.
    fn is_recent(&self, now: Instant) -> bool {
        let last = self.steps.iter().map(|step| step.after).max().unwrap_or_default();
        self.outcome.is_none() || now.saturating_duration_since(self.started + last) < LATE
    }

    fn push(&mut self, at: Instant, node: Option<Arc<str>>, what: String) {
        if self.steps.len() < STEPS_MAX {
            let after = at.saturating_duration_since(self.started);
            // what was seen is told a moment after it was done
            let place = self.steps.partition_point(|step| step.after <= after);
            self.steps.insert(place, FailoverStep { after, node, what });
        }
    }
}

#[derive(Debug, Default)]
struct Pages {
    records: VecDeque<FailoverRecord>,
    count: u64,
    /// The primary that was suspected last.
    suspected: Option<(NodeId, Instant)>,
    /// What clients were told while no failover was known of.
    early: VecDeque<(Instant, Toll)>,
}

/// The last failovers, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Pages>);

impl Journal {
    pub(crate) fn all(&self) -> Vec<FailoverRecord> {
        self.pages().records.iter().cloned().collect()
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the topology saw.
    pub(crate) fn event(&self, event: &Event, epoch: Epoch, now: Instant) {
        let mut pages = self.pages();
        match event {
            Event::NodeSuspect { node } => pages.suspected = Some((node.id, now)),
            Event::PrimaryLost { node, reason } => {
                let record = pages.open(Some(node), epoch, now);
                record.push(now, Some(Arc::clone(&node.name)), format!("no primary: {reason}"));
            }
            Event::Promoted { node, from, lost_bytes, gap, .. } => {
                let record = pages.open(from.as_ref(), epoch, now);
                record.to = Some(Arc::clone(&node.name));
                (record.epoch, record.gap, record.lost_bytes) = (epoch, Some(*gap), *lost_bytes);
                record.push(now, Some(Arc::clone(&node.name)), "is the primary".to_owned());
                if record.kind.is_none() {
                    record.outcome = Some("done".to_owned());
                }
            }
            Event::PrimaryBack { node, gap, .. } => {
                if let Some(record) = pages.present() {
                    (record.to, record.gap) = (Some(Arc::clone(&node.name)), Some(*gap));
                    record.push(now, Some(Arc::clone(&node.name)), "is the primary again".to_owned());
                    if record.kind.is_none() {
                        record.outcome = Some("the primary came back".to_owned());
                    }
                }
            }
            Event::TailCounted { lost_bytes, .. } => {
                if let Some(record) = pages.records.back_mut() {
                    record.lost_bytes = Some(*lost_bytes);
                }
            }
            Event::NodeDown { node, .. }
            | Event::StalePrimary { node, .. }
            | Event::NodeRecovering { node } => {
                if let Some(record) = pages.present() {
                    record.push(now, Some(Arc::clone(&node.name)), event.to_string());
                }
            }
            Event::LeaderNamed { .. } | Event::ContradictedPrimary { .. } => {
                if let Some(record) = pages.present() {
                    record.push(now, None, event.to_string());
                }
            }
            Event::PrimaryFound { .. }
            | Event::SplitBrain { .. }
            | Event::UnprovenPrimary { .. }
            | Event::ForeignNode { .. }
            | Event::NodeUp { .. }
            | Event::NodeDetached { .. }
            | Event::NodeAttached { .. }
            | Event::SpareServes { .. }
            | Event::SpareCalled { .. }
            | Event::SpareRests { .. }
            | Event::RoleChanged { .. } => {}
        }
    }

    /// Takes in what the data path counted.
    pub(crate) fn charge(&self, toll: Toll, now: Instant) {
        let mut pages = self.pages();
        if let Some(record) = pages.records.back_mut().filter(|record| record.is_recent(now)) {
            record.charge(&toll);
            return;
        }
        if pages.early.len() >= EARLY_MAX {
            pages.early.pop_front();
        }
        // a first write belongs to a failover that is over
        pages.early.push_back((now, Toll { first_write: None, ..toll }));
    }

    /// Takes in what the manager did.
    pub(crate) fn note(&self, note: &Note, snapshot: &Snapshot) {
        if matches!(note.step, Step::SetAside | Step::Restarted) {
            return; // restarts of standbys are no failovers
        }
        let mut pages = self.pages();
        let view = note.node.and_then(|node| snapshot.node(node));
        let name = view.map(|node| Arc::clone(&node.name));
        let record = if let Step::Begun(kind) = &note.step {
            let named = view.map(|node| Named { id: node.id, name: Arc::clone(&node.name) });
            let record = pages.open(named.as_ref(), note.epoch, note.at);
            record.kind = Some(*kind);
            record
        } else {
            // what is done for the other nodes comes after the end
            let Some(record) = pages.records.back_mut() else { return };
            record
        };
        record.push(note.at, name, note.step.to_string());
        if let Step::Ended(outcome) = &note.step {
            record.outcome = Some(match outcome {
                Outcome::Done => "done".to_owned(),
                Outcome::RolledBack(why) => format!("rolled back: {why}"),
                Outcome::Abandoned(why) => format!("abandoned: {why}"),
            });
        }
    }
}

/// Takes in tolls as they come, until nobody can send any.
pub(crate) async fn count_tolls(shared: Arc<Shared>, mut tolls: mpsc::Receiver<Toll>) {
    while let Some(toll) = tolls.recv().await {
        shared.journal.charge(toll, tokio::time::Instant::now().into_std());
    }
}

impl Pages {
    /// The failover that has not ended.
    fn present(&mut self) -> Option<&mut FailoverRecord> {
        self.records.back_mut().filter(|record| record.outcome.is_none())
    }

    /// The failover that has not ended, or else a new one.
    fn open(&mut self, from: Option<&Named>, epoch: Epoch, now: Instant) -> &mut FailoverRecord {
        let is_open = self.records.back().is_some_and(|record| record.outcome.is_none());
        if !is_open {
            if self.records.len() >= KEPT {
                self.records.pop_front();
            }
            self.count += 1;
            let suspected = self.suspected.take().filter(|(node, at)| {
                from.is_some_and(|from| from.id == *node)
                    && now.saturating_duration_since(*at) < SUSPICION_LASTS
            });
            let started = suspected.map_or(now, |(_, at)| at);
            let ago = now.saturating_duration_since(started);
            let mut record = FailoverRecord {
                number: self.count,
                kind: None,
                epoch,
                from: from.map(|from| Arc::clone(&from.name)),
                to: None,
                began: wall_clock().checked_sub(ago).unwrap_or_else(wall_clock),
                gap: None,
                lost_bytes: None,
                first_write: None,
                toll: Toll::default(),
                outcome: None,
                steps: Vec::new(),
                started,
            };
            if suspected.is_some() {
                record.push(started, from.map(|from| Arc::clone(&from.name)), "suspected".to_owned());
            }
            let early = self.early.drain(..);
            let of_it = early.filter(|(at, _)| now.saturating_duration_since(*at) < EARLY + ago);
            of_it.for_each(|(_, toll)| record.charge(&toll));
            self.records.push_back(record);
        }
        let last = self.records.len() - 1;
        &mut self.records[last]
    }
}

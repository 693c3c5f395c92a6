//! The stages that only a living primary goes through: draining, halting, restarting.

use std::time::{Duration, Instant};

use topology::{Epoch, NodeView, Writable};

use super::{
    Manager, address,
    run::{Count, Run, Stage},
};
use crate::{
    note::{Kind, Outcome, Step},
    order::{Answer, Done, Failure, Task, outcome},
    record::{Phase, Record},
};

/// Time between two looks at what is under way.
pub(super) const COUNT_AGAIN: Duration = Duration::from_millis(5);
/// How long a standby may take to receive what a primary that was stopped had left.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(5);
/// Time to the next attempt to undo a halt.
const RESUME_AGAIN: Duration = Duration::from_secs(1);
/// How long a restarted primary may take to be found again.
const RETURN_PATIENCE: Duration = Duration::from_secs(60);

impl Manager {
    pub(super) fn step_planned(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        let halted = run.halted;
        match &run.stage {
            Stage::Draining { until, .. } if now >= *until => self.close(now),
            Stage::Emptying { until, .. } if now >= *until => self.fence(now),
            Stage::Draining { count: Count::Again(at), .. }
            | Stage::Emptying { count: Count::Again(at), .. }
                if now >= *at =>
            {
                self.count();
            }
            Stage::Awaiting { until } => {
                let until = *until;
                let end = halted.unwrap_or_default();
                let wanted = run.wanted;
                let may = |node: &NodeView| node.may_be_promoted() || wanted == Some(node.id);
                if self.standbys().any(|node| may(node) && node.wal_lsn >= end) {
                    self.recruit(now);
                } else if now >= until {
                    self.revert("no standby has received everything in time".to_owned(), now);
                }
            }
            Stage::Returning { until } => {
                let until = *until;
                if matches!(self.snapshot.writable, Writable::Primary(_)) {
                    self.end_run(Outcome::Done, now);
                } else if now >= until {
                    self.end_run(Outcome::Abandoned("the primary did not come back in time".to_owned()), now);
                }
            }
            Stage::New
            | Stage::Checkpointing(_)
            | Stage::Draining { .. }
            | Stage::Emptying { .. }
            | Stage::Halting(_)
            | Stage::Fencing(_)
            | Stage::Recruiting { .. }
            | Stage::CatchingUp(..)
            | Stage::Intending(..)
            | Stage::Promoting(..)
            | Stage::Swapping { .. }
            | Stage::Reverting(..)
            | Stage::Restarting(_) => {}
        }
    }

    /// Asks how much is under way.
    fn count(&mut self) {
        let Some(from) = self.run.as_ref().and_then(|run| run.from()) else { return };
        let asked = Count::Asked(self.order(Task::CountBusy(from), self.record.epoch));
        if let Some(Stage::Draining { count, .. } | Stage::Emptying { count, .. }) =
            self.run.as_mut().map(|run| &mut run.stage)
        {
            *count = asked;
        }
    }

    /// From now on nothing is sent to the primary.
    fn close(&mut self, now: Instant) {
        // in an epoch of its own, so that what was begun before cannot go on as if nothing had happened
        let epoch = Epoch(self.snapshot.epoch.0.max(self.record.epoch.0).saturating_add(1));
        let Some(run) = &mut self.run else { return };
        run.epoch = epoch;
        let (from, until) = (run.from(), now + self.settings.drain_timeout);
        self.note(now, from, Step::Closed);
        self.set_stage(Stage::Emptying { until, count: Count::Again(now) }, now);
        self.count();
    }

    /// It is stored that the primary will be halted.
    pub(super) fn halt(&mut self, kind: Kind, now: Instant) {
        let Some((from, epoch)) = self.run.as_ref().and_then(|run| Some((run.from()?, run.epoch))) else {
            return;
        };
        let stage = match kind {
            Kind::Restart => Stage::Restarting(self.order(Task::Restart(from), epoch)),
            Kind::Automatic | Kind::Switchover | Kind::Failover | Kind::Failback => {
                Stage::Halting(self.order(Task::Halt(from), epoch))
            }
        };
        self.set_stage(stage, now);
    }

    /// Whether what was done to the old primary is undone.
    fn reverted(&mut self, why: String, answer: &Answer, now: Instant) {
        let why = match outcome(answer) {
            Ok(()) => why,
            Err(more) => format!("{why}; and the primary could not be brought back: {more}"),
        };
        if matches!(answer, Ok(_) | Err(Failure::Impossible(_))) {
            self.is_halted_no_more();
        } else {
            self.resume_at = Some(now + RESUME_AGAIN);
        }
        self.end_run(Outcome::RolledBack(why), now);
    }

    /// Nothing has to be undone any more, whoever comes after.
    fn is_halted_no_more(&mut self) {
        let epoch = self.run.as_ref().map_or(self.record.epoch, |run| run.epoch.max(self.record.epoch));
        if let Phase::Halting { from } = self.record.phase.clone() {
            let (phase, deposed) = (Phase::Fencing { from: Some(from) }, self.record.deposed.clone());
            self.store(Record { epoch, phase, deposed });
        }
    }

    /// The primary is there, as an attempt left it that could not be undone. What begins now could not tell later whether
    /// it has to be undone.
    pub(super) fn is_left_halted(&self) -> bool {
        let is_halted = matches!((&self.record.phase, self.primary()),
            (Phase::Halting { from }, Some(primary)) if **from == *address(primary));
        is_halted && self.run.is_none() && self.superseded.is_none()
    }

    /// That is tried again.
    pub(super) fn revert_again(&mut self, now: Instant) {
        if self.is_left_halted() && self.resume_at.is_none() {
            self.run = Some(Run::to_revert(self.next_epoch(), self.reign, now));
            self.note(now, self.reign.and_then(|reign| reign.node), Step::TakenUp);
            self.enter_first_stage(now);
        }
    }

    /// An answer that a planned stage waits for.
    pub(super) fn planned_answered(&mut self, answer: Answer, now: Instant) {
        let Some(run) = &mut self.run else { return };
        let from = run.from();
        match (&mut run.stage, answer) {
            (Stage::Checkpointing(_), answer) => {
                if let Err(why) = outcome(&answer) {
                    // only slower without
                    self.note(now, from, Step::Failed(format!("no checkpoint: {why}")));
                }
                let until = now + self.settings.drain_timeout;
                self.note(now, from, Step::Draining);
                self.set_stage(Stage::Draining { until, count: Count::Again(now) }, now);
                self.count();
            }
            (Stage::Draining { .. }, Ok(Done::Busy { transactions: 0, .. })) => self.close(now),
            (Stage::Emptying { .. }, Ok(Done::Busy { requests: 0, .. })) => self.fence(now),
            (Stage::Draining { count, .. } | Stage::Emptying { count, .. }, _) => {
                *count = Count::Again(now + COUNT_AGAIN);
            }
            (Stage::Halting(_), Ok(Done::Halted { lsn, .. })) => {
                run.halted = Some(lsn);
                self.note(now, from, Step::Halted);
                self.set_stage(Stage::Awaiting { until: now + CATCH_UP_PATIENCE }, now);
            }
            (Stage::Halting(_), answer) => {
                run.halted = Some(wire::Lsn(0)); // it may have been
                let why = answer.err().map_or_else(String::new, |failure| failure.to_string());
                self.revert(format!("the primary could not be stopped: {why}"), now);
            }
            (Stage::Reverting(_, why), answer) => {
                let why = why.clone();
                self.reverted(why, &answer, now);
            }
            (Stage::Restarting(_), Ok(_)) => {
                self.is_halted_no_more();
                self.set_stage(Stage::Returning { until: now + RETURN_PATIENCE }, now);
            }
            (Stage::Restarting(_), Err(Failure::Impossible(why))) => {
                self.is_halted_no_more();
                self.end_run(Outcome::RolledBack(why), now);
            }
            (Stage::Restarting(_), Err(failure)) => {
                self.end_run(Outcome::Abandoned(failure.to_string()), now);
            }
            (
                Stage::New
                | Stage::Awaiting { .. }
                | Stage::Fencing(_)
                | Stage::Recruiting { .. }
                | Stage::CatchingUp(..)
                | Stage::Intending(..)
                | Stage::Promoting(..)
                | Stage::Swapping { .. }
                | Stage::Returning { .. },
                _,
            ) => {}
        }
    }
}

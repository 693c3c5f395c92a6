//! How a run ends: done, rolled back, or to be tried again.

use std::time::{Duration, Instant};

use topology::NodeId;

use super::{Manager, Reign, address, run::Stage};
use crate::{
    command::Refusal,
    note::{Kind, Outcome, Step},
    order::Task,
    record::{Phase, Record},
};

/// Promotions that are tried in a row.
const ATTEMPTS_MAX: u32 = 3;
/// Time to the next attempt after a failed one.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Manager {
    /// Begins anew, in an epoch of its own.
    pub(super) fn try_again(&mut self, why: &str, now: Instant) {
        let epoch = self.next_epoch();
        let Some(run) = &mut self.run else { return };
        if run.attempts >= ATTEMPTS_MAX {
            self.end_run(Outcome::Abandoned(why.to_owned()), now);
            return;
        }
        run.attempts += 1;
        run.epoch = epoch;
        self.fence(now);
    }

    /// Gives up before anybody may have been promoted.
    pub(super) fn revert(&mut self, why: String, now: Instant) {
        let Some(run) = &self.run else { return };
        if run.is_past_return() {
            self.end_run(Outcome::Abandoned(why), now);
        } else if let Some(from) = run.from().filter(|_| run.halted.is_some()) {
            let order = self.order(Task::Resume(from), run.epoch);
            self.set_stage(Stage::Reverting(order, why), now);
        } else {
            self.end_run(Outcome::RolledBack(why), now);
        }
    }

    /// The new primary is there.
    pub(super) fn finish(&mut self, node: NodeId, now: Instant) {
        self.note(now, Some(node), Step::Serving);
        if let Some(names) = self.waits_for() {
            self.note(now, Some(node), Step::Waiting(names));
        }
        let Some(run) = &self.run else { return };
        let (kind, epoch, old) = (run.kind, run.epoch, self.old_address(run));
        let tried = run.tried.clone();
        let recruits: Vec<NodeId> =
            run.recruits.iter().map(|recruit| recruit.node).filter(|recruit| *recruit != node).collect();
        let Some(primary) = self.view(node) else { return };
        let (timeline, place) = (primary.timeline, address(primary));
        let mut deposed = self.record.deposed.clone();
        deposed.extend(old.into_iter().chain(tried));
        deposed.sort();
        deposed.dedup();
        deposed.retain(|address| *address != place);
        self.reign = Some(Reign { node: Some(node), timeline });
        self.calm_since = now;
        self.store(Record { epoch, phase: Phase::Serving { node: place, timeline }, deposed });
        self.order(Task::Settle(node), epoch);
        for recruit in recruits {
            self.follow(recruit, node);
        }
        if kind == Kind::Automatic {
            self.last = Some((now, Some(node)));
        }
        self.end_run(Outcome::Done, now);
    }

    fn try_not_before(&mut self, now: Instant, why: &str) {
        self.failed = Some((now + RETRY_AFTER, why.to_owned()));
    }

    pub(super) fn end_run(&mut self, outcome: Outcome, now: Instant) {
        let Some(run) = &self.run else { return };
        let (ticket, from, run_kind) = (run.ticket, run.from(), run.kind);
        self.note(now, from, Step::Ended(outcome.clone()));
        if run_kind == Kind::Failback && outcome != Outcome::Done {
            self.home.failed(now);
        }
        let (past_return, is_planned) =
            self.run.take().map_or((false, false), |run| (run.is_past_return(), run.is_planned()));
        let result = match outcome {
            Outcome::Done => Ok(()),
            Outcome::RolledBack(why) | Outcome::Abandoned(why) => {
                if past_return || !is_planned {
                    self.try_not_before(now, &why);
                }
                Err(if past_return { Refusal::Failed(why) } else { Refusal::RolledBack(why) })
            }
        };
        self.run_of_errand_ended(&result, now);
        self.reply(ticket, result);
    }
}

//! What a run does by itself: when it begins, when time passes, and when the cluster has changed; and what follows an
//! answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use topology::{Health, NodeId, Role, Writable};
use wire::TimelineId;

use super::{
    Manager,
    run::{Run, Stage},
};
use crate::{
    choice::Recruit,
    note::{Kind, Outcome, Step},
    order::{Answer, Done, Failure, OrderId, Task},
    record::{Phase, Record},
};

/// How long a promoted node may take to be seen as the primary.
const SWAP_PATIENCE: Duration = Duration::from_secs(5);
/// How long an order may be missing its answer before the run goes on without: longer than any limit of the shell.
const ANSWER_PATIENCE: Duration = Duration::from_secs(90);

impl Manager {
    /// What the present stage waits for besides answers.
    pub(super) fn step_run(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        if self.superseded.is_some() {
            self.end_run(Outcome::Abandoned("another manager has taken over".to_owned()), now);
            return;
        }
        if let Some(node) = self.promoted_after_all() {
            self.set_stage(Stage::Swapping { node, until: now + SWAP_PATIENCE }, now);
            return;
        }
        if let Some(why) = self.is_needless() {
            self.end_run(Outcome::RolledBack(why.to_owned()), now);
            return;
        }
        match &run.stage {
            Stage::New if run.is_planned() || self.everybody_was_asked().is_ok() => {
                self.enter_first_stage(now);
            }
            Stage::Draining { .. }
            | Stage::Emptying { .. }
            | Stage::Awaiting { .. }
            | Stage::Returning { .. } => {
                self.step_planned(now);
            }
            Stage::Promoting(_, node) if self.snapshot.writable == Writable::Primary(*node) => {
                // its answer may be lost
                let node = *node;
                self.note(now, Some(node), Step::Promoted);
                self.finish(node, now);
            }
            Stage::Recruiting { until, asked } if asked.is_empty() || now >= *until => self.elect(now),
            Stage::Swapping { node, until } => {
                let (node, until) = (*node, *until);
                let is_down = self.view(node).is_none_or(|view| view.health == Health::Down);
                if self.snapshot.writable == Writable::Primary(node) {
                    self.finish(node, now);
                } else if is_down || now >= until {
                    self.try_again("the promoted node was not seen as the primary", now);
                }
            }
            Stage::New
            | Stage::Checkpointing(_)
            | Stage::Halting(_)
            | Stage::Fencing(_)
            | Stage::Recruiting { .. }
            | Stage::CatchingUp(..)
            | Stage::Intending(..)
            | Stage::Promoting(..)
            | Stage::Reverting(..)
            | Stage::Restarting(_) => {
                if now.saturating_duration_since(run.entered) > ANSWER_PATIENCE {
                    self.end_run(Outcome::Abandoned("an order was not answered".to_owned()), now);
                }
            }
        }
    }

    /// The candidate of an earlier attempt that is a primary, whatever became of the answer.
    fn promoted_after_all(&self) -> Option<NodeId> {
        let run = self.run.as_ref().filter(|run| run.is_before_promotion())?;
        let promoted = |tried: &Arc<str>| self.find(tried).filter(|node| self.is_above(run, *node));
        let (last, before) = run.tried.split_last()?;
        // the last candidate first: one before it counts only if that one is not to be had
        let earlier =
            || before.iter().rev().find_map(promoted).filter(|_| self.everybody_was_asked().is_ok());
        promoted(last).or_else(earlier)
    }

    /// Whether a node is a primary on a timeline that began after the reign of the old one. If that was never seen, what
    /// is recorded of whoever may have been promoted tells its timeline.
    fn is_above(&self, run: &Run, node: NodeId) -> bool {
        let recorded = match &self.record.phase {
            Phase::Promoting { above, .. } => Some(*above),
            Phase::Vacant | Phase::Serving { .. } | Phase::Halting { .. } | Phase::Fencing { .. } => None,
        };
        let above = run.old.map(|old| old.timeline).or(recorded).unwrap_or(TimelineId(0));
        self.view(node).is_some_and(|node| {
            node.role == Role::Primary && node.health == Health::Up && node.timeline > above
        })
    }

    /// Why there is nothing (more) to be replaced.
    fn is_needless(&self) -> Option<&'static str> {
        let run = self.run.as_ref().filter(|run| run.is_before_promotion())?;
        let others = self.snapshot.nodes.iter().map(|node| node.id).filter(|node| Some(*node) != run.from());
        if others.into_iter().any(|node| self.is_above(run, node)) {
            return Some(match run.old {
                Some(_) => "somebody else has promoted another node",
                None => "the primary was found",
            });
        }
        let old = run.from().and_then(|node| self.view(node));
        match &run.stage {
            Stage::Checkpointing(_) | Stage::Draining { .. } | Stage::Emptying { .. } => old
                .is_none_or(|old| matches!(old.health, Health::Down | Health::Recovering))
                .then_some("the primary was lost"),
            Stage::Fencing(_) | Stage::Recruiting { .. } | Stage::CatchingUp(..)
                if run.kind == Kind::Automatic && !run.is_past_return() =>
            {
                let is_back = run.old.zip(old).is_some_and(|(reign, old)| {
                    old.role == Role::Primary && old.health == Health::Up && old.timeline == reign.timeline
                });
                is_back.then_some("the primary is back")
            }
            Stage::New
            | Stage::Halting(_)
            | Stage::Awaiting { .. }
            | Stage::Fencing(_)
            | Stage::Recruiting { .. }
            | Stage::CatchingUp(..)
            | Stage::Intending(..)
            | Stage::Promoting(..)
            | Stage::Swapping { .. }
            | Stage::Reverting(..)
            | Stage::Restarting(_)
            | Stage::Returning { .. } => None,
        }
    }

    pub(super) fn enter_first_stage(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        match run.from().filter(|_| run.is_planned()) {
            Some(_) if run.halted.is_some() => {
                self.revert("pgherd was restarted in the middle of it".to_owned(), now);
            }
            Some(from) => {
                let order = self.order(Task::Checkpoint(from), self.record.epoch);
                self.set_stage(Stage::Checkpointing(order), now);
            }
            None if run.is_planned() => {
                self.end_run(Outcome::RolledBack("the primary is not configured any more".to_owned()), now);
            }
            None => self.fence(now),
        }
    }

    /// Has it stored what will be done, before it is done.
    pub(super) fn fence(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        let (epoch, from) = (run.epoch, self.old_address(run));
        let phase = match (&self.record.phase, from) {
            (_, Some(from)) if run.is_planned() && !run.is_past_return() => Phase::Halting { from },
            // what may have happened is not forgotten for what will be tried next
            (Phase::Promoting { .. }, _) if run.is_past_return() => self.record.phase.clone(),
            (Phase::Halting { .. }, Some(from)) => Phase::Halting { from },
            (_, from) => Phase::Fencing { from },
        };
        let deposed = self.record.deposed.clone();
        let order = self.store(Record { epoch, phase, deposed });
        self.set_stage(Stage::Fencing(order), now);
    }

    pub(super) fn set_stage(&mut self, stage: Stage, now: Instant) {
        if let Some(run) = &mut self.run {
            run.stage = stage;
            run.entered = now;
        }
    }

    /// An answer that the present stage waits for.
    pub(super) fn run_answered(&mut self, id: OrderId, answer: Answer, now: Instant) {
        let Some(run) = &mut self.run else { return };
        let epoch = run.epoch;
        match (&mut run.stage, answer) {
            (Stage::Recruiting { asked, .. }, answer) => {
                let Some(at) = asked.iter().position(|(order, _)| *order == id) else { return };
                let (_, node) = asked.swap_remove(at);
                self.recruited(node, answer, now);
            }
            (Stage::CatchingUp(order, _), answer) if *order != id => {
                let Some(at) = run.late.iter().position(|(order, _)| *order == id) else { return };
                let (_, node) = run.late.swap_remove(at);
                self.recruited(node, answer, now);
            }
            (Stage::Fencing(_), Ok(_)) => {
                let (kind, is_to_halt) = (run.kind, run.is_planned() && !run.is_past_return());
                self.note(now, None, Step::Fenced);
                if is_to_halt { self.halt(kind, now) } else { self.recruit(now) }
            }
            (Stage::CatchingUp(_, node), Ok(Done::Position { timeline, received, .. })) => {
                let node = *node;
                run.recruits.retain(|recruit| recruit.node != node);
                let wanted = run.recruits.iter().map(|recruit| (recruit.timeline, recruit.received)).max();
                run.recruits.push(Recruit { node, timeline, received });
                if Some((timeline, received)) < wanted {
                    self.revert("the candidate could not catch up".to_owned(), now);
                } else {
                    self.elect(now);
                }
            }
            (Stage::Intending(_, node), Ok(_)) => {
                let node = *node;
                let order = self.order(Task::Promote(node), epoch);
                self.set_stage(Stage::Promoting(order, node), now);
            }
            (Stage::Promoting(_, node), Ok(_)) => {
                let node = *node;
                self.note(now, Some(node), Step::Promoted);
                self.set_stage(Stage::Swapping { node, until: now + SWAP_PATIENCE }, now);
            }
            (Stage::Promoting(_, node), Err(failure)) => {
                let node = *node;
                if !matches!(failure, Failure::Uncertain(_)) {
                    self.was_not_promoted(node);
                }
                self.note(now, Some(node), Step::Failed(failure.to_string()));
                self.try_again(&failure.to_string(), now);
            }
            (Stage::Intending(_, node), Err(failure)) => {
                let node = *node;
                self.was_not_promoted(node);
                self.revert(format!("the record could not be stored: {failure}"), now);
            }
            (Stage::Fencing(_), Err(failure)) => {
                self.revert(format!("the record could not be stored: {failure}"), now);
            }
            (Stage::CatchingUp(..), answer) => {
                let why = answer.err().map_or_else(String::new, |failure| failure.to_string());
                self.revert(format!("the candidate could not catch up: {why}"), now);
            }
            (_, answer) => self.planned_answered(answer, now),
        }
    }
}

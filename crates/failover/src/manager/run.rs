//! One failover, switchover or restart, from its begin to its end.

use std::time::{Duration, Instant};

use topology::{Health, NodeId, Role, Writable};
use wire::TimelineId;

use super::{Manager, Reign, address, stage::Stage};
use crate::{
    choice::{Choice, Recruit, choose},
    command::Refusal,
    note::{Kind, Outcome, Step},
    order::{Answer, Done, OrderId, Task},
    record::{Phase, Record},
};

/// How long a promoted node may take to be seen as the primary.
const SWAP_PATIENCE: Duration = Duration::from_secs(5);
/// How often an order may be missing its answer before the run goes on without: longer than any limit of the shell.
const ANSWER_PATIENCE: Duration = Duration::from_secs(90);
/// How long standbys may take at least to be cut off in a switchover.
const PLANNED_PATIENCE: Duration = Duration::from_secs(5);
/// Promotions that are tried in a row.
const ATTEMPTS_MAX: u32 = 3;
/// Time to the next attempt after a failed one.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Manager {
    /// What the present stage waits for besides answers.
    pub(super) fn step_run(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        if self.superseded.is_some() {
            self.end_run(Outcome::Abandoned("another manager has taken over".to_owned()), now);
            return;
        }
        if self.was_promoted_after_all() || self.is_back() {
            return self.step_aside(now);
        }
        match &run.stage {
            Stage::New => self.enter_first_stage(now),
            Stage::Draining { .. }
            | Stage::Emptying { .. }
            | Stage::Awaiting { .. }
            | Stage::Returning { .. } => {
                self.step_planned(now);
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
            Stage::Checkpointing(_)
            | Stage::Halting(_)
            | Stage::Fencing(_)
            | Stage::Recruiting { .. }
            | Stage::CatchingUp(_)
            | Stage::Intending(..)
            | Stage::Promoting(..)
            | Stage::Reverting(..)
            | Stage::Restarting(_) => {
                if now.saturating_duration_since(run.begun) > ANSWER_PATIENCE {
                    self.end_run(Outcome::Abandoned("an order was not answered".to_owned()), now);
                }
            }
        }
    }

    /// The candidate of an earlier attempt is a primary, whatever became of the answer.
    fn was_promoted_after_all(&self) -> bool {
        let Some(run) = &self.run else { return false };
        let between = matches!(
            run.stage,
            Stage::New
                | Stage::Fencing(_)
                | Stage::Recruiting { .. }
                | Stage::CatchingUp(_)
                | Stage::Intending(..)
        );
        let above = run.old.map_or(TimelineId(0), |old| old.timeline);
        between
            && run.tried.and_then(|node| self.view(node)).is_some_and(|node| {
                node.role == Role::Primary && node.health == Health::Up && node.timeline > above
            })
    }

    /// The old primary answers again, before anybody may have been promoted.
    fn is_back(&self) -> bool {
        let Some(run) = &self.run else { return false };
        let reversible = run.kind == Kind::Automatic
            && !run.is_past_return()
            && matches!(run.stage, Stage::Fencing(_) | Stage::Recruiting { .. } | Stage::CatchingUp(_));
        reversible
            && run.old.is_some_and(|old| {
                old.node.and_then(|node| self.view(node)).is_some_and(|node| {
                    node.role == Role::Primary
                        && node.health == Health::Up
                        && node.timeline == old.timeline
                        && node.sampled_at.is_some_and(|at| at > run.begun)
                })
            })
    }

    fn step_aside(&mut self, now: Instant) {
        let tried = self.run.as_ref().and_then(|run| run.tried);
        match tried.filter(|_| self.was_promoted_after_all()) {
            Some(node) => self.set_stage(Stage::Swapping { node, until: now + SWAP_PATIENCE }),
            None => self.end_run(Outcome::RolledBack("the primary is back".to_owned()), now),
        }
    }

    pub(super) fn enter_first_stage(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        let is_planned = matches!(run.kind, Kind::Switchover | Kind::Restart);
        match run.from().filter(|_| is_planned) {
            Some(from) => {
                let order = self.order(Task::Checkpoint(from), self.record.epoch);
                self.set_stage(Stage::Checkpointing(order));
            }
            None => self.fence(now),
        }
    }

    /// Has it stored that standbys will be cut off.
    pub(super) fn fence(&mut self, _now: Instant) {
        let Some(run) = &self.run else { return };
        let (epoch, from) = (run.epoch, self.old_address(run));
        let deposed = self.record.deposed.clone();
        let order = self.store(Record { epoch, phase: Phase::Fencing { from }, deposed });
        self.set_stage(Stage::Fencing(order));
    }

    fn recruit(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        let (epoch, from) = (run.epoch, run.from());
        let nodes: Vec<NodeId> =
            self.standbys().map(|node| node.id).filter(|node| Some(*node) != from).collect();
        let asked = nodes.into_iter().map(|node| (self.order(Task::Recruit(node), epoch), node)).collect();
        if let Some(run) = &mut self.run {
            run.recruits.clear();
        }
        // a living primary that was stopped in good order is worth more patience than a dead one
        let is_halted = self.run.as_ref().is_some_and(|run| run.halted.is_some());
        let patience =
            self.settings.recruit_timeout.max(if is_halted { PLANNED_PATIENCE } else { Duration::ZERO });
        self.set_stage(Stage::Recruiting { until: now + patience, asked });
    }

    /// Those who have not answered by now do not count.
    fn elect(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        let (epoch, halted, wanted) = (run.epoch, run.halted, run.wanted);
        let choice = choose(&run.recruits, &self.snapshot, &self.settings, wanted);
        let reach = run.recruits.iter().map(|recruit| recruit.received).max().unwrap_or_default();
        if halted.is_some_and(|end| reach < end) {
            self.revert("no standby has received everything that the primary wrote".to_owned(), now);
            return;
        }
        match choice {
            Choice::Promote(node) => self.intend(node, now),
            Choice::CatchUp { node, upstream, lsn } => {
                let order = self.order(Task::CatchUp { node, upstream, lsn }, epoch);
                self.set_stage(Stage::CatchingUp(order));
            }
            Choice::Nobody => self.revert("no standby could be cut off that may be promoted".to_owned(), now),
        }
    }

    fn intend(&mut self, node: NodeId, now: Instant) {
        self.note(now, Some(node), Step::Chosen);
        let Some((run, view)) = self.run.as_ref().zip(self.view(node)) else { return };
        let above = run.old.map_or(view.timeline, |old| old.timeline);
        let (epoch, from, node_address) = (run.epoch, self.old_address(run), address(view));
        let phase = Phase::Promoting { node: node_address, above, from };
        let order = self.store(Record { epoch, phase, deposed: self.record.deposed.clone() });
        if let Some(run) = &mut self.run {
            run.tried = Some(node);
        }
        self.set_stage(Stage::Intending(order, node));
    }

    /// An answer that the present stage waits for.
    pub(super) fn run_answered(&mut self, id: OrderId, answer: Answer, now: Instant) {
        let Some(run) = &mut self.run else { return };
        let epoch = run.epoch;
        match (&mut run.stage, answer) {
            (Stage::Recruiting { asked, .. }, answer) => {
                let Some(at) = asked.iter().position(|(order, _)| *order == id) else { return };
                let (_, node) = asked.swap_remove(at);
                match answer {
                    Ok(Done::Position { timeline, received }) => {
                        run.recruits.push(Recruit { node, timeline, received });
                        self.note(now, Some(node), Step::Recruited);
                    }
                    Ok(_) => {}
                    Err(failure) => self.note(now, Some(node), Step::Failed(failure.to_string())),
                }
            }
            (Stage::Fencing(_), Ok(_)) => {
                self.note(now, None, Step::Fenced);
                self.recruit(now);
            }
            (Stage::CatchingUp(_), Ok(Done::Position { timeline, received })) => {
                // whoever has caught up has as much as the best
                let wanted = run.recruits.iter().map(|recruit| recruit.received).max();
                let caught_up = run.recruits.iter_mut().filter(|recruit| recruit.timeline == timeline);
                let best = Some(received) >= wanted;
                let node = caught_up.filter(|_| best).min_by_key(|recruit| recruit.received);
                if let Some(recruit) = node {
                    recruit.received = received;
                }
                self.elect(now);
            }
            (Stage::Intending(_, node), Ok(_)) => {
                let node = *node;
                let order = self.order(Task::Promote(node), epoch);
                self.set_stage(Stage::Promoting(order, node));
            }
            (Stage::Promoting(_, node), Ok(_)) => {
                let node = *node;
                self.note(now, Some(node), Step::Promoted);
                self.set_stage(Stage::Swapping { node, until: now + SWAP_PATIENCE });
            }
            (Stage::Promoting(_, node), Err(failure)) => {
                let node = *node;
                self.note(now, Some(node), Step::Failed(failure.to_string()));
                self.try_again(&failure.to_string(), now);
            }
            (Stage::Fencing(_) | Stage::Intending(..), Err(failure)) => {
                self.end_run(Outcome::Abandoned(format!("the record could not be stored: {failure}")), now);
            }
            (Stage::CatchingUp(_), answer) => {
                let why = answer.err().map_or_else(String::new, |failure| failure.to_string());
                self.revert(format!("the candidate could not catch up: {why}"), now);
            }
            (_, answer) => self.planned_answered(answer, now),
        }
    }

    /// Begins anew, in an epoch of its own.
    fn try_again(&mut self, why: &str, now: Instant) {
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
            self.set_stage(Stage::Reverting(order, why));
        } else {
            self.end_run(Outcome::RolledBack(why), now);
        }
    }

    /// The new primary is there.
    fn finish(&mut self, node: NodeId, now: Instant) {
        self.note(now, Some(node), Step::Serving);
        let Some(run) = &self.run else { return };
        let (kind, epoch, old) = (run.kind, run.epoch, self.old_address(run));
        let recruits: Vec<NodeId> =
            run.recruits.iter().map(|recruit| recruit.node).filter(|recruit| *recruit != node).collect();
        let Some(primary) = self.view(node) else { return };
        let (timeline, place) = (primary.timeline, address(primary));
        let mut deposed = self.record.deposed.clone();
        deposed.extend(old.filter(|old| !deposed.contains(old)));
        deposed.retain(|address| *address != place);
        self.reign = Some(Reign { node: Some(node), timeline });
        self.calm_since = now;
        self.store(Record { epoch, phase: Phase::Serving { node: place, timeline }, deposed });
        self.order(Task::Settle(node), epoch);
        for recruit in recruits {
            self.follow(recruit, node, now);
        }
        if kind == Kind::Automatic {
            self.last = Some((now, Some(node)));
        }
        self.end_run(Outcome::Done, now);
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        if let Some(run) = &mut self.run {
            run.stage = stage;
        }
    }

    pub(super) fn end_run(&mut self, outcome: Outcome, now: Instant) {
        let Some(run) = &self.run else { return };
        let (ticket, from) = (run.ticket, run.from());
        self.note(now, from, Step::Ended(outcome.clone()));
        let past_return = self.run.take().is_some_and(|run| run.is_past_return());
        let result = match outcome {
            Outcome::Done => Ok(()),
            Outcome::RolledBack(why) | Outcome::Abandoned(why) => {
                self.failed = Some((now + RETRY_AFTER, why.clone()));
                Err(if past_return { Refusal::Failed(why) } else { Refusal::RolledBack(why) })
            }
        };
        self.reply(ticket, result);
    }
}

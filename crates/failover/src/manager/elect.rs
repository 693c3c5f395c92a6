//! Who is promoted: standbys are cut off, asked how far they are, and one of them is chosen.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use topology::{Fork, NodeId};
use wire::TimelineId;

use super::{Manager, address, run::Stage};
use crate::{
    choice::{Candidates, Choice, Recruit, choose},
    note::{Kind, Step},
    order::{Answer, Done, Task},
    record::{Phase, Record},
};

/// How long standbys may take at least to be cut off in a switchover.
const PLANNED_PATIENCE: Duration = Duration::from_secs(5);

impl Manager {
    pub(super) fn recruit(&mut self, now: Instant) {
        let Some(run) = &self.run else { return };
        let (epoch, from) = (run.epoch, run.from());
        let nodes: Vec<NodeId> =
            self.standbys().map(|node| node.id).filter(|node| Some(*node) != from).collect();
        let asked = nodes.into_iter().map(|node| (self.order(Task::Recruit(node), epoch), node)).collect();
        if let Some(run) = &mut self.run {
            run.recruits.clear();
            run.refusals.clear();
            run.late.clear();
        }
        // a living primary that was stopped in good order is worth more patience than a dead one
        let is_halted = self.run.as_ref().is_some_and(|run| run.halted.is_some());
        let patience =
            self.settings.recruit_timeout.max(if is_halted { PLANNED_PATIENCE } else { Duration::ZERO });
        self.set_stage(Stage::Recruiting { until: now + patience, asked }, now);
    }

    pub(super) fn recruited(&mut self, node: NodeId, answer: Answer, now: Instant) {
        match answer {
            Ok(Done::Position { timeline, received, began }) => {
                if self.is_the_branch(timeline, began) {
                    if let Some(run) = &mut self.run {
                        run.recruits.push(Recruit { node, timeline, received });
                    }
                    self.note(now, Some(node), Step::Recruited);
                } else {
                    let why = format!(
                        "it has followed another timeline {timeline} than the one that was written to"
                    );
                    self.refuses(node, why, now);
                }
                self.was_not_promoted(node);
            }
            Ok(_) => {}
            Err(failure) => self.refuses(node, failure.to_string(), now),
        }
    }

    fn refuses(&mut self, node: NodeId, why: String, now: Instant) {
        if let Some(run) = &mut self.run {
            run.refusals.push((node, why.clone()));
        }
        self.note(now, Some(node), Step::Failed(why));
    }

    /// Why those who might be promoted could not be cut off, for the end of a sentence.
    fn refusals(&self) -> String {
        let all = self.run.iter().flat_map(|run| &run.refusals);
        let told = all.filter_map(|(node, why)| Some(format!("{}: {why}", self.view(*node)?.name)));
        let told: Vec<String> = told.collect();
        if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) }
    }

    /// Whether a timeline is not known to be another of the same number than the one that was written to last: two nodes
    /// that were promoted one after the other, neither hearing of the other, take the same number.
    fn is_the_branch(&self, timeline: TimelineId, began: Option<Fork>) -> bool {
        let written = self.snapshot.fork.filter(|_| self.snapshot.timeline == Some(timeline));
        began.zip(written).is_none_or(|(its, written)| its == written)
    }

    /// It has not been promoted, and cannot be any more: it was cut off by this run's epoch, or the order was not
    /// carried out.
    pub(super) fn was_not_promoted(&mut self, node: NodeId) {
        let Some(place) = self.view(node).map(address) else { return };
        let Some(run) = &mut self.run else { return };
        let (epoch, before) = (run.epoch, run.tried.len());
        run.tried.retain(|tried| *tried != place);
        if run.tried.len() == before {
            return;
        }
        let (tried, from) = (run.tried.clone(), self.run.as_ref().and_then(|run| self.old_address(run)));
        let phase = match (tried.split_last(), self.record.phase.clone()) {
            (Some((node, earlier)), Phase::Promoting { above, from, .. }) => {
                Phase::Promoting { node: Arc::clone(node), above, from, earlier: earlier.to_vec() }
            }
            // it may have been halted before, of which nothing is recorded while somebody may be promoted
            (None, _) => from.map_or(Phase::Fencing { from: None }, |from| Phase::Halting { from }),
            (Some(_), phase) => phase,
        };
        self.store(Record { epoch, phase, deposed: self.record.deposed.clone() });
    }

    /// Those who have not answered by now do not count.
    pub(super) fn elect(&mut self, now: Instant) {
        if let Some(run) = &mut self.run
            && let Stage::Recruiting { asked, .. } = &mut run.stage
        {
            run.late = std::mem::take(asked);
        }
        let Some(run) = &self.run else { return };
        let (epoch, halted, wanted, limit) = (run.epoch, run.halted, run.wanted, run.limit);
        // of a run that had to go on it was not asked at its begin
        if let Some(old) = run.old.filter(|_| run.kind == Kind::Automatic && !run.is_past_return())
            && let Err(why) = self.is_gone(old)
        {
            self.revert(why.to_string(), now);
            return;
        }
        let wanted = match (wanted, run.kind) {
            (Some(wanted), _) => Candidates::Named(wanted),
            (None, Kind::Automatic | Kind::Failover) => Candidates::AtNeed,
            (None, Kind::Switchover | Kind::Failback | Kind::Restart) => Candidates::Serving,
        };
        let choice = choose(&run.recruits, &self.snapshot, &self.settings, wanted);
        let best = run.recruits.iter().max_by_key(|recruit| (recruit.timeline, recruit.received));
        let reach = best.map(|best| best.received).unwrap_or_default();
        let lost = best.map_or(0, |best| self.lost_by(best.timeline, best.received));
        if halted.is_some_and(|end| reach < end) {
            let what = match best {
                Some(_) => "nobody who could be cut off has received everything that the primary wrote",
                None => "no standby could be cut off",
            };
            self.revert(format!("{what}{}", self.refusals()), now);
            return;
        }
        if best.is_some_and(|best| Some(best.timeline) < self.snapshot.timeline) {
            self.revert(
                "those who could be cut off have not followed the last primary to its timeline".to_owned(),
                now,
            );
            return;
        }
        if limit.is_some_and(|limit| lost > limit) {
            self.revert(
                format!("those who could be cut off lack {lost} bytes, more than max_lost_bytes"),
                now,
            );
            return;
        }
        // what a primary that was halted wrote is known to be there, whoever has it
        let is_asked = limit.is_some() && halted.is_none();
        if let Some(why) = best.filter(|_| is_asked).and_then(|best| self.lacks(&run.alike(best))) {
            self.revert(format!("{why}; FAILOVER TO a node FORCE accepts that"), now);
            return;
        }
        match choice {
            Choice::Promote(node) => self.intend(node, now),
            Choice::CatchUp { node, upstream, lsn } => {
                let order = self.order(Task::CatchUp { node, upstream, lsn }, epoch);
                self.set_stage(Stage::CatchingUp(order, node), now);
            }
            Choice::Nobody => {
                let refusals = self.refusals();
                self.revert(format!("no standby could be cut off that may be promoted{refusals}"), now);
            }
        }
    }

    pub(super) fn intend(&mut self, node: NodeId, now: Instant) {
        self.note(now, Some(node), Step::Chosen);
        let Some((run, view)) = self.run.as_ref().zip(self.view(node)) else { return };
        let followed =
            run.recruits.iter().find(|recruit| recruit.node == node).map(|recruit| recruit.timeline);
        let above = run.old.map(|old| old.timeline).max(followed).unwrap_or(view.timeline);
        let (epoch, from, place) = (run.epoch, self.old_address(run), address(view));
        let mut deposed = self.record.deposed.clone();
        deposed.retain(|address| *address != place);
        let earlier = run.tried.iter().filter(|tried| **tried != place).cloned().collect();
        let phase = Phase::Promoting { node: Arc::clone(&place), above, from, earlier };
        let order = self.store(Record { epoch, phase, deposed });
        if let Some(run) = &mut self.run {
            run.tried.retain(|tried| *tried != place);
            run.tried.push(place);
        }
        self.set_stage(Stage::Intending(order, node), now);
    }
}

//! What an operator asks for that takes a while and replaces nobody: standbys are restarted, one at a time.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use topology::{Health, NodeId, NodeView, Reads, Role};

use super::{
    Manager,
    planned::COUNT_AGAIN,
    run::{Count, Run},
};
use crate::{
    command::{Refusal, Ticket},
    note::{Kind, Step},
    order::{Answer, Done, OrderId, Task},
};

/// How long a restarted standby may take to follow the primary again.
const RETURN_PATIENCE: Duration = Duration::from_secs(120);
/// How long a restart may be missing its answer: longer than any limit of the shell.
const ANSWER_PATIENCE: Duration = Duration::from_secs(90);
/// How long standbys may take to follow a primary that was restarted: twice the time in which one that lost its
/// connection tries again (`wal_retrieve_retry_interval`, 5 s), and some to start replaying.
const SETTLE_PATIENCE: Duration = Duration::from_secs(15);
/// What a standby that was restarted may lack when the next one's turn comes, in bytes.
const CAUGHT_UP: u64 = 16 << 20;

/// Restarts, one after the other.
#[derive(Debug)]
pub(super) struct Errand {
    ticket: Ticket,
    /// The one whose turn it is, and how far it is.
    node: NodeId,
    stage: Stage,
    /// Those whose turn comes.
    left: VecDeque<NodeId>,
    /// The names of those that were restarted.
    done: Vec<Arc<str>>,
    /// Those that followed the primary when it was its turn.
    followers: Vec<NodeId>,
    /// One of several, so that it is worth saying which.
    is_one_of_many: bool,
}

/// ```text
///   Draining --nothing is under way, or time is up--> Restarting --answered--> Returning --it follows--> next
///   Running (the primary) --its run has ended--> Settling --its standbys follow it, or time is up--> end
/// ```
#[derive(Debug)]
enum Stage {
    /// Nothing is read from it any more; what is under way may end.
    Draining { until: Instant, count: Count },
    /// It is stopped and started.
    Restarting { order: OrderId, since: Instant },
    /// It is to follow the primary, by a sample taken since.
    Returning { since: Instant, until: Instant },
    /// It is the primary, and a run restarts it.
    Running,
    /// It is the primary, and was restarted: its standbys are to follow it, by samples taken since, so that what is
    /// asked for next finds the cluster as it was.
    Settling { since: Instant, until: Instant },
}

impl Errand {
    pub(super) fn awaits(&self, id: OrderId) -> bool {
        match &self.stage {
            Stage::Draining { count: Count::Asked(order), .. } | Stage::Restarting { order, .. } => {
                *order == id
            }
            Stage::Draining { count: Count::Again(_), .. }
            | Stage::Returning { .. }
            | Stage::Running
            | Stage::Settling { .. } => false,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Draining { until, count: Count::Again(at) } => Some((*at).min(*until)),
            Stage::Draining { until, .. }
            | Stage::Returning { until, .. }
            | Stage::Settling { until, .. } => Some(*until),
            Stage::Restarting { since, .. } => Some(*since + ANSWER_PATIENCE),
            Stage::Running => None,
        }
    }
}

impl Manager {
    /// The standby that nothing is to be read from, for it is being restarted.
    #[must_use]
    pub fn resting(&self) -> Option<NodeId> {
        self.errand
            .as_ref()
            .filter(|errand| !matches!(errand.stage, Stage::Running | Stage::Settling { .. }))
            .map(|errand| errand.node)
    }

    /// Restarts one node.
    pub(super) fn restart(&mut self, ticket: Ticket, node: NodeId, now: Instant) -> Result<(), Refusal> {
        let view = self.view(node).ok_or(Refusal::NoNode)?;
        if self.primary().is_none_or(|primary| primary.id != node) {
            can_be_restarted(view)?;
        }
        self.begin_errand(ticket, VecDeque::from([node]), false, now);
        Ok(())
    }

    /// Restarts all that are not detached, the primary last.
    pub(super) fn restart_all(&mut self, ticket: Ticket, now: Instant) -> Result<(), Refusal> {
        let primary = self.primary().ok_or(Refusal::NoPrimary)?.id;
        let others = self.snapshot.nodes.iter().filter(|node| node.id != primary);
        let mut nodes = VecDeque::new();
        // nor do spares matter that do not run
        let runs = |node: &&NodeView| !node.duty.is_idle() || can_be_restarted(node).is_ok();
        for node in others.filter(|node| node.reads != Reads::Detached).filter(runs) {
            can_be_restarted(node)?;
            nodes.push_back(node.id);
        }
        nodes.push_back(primary);
        self.begin_errand(ticket, nodes, true, now);
        Ok(())
    }

    fn begin_errand(
        &mut self,
        ticket: Ticket,
        mut left: VecDeque<NodeId>,
        is_one_of_many: bool,
        now: Instant,
    ) {
        let Some(node) = left.pop_front() else { return };
        let stage = Stage::Running;
        let (done, followers) = (Vec::new(), Vec::new());
        self.errand = Some(Errand { ticket, node, stage, left, done, followers, is_one_of_many });
        self.begin_turn(now);
    }

    /// It is the turn of the errand's node.
    fn begin_turn(&mut self, now: Instant) {
        let Some(node) = self.errand.as_ref().map(|errand| errand.node) else { return };
        if self.primary().is_some_and(|primary| primary.id == node) {
            let run = Run::planned(Kind::Restart, self.snapshot.epoch, self.reign, None, now);
            let followers = self.snapshot.nodes.iter().filter(|node| self.follows(node)).map(|node| node.id);
            let followers = followers.collect();
            if let Some(errand) = &mut self.errand {
                (errand.stage, errand.followers) = (Stage::Running, followers);
            }
            self.begin(run, Some(node), now);
        } else {
            self.note(now, Some(node), Step::SetAside);
            let until = now + self.settings.drain_timeout;
            self.set_errand(Stage::Draining { until, count: Count::Again(now) });
            self.count_for_errand();
        }
    }

    fn set_errand(&mut self, stage: Stage) {
        if let Some(errand) = &mut self.errand {
            errand.stage = stage;
        }
    }

    fn count_for_errand(&mut self) {
        let Some(node) = self.errand.as_ref().map(|errand| errand.node) else { return };
        let asked = Count::Asked(self.order(Task::CountBusy(node), self.record.epoch));
        if let Some(Stage::Draining { count, .. }) = self.errand.as_mut().map(|errand| &mut errand.stage) {
            *count = asked;
        }
    }

    /// Goes on with restarts as time passes and the cluster changes.
    pub(super) fn step_errand(&mut self, now: Instant) {
        let Some(errand) = &self.errand else { return };
        let node = errand.node;
        match errand.stage {
            Stage::Running => return, // until the run ends
            Stage::Settling { since, until } => return self.settle(since, until, now),
            Stage::Draining { .. } | Stage::Restarting { .. } | Stage::Returning { .. } => {}
        }
        if self.superseded.is_some() {
            return self.end_errand(Err("another manager has taken over".to_owned()), now);
        }
        if self.run.is_some() || self.primary().is_none() {
            return self.end_errand(Err("the primary was lost meanwhile".to_owned()), now);
        }
        let Some(view) = self.view(node) else {
            return self.end_errand(Err("it is not configured any more".to_owned()), now);
        };
        let follows = self.follows(view) && view.lag_bytes.is_some_and(|lag| lag <= CAUGHT_UP);
        let (role, sampled_at) = (view.role, view.sampled_at);
        match errand.stage {
            Stage::Draining { .. } if role != Role::Standby => {
                self.end_errand(Err("it is no standby any more".to_owned()), now);
            }
            Stage::Draining { until, .. } if now >= until => self.order_restart(now),
            Stage::Draining { count: Count::Again(at), .. } if now >= at => self.count_for_errand(),
            Stage::Returning { since, .. } if role == Role::Primary && sampled_at >= Some(since) => {
                self.end_errand(Err("it came back as a primary".to_owned()), now);
            }
            Stage::Returning { since, .. } if follows && sampled_at >= Some(since) => self.next_turn(now),
            Stage::Returning { until, .. } if now >= until => {
                self.end_errand(Err("it does not follow the primary in time".to_owned()), now);
            }
            Stage::Restarting { since, .. } if now >= since + ANSWER_PATIENCE => {
                self.end_errand(Err("the order was not answered".to_owned()), now);
            }
            Stage::Draining { .. }
            | Stage::Restarting { .. }
            | Stage::Returning { .. }
            | Stage::Running
            | Stage::Settling { .. } => {}
        }
    }

    /// The primary has been restarted. Whatever comes to pass now, that was done.
    fn settle(&mut self, since: Instant, until: Instant, now: Instant) {
        let Some(errand) = &self.errand else { return };
        let away = errand.followers.iter().find(|&&follower| {
            self.view(follower).is_some_and(|node| !self.follows(node) || node.sampled_at < Some(since))
        });
        let is_overtaken = self.run.is_some() || self.superseded.is_some() || self.primary().is_none();
        match away.copied() {
            Some(away) if !is_overtaken && now >= until => {
                let why = "it does not follow the restarted primary yet".to_owned();
                self.note(now, Some(away), Step::Failed(why));
            }
            Some(_) if !is_overtaken => return,
            Some(_) | None => {}
        }
        self.end_errand(Ok(()), now);
    }

    fn order_restart(&mut self, now: Instant) {
        let Some(node) = self.errand.as_ref().map(|errand| errand.node) else { return };
        let order = self.order(Task::Restart(node), self.record.epoch);
        self.set_errand(Stage::Restarting { order, since: now });
    }

    /// An answer that the errand waits for.
    pub(super) fn errand_answered(&mut self, answer: Answer, now: Instant) {
        let Some(errand) = &mut self.errand else { return };
        match (&mut errand.stage, answer) {
            (Stage::Draining { .. }, Ok(Done::Busy { requests: 0, .. })) => self.order_restart(now),
            (Stage::Draining { count, .. }, _) => *count = Count::Again(now + COUNT_AGAIN),
            (Stage::Restarting { .. }, Ok(_)) => {
                self.set_errand(Stage::Returning { since: now, until: now + RETURN_PATIENCE });
            }
            (Stage::Restarting { .. }, Err(failure)) => self.end_errand(Err(failure.to_string()), now),
            (Stage::Returning { .. } | Stage::Running | Stage::Settling { .. }, _) => {}
        }
    }

    /// The node is as it should be again.
    fn next_turn(&mut self, now: Instant) {
        let Some(node) = self.errand.as_ref().map(|errand| errand.node) else { return };
        let name = self.view(node).map(|view| Arc::clone(&view.name));
        self.note(now, Some(node), Step::Restarted);
        let Some(errand) = &mut self.errand else { return };
        errand.done.extend(name);
        match errand.left.pop_front() {
            Some(next) => {
                errand.node = next;
                self.begin_turn(now);
            }
            None => self.end_errand(Ok(()), now),
        }
    }

    /// The run that restarts the primary has ended; whether it belonged to an errand.
    pub(super) fn run_of_errand_ended(&mut self, result: &Result<(), Refusal>, now: Instant) {
        let Some(errand) = self.errand.as_ref().filter(|errand| matches!(errand.stage, Stage::Running))
        else {
            return;
        };
        match result {
            Ok(()) => self.set_errand(Stage::Settling { since: now, until: now + SETTLE_PATIENCE }),
            Err(refusal) if errand.is_one_of_many => self.end_errand(Err(refusal.to_string()), now),
            Err(refusal) => {
                self.reply(Some(errand.ticket), Err(refusal.clone()));
                self.errand = None;
            }
        }
    }

    /// Ends it, and says so to whom it may concern.
    pub(super) fn end_errand(&mut self, result: Result<(), String>, now: Instant) {
        let Some(errand) = self.errand.take() else { return };
        let at = self.view(errand.node).map_or_else(|| "a node".into(), |view| Arc::clone(&view.name));
        let result = result.map_err(|why| {
            self.note(now, Some(errand.node), Step::Failed(format!("not restarted: {why}")));
            match errand.is_one_of_many {
                true => Refusal::Halfway { at, why, done: errand.done },
                false => Refusal::Failed(why),
            }
        });
        self.reply(Some(errand.ticket), result);
    }
}

/// Whether nobody is the worse for it.
fn can_be_restarted(node: &NodeView) -> Result<(), Refusal> {
    let why = match (node.role, node.health) {
        (Role::Standby, Health::Up) if !node.streaming => "it does not stream from the primary",
        (Role::Standby, Health::Up) => return Ok(()),
        (Role::Standby, _) => "it is not up",
        (Role::Primary | Role::Unknown, _) => "it is neither a standby nor the primary",
    };
    Err(Refusal::NotRestarted(Arc::clone(&node.name), why))
}

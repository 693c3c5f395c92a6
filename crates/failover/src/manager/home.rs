//! The primary goes back to where the configuration places it: when an operator says so, or by itself in a window.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use topology::{Duty, Health, NodeId, NodeView, Role};

use super::{Manager, run::Run};
use crate::{
    command::{Refusal, Ticket},
    note::Kind,
};

/// How long a node may take to become fit to be the primary again once an operator wants it to.
const RESTORE_PATIENCE: Duration = Duration::from_secs(60);
/// Time to the next attempt of a failback after one that was rolled back.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// What is remembered of it.
#[derive(Debug, Default)]
pub(super) struct Homecoming {
    /// An operator waits for it, until then.
    asked: Option<(Ticket, Instant)>,
    /// The wall clock says that it may happen by itself now.
    is_window_open: bool,
    /// Which node it could have been, and since when.
    ready: Option<(NodeId, Instant)>,
    /// By itself not before this, for it has failed.
    not_before: Option<Instant>,
}

impl Homecoming {
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.asked.map(|(_, until)| until)
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.not_before = Some(now + AGAIN_AFTER);
    }
}

impl Manager {
    /// Takes in the time of the wall clock, in seconds since 1970 (UTC). It decides about failbacks alone.
    pub fn tell_time(&mut self, seconds: u64) {
        self.home.is_window_open = self.settings.failback.is_some_and(|window| window.contains(seconds));
    }

    /// The node that is best placed to be the primary, if that is not the one that is.
    fn home(&self) -> Option<&NodeView> {
        let place = |node: &NodeView| {
            let region = self.settings.regions.iter().position(|region| *region == node.region);
            // a spare is nobody's home
            (node.duty != Duty::Member, region.unwrap_or(usize::MAX), Reverse(node.priority))
        };
        let primary = self.primary()?;
        let may = |node: &&NodeView| node.may_be_promoted() && node.health != Health::Foreign;
        let best = self.snapshot.nodes.iter().filter(may).min_by_key(|node| place(node))?;
        (place(best) < place(primary)).then_some(best)
    }

    /// Begins what RESTORE TOPOLOGY asks for. `Some`: it has ended already.
    pub(super) fn restore(&mut self, ticket: Ticket, now: Instant) -> Option<Result<(), Refusal>> {
        if self.primary().is_none() {
            return Some(Err(Refusal::NoPrimary));
        }
        self.keep_anew(now);
        if self.home().is_none() {
            return Some(Ok(()));
        }
        self.home.asked = Some((ticket, now + RESTORE_PATIENCE));
        None
    }

    /// Brings the primary home, if it is time.
    pub(super) fn step_home(&mut self, now: Instant) {
        if self.run.is_some() {
            return self.end_homecoming(Err(Refusal::Busy));
        }
        if self.primary().is_none() {
            self.home.ready = None;
            return self.end_homecoming(Err(Refusal::NoPrimary));
        }
        if self.is_left_halted() {
            return;
        }
        let home = self.home().map(|node| (node.id, self.is_ready(node)));
        if let Some((ticket, until)) = self.home.asked {
            match home {
                None => self.end_homecoming(Ok(())),
                Some((node, Ok(()))) => {
                    self.home.asked = None;
                    self.bring_home(Kind::Switchover, node, Some(ticket), now);
                }
                Some((_, Err(refusal))) if now >= until => self.end_homecoming(Err(refusal)),
                Some((_, Err(_))) => {}
            }
            return;
        }
        let ready = home.and_then(|(node, ready)| ready.is_ok().then_some(node));
        self.home.ready = ready.map(|node| match self.home.ready {
            Some((before, since)) if before == node => (node, since),
            _ => (node, now),
        });
        if let Some(node) = self.may_fail_back(now) {
            self.bring_home(Kind::Failback, node, None, now);
        }
    }

    /// The node that is to be the primary again, by itself and now.
    fn may_fail_back(&self, now: Instant) -> Option<NodeId> {
        let (node, since) = self.home.ready.filter(|_| self.home.is_window_open && self.is_acting())?;
        let calm = self.settings.damping;
        let is_calm = now.saturating_duration_since(since) >= calm
            && now.saturating_duration_since(self.calm_since) >= calm
            && self.home.not_before.is_none_or(|at| now >= at);
        let is_whole = self
            .snapshot
            .nodes
            .iter()
            .filter(|node| node.may_be_promoted())
            .all(|node| node.health == Health::Up && (node.role == Role::Primary || node.streaming));
        (is_calm && is_whole && self.errand.is_none() && self.failed.is_none()).then_some(node)
    }

    fn bring_home(&mut self, kind: Kind, node: NodeId, ticket: Option<Ticket>, now: Instant) {
        let run = Run::planned(kind, self.snapshot.epoch, self.reign, ticket, now);
        let from = run.from();
        self.begin(Run { wanted: Some(node), ..run }, from, now);
    }

    /// Whoever waits for it is told.
    pub(super) fn end_homecoming(&mut self, result: Result<(), Refusal>) {
        let ticket = self.home.asked.take().map(|(ticket, _)| ticket);
        self.reply(ticket, result);
    }
}

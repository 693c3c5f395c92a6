//! Whether a failover is to begin.

use std::{sync::Arc, time::Duration, time::Instant};

use topology::{DownReason, Health, NoPrimary, NodeId, NodeView, Reads, Role, Writable};
use wire::{Lsn, TimelineId};

use super::{Manager, Reign, address, run::Run};
use crate::{
    command::{Command, Refusal, Ticket},
    hindrance::Hindrance,
    note::{Kind, Step},
    record::{Phase, Record},
};

/// A standby whose upstream said something as short a time ago still hears it. A crash ends the connection at once; of a
/// host that vanished nothing comes for at least the two probes that it takes to be found down.
const STILL_HEARD: Duration = Duration::from_secs(1);

/// What a candidate of a switchover may lack, in bytes, so that clients do not wait for it to catch up.
const SWITCHOVER_LAG_MAX: u64 = 16 << 20;

const DETACHED: &str = "it is detached; ATTACH NODE first";

impl Manager {
    /// Whether a failover may begin by itself, there being no primary.
    pub(super) fn may_begin(&self, now: Instant) -> Result<(), Hindrance> {
        if self.is_maintenance {
            return Err(Hindrance::Maintenance);
        }
        if let Some(epoch) = self.superseded {
            return Err(Hindrance::Superseded(epoch));
        }
        if let Some((_, why)) = &self.failed {
            return Err(Hindrance::Failed(why.clone()));
        }
        // once somebody may have been promoted, it has to be brought to an end
        let is_to_go_on = !self.maybe_promoted().is_empty();
        let reign = match self.reign {
            _ if is_to_go_on => None,
            Some(reign) => Some(reign),
            None => return Err(Hindrance::NeverKnown),
        };
        self.is_certainly_vacant()?;
        if let Some(reign) = reign {
            self.is_gone(reign)?;
            self.is_undamped(reign, now)?;
        }
        self.everybody_was_asked()?;
        let best = match self.best_candidate() {
            Some(best) => best,
            // it may turn out that nobody was promoted, so that the old primary may go on
            None if is_to_go_on
                && self.standbys().any(|node| self.maybe_promoted().contains(&address(node))) =>
            {
                return Ok(());
            }
            None => {
                return Err(match &self.record.phase {
                    Phase::Promoting { node, .. } => Hindrance::Unresolved(Arc::clone(node)),
                    Phase::Vacant | Phase::Serving { .. } | Phase::Halting { .. } | Phase::Fencing { .. } => {
                        Hindrance::NoCandidate
                    }
                });
            }
        };
        if let Some(hearing) = reign.and_then(|reign| self.hears_the_primary(reign)) {
            return Err(Hindrance::StillHeard(Arc::clone(&hearing.name)));
        }
        let lost = self.would_lose(best);
        if lost > self.settings.max_lost_bytes {
            return Err(Hindrance::WouldLose(Arc::clone(&best.name), lost));
        }
        if let Some(why) = self.lacks(&self.present_on(best.timeline)) {
            return Err(Hindrance::Uncovered(Arc::clone(&best.name), why));
        }
        Ok(())
    }

    /// No failover decides a doubt, nor cuts a start short.
    fn is_certainly_vacant(&self) -> Result<(), Hindrance> {
        match self.snapshot.writable {
            Writable::Primary(_) => Err(Hindrance::InDoubt(NoPrimary::NotFoundYet)),
            Writable::None {
                reason:
                    reason @ (NoPrimary::Starting
                    | NoPrimary::SplitBrain
                    | NoPrimary::OnlyStale
                    | NoPrimary::Unproven),
                ..
            } => Err(Hindrance::InDoubt(reason)),
            Writable::None {
                reason: NoPrimary::NotFoundYet | NoPrimary::Down | NoPrimary::Replacing,
                ..
            } => Ok(()),
        }
    }

    pub(super) fn is_gone(&self, reign: Reign) -> Result<(), Hindrance> {
        let Some(old) = reign.node.and_then(|node| self.view(node)) else { return Ok(()) };
        match (old.health, old.down) {
            (_, Some(DownReason::Unusable(why))) => Err(Hindrance::Unusable(Arc::clone(&old.name), why)),
            (Health::Down, _) => Ok(()),
            // somebody made it a standby, and nobody a primary
            (Health::Up, _) if old.role == Role::Standby => Ok(()),
            _ => Err(Hindrance::NotDown(Arc::clone(&old.name))),
        }
    }

    fn is_undamped(&self, reign: Reign, now: Instant) -> Result<(), Hindrance> {
        let Some((ended, promoted)) = self.last else { return Ok(()) };
        let passed = now.saturating_duration_since(ended);
        let died = promoted.is_some()
            && promoted == reign.node
            && promoted.and_then(|node| self.view(node)).is_none_or(|node| {
                matches!(node.down, Some(DownReason::Refused | DownReason::StartsForTooLong))
            });
        if died || passed >= self.settings.damping {
            return Ok(());
        }
        Err(Hindrance::Damped(self.settings.damping.saturating_sub(passed)))
    }

    /// Who was heard before the primary was lost may have been promoted since, or still hear it.
    pub(super) fn everybody_was_asked(&self) -> Result<(), Hindrance> {
        let Some(since) = self.vacant_since() else { return Ok(()) };
        let silent = self.snapshot.nodes.iter().find(|node| match node.health {
            Health::Unknown | Health::Suspect => true,
            Health::Up => node.sampled_at.is_none_or(|at| at < since),
            Health::Down | Health::Recovering | Health::Stale | Health::Foreign => false,
        });
        silent.map_or(Ok(()), |node| Err(Hindrance::Asking(Arc::clone(&node.name))))
    }

    /// Standbys that are up, on the timeline that was written last.
    pub(super) fn standbys(&self) -> impl Iterator<Item = &NodeView> {
        self.snapshot.nodes.iter().filter(|node| node.role == Role::Standby && node.health == Health::Up)
    }

    fn best_candidate(&self) -> Option<&NodeView> {
        let timeline = self.snapshot.timeline;
        let there =
            || self.standbys().filter(|node| timeline.is_none_or(|timeline| node.timeline == timeline));
        let at_need = || there().filter(|node| node.may_be_promoted_at_need());
        let serving = there().filter(|node| node.may_be_promoted()).max_by_key(|node| node.wal_lsn);
        serving.or_else(|| at_need().max_by_key(|node| node.wal_lsn))
    }

    /// A standby that still hears a primary that merely does not answer. (One whose connections are refused is heard by
    /// nobody: what a standby hears then is another standby.)
    fn hears_the_primary(&self, reign: Reign) -> Option<&NodeView> {
        let old = reign.node.and_then(|node| self.view(node));
        if old.is_some_and(|old| {
            matches!(old.down, Some(DownReason::Refused | DownReason::StartsForTooLong))
                || old.role == Role::Standby && old.health == Health::Up
        }) {
            return None;
        }
        self.standbys()
            .find(|node| node.streaming && node.upstream_silence.is_some_and(|silence| silence < STILL_HEARD))
    }

    /// Bytes of what the primary was last seen to have that no standby has: what they have, the candidate gets.
    fn would_lose(&self, best: &NodeView) -> u64 {
        let most =
            self.standbys().filter(|node| node.timeline == best.timeline).map(|node| node.wal_lsn).max();
        self.lost_by(best.timeline, most.unwrap_or(best.wal_lsn))
    }

    /// Bytes of what the primary was last seen to have past `reach` on `timeline`.
    pub(super) fn lost_by(&self, timeline: TimelineId, reach: Lsn) -> u64 {
        let had = self.snapshot.written.filter(|_| self.snapshot.timeline == Some(timeline));
        had.map_or(0, |had| had.bytes_since(reach))
    }

    pub(super) fn begin_automatic(&mut self, now: Instant) {
        let from = self.reign.and_then(|reign| reign.node);
        let limit = Some(self.settings.max_lost_bytes);
        let run = Run::unplanned(Kind::Automatic, self.next_epoch(), self.reign, limit, now);
        self.begin(Run { tried: self.maybe_promoted(), ..run }, from, now);
    }

    /// The least epoch that was never used.
    pub(super) fn next_epoch(&self) -> topology::Epoch {
        self.snapshot.epoch.max(topology::Epoch(self.record.epoch.0.saturating_add(1)))
    }

    pub(super) fn begin(&mut self, run: Run, from: Option<NodeId>, now: Instant) {
        let kind = run.kind;
        self.run = Some(run);
        self.note(now, from, Step::Begun(kind));
        self.enter_first_stage(now);
    }

    /// Begins what an operator asks for. `Some`: it has ended already.
    pub(super) fn begin_command(
        &mut self,
        ticket: Ticket,
        command: Command,
        now: Instant,
    ) -> Option<Result<(), Refusal>> {
        match command {
            Command::MaintenanceOn => {
                self.is_maintenance = true;
                return Some(Ok(()));
            }
            Command::MaintenanceOff => {
                self.is_maintenance = false;
                self.superseded = None; // an operator has looked
                return Some(Ok(()));
            }
            Command::Switchover { .. }
            | Command::Failover { .. }
            | Command::Restart(_)
            | Command::RestartAll
            | Command::Restore => {}
        }
        let is_urgent = matches!(command, Command::Failover { .. });
        let is_at_work = self.errand.is_some() || self.home.is_asked() || self.is_left_halted();
        if self.run.is_some() || is_at_work && !is_urgent {
            return Some(Err(Refusal::Busy));
        }
        self.superseded = None;
        let had_errand = self.errand.is_some();
        let begun = match command {
            Command::Switchover { to } => self.switchover(ticket, to, now),
            Command::Failover { to, force } => self.failover(ticket, to, force, now),
            Command::Restart(node) => self.restart(ticket, node, now),
            Command::RestartAll => self.restart_all(ticket, now),
            Command::Restore => return self.restore(ticket, now),
            Command::MaintenanceOn | Command::MaintenanceOff => Ok(()),
        };
        match begun {
            Ok(()) if self.run.is_some() || self.errand.is_some() && !had_errand => None,
            ended => Some(ended),
        }
    }

    fn switchover(&mut self, ticket: Ticket, to: Option<NodeId>, now: Instant) -> Result<(), Refusal> {
        let primary = self.primary().ok_or(Refusal::NoPrimary)?;
        let (from, name) = (primary.id, Arc::clone(&primary.name));
        if to == Some(from) {
            return Err(Refusal::IsPrimary(name));
        }
        match to {
            Some(to) => self.is_ready(self.view(to).ok_or(Refusal::NoNode)?)?,
            None if self.standbys().any(|node| node.may_be_promoted() && self.is_ready(node).is_ok()) => {}
            None => {
                return Err(Refusal::Unfit(
                    name,
                    "and no standby is close behind it that may take its place",
                ));
            }
        }
        let run = Run::planned(Kind::Switchover, self.snapshot.epoch, self.reign, Some(ticket), now);
        self.begin(Run { wanted: to, ..run }, Some(from), now);
        Ok(())
    }

    /// Whether a standby may take over without anybody waiting for long.
    pub(super) fn is_ready(&self, node: &NodeView) -> Result<(), Refusal> {
        let why = match (node.role, node.health) {
            (Role::Standby, Health::Up) if node.reads == Reads::Detached => DETACHED,
            (Role::Standby, Health::Up) if !node.streaming => "it does not stream from the primary",
            (Role::Standby, Health::Up) if Some(node.timeline) != self.snapshot.timeline => {
                "it is on another timeline"
            }
            (Role::Standby, Health::Up) if node.lag_bytes.is_none_or(|lag| lag > SWITCHOVER_LAG_MAX) => {
                "it is too far behind the primary"
            }
            (Role::Standby, Health::Up) => return Ok(()),
            (Role::Standby, _) => "it is not up",
            (Role::Primary | Role::Unknown, _) => "it is no standby",
        };
        Err(Refusal::Unfit(Arc::clone(&node.name), why))
    }

    fn failover(&mut self, ticket: Ticket, to: NodeId, force: bool, now: Instant) -> Result<(), Refusal> {
        let node = self.view(to).ok_or(Refusal::NoNode)?;
        if force && self.is_replaced(to) {
            self.give_up_replacing();
            return Ok(());
        }
        if force && node.role == Role::Primary && self.record.deposed.contains(&address(node)) {
            self.accept(&address(node));
            return Ok(());
        }
        if node.role != Role::Standby || node.health != Health::Up {
            return Err(Refusal::Unfit(Arc::clone(&node.name), "it is no standby that is up"));
        }
        if node.reads == Reads::Detached {
            return Err(Refusal::Unfit(Arc::clone(&node.name), DETACHED));
        }
        if let Some(primary) = self.primary().filter(|_| !force) {
            return Err(Refusal::PrimaryThere(Arc::clone(&primary.name)));
        }
        if self.snapshot.timeline.is_some_and(|timeline| node.timeline < timeline) {
            return Err(Refusal::Unfit(
                Arc::clone(&node.name),
                "it has not followed the last primary to its timeline, and no older timeline is ever served again",
            ));
        }
        let lost = self.would_lose(node);
        if !force && lost > self.settings.max_lost_bytes {
            return Err(Refusal::Unfit(
                Arc::clone(&node.name),
                "it lacks more than max_lost_bytes; FORCE accepts that",
            ));
        }
        if !force && let Some(why) = self.lacks(&self.present_on(node.timeline)) {
            return Err(Refusal::Uncovered(Arc::clone(&node.name), why));
        }
        let from = self.reign.and_then(|reign| reign.node);
        let limit = Some(self.settings.max_lost_bytes).filter(|_| !force);
        let run = Run::unplanned(Kind::Failover, self.next_epoch(), self.reign, limit, now);
        let (wanted, ticket, tried) = (Some(to), Some(ticket), self.maybe_promoted());
        self.begin(Run { wanted, ticket, tried, ..run }, from, now);
        Ok(())
    }

    /// Whether this is the old primary, alive, that must not go on because somebody else may have been promoted.
    fn is_replaced(&self, node: NodeId) -> bool {
        let place = self.view(node).filter(|node| node.role == Role::Primary && node.health == Health::Up);
        let Phase::Promoting { from: Some(from), .. } = &self.record.phase else { return false };
        place.is_some_and(|node| *address(node) == **from)
    }

    /// A node that was given up is the primary after all, says an operator: its claim counts like any other.
    fn accept(&mut self, place: &Arc<str>) {
        let mut record = Record { epoch: self.next_epoch(), ..self.record.clone() };
        record.deposed.retain(|deposed| deposed != place);
        self.store(record);
    }

    /// Whoever may have been promoted is not to be, says an operator.
    fn give_up_replacing(&mut self) {
        let Phase::Promoting { from, .. } = self.record.phase.clone() else { return };
        let mut deposed = self.record.deposed.clone();
        deposed.extend(self.maybe_promoted());
        deposed.sort();
        deposed.dedup();
        let phase = from.map_or(Phase::Fencing { from: None }, |from| Phase::Halting { from });
        self.store(Record { epoch: self.next_epoch(), phase, deposed });
    }

    /// The address of the primary that a run replaces, whether it is still configured or not.
    pub(super) fn old_address(&self, run: &Run) -> Option<Arc<str>> {
        let present = run.old?.node.and_then(|node| self.view(node)).map(address);
        present.or_else(|| self.reigned_at().cloned())
    }
}

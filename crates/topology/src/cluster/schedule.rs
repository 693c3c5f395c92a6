//! When to probe beyond the shell's own period, and what runs out by itself.

use std::time::{Duration, Instant};

use super::{Cluster, Tenure};
use crate::{
    action::Action,
    node::{Burst, DownReason, Node, NodeId, Reach},
    probe::Role,
};

/// Probes in a burst, the first at once.
const BURST: u32 = 3;
/// Time between the probes of a burst.
const BURST_INTERVAL: Duration = Duration::from_millis(50);
/// Time between probes of all nodes while there is no primary: short at first, as clients are being held …
const HUNT_INTERVAL: Duration = Duration::from_millis(50);
/// … for this long …
const HUNT_EAGERLY: Duration = Duration::from_secs(30);
/// … and then this.
const HUNT_INTERVAL_LATER: Duration = Duration::from_millis(250);

/// For how long after its first sample of a primary's WAL a cluster asks in haste how far behind its standbys are.
const SETTLING: Duration = Duration::from_secs(2);

impl Cluster {
    /// When [`Cluster::handle_timeout`] is due; `None`: not before another input.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let nodes = self.nodes.iter().flat_map(|node| {
            let burst = match node.burst {
                Burst::Idle => None,
                Burst::Running { next, .. } => Some(next),
            };
            [burst, self.grace_ends(node)]
        });
        let hunt = self.vacancy().map(|vacancy| vacancy.next_hunt);
        nodes.chain([hunt, self.history_due, self.hints_due(), self.spares_due()]).flatten().min()
    }

    pub(super) fn run_schedule(&mut self, now: Instant) {
        self.run_hints(now);
        for index in 0..self.nodes.len() {
            if self.grace_ends(&self.nodes[index]).is_some_and(|end| now >= end) {
                self.nodes[index].set_reach(Reach::Down(DownReason::StartsForTooLong));
            }
            if let Burst::Running { left, next } = self.nodes[index].burst
                && now >= next
            {
                self.nodes[index].burst = match left.saturating_sub(1) {
                    0 => Burst::Idle,
                    left => Burst::Running { left, next: now + BURST_INTERVAL },
                };
                self.ask(Action::ProbeNow(self.nodes[index].id));
            }
        }
        if self.vacancy().is_some_and(|vacancy| now >= vacancy.next_hunt) {
            self.hunt(now);
        }
    }

    /// Probes one node in a burst. Reports in a row lengthen the burst; they do not quicken it.
    pub(super) fn burst(&mut self, id: NodeId, now: Instant) {
        let Some(node) = self.node_mut(id) else { return };
        let running = node.burst;
        node.burst = match running {
            Burst::Idle => Burst::Running { left: BURST - 1, next: now + BURST_INTERVAL },
            Burst::Running { next, .. } => Burst::Running { left: BURST, next },
        };
        if running == Burst::Idle {
            self.ask(Action::ProbeNow(id));
        }
    }

    pub(crate) fn burst_all(&mut self, now: Instant) {
        for index in 0..self.nodes.len() {
            self.burst(self.nodes[index].id, now);
        }
    }

    /// A node in doubt is probed again soon, until it is up or down.
    pub(super) fn probe_again(&mut self, id: NodeId, now: Instant) {
        if let Some(node) = self.node_mut(id).filter(|node| node.burst == Burst::Idle) {
            node.burst = Burst::Running { left: 1, next: now + BURST_INTERVAL };
        }
    }

    /// How far behind a standby is can be told in time only once it has replayed past the first sample of the primary.
    /// Until then it is not read from, so it is asked again soon and not a whole period later: after a start, and after
    /// each failover.
    pub(super) fn measure_lag_soon(&mut self, now: Instant) {
        let known_since = self.wal.first().map(|(at, _)| at).filter(|_| self.present().is_some());
        if known_since.is_none_or(|since| now.saturating_duration_since(since) >= SETTLING) {
            return;
        }
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let view = node.view(self.floor, &self.wal, false);
            if view.role == Role::Standby && view.lag_bytes.is_some() && view.lag.is_none() {
                self.probe_again(node.id, now);
            }
        }
    }

    /// Probes every node, for any of them may have become the primary.
    pub(super) fn hunt(&mut self, now: Instant) {
        let Tenure::Vacant(vacancy) = &mut self.tenure else { return };
        let eager = now.saturating_duration_since(vacancy.since) < HUNT_EAGERLY;
        vacancy.next_hunt = now + if eager { HUNT_INTERVAL } else { HUNT_INTERVAL_LATER };
        for index in 0..self.nodes.len() {
            self.ask(Action::ProbeNow(self.nodes[index].id));
        }
    }

    fn grace_ends(&self, node: &Node) -> Option<Instant> {
        match node.reach {
            // `None`, too far off to be told, is never.
            Reach::Recovering { since, .. } => since.checked_add(self.crash_grace),
            Reach::Unknown | Reach::Up | Reach::Suspect { .. } | Reach::Down(_) => None,
        }
    }
}

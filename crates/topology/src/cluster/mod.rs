//! The state machine: probe results, reports and time in; events, actions and snapshots out.

mod reign;
mod schedule;
mod spare;
mod synchronous;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{Lsn, TimelineId};

use crate::{
    action::{Action, Remembered},
    aside::Aside,
    branch::Branch,
    election::{Ballot, Reign},
    event::Event,
    hint::Hints,
    history::History,
    mandate::Mandate,
    node::{Ancestry, Node, NodeId, Reach},
    probe::{ProbeResult, Report, Role},
    replication::Replication,
    settings::Settings,
    snapshot::{Epoch, Health, NoPrimary, NodeView, Snapshot, Writable},
    synchrony::Synchrony,
    wal::PrimaryWal,
};
use reign::{Tail, Tenure, Vacancy};
use spare::Spares;

/// Events kept for a shell that does not drain them; the oldest go first.
const EVENTS_MAX: usize = 1024;

/// A cluster as this proxy sees it. See the crate's documentation for the protocol between it and its shell.
#[derive(Debug)]
pub struct Cluster {
    down_after_probes: u32,
    crash_grace: Duration,
    nodes: Vec<Node>,
    next_id: u16,
    /// The cluster's `system_identifier`, once known.
    system_id: Option<u64>,
    /// The highest timeline ever written.
    floor: Option<TimelineId>,
    /// Which one of that number.
    branch: Option<Branch>,
    /// When it was remembered last, and how far it was written then.
    remembered: Option<(Instant, Lsn)>,
    epoch: Epoch,
    mandate: Mandate,
    /// Whose claims count for nothing.
    deposed: Vec<NodeId>,
    tenure: Tenure,
    wal: PrimaryWal,
    /// Whom commits on the present or last primary wait for.
    synchrony: Option<Arc<Synchrony>>,
    /// A promotion whose cost is not known yet.
    tail: Option<Tail>,
    /// The last disagreement that was told, so that it is told once.
    told: Option<crate::election::Outcome>,
    /// When a history that is waited for is asked for again or given up.
    history_due: Option<Instant>,
    /// What an outside authority says.
    pub(crate) hints: Hints,
    pub(crate) aside: Aside,
    spares: Spares,
    events: VecDeque<Event>,
    actions: VecDeque<Action>,
}

impl Cluster {
    /// Nothing is known but, perhaps, what an earlier run remembered. The first actions ask for a probe of each node.
    #[must_use]
    pub fn new(settings: Settings, remembered: Option<Remembered>, now: Instant) -> Self {
        let mut cluster = Self {
            down_after_probes: settings.down_after_probes,
            crash_grace: settings.crash_grace,
            nodes: Vec::new(),
            next_id: 0,
            system_id: remembered.as_ref().map(|known| known.system_id),
            floor: remembered.as_ref().map(|known| known.timeline),
            epoch: Epoch(remembered.as_ref().map_or(0, |known| known.epoch.0).saturating_add(1)),
            synchrony: (remembered.as_ref().and_then(|known| known.sync_names.clone()))
                .map(|text| Synchrony::remembered(text).into()),
            branch: remembered.and_then(|known| known.branch),
            remembered: None,
            mandate: Mandate::Open,
            deposed: Vec::new(),
            tenure: Tenure::Vacant(Vacancy::at_the_start(now)),
            wal: PrimaryWal::default(),
            tail: None,
            told: None,
            history_due: None,
            hints: Hints::default(),
            aside: Aside::default(),
            spares: Spares::default(),
            events: VecDeque::new(),
            actions: VecDeque::new(),
        };
        cluster.replace_settings(settings, now);
        cluster
    }

    /// A probe of `node` ended. An answer that is older than one already seen is ignored.
    pub fn handle_probe(&mut self, node: NodeId, result: ProbeResult, now: Instant) {
        let down_after = self.down_after_probes;
        let Some(probed) = self.node_mut(node) else { return };
        let (was, role_was) = (probed.reach, probed.role());
        if !probed.probed(result, down_after, now) {
            return;
        }
        let (reach, role, named) = (probed.reach, probed.role(), probed.named());
        if matches!(reach, Reach::Suspect { .. } | Reach::Recovering { .. }) {
            self.probe_again(node, now);
            if was == Reach::Up && self.present().is_some_and(|reign| reign.node == node) {
                self.burst_all(now);
            }
        }
        if role != role_was && role_was != Role::Unknown {
            let timeline = self.node(node).map_or(TimelineId(0), Node::timeline);
            self.tell(Event::RoleChanged { node: named, role, timeline });
        }
        self.settle(now);
    }

    /// The data path learned something. It moves nothing by itself: it asks for a burst of probes, of all nodes if it
    /// concerns the primary.
    pub fn handle_report(&mut self, node: NodeId, report: Report, now: Instant) {
        let Some(reported) = self.node_mut(node) else { return };
        match report {
            Report::DialRefused | Report::Shutdown | Report::Crashed | Report::Starting => reported.doubt(),
            Report::ReadOnly | Report::RoleChanged => {}
        }
        if self.present().is_some_and(|reign| reign.node == node) {
            self.burst_all(now);
        } else {
            self.burst(node, now);
        }
        self.settle(now);
    }

    /// What a node said of its part in replication, together with or before the answer to a probe; as often as it changes.
    pub fn handle_replication(&mut self, node: NodeId, said: Replication) {
        if let Some(node) = self.node_mut(node) {
            node.replication.update(said);
        }
    }

    /// The answer to [`Action::ReadHistory`].
    pub fn handle_history(&mut self, node: NodeId, timeline: TimelineId, history: History, now: Instant) {
        let Some(node) = self.node_mut(node) else { return };
        node.ancestry = Ancestry::Read { timeline, history };
        self.settle(now);
    }

    /// To be called at [`Cluster::poll_timeout`]; earlier or later does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.run_schedule(now);
        self.settle(now);
    }

    /// What happened, oldest first; to be drained after every `handle_*`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be done, oldest first; to be drained after every `handle_*`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The cluster as it is now; to be published after every `handle_*`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let (writable, vacant) = match &self.tenure {
            Tenure::Held(reign) => (Writable::Primary(reign.node), false),
            Tenure::Vacant(vacancy) => {
                (Writable::None { since: vacancy.since, reason: vacancy.reason }, true)
            }
        };
        Snapshot {
            epoch: self.epoch,
            writable,
            draining: self.mandate == Mandate::Draining && !vacant,
            timeline: self.floor,
            nodes: (self.nodes.iter())
                .map(|node| NodeView {
                    reads: self.reads_of(node),
                    duty: self.duty_of(node),
                    sync_state: self.sync_state_of(node),
                    ..node.view(self.floor, &self.wal, vacant)
                })
                .collect(),
            fork: self.branch.as_ref().and_then(|branch| branch.fork),
            written: self.branch.as_ref().map(|branch| branch.wal_lsn),
            primary_wal: self.wal.clone(),
            synchrony: self.synchrony.clone(),
            built_at: now,
        }
    }

    /// Applies a reloaded configuration. Nodes keep their id and all that is known of them by host and port;
    /// newcomers get unused ids. If the primary is removed, it is lost.
    pub fn replace_settings(&mut self, settings: Settings, now: Instant) {
        self.down_after_probes = settings.down_after_probes;
        self.crash_grace = settings.crash_grace;
        self.set_spares(settings.spares);
        let stays = |node: &Node| settings.nodes.iter().any(|wanted| node.is_at(wanted));
        if self.present().and_then(|reign| self.node(reign.node)).is_some_and(|primary| !stays(primary)) {
            self.vacate(NoPrimary::Down, now);
        }
        let mut old = std::mem::take(&mut self.nodes);
        let kept: Vec<Option<Node>> = (settings.nodes.iter())
            .map(|wanted| {
                let index = old.iter().position(|node| node.is_at(wanted))?;
                let mut node = old.remove(index);
                node.rename(wanted);
                Some(node)
            })
            .collect();
        let mut taken: Vec<NodeId> = kept.iter().flatten().map(|node| node.id).collect();
        for (wanted, node) in settings.nodes.iter().zip(kept) {
            let node = node.unwrap_or_else(|| {
                let id = self.deal(&taken);
                taken.push(id);
                self.actions.push_back(Action::ProbeNow(id));
                Node::new(id, wanted)
            });
            self.nodes.push(node);
        }
        self.forget_unconfigured();
        self.actions.retain(|action| match action {
            Action::ProbeNow(id) | Action::ReadHistory(id, _) => taken.contains(id),
            Action::Remember(_) | Action::AskLeader => true,
        });
        self.settle(now);
    }

    /// The next id never dealt (or, 65,536 newcomers later, one that is not in use).
    fn deal(&mut self, taken: &[NodeId]) -> NodeId {
        while taken.contains(&NodeId(self.next_id)) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = NodeId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        id
    }

    /// Draws the conclusions from all that is known; the end of every input.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.learn_system_id();
        let verdict = Ballot {
            nodes: &self.nodes,
            system_id: self.system_id,
            floor: self.floor,
            branch: self.branch.as_ref(),
            present: self.present(),
            vacant_since: self.vacancy().map(|vacancy| vacancy.since),
            first: self.vacancy().is_some_and(|vacancy| vacancy.last.is_none()),
            mandate: self.mandate,
            deposed: &self.deposed,
            now,
        }
        .decide();
        let verdict = self.heed_hint(verdict, now);
        self.apply(verdict.outcome, now);
        self.learn_synchrony(now);
        self.attach_primary();
        self.count_tail();
        self.ask_history(&verdict, now);
        self.judge_health(&verdict.stale);
        self.judge_spares(now);
        self.measure_lag_soon(now);
    }

    /// Adopts the `system_identifier` of most nodes; in a tie that of a primary, then that of the first node.
    fn learn_system_id(&mut self) {
        if self.system_id.is_some() {
            return;
        }
        let said = || self.nodes.iter().filter_map(|node| node.said.as_ref());
        let votes = |id: u64| said().filter(|said| said.system_id == id).count();
        let all_heard = self.nodes.iter().all(|node| node.reach != Reach::Unknown);
        let best = said().rev().max_by_key(|said| (votes(said.system_id), said.role == Role::Primary));
        if let Some(best) = best.filter(|best| all_heard || votes(best.system_id) * 2 > self.nodes.len()) {
            self.system_id = Some(best.system_id);
        }
    }

    /// Sets each node's health and tells what changed.
    fn judge_health(&mut self, stale: &[NodeId]) {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let foreign =
                node.said.as_ref().is_some_and(|said| self.system_id.is_some_and(|id| said.system_id != id));
            let health = match node.reach {
                Reach::Unknown => Health::Unknown,
                Reach::Down(_) => Health::Down,
                Reach::Recovering { .. } => Health::Recovering,
                Reach::Up | Reach::Suspect { .. } if foreign => Health::Foreign,
                Reach::Up | Reach::Suspect { .. } if stale.contains(&node.id) => Health::Stale,
                Reach::Suspect { .. } => Health::Suspect,
                Reach::Up => Health::Up,
            };
            if health != node.health {
                let event = self.health_event(node, health);
                self.nodes[index].health = health;
                event.into_iter().for_each(|event| self.tell(event));
            }
        }
    }

    fn health_event(&self, node: &Node, health: Health) -> Option<Event> {
        let named = node.named();
        match (health, node.reach, &node.said) {
            (Health::Up, ..) => Some(Event::NodeUp { node: named, role: node.role() }),
            (Health::Suspect, ..) => Some(Event::NodeSuspect { node: named }),
            (Health::Recovering, ..) => Some(Event::NodeRecovering { node: named }),
            (Health::Down, Reach::Down(reason), _) => Some(Event::NodeDown { node: named, reason }),
            (Health::Stale, _, Some(said)) => {
                let fork =
                    self.present().and_then(|reign| self.node(reign.node)?.history()?.left(said.timeline));
                let beyond_fork = fork.map(|fork| said.wal_lsn.bytes_since(fork));
                Some(Event::StalePrimary { node: named, timeline: said.timeline, beyond_fork })
            }
            (Health::Foreign, _, Some(said)) => {
                Some(Event::ForeignNode { node: named, system_id: said.system_id })
            }
            (Health::Unknown | Health::Down | Health::Stale | Health::Foreign, ..) => None,
        }
    }

    pub(crate) fn present(&self) -> Option<Reign> {
        match &self.tenure {
            Tenure::Held(reign) => Some(*reign),
            Tenure::Vacant(_) => None,
        }
    }

    fn vacancy(&self) -> Option<&Vacancy> {
        match &self.tenure {
            Tenure::Held(_) => None,
            Tenure::Vacant(vacancy) => Some(vacancy),
        }
    }

    pub(crate) fn mandate(&self) -> Mandate {
        self.mandate
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Whether a server with this identifier belongs to the cluster, as far as that is known.
    pub(crate) fn is_of_cluster(&self, system_id: u64) -> bool {
        self.system_id == Some(system_id)
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    pub(crate) fn tell(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Queues an action unless it is queued already; of two memories only the newer is kept.
    pub(crate) fn ask(&mut self, action: Action) {
        if let Action::Remember(_) = action {
            self.actions.retain(|queued| !matches!(queued, Action::Remember(_)));
        }
        if !self.actions.contains(&action) {
            self.actions.push_back(action);
        }
    }
}

//! The one task that owns the cluster: findings, reports, time and commands in; snapshots out.

use std::{collections::HashMap, io, sync::Arc};

use conn::{Parameter, Target};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};
use topology::{
    Action, Cluster, DetachError, History, NodeId, NodeView, ProbeResult, Remembered, Report, Snapshot,
};
use wire::TimelineId;

use crate::{
    Reload, Settings,
    attachment::{Attached, Attachment, Stored},
    dialer::Dialer,
    events::log,
    history::{self, HistoryError},
    manage::Managed,
    memory,
    patroni::{Following, Heard, heard},
    probe::{Finding, Prober},
    shared::{Shared, is_news},
    standing::Standing,
};

/// Findings of probers that may wait; each prober has at most a few.
const FINDINGS_LIMIT: usize = 256;

/// Reports taken in before a snapshot is made of them.
const REPORTS_AT_ONCE: usize = 64;

/// Histories that are read at a time.
const HISTORIES_LIMIT: usize = 8;

/// What the handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// To go on with these settings.
    Reload(Box<Reload>, oneshot::Sender<()>),
    /// To do what an operator asks for; answered when it has ended.
    Manage(failover::Command, oneshot::Sender<Result<(), failover::Refusal>>),
    /// To set a node aside or take that back; answered once everybody sees it.
    Attachment(NodeId, Attachment, oneshot::Sender<Result<Attached, DetachError>>),
    /// To end; answered when every task has ended.
    Stop(oneshot::Sender<()>),
}

/// A running prober.
#[derive(Debug)]
struct Watch {
    target: Target,
    wake: Arc<Notify>,
    task: AbortHandle,
}

type ReadHistory = (NodeId, TimelineId, Result<History, HistoryError>);

pub(crate) struct Supervisor {
    pub(crate) cluster: Cluster,
    /// `None`: others decide who is the primary.
    pub(crate) managed: Option<Managed>,
    pub(crate) name: Box<str>,
    pub(crate) settings: Settings,
    dialer: Arc<Dialer>,
    pub(crate) shared: Arc<Shared>,
    watches: HashMap<NodeId, Watch>,
    probers: JoinSet<()>,
    /// Kept so that the channel stays open while there is no prober.
    findings_in: mpsc::Sender<(NodeId, Finding)>,
    findings: mpsc::Receiver<(NodeId, Finding)>,
    reports: mpsc::Receiver<(NodeId, Report)>,
    commands: mpsc::Receiver<Command>,
    histories: JoinSet<ReadHistory>,
    /// What each node last reported of itself at login.
    parameters: HashMap<NodeId, Arc<Vec<Parameter>>>,
    pub(crate) following: Option<Following>,
    pub(crate) standing: Stored,
}

/// What happened next.
enum Input {
    Finding(NodeId, Finding),
    Reports(Vec<(NodeId, Report)>),
    History(ReadHistory),
    Answer(failover::OrderId, failover::Answer),
    Patroni(Heard),
    Time,
    Command(Command),
    /// The handle is gone.
    Orphaned,
}

impl Supervisor {
    pub(crate) fn new(
        cluster: Cluster,
        name: &str,
        settings: Settings,
        dialer: Arc<Dialer>,
        shared: Arc<Shared>,
        reports: mpsc::Receiver<(NodeId, Report)>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let (findings_in, findings) = mpsc::channel(FINDINGS_LIMIT);
        Self {
            cluster,
            managed: None,
            name: name.into(),
            settings,
            dialer,
            shared,
            watches: HashMap::new(),
            probers: JoinSet::new(),
            findings_in,
            findings,
            reports,
            commands,
            histories: JoinSet::new(),
            parameters: HashMap::new(),
            following: None,
            standing: Stored { standing: Standing::default(), again_at: None },
        }
    }

    /// With a manager that decides who is the primary.
    pub(crate) fn managed_by(self, managed: Option<Managed>) -> Self {
        Self { managed, ..self }
    }

    /// The same for a cluster that Patroni manages.
    pub(crate) fn with_following(self, following: Option<Following>) -> Self {
        Self { following, ..self }
    }

    /// Runs until it is stopped or its handle is dropped.
    pub(crate) async fn run(mut self) {
        let stopped = loop {
            self.follow_up().await;
            let now = Instant::now().into_std();
            match self.next_input().await {
                Input::Finding(node, finding) => self.find(node, finding),
                Input::Reports(reports) => {
                    let now = Instant::now().into_std();
                    reports
                        .into_iter()
                        .for_each(|(node, report)| self.cluster.handle_report(node, report, now));
                }
                Input::History((node, timeline, Ok(history))) => {
                    self.cluster.handle_history(node, timeline, history, Instant::now().into_std());
                }
                Input::History((node, timeline, Err(error))) => {
                    let (cluster, error): (_, &dyn std::error::Error) = (&self.name, &error);
                    tracing::warn!(%cluster, %node, %timeline, error, "the timeline's history could not be read");
                }
                Input::Patroni(heard) => self.heed(heard),
                Input::Answer(id, answer) => self.answered(id, answer),
                Input::Time => {
                    let now = Instant::now().into_std();
                    self.cluster.handle_timeout(now);
                    if let Some(managed) = &mut self.managed {
                        managed.timeout(now);
                    }
                }
                Input::Command(Command::Manage(command, reply)) => self.order(command, reply, now),
                Input::Command(Command::Attachment(node, what, answer)) => {
                    let result = self.set_attachment(node, what);
                    self.follow_up().await;
                    // They may have gone; what they said stands.
                    let _ = answer.send(result);
                }
                Input::Command(Command::Reload(reload, answer)) => {
                    self.reload(*reload);
                    // Who asked sees the new nodes from now on.
                    self.follow_up().await;
                    // They may have gone; the reload stands.
                    let _ = answer.send(());
                }
                Input::Command(Command::Stop(answer)) => break Some(answer),
                Input::Orphaned => break None,
            }
        };
        self.probers.shutdown().await;
        self.histories.shutdown().await;
        if let Some(managed) = &mut self.managed {
            managed.shut_down().await;
        }
        if let Some(following) = self.following {
            following.stop().await;
        }
        stopped.map(|answer| answer.send(()));
    }

    /// Takes in what a prober found.
    fn find(&mut self, node: NodeId, finding: Finding) {
        let now = Instant::now().into_std();
        match finding {
            Finding::Xids(sample) => self.shared.xids().observe(node, &sample),
            Finding::Direct(direct) => self.shared.note_path(node, direct),
            Finding::Replication(said) => self.cluster.handle_replication(node, said),
            Finding::Probed(result) => {
                if !matches!(result, ProbeResult::Answered(_)) {
                    self.shared.xids().lose_sight(node);
                }
                self.cluster.handle_probe(node, result, now);
            }
            Finding::Noticed(report) => self.cluster.handle_report(node, report, now),
            Finding::Parameters(parameters) => {
                self.parameters.insert(node, Arc::new(parameters));
            }
        }
    }

    /// An order of the manager has ended.
    fn answered(&mut self, id: failover::OrderId, answer: failover::Answer) {
        let now = Instant::now().into_std();
        let promoted = self.managed.as_mut().and_then(|managed| managed.answered(id, answer, now));
        if let Some(node) = promoted {
            self.cluster.handle_report(node, Report::RoleChanged, now);
        }
    }

    async fn next_input(&mut self) -> Input {
        let due =
            self.cluster.poll_timeout().into_iter().chain(self.managed.as_ref().and_then(Managed::due)).min();
        let timer = async {
            match due {
                Some(due) => sleep_until(Instant::from_std(due)).await,
                None => std::future::pending().await,
            }
        };
        let mut reports = Vec::new();
        let managed = &mut self.managed;
        let answer = async {
            match managed {
                Some(managed) => managed.next_answer().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = self.commands.recv() => command.map_or(Input::Orphaned, Input::Command),
            Some((node, finding)) = self.findings.recv() => Input::Finding(node, finding),
            (id, answer) = answer => Input::Answer(id, answer),
            Some(heard) = heard(&mut self.following) => Input::Patroni(heard),
            Some(Ok(read)) = self.histories.join_next() => Input::History(read),
            () = timer => Input::Time,
            // Last, for there may be any number of them.
            count = self.reports.recv_many(&mut reports, REPORTS_AT_ONCE), if !self.reports.is_closed() => {
                if count > 0 { Input::Reports(reports) } else { Input::Time }
            }
        }
    }

    /// Carries out what the cluster asks for, tells what happened, publishes.
    async fn follow_up(&mut self) {
        // before anybody is told that it holds
        self.keep_standing().await;
        let snapshot = self.agree().await;
        while let Some(event) = self.cluster.poll_event() {
            log(&self.name, &snapshot, &event);
            self.shared.journal.event(&event, snapshot.epoch, Instant::now().into_std());
            self.shared.events.push(snapshot.epoch, event);
        }
        self.tell_notes(&snapshot);
        self.keep_probers(&snapshot);
        if let Some(following) = &self.following {
            following.keep_pace(&snapshot);
        }
        let reporting = snapshot.primary().and_then(|primary| self.parameters.get(&primary.id));
        if let Some(parameters) = reporting.or_else(|| self.parameters.values().next()) {
            self.shared.parameters.store(Some(Arc::clone(parameters)));
        }
        let news = is_news(&self.shared.snapshots.load(), &snapshot);
        self.shared.snapshots.store(snapshot);
        if news {
            self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Carries out what the topology asks for; the cluster as it is then.
    pub(crate) async fn act(&mut self) -> Arc<Snapshot> {
        while let Some(action) = self.cluster.poll_action() {
            match action {
                Action::ProbeNow(node) => {
                    if let Some(watch) = self.watches.get(&node) {
                        watch.wake.notify_one();
                    }
                }
                Action::ReadHistory(node, timeline) => self.read_history(node, timeline),
                Action::AskLeader => {
                    if let Some(following) = &self.following {
                        following.ask_now();
                    }
                }
                Action::Remember(remembered) => self.remember(remembered).await,
            }
        }
        Arc::new(self.cluster.snapshot(Instant::now().into_std()))
    }

    /// Has exactly one prober for each configured node.
    fn keep_probers(&mut self, snapshot: &Snapshot) {
        let target_of = |node: &NodeView| Target { host: node.host.to_string(), port: node.port };
        self.watches.retain(|id, watch| {
            let stays = snapshot.node(*id).is_some_and(|node| target_of(node) == watch.target);
            if !stays {
                watch.task.abort();
            }
            stays
        });
        self.parameters.retain(|id, _| snapshot.node(*id).is_some());
        for node in &snapshot.nodes {
            if self.watches.contains_key(&node.id) {
                continue;
            }
            let (target, wake) = (target_of(node), Arc::new(Notify::new()));
            let prober = Prober {
                node: node.id,
                target: target.clone(),
                dialer: Arc::clone(&self.dialer),
                interval: self.settings.interval,
                timeout: self.settings.timeout,
                wake: Arc::clone(&wake),
                findings: self.findings_in.clone(),
            };
            let task = self.probers.spawn(prober.run());
            self.watches.insert(node.id, Watch { target, wake, task });
        }
        while self.probers.try_join_next().is_some() {}
    }

    fn read_history(&mut self, node: NodeId, timeline: TimelineId) {
        let Some(watch) = self.watches.get(&node).filter(|_| self.histories.len() < HISTORIES_LIMIT) else {
            return;
        };
        let (dialer, target) = (Arc::clone(&self.dialer), watch.target.clone());
        self.histories
            .spawn(async move { (node, timeline, history::read(&dialer, &target, timeline).await) });
    }

    /// Persists. If that fails the proxy goes on: it knows what it forgot only while it runs, which a person must know.
    async fn remember(&self, remembered: Remembered) {
        let Some(path) = self.settings.state_file.clone() else { return };
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || memory::write(&path, &remembered)).await;
        if let Err(error) = written.unwrap_or_else(|_| Err(io::Error::other("the writing task ended"))) {
            tracing::error!(cluster = %self.name, path = shown, %error, "the state file cannot be written");
        }
    }

    fn reload(&mut self, Reload { settings, topology, dialer, following }: Reload) {
        self.follow(following);
        if let (Some(managed), Some(management)) = (&mut self.managed, &settings.management) {
            managed.reload(management, Arc::clone(&dialer));
        }
        self.shared.lookups.redial(Arc::clone(&dialer));
        self.shared.dialer.store(Arc::clone(&dialer));
        self.dialer = dialer;
        self.settings = settings;
        // They keep the settings they began with, so all begin anew. The cluster keeps what they found.
        self.watches.drain().for_each(|(_, watch)| watch.task.abort());
        self.cluster.replace_settings(topology, Instant::now().into_std());
    }
}

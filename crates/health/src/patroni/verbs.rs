//! Planned moves of a cluster that Patroni manages: Patroni does them, and nobody is in the middle of anything meanwhile.

use std::{sync::Arc, time::Duration};

use ::patroni::{Control, ControlError, Leader, View};
use arc_swap::ArcSwap;
use failover::{Command, Refusal};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, error::Elapsed, sleep, timeout},
};
use topology::{Health, Mandate, NodeId, NodeView, Reads, Snapshot};

use super::node_of_member;
use crate::PlannedMoves;

/// Time between two looks at what is still under way.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// How long single statements may take to end once nothing new begins.
const LAST_STATEMENTS: Duration = Duration::from_millis(500);

/// How long the new primary may take to be found after Patroni said that it leads.
const FOUND_WITHIN: Duration = Duration::from_secs(30);

/// How long a restarted node may take to be back.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// Time between two looks at whether it is.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One command, and all that it takes.
pub(super) struct Verb {
    pub(super) cluster: Box<str>,
    pub(super) control: Control,
    pub(super) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(super) changes: watch::Receiver<u64>,
    pub(super) planned: Option<PlannedMoves>,
    /// What the topology is to be told. At the end of the verb it is told that anybody may be the primary again.
    pub(super) mandates: mpsc::Sender<Mandate>,
}

impl Verb {
    /// Does it, and returns when it is over.
    pub(super) async fn run(mut self, command: Command) -> Result<(), Refusal> {
        match command {
            Command::Switchover { to } => self.switchover(to).await,
            Command::Failover { to, force } => self.failover(to, force).await,
            Command::Restart(node) => self.restart(node).await,
            Command::RestartAll => self.restart_all().await,
            Command::Restore => {
                Err(Refusal::Unknown("Patroni has no place for its leader; SWITCHOVER TO a node moves it"))
            }
            Command::MaintenanceOn => self.control.pause().await.map(drop).map_err(refusal),
            Command::MaintenanceOff => self.control.resume().await.map(drop).map_err(refusal),
        }
    }

    async fn restart(&self, node: NodeId) -> Result<(), Refusal> {
        let (view, snapshot) = self.look().await?;
        let member = member_of(&view, &snapshot.nodes, node)?;
        self.control.restart(&member).await.map(drop).map_err(refusal)
    }

    /// One after the other, the primary last.
    async fn restart_all(&mut self) -> Result<(), Refusal> {
        let (_, snapshot) = self.look().await?;
        let primary = snapshot.primary().ok_or(Refusal::NoPrimary)?.id;
        let mut nodes: Vec<&NodeView> =
            snapshot.nodes.iter().filter(|node| node.reads != Reads::Detached).collect();
        nodes.sort_by_key(|node| node.id == primary);
        let mut done = Vec::new();
        for node in nodes {
            let at = Arc::clone(&node.name);
            let halfway = |why: String, done: &[Arc<str>]| Refusal::Halfway { at, why, done: done.to_vec() };
            if let Err(why) = self.restart(node.id).await {
                return Err(halfway(why.to_string(), &done));
            }
            let since = Instant::now().into_std();
            if self.until_back(node.id, since).await.is_err() {
                return Err(halfway("it does not follow the primary in time".to_owned(), &done));
            }
            done.push(Arc::clone(&node.name));
        }
        Ok(())
    }

    /// Waits until a node that was restarted is as it should be: up, and of some use.
    async fn until_back(&self, node: NodeId, since: std::time::Instant) -> Result<(), Elapsed> {
        let is_back = |snapshot: &Snapshot| {
            let view = snapshot.node(node).filter(|view| view.health == Health::Up);
            view.is_some_and(|view| {
                view.sampled_at >= Some(since)
                    && (view.streaming || snapshot.primary().is_some_and(|primary| primary.id == node))
            })
        };
        let waiting = async {
            while !is_back(&self.snapshots.load()) {
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(BACK_WITHIN, waiting).await
    }

    async fn switchover(&mut self, to: Option<NodeId>) -> Result<(), Refusal> {
        let (view, snapshot) = self.look().await?;
        let primary = snapshot.primary().ok_or(Refusal::NoPrimary)?;
        if to == Some(primary.id) {
            return Err(Refusal::IsPrimary(Arc::clone(&primary.name)));
        }
        let Leader::Member(leader) = &view.leader else {
            return Err(Refusal::RolledBack("Patroni has no leader".to_owned()));
        };
        let candidate = to.map(|node| member_of(&view, &snapshot.nodes, node)).transpose()?;
        self.drain(primary.id, to).await;
        self.control.switchover(leader, candidate.as_deref()).await.map_err(refusal)?;
        let old = primary.id;
        self.until_primary(|node| node != old && to.is_none_or(|to| to == node)).await
    }

    async fn failover(&mut self, to: NodeId, force: bool) -> Result<(), Refusal> {
        let (view, snapshot) = self.look().await?;
        match snapshot.primary() {
            Some(primary) if primary.id == to => return Err(Refusal::IsPrimary(Arc::clone(&primary.name))),
            Some(primary) if !force => return Err(Refusal::PrimaryThere(Arc::clone(&primary.name))),
            Some(_) | None => {}
        }
        let candidate = member_of(&view, &snapshot.nodes, to)?;
        self.control.failover(&candidate).await.map_err(refusal)?;
        self.until_primary(|node| node == to).await
    }

    /// Who is who, for Patroni and for us.
    async fn look(&self) -> Result<(View, Arc<Snapshot>), Refusal> {
        let view = self.control.cluster().await.map_err(refusal)?;
        Ok((view, self.snapshots.load_full()))
    }

    /// Lets transactions end and begins none; then, if it is known who comes next, no statement either until that one is
    /// there. What does not end in time is as in an unplanned move.
    async fn drain(&self, primary: NodeId, to: Option<NodeId>) {
        let Some(planned) = &self.planned else { return };
        let since = Instant::now();
        self.tell(Mandate::Draining).await;
        let busy = || planned.traffic.busy(&self.cluster, primary, since.into_std());
        let _ = timeout(planned.drain_timeout, async {
            while busy().await.earlier > 0 {
                sleep(DRAIN_POLL).await;
            }
        })
        .await;
        let Some(to) = to else { return };
        self.tell(Mandate::Only(to)).await;
        let _ = timeout(LAST_STATEMENTS, async {
            while busy().await.all > 0 {
                sleep(DRAIN_POLL).await;
            }
        })
        .await;
    }

    async fn tell(&self, mandate: Mandate) {
        // Without a supervisor there is nobody to be told, and the verb ends soon.
        let _ = self.mandates.send(mandate).await;
        sleep(DRAIN_POLL).await;
    }

    async fn until_primary(&mut self, wanted: impl Fn(NodeId) -> bool) -> Result<(), Refusal> {
        let found = async {
            while !self.snapshots.load().primary().is_some_and(|primary| wanted(primary.id)) {
                if self.changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(FOUND_WITHIN, found).await.map_err(|_| {
            Refusal::Failed("Patroni has done it, but the new leader is not a primary yet".to_owned())
        })
    }
}

/// A node's name in Patroni.
fn member_of(view: &View, nodes: &[NodeView], node: NodeId) -> Result<Box<str>, Refusal> {
    let found = view.members.iter().find(|member| node_of_member(member, nodes) == Some(node));
    found.map(|member| member.name.clone()).ok_or(Refusal::NoNode)
}

/// Only what was asked and not answered may have been done.
fn refusal(error: ControlError) -> Refusal {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    match error {
        ControlError::Lost { .. } => Refusal::Failed(text),
        ControlError::NoUrl
        | ControlError::NoMember(_)
        | ControlError::Unreachable { .. }
        | ControlError::Unauthorized
        | ControlError::Refused { .. }
        | ControlError::Malformed(_) => Refusal::RolledBack(text),
    }
}

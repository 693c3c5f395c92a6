//! One order, from its begin to its answer.

use std::{sync::Arc, time::Instant};

use agent::Hands;
use conn::Target;
use failover::{Answer, Done, Failure, Task};
use topology::{Epoch, NodeId, NodeView, Snapshot};

use super::{Traffic, hands, session::Kept, steps::On};
use crate::dialer::Dialer;

/// What an order is carried out with; all its own, for others are carried out meanwhile.
pub(super) struct Bench {
    pub(super) cluster: Box<str>,
    pub(super) epoch: Epoch,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) dialer: Arc<Dialer>,
    pub(super) hands: Arc<Hands>,
    pub(super) traffic: Arc<dyn Traffic>,
    /// The session with the order's node, if there is one.
    pub(super) kept: Kept,
    /// When requests began to be drained, if they are.
    pub(super) draining_since: Option<Instant>,
}

impl Bench {
    pub(super) async fn work(self, task: Task) -> Answer {
        match task {
            Task::CountBusy(node) => Ok(self.count(node).await),
            Task::Recruit(node) => {
                let (view, target) = self.node(node)?;
                self.on(&target).recruit(&self.kept, view.timeline).await
            }
            Task::CatchUp { node, upstream, lsn } => {
                let ((view, target), (_, upstream)) = (self.node(node)?, self.node(upstream)?);
                self.on(&target).catch_up(&self.kept, &upstream, lsn, view.timeline).await
            }
            Task::Promote(node) => {
                let known = self.snapshot.synchrony.as_ref();
                let names = known.and_then(|known| known.value_for(node));
                self.on(&self.node(node)?.1).promote(&self.kept, names.as_deref()).await
            }
            Task::Follow { node, upstream } => {
                let ((_, target), (_, upstream)) = (self.node(node)?, self.node(upstream)?);
                self.on(&target).follow(&self.kept, &upstream).await
            }
            Task::DropSlots { node, upstream } => self.drop_slots(node, upstream).await,
            Task::Checkpoint(node) | Task::Settle(node) => self.on(&self.node(node)?.1).checkpoint().await,
            Task::Halt(node) => {
                let (view, target) = self.node(node)?;
                if hands::can_halt(&self.hands, &view) {
                    return hands::halt(self.hands, view.name.to_string()).await;
                }
                self.on(&target).fence(&self.kept).await
            }
            Task::Resume(node) => {
                let (view, target) = self.node(node)?;
                if hands::can_halt(&self.hands, &view) {
                    return hands::start(self.hands, view.name.to_string()).await;
                }
                self.on(&target).unfence(&self.kept).await
            }
            Task::Restart(node) => {
                let (view, _) = self.node(node)?;
                hands::restart(self.hands, view.name.to_string()).await
            }
            Task::Rejoin { node, upstream } => self.rejoin(node, upstream).await,
            // the supervisor does these itself, in their order
            Task::Store(_) | Task::Release => Ok(Done::Done),
        }
    }

    async fn count(&self, node: NodeId) -> Done {
        // when all are waited for, which of them came first does not matter
        let before = self.draining_since.unwrap_or_else(|| tokio::time::Instant::now().into_std());
        let busy = self.traffic.busy(&self.cluster, node, before).await;
        Done::Busy { transactions: busy.earlier, requests: busy.all }
    }

    async fn rejoin(self, node: NodeId, upstream: NodeId) -> Answer {
        let ((view, target), (upstream, source)) = (self.node(node)?, self.node(upstream)?);
        hands::rejoin(Arc::clone(&self.hands), view.name.to_string(), upstream).await?;
        // its slot may not be there yet
        self.on(&target).follow(&self.kept, &source).await
    }

    async fn drop_slots(&self, node: NodeId, upstream: NodeId) -> Answer {
        let ((view, target), (_, upstream)) = (self.node(node)?, self.node(upstream)?);
        let (cluster, node) = (&self.cluster, &view.name);
        match self.on(&target).drop_slots(&self.kept, &upstream).await {
            Ok(slots) => {
                for slot in slots {
                    tracing::info!(%cluster, %node, %slot, "a replication slot of its time as the primary was dropped");
                }
                Ok(Done::Done)
            }
            Err(error) => {
                // CHECK CLUSTER tells of them again
                tracing::warn!(
                    %cluster, %node, %error,
                    "replication slots of its time as the primary could not be dropped"
                );
                Err(error)
            }
        }
    }

    fn on<'a>(&'a self, target: &'a Target) -> On<'a> {
        On { dialer: &self.dialer, target, epoch: self.epoch }
    }

    fn node(&self, id: NodeId) -> Result<(NodeView, Target), Failure> {
        let view = self.snapshot.node(id);
        let view = view.ok_or_else(|| Failure::Failed("the node is not configured any more".to_owned()))?;
        Ok((view.clone(), Target { host: view.host.to_string(), port: view.port }))
    }
}

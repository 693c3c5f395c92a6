//! What a failover manager asks of the data plane.

use std::{sync::OnceLock, time::Instant};

use health::{BoxFuture, Busy, Traffic};
use session::{Command, WorkerHandle};
use tokio::sync::oneshot;
use topology::NodeId;

/// The workers, once there are any.
#[derive(Debug, Default)]
pub(crate) struct WorkerTraffic {
    workers: OnceLock<(Vec<WorkerHandle>, Vec<Box<str>>)>,
}

impl WorkerTraffic {
    /// These are the workers, and these the clusters' names in their order.
    pub(crate) fn set_workers(&self, workers: Vec<WorkerHandle>, clusters: Vec<Box<str>>) {
        // it happens once, at the start
        let _ = self.workers.set((workers, clusters));
    }
}

impl Traffic for WorkerTraffic {
    fn busy<'a>(&'a self, cluster: &'a str, node: NodeId, before: Instant) -> BoxFuture<'a, Busy> {
        Box::pin(async move {
            let mut sum = Busy::default();
            let Some((workers, clusters)) = self.workers.get() else { return sum };
            let Some(cluster) = clusters.iter().position(|name| **name == *cluster) else { return sum };
            for worker in workers {
                let (reply, answer) = oneshot::channel();
                // a worker that has ended has nothing under way
                if worker.tell(Command::CountBusy(cluster, node, before, reply)).await.is_ok()
                    && let Ok(busy) = answer.await
                {
                    sum.earlier += busy.earlier;
                    sum.all += busy.all;
                }
            }
            sum
        })
    }
}

//! What the supervisor does when this process decides who is the primary.

use std::sync::Arc;

use tokio::time::Instant;
use topology::Snapshot;

use crate::supervisor::Supervisor;

/// How the cluster is managed at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementState {
    /// Somebody said MAINTENANCE ON.
    pub is_maintenance: bool,
    /// Why nothing is done about it that there is no primary.
    pub hindrance: Option<String>,
}

impl Supervisor {
    /// Lets the topology and the manager hear of each other until neither has news; the cluster as it is then.
    pub(crate) async fn agree(&mut self) -> Arc<Snapshot> {
        /// Each round tells the topology another mandate, or stores a record; a failover takes a few.
        const ROUNDS_MAX: usize = 16;
        let mut snapshot = self.act().await;
        for _ in 0..ROUNDS_MAX {
            let Some(managed) = &mut self.managed else { break };
            let now = Instant::now().into_std();
            if let Some(decree) = managed.observe(&snapshot, now) {
                self.cluster.rest(decree.resting);
                self.cluster.depose(decree.deposed);
                self.cluster.set_mandate(decree.mandate, decree.epoch, now);
            } else if !managed.carry_out(&snapshot, now).await {
                break;
            }
            snapshot = self.act().await;
        }
        snapshot
    }

    /// Tells what the manager did.
    pub(crate) fn tell_notes(&mut self, snapshot: &Snapshot) {
        let now = Instant::now().into_std();
        let Some(managed) = &mut self.managed else { return };
        while let Some(note) = managed.next_note() {
            let (cluster, epoch) = (&self.name, note.epoch);
            let node = note.node.and_then(|node| snapshot.node(node)).map(|node| &*node.name);
            tracing::info!(%cluster, %epoch, node, event = "failover", "{}", note.step);
            self.shared.journal.note(&note, snapshot);
        }
        let (is_maintenance, hindrance, is_news) = managed.state(now);
        if let Some(why) = hindrance.as_ref().filter(|_| is_news) {
            tracing::warn!(cluster = %self.name, "there is no failover: {why}");
        }
        let state = ManagementState { is_maintenance, hindrance };
        let before = self.shared.management.load();
        if before.as_deref() != Some(&state) {
            self.shared.management.store(Some(Arc::new(state)));
        }
    }
}

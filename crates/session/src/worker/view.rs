use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use pool::Gate;
use tokio::sync::mpsc::error::TrySendError;
use topology::{Health, NodeId, Report, Role, Snapshot, Stamp, Toll, Writable};

use crate::world::ClusterHandle;

/// A cluster as one worker sees it: the snapshot is taken over when the worker is told, so that requests read it
/// without touching what other threads write.
#[derive(Debug)]
pub(crate) struct ClusterView {
    pub(super) cluster: ClusterHandle,
    pub(super) snapshot: RefCell<Arc<Snapshot>>,
    /// What was not told yet.
    pub(super) toll: RefCell<Toll>,
    /// No write has been answered since there is a (new) primary.
    pub(super) awaits_first_write: Cell<bool>,
}

impl ClusterView {
    pub(super) fn new(cluster: ClusterHandle) -> Rc<Self> {
        let snapshot = RefCell::new(cluster.snapshots.load_full());
        let (toll, awaits_first_write) = (RefCell::default(), Cell::default());
        Rc::new(Self { cluster, snapshot, toll, awaits_first_write })
    }

    /// Takes over the newest snapshot; whether anything changed that waiting or linked clients should know.
    pub(super) fn refresh(&self) -> bool {
        let newest = self.cluster.snapshots.load_full();
        if Arc::ptr_eq(&newest, &self.snapshot.borrow()) {
            return false;
        }
        let previous = self.snapshot.replace(Arc::clone(&newest));
        if previous.writable != newest.writable && matches!(newest.writable, Writable::Primary(_)) {
            self.awaits_first_write.set(true);
        }
        let serving = |snapshot: &Snapshot| -> Vec<_> {
            snapshot
                .nodes
                .iter()
                .map(|node| (node.id, node.role, node.health, node.reads.is_over(), node.sync_state))
                .collect()
        };
        previous.epoch != newest.epoch
            || previous.writable != newest.writable
            || serving(&previous) != serving(&newest)
    }
}

impl ClusterView {
    /// Tells what the loss of a primary has cost clients since this was told last.
    pub(super) fn tell_toll(&self) {
        let mut toll = self.toll.borrow_mut();
        if toll.is_empty() {
            return;
        }
        match self.cluster.tolls.try_send(toll.clone()) {
            Ok(()) | Err(TrySendError::Closed(_)) => *toll = Toll::default(),
            Err(TrySendError::Full(_)) => {} // with the next tick
        }
    }
}

impl Gate for ClusterView {
    fn stamp(&self, node: NodeId) -> Option<Stamp> {
        let snapshot = self.snapshot.borrow();
        let view = snapshot.node(node)?;
        let deposed = view.role == Role::Primary && snapshot.writable != Writable::Primary(node);
        let is_aside = view.role == Role::Standby && view.reads.is_over();
        if deposed || is_aside || matches!(view.health, Health::Stale | Health::Foreign) {
            None
        } else {
            Some(snapshot.stamp(node))
        }
    }

    fn admits(&self, stamp: &Stamp) -> bool {
        let snapshot = self.snapshot.borrow();
        snapshot.admits(stamp, snapshot.writable == Writable::Primary(stamp.node))
    }

    fn report(&self, node: NodeId, report: Report) {
        // a full channel means that the control plane knows already that something is wrong
        let _ = self.cluster.reports.try_send((node, report));
    }
}

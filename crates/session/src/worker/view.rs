use std::{cell::RefCell, rc::Rc, sync::Arc};

use pool::Gate;
use topology::{Health, NodeId, Report, Role, Snapshot, Stamp, Writable};

use crate::world::ClusterHandle;

/// A cluster as one worker sees it: the snapshot is taken over when the worker is told, so that requests read it
/// without touching what other threads write.
#[derive(Debug)]
pub(crate) struct ClusterView {
    pub(super) cluster: ClusterHandle,
    pub(super) snapshot: RefCell<Arc<Snapshot>>,
}

impl ClusterView {
    pub(super) fn new(cluster: ClusterHandle) -> Rc<Self> {
        let snapshot = RefCell::new(cluster.snapshots.load_full());
        Rc::new(Self { cluster, snapshot })
    }

    /// Takes over the newest snapshot; whether anything changed that waiting or linked clients should know.
    pub(super) fn refresh(&self) -> bool {
        let newest = self.cluster.snapshots.load_full();
        if Arc::ptr_eq(&newest, &self.snapshot.borrow()) {
            return false;
        }
        let previous = self.snapshot.replace(Arc::clone(&newest));
        let serving = |snapshot: &Snapshot| -> Vec<_> {
            snapshot.nodes.iter().map(|node| (node.id, node.role, node.health, node.sync_state)).collect()
        };
        previous.epoch != newest.epoch
            || previous.writable != newest.writable
            || serving(&previous) != serving(&newest)
    }
}

impl Gate for ClusterView {
    fn stamp(&self, node: NodeId) -> Option<Stamp> {
        let snapshot = self.snapshot.borrow();
        let view = snapshot.node(node)?;
        let deposed = view.role == Role::Primary && snapshot.writable != Writable::Primary(node);
        if deposed || matches!(view.health, Health::Stale | Health::Foreign) {
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

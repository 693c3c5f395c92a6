//! What the supervisor shares with everybody else.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use conn::Parameter;
use tokio::sync::watch;
use topology::{NodeId, NodeView, Snapshot, XidBook};

use crate::{
    agreement::ManagementState, dialer::Dialer, events::Events, functions::Catalogs, journal::Journal,
    lookup::Lookups, patroni::PatroniReport,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) events: Events,
    pub(crate) journal: Journal,
    pub(crate) management: ArcSwapOption<ManagementState>,
    pub(crate) parameters: ArcSwapOption<Vec<Parameter>>,
    pub(crate) patroni: ArcSwapOption<PatroniReport>,
    pub(crate) control: ArcSwapOption<::patroni::Control>,
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) catalogs: Arc<Catalogs>,
    pub(crate) xids: Mutex<XidBook>,
    pub(crate) dialer: ArcSwap<Dialer>,
    /// Nodes that connections lead to with nobody in between.
    pub(crate) direct: Mutex<HashSet<NodeId>>,
}

impl Shared {
    /// What is known of transaction ids.
    pub(crate) fn xids(&self) -> MutexGuard<'_, XidBook> {
        self.xids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_path(&self, node: NodeId, is_direct: bool) {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        if is_direct {
            direct.insert(node)
        } else {
            direct.remove(&node)
        };
    }

    /// Whether connections lead to the node itself.
    pub(crate) fn is_direct(&self, node: NodeId) -> bool {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }
}

/// Whether those who wait for a change should look again: anything but positions and times has changed.
pub(crate) fn is_news(old: &Snapshot, new: &Snapshot) -> bool {
    let differs = |(a, b): (&NodeView, &NodeView)| {
        (a.id, a.role, a.health, a.timeline, a.streaming, a.port, a.reads, a.sync_state)
            != (b.id, b.role, b.health, b.timeline, b.streaming, b.port, b.reads, b.sync_state)
            || a.lag.is_some() != b.lag.is_some()
            || (&a.host, &a.name, &a.region, &a.zone) != (&b.host, &b.name, &b.region, &b.zone)
    };
    (old.epoch, old.writable, old.draining) != (new.epoch, new.writable, new.draining)
        || old.nodes.len() != new.nodes.len()
        || old.nodes.iter().zip(&new.nodes).any(differs)
}

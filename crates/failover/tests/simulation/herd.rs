//! pgherd around its two state machines, wired as its shell wires them, on a disk that survives it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use failover::{Manager, Note, Order, OrderId, Record, Reply};
use topology::{Action, Cluster, Epoch, Event, Mandate, NodeId, NodeSettings, Remembered, Snapshot};

/// What survives the death of pgherd.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) remembered: Option<Remembered>,
    pub(crate) record: Record,
}

pub(crate) struct Prober {
    pub(crate) serial: u64,
    pub(crate) is_under_way: bool,
}

/// One run of pgherd.
pub(crate) struct Herd {
    /// Tells it from those before.
    pub(crate) generation: u64,
    pub(crate) cluster: Cluster,
    pub(crate) manager: Manager,
    mandate: (Mandate, Epoch),
    deposed: Vec<NodeId>,
    pub(crate) published: Arc<Snapshot>,
    pub(crate) probers: BTreeMap<NodeId, Prober>,
    /// Records that are being written, in order.
    pub(crate) stores: VecDeque<(OrderId, Record)>,
    /// Orders that have not been answered.
    pub(crate) waiting: BTreeSet<OrderId>,
}

/// What the shell has to do after an input.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) probes: Vec<NodeId>,
    pub(crate) histories: Vec<(NodeId, wire::TimelineId)>,
    pub(crate) orders: Vec<Order>,
    pub(crate) notes: Vec<Note>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) events: Vec<Event>,
}

pub(crate) fn topology_settings(nodes: &[NodeSettings]) -> topology::Settings {
    topology::Settings {
        cluster: "main".to_owned(),
        nodes: nodes.to_vec(),
        down_after_probes: 3,
        crash_grace: Duration::from_secs(5),
        spares: topology::SpareSettings { after: Duration::from_secs(5), regions: Vec::new() },
    }
}

impl Herd {
    pub(crate) fn start(
        generation: u64,
        nodes: &[NodeSettings],
        settings: failover::Settings,
        disk: &Disk,
        now: Instant,
    ) -> Self {
        let mut cluster = Cluster::new(topology_settings(nodes), disk.remembered.clone(), now);
        let snapshot = Arc::new(cluster.snapshot(now));
        let manager = Manager::new(settings, disk.record.clone(), snapshot, now);
        let mandate = manager.mandate();
        let deposed = manager.deposed();
        cluster.depose(deposed.clone());
        cluster.set_mandate(mandate.0, mandate.1, now);
        Self {
            generation,
            published: Arc::new(cluster.snapshot(now)),
            cluster,
            manager,
            mandate,
            deposed,
            probers: BTreeMap::new(),
            stores: VecDeque::new(),
            waiting: BTreeSet::new(),
        }
    }

    /// After every input of either: the snapshot to the manager, its mandate to the cluster, until they agree; what is
    /// to be remembered to the disk; only then the snapshot to the public.
    pub(crate) fn settle(&mut self, disk: &mut Disk, now: Instant) -> Work {
        for turn in 0.. {
            assert!(turn < 10, "the manager and the topology chase each other");
            self.manager.tell_time(0); // which is in the window, if there is one
            self.manager.handle_snapshot(Arc::new(self.cluster.snapshot(now)), now);
            self.cluster.rest(self.manager.resting());
            let (mandate, deposed) = (self.manager.mandate(), self.manager.deposed());
            if (mandate, &deposed) == (self.mandate, &self.deposed) {
                break;
            }
            self.mandate = mandate;
            self.deposed.clone_from(&deposed);
            self.cluster.depose(deposed);
            self.cluster.set_mandate(mandate.0, mandate.1, now);
        }
        let mut work = Work::default();
        while let Some(action) = self.cluster.poll_action() {
            match action {
                Action::ProbeNow(node) => work.probes.push(node),
                Action::ReadHistory(node, timeline) => work.histories.push((node, timeline)),
                Action::AskLeader => {}
                Action::Remember(what) => disk.remembered = Some(what),
            }
        }
        work.orders.extend(std::iter::from_fn(|| self.manager.poll_order()));
        work.notes.extend(std::iter::from_fn(|| self.manager.poll_note()));
        work.replies.extend(std::iter::from_fn(|| self.manager.poll_reply()));
        work.events.extend(std::iter::from_fn(|| self.cluster.poll_event()));
        self.published = Arc::new(self.cluster.snapshot(now));
        work
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.cluster.poll_timeout().into_iter().chain(self.manager.poll_timeout()).min()
    }
}

//! A worker: one thread that serves its share of the clients, and everything they share on it.

mod busy;
mod cancel;
mod quota;
mod report;
mod run;
mod statements;
mod suspend;
mod tick;
mod toll;
mod view;

use std::{
    cell::{Cell, RefCell, RefMut},
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

pub use busy::Busy;
pub use report::{
    ClientReport, HoldReport, ListenerReport, PoolReport, ServerReport, ServerRole, StatsReport, WorkerReport,
};
pub use run::{Command, PauseScope, Resumption, WorkerHandle, spawn_worker};
pub use statements::StatementReport;
pub(crate) use view::ClusterView;

use pool::{Delivery, DialPlan, Gate, Pool, Quota, Waiter};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use topology::{Doubtful, Health, NoPrimary, NodeId, Report, Resolution, Snapshot, Stamp, Writable};

use crate::{
    CancelKeys, ClientId, World,
    exchange::{Exchange, Side},
    handle::{Farewell, Handle},
    io::READ_BUFFER,
    pool_set::PoolSet,
    session::Work,
    world::ClusterHandle,
};

/// Tells workers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerId(pub usize);

/// A database and a user.
type SetKey = (Box<str>, Box<str>);

/// A session and what it shares with others.
type Registered = (Rc<Handle>, Rc<PoolSet>);

/// The state of one worker thread.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    world: RefCell<Arc<World>>,
    views: RefCell<Vec<Rc<ClusterView>>>,
    /// By database and user.
    sets: RefCell<HashMap<SetKey, Rc<PoolSet>>>,
    handles: RefCell<HashMap<ClientId, Registered>>,
    held: RefCell<VecDeque<Rc<Waiter>>>,
    /// What PAUSE covers until RESUME; pools made meanwhile are born paused.
    paused: RefCell<Vec<PauseScope>>,
    suspended: Cell<bool>,
    /// Clients that come have to go at once, like those that were there.
    draining: Cell<bool>,
    /// Pools of an earlier configuration, while connections of theirs are in use.
    retired: RefCell<Vec<(Box<str>, Rc<Pool>)>>,
    quota: Arc<Quota>,
    keys: Arc<CancelKeys>,
    read: RefCell<Box<[u8]>>,
    work: RefCell<Work>,
    spares: RefCell<Vec<Vec<u8>>>,
    #[expect(
        clippy::vec_box,
        reason = "an idle session owns no exchange, so what moves in and out is the box"
    )]
    exchanges: RefCell<Vec<Box<Exchange>>>,
    now: Cell<Instant>,
    random: Cell<u64>,
    /// How many ticks there were; it may wrap around.
    ticks: Cell<u32>,
    servers_report_their_role: Cell<bool>,
    somebody_leaves: Cell<bool>,
    has_timed: Cell<bool>,
    pin_is_awaited: Cell<bool>,
    /// In some cluster no write has been answered since there is a (new) primary.
    awaits_first_write: Cell<bool>,
    replica_is_awaited: Cell<bool>,
}

/// Spare buffers and books that are kept for the next use; more are freed.
const SPARES_MAX: usize = 256;

/// A spare buffer that grew beyond this is freed.
const SPARE_BYTES_MAX: usize = 16 * 1024;

impl Worker {
    pub(crate) fn new(id: WorkerId, world: Arc<World>, keys: Arc<CancelKeys>) -> Rc<Self> {
        let views = world.clusters.iter().cloned().map(ClusterView::new).collect();
        let quota = Arc::clone(&world.quota);
        Rc::new(Self {
            id,
            world: RefCell::new(world),
            views: RefCell::new(views),
            sets: RefCell::default(),
            handles: RefCell::default(),
            held: RefCell::default(),
            paused: RefCell::default(),
            suspended: Cell::default(),
            draining: Cell::default(),
            retired: RefCell::default(),
            quota,
            keys,
            read: RefCell::new(vec![0; READ_BUFFER].into()),
            work: RefCell::default(),
            spares: RefCell::default(),
            exchanges: RefCell::default(),
            now: Cell::new(Instant::now()),
            random: Cell::new(0x9e37_79b9_7f4a_7c15 ^ (id.0 as u64 + 1)),
            ticks: Cell::default(),
            servers_report_their_role: Cell::new(true),
            somebody_leaves: Cell::default(),
            has_timed: Cell::default(),
            pin_is_awaited: Cell::default(),
            awaits_first_write: Cell::default(),
            replica_is_awaited: Cell::default(),
        })
    }

    /// The buffers that one session at a time works with. Reads the clock once for the whole turn.
    #[inline]
    pub(crate) fn buffers(&self) -> (RefMut<'_, Box<[u8]>>, RefMut<'_, Work>) {
        self.now.set(Instant::now());
        (self.read.borrow_mut(), self.work.borrow_mut())
    }

    /// The present turn's time.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Counts the worker's ticks, which are at least [`crate::clock::TICK`] apart.
    #[inline]
    pub(crate) fn ticks(&self) -> u32 {
        self.ticks.get()
    }

    /// A number to choose by; fast, and good for nothing secret (xorshift).
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }

    /// The configuration.
    pub(crate) fn settings(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
    }

    pub(crate) fn spare(&self) -> Vec<u8> {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn keep_spare(&self, mut spare: Vec<u8>) {
        let mut spares = self.spares.borrow_mut();
        if spares.len() < SPARES_MAX && spare.capacity() <= SPARE_BYTES_MAX {
            spare.clear();
            spares.push(spare);
        }
    }

    pub(crate) fn take_exchange(&self, node: NodeId, side: Side, now: Instant) -> Box<Exchange> {
        match self.exchanges.borrow_mut().pop() {
            Some(mut exchange) => {
                exchange.begin(node, side, now);
                exchange
            }
            None => Box::new(Exchange::new(node, side, now)),
        }
    }

    pub(crate) fn keep_exchange(&self, exchange: Box<Exchange>) {
        let mut exchanges = self.exchanges.borrow_mut();
        if exchanges.len() < SPARES_MAX {
            exchanges.push(exchange);
        }
    }

    fn view(&self, pools: &PoolSet) -> Rc<ClusterView> {
        let cluster = pools.settings.borrow().cluster;
        let views = self.views.borrow();
        Rc::clone(
            views.get(cluster).or_else(|| views.first()).expect("a checked configuration has a cluster"),
        )
    }

    /// The topology of the cluster that `pools` are in.
    pub(crate) fn snapshot(&self, pools: &PoolSet) -> Arc<Snapshot> {
        Arc::clone(&self.view(pools).snapshot.borrow())
    }

    pub(crate) fn is_primary(&self, pools: &PoolSet, node: NodeId) -> bool {
        self.view(pools).snapshot.borrow().writable == Writable::Primary(node)
    }

    pub(crate) fn admits(&self, pools: &PoolSet, stamp: &Stamp) -> bool {
        self.view(pools).admits(stamp)
    }

    /// Whether another primary took, or claims, the place of the one that this stamp was for.
    pub(crate) fn is_deposed(&self, pools: &PoolSet, stamp: &Stamp) -> bool {
        let view = self.view(pools);
        let snapshot = view.snapshot.borrow();
        if snapshot.epoch == stamp.epoch {
            return false;
        }
        let node = snapshot.node(stamp.node);
        match snapshot.writable {
            Writable::Primary(primary) => primary != stamp.node || snapshot.timeline != Some(stamp.timeline),
            // while nobody knows who is right, nobody is written to, not even by sessions that were there before
            Writable::None {
                reason:
                    NoPrimary::SplitBrain | NoPrimary::Unproven | NoPrimary::OnlyStale | NoPrimary::Replacing,
                ..
            } => true,
            Writable::None { .. } => node.is_none_or(|n| matches!(n.health, Health::Stale | Health::Foreign)),
        }
    }

    /// Whether the primary is about to be replaced, so that no transaction should begin on it.
    pub(crate) fn is_primary_draining(&self, pools: &PoolSet) -> bool {
        self.view(pools).snapshot.borrow().draining
    }

    /// Whether `node` is known to be down: what is asked of it now will not be answered, however long its sockets
    /// stay open.
    pub(crate) fn is_down(&self, pools: &PoolSet, node: NodeId) -> bool {
        let view = self.view(pools);
        let snapshot = view.snapshot.borrow();
        snapshot.node(node).is_none_or(|view| view.health == Health::Down)
    }

    /// Whether `node` is a standby that nothing is to be read from any more, not even by those who do.
    pub(crate) fn is_set_aside(&self, pools: &PoolSet, node: NodeId) -> bool {
        let view = self.view(pools);
        let snapshot = view.snapshot.borrow();
        snapshot.writable != Writable::Primary(node)
            && snapshot.node(node).is_some_and(|view| view.reads.is_over())
    }

    pub(crate) fn report(&self, pools: &PoolSet, node: NodeId, report: Report) {
        self.view(pools).report(node, report);
    }

    /// Who can be asked what became of a commit.
    pub(crate) fn questions(&self, pools: &PoolSet) -> mpsc::Sender<(Doubtful, oneshot::Sender<Resolution>)> {
        self.view(pools).cluster.questions.clone()
    }

    /// Functions of the database are not what they were.
    pub(crate) fn refresh_functions(&self, pools: &PoolSet) {
        self.view(pools).cluster.functions.refresh(&pools.server_database());
    }

    /// Connections in use of this database and user on `node`.
    pub(crate) fn active_on(&self, pools: &PoolSet, node: NodeId) -> u32 {
        let mut active = 0;
        pools.for_each_pool(|id, pool| {
            if id == node {
                let counts = pool.counts();
                active = counts.live - counts.idle.min(counts.live) + counts.waiting;
            }
        });
        active
    }

    /// The pool of `pools` on `node`.
    pub(crate) fn pool(&self, pools: &PoolSet, node: NodeId) -> Rc<Pool> {
        pools.pool(node, || {
            let view = self.view(pools);
            let plan = dial_plan(&view, pools, node);
            let settings = pools.settings.borrow();
            let bounds = self.world.borrow().bounds(&settings, pools, node);
            let account = self.quota.open(self.id.0, bounds);
            let (states, parameters) = (Rc::clone(&pools.states), Rc::clone(&pools.parameters));
            let pool = Pool::new(settings.pool.clone(), plan, account, view, states, parameters);
            if self.is_paused(&pools.database) {
                pool.pause();
            }
            pool
        })
    }

    /// Whether a PAUSE covers this database.
    fn is_paused(&self, database: &str) -> bool {
        self.paused.borrow().iter().any(|scope| scope.covers(database))
    }

    /// The pools of a database and user, made when first asked for.
    pub(crate) fn pool_set(&self, database: &str, user: &str) -> Option<Rc<PoolSet>> {
        let key = (Box::from(database), Box::from(user));
        if let Some(set) = self.sets.borrow().get(&key) {
            return Some(Rc::clone(set));
        }
        let world = self.settings();
        let settings = world.database(database)?.for_user(user);
        let cluster = world.clusters.get(settings.cluster)?;
        let functions = cluster.functions.functions(settings.server_name.as_deref().unwrap_or(database));
        let set = PoolSet::new(database, user, settings, None, functions);
        self.sets.borrow_mut().insert(key, Rc::clone(&set));
        Some(set)
    }

    /// Takes over the secret of a client's login; server connections made from now on use it.
    pub(crate) fn adopt_secret(&self, pools: &PoolSet, secret: Arc<auth::Secret>) {
        let known = pools.secret.borrow().as_ref().is_some_and(|known| Arc::ptr_eq(known, &secret));
        if known {
            return;
        }
        *pools.secret.borrow_mut() = Some(secret);
        let view = self.view(pools);
        let settings = pools.settings.borrow().pool.clone();
        pools.for_each_pool(|node, pool| {
            pool.reconfigure(settings.clone(), dial_plan(&view, pools, node), false)
        });
    }

    /// Puts a client in the queue for a primary; false if the queue is full.
    pub(crate) fn hold(&self, waiter: &Rc<Waiter>) -> bool {
        let mut held = self.held.borrow_mut();
        if held.len() >= self.world.borrow().session.max_held as usize {
            return false;
        }
        waiter.enter();
        held.push_back(Rc::clone(waiter));
        true
    }

    pub(crate) fn leave_hold(&self, waiter: &Rc<Waiter>) {
        waiter.leave();
        self.held.borrow_mut().retain(|w| !Rc::ptr_eq(w, waiter));
    }

    pub(crate) fn note_role_report(&self, reports: bool) {
        self.servers_report_their_role.set(reports);
    }

    /// Whether the servers are of PostgreSQL 14 or later, which report `in_hot_standby`.
    pub(crate) fn servers_report_their_role(&self) -> bool {
        self.servers_report_their_role.get()
    }

    pub(crate) fn register(&self, handle: &Rc<Handle>, pools: &Rc<PoolSet>) {
        pools.clients.set(pools.clients.get() + 1);
        self.handles.borrow_mut().insert(handle.id, (Rc::clone(handle), Rc::clone(pools)));
        if self.draining.get() {
            handle.send_away(Farewell::Shutdown, true);
        }
    }

    pub(crate) fn unregister(&self, handle: &Handle) {
        self.keys.revoke(&handle.key);
        if let Some((_, pools)) = self.handles.borrow_mut().remove(&handle.id) {
            pools.clients.set(pools.clients.get() - 1);
        }
    }
}

fn dial_plan(view: &ClusterView, pools: &PoolSet, node: NodeId) -> DialPlan {
    let snapshot = view.snapshot.borrow();
    let target = ClusterHandle::target(&snapshot, node);
    DialPlan {
        node,
        target: target.unwrap_or_else(|| conn::Target { host: String::new(), port: 0 }),
        tls: Arc::clone(&view.cluster.tls),
        user: pools.user.clone(),
        database: pools.server_database(),
        secret: pools.secret.borrow().clone(),
        timeout: pools.settings.borrow().pool.connect_timeout,
    }
}

/// Sends everybody in `held` back to decide again.
fn release_held(held: &RefCell<VecDeque<Rc<Waiter>>>) {
    for waiter in held.take() {
        if waiter.is_queued() {
            waiter.deliver(Delivery::Again);
        }
    }
}

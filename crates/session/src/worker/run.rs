//! The thread of a worker: takes in clients, obeys commands, follows the topology, keeps time.

use std::{io, rc::Rc, sync::Arc, thread};

use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::{Instant, MissedTickBehavior},
};

use topology::NodeId;

use super::{Busy, ClusterView, Worker, WorkerId, WorkerReport, dial_plan, release_held};
use crate::{
    CancelKeys, ClientId, NewClient, Purpose, World, clock::TICK, handle::Farewell, pool_set::PoolSet,
    replication, task::SessionTask,
};

/// Which databases a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseScope {
    /// All of them.
    All,
    /// The one that clients call this.
    Database(Box<str>),
}

impl PauseScope {
    pub(super) fn covers(&self, database: &str) -> bool {
        match self {
            Self::All => true,
            Self::Database(name) => **name == *database,
        }
    }
}

/// What goes on again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumption {
    /// Everything, whatever stopped it.
    All,
    /// What a PAUSE of exactly these databases stopped, unless another one covers it.
    Pause(PauseScope),
    /// What SUSPEND stopped.
    Suspension,
}

/// What a worker can be told.
#[derive(Debug)]
pub enum Command {
    /// Serve this client.
    Adopt(Box<NewClient>),
    /// Cancel what this client runs.
    Cancel(ClientId),
    /// Tell how things are.
    Report(oneshot::Sender<WorkerReport>),
    /// Tell how things are, and which prepared statements there are.
    ReportStatements(oneshot::Sender<WorkerReport>),
    /// Go on under this configuration.
    Reconfigure(Arc<World>),
    /// Hand out no more server connections; answers when none is in use, or not at all if it is resumed before.
    Pause(PauseScope, oneshot::Sender<()>),
    /// Go on as before.
    Resume(Resumption),
    /// Leave all clients' and their servers' sockets alone; answers when nothing is left in any buffer, or not at all
    /// if it is resumed before.
    Suspend(oneshot::Sender<()>),
    /// Tell how much is under way on a node of a cluster (an index), and how much of it since before that instant.
    CountBusy(usize, NodeId, std::time::Instant, oneshot::Sender<Busy>),
    /// Answers when every connection that RECONNECT or a reload replaces is closed.
    WaitClose(PauseScope, oneshot::Sender<()>),
    /// Replace all server connections as they become idle.
    Reconnect(PauseScope),
    /// End all clients of these databases.
    Kill(PauseScope),
    /// End this client; answers whether it was there.
    KillClient(ClientId, oneshot::Sender<bool>),
    /// End idle clients now and the others at the end of their transactions; answers when all are gone.
    Drain(oneshot::Sender<()>),
}

/// How to reach a worker from other threads.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    /// Which.
    pub id: WorkerId,
    commands: mpsc::Sender<Command>,
}

impl WorkerHandle {
    /// Tells the worker something.
    ///
    /// # Errors
    /// Gives the command back if the worker has ended.
    pub async fn tell(&self, command: Command) -> Result<(), Box<Command>> {
        self.commands.send(command).await.map_err(|error| Box::new(error.0))
    }
}

/// Starts a worker thread. It ends when all its handles are dropped.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn spawn_worker(id: WorkerId, world: Arc<World>, keys: Arc<CancelKeys>) -> io::Result<WorkerHandle> {
    /// Commands that wait; the senders wait when it is full.
    const COMMANDS: usize = 1024;
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("worker-{}", id.0)).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let worker = Worker::new(id, world, keys);
            run(worker, inbox).await;
        });
    })?;
    Ok(WorkerHandle { id, commands })
}

async fn run(worker: Rc<Worker>, mut inbox: mpsc::Receiver<Command>) {
    let mut watchers = follow_topology(&worker);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = Waiting::default();
    let mut places = worker.quota.enroll();
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                None => break,
                Some(Command::Pause(scope, done)) => {
                    worker.pause(&scope);
                    waiting.pausing.push((scope, done));
                }
                Some(Command::Drain(done)) => {
                    worker.draining.set(true);
                    worker.send_away(&PauseScope::All, Farewell::Shutdown, true);
                    waiting.draining.push(done);
                }
                Some(Command::Suspend(done)) => {
                    worker.suspend();
                    waiting.suspending.push(done);
                }
                Some(Command::WaitClose(scope, done)) => waiting.closing.push((scope, done)),
                Some(Command::Reconfigure(world)) => {
                    watchers.abort_all();
                    worker.reconfigure(world);
                    watchers = follow_topology(&worker);
                }
                Some(command) => worker.obey(command),
            },
            _ = ticks.tick() => worker.tick(Instant::now()),
            Ok(()) = places.changed() => worker.attend_to_quota(Instant::now()),
        }
        waiting.answer(&worker);
    }
    watchers.abort_all();
}

/// Those who asked to be told when something has come about. They may have gone meanwhile.
#[derive(Default)]
struct Waiting {
    pausing: Vec<(PauseScope, oneshot::Sender<()>)>,
    closing: Vec<(PauseScope, oneshot::Sender<()>)>,
    suspending: Vec<oneshot::Sender<()>>,
    draining: Vec<oneshot::Sender<()>>,
}

impl Waiting {
    fn answer(&mut self, worker: &Worker) {
        self.pausing.retain(|(scope, _)| worker.paused.borrow().contains(scope));
        self.suspending.retain(|_| worker.is_suspended());
        for (_, done) in self.pausing.extract_if(.., |(scope, _)| worker.is_quiet(scope)) {
            let _ = done.send(());
        }
        for (_, done) in self.closing.extract_if(.., |(scope, _)| worker.has_closed(scope)) {
            let _ = done.send(());
        }
        for done in self.suspending.extract_if(.., |_| worker.is_still()) {
            let _ = done.send(());
        }
        for done in self.draining.extract_if(.., |_| worker.handles.borrow().is_empty()) {
            let _ = done.send(());
        }
    }
}

/// One task for each cluster takes over its snapshots as they are published.
fn follow_topology(worker: &Rc<Worker>) -> tokio::task::JoinSet<()> {
    let mut watchers = tokio::task::JoinSet::new();
    for (cluster, view) in worker.views.borrow().iter().enumerate() {
        let (worker, view) = (Rc::clone(worker), Rc::clone(view));
        let mut changes = view.cluster.changes.clone();
        watchers.spawn_local(async move {
            while changes.changed().await.is_ok() {
                worker.topology_changed(cluster, &view);
            }
        });
    }
    watchers
}

impl Worker {
    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Adopt(client) => match client.purpose {
                Purpose::Session => SessionTask::spawn(self, *client),
                Purpose::PhysicalReplication | Purpose::LogicalReplication => {
                    replication::spawn(self, *client)
                }
            },
            Command::Cancel(id) => {
                if let Some((handle, _)) = self.handles.borrow().get(&id) {
                    handle.cancel();
                }
            }
            Command::CountBusy(cluster, node, before, reply) => {
                let _ = reply.send(self.count_busy(cluster, node, before)); // the manager may have given up
            }
            Command::Report(reply) => drop(reply.send(self.tell_all())),
            Command::ReportStatements(reply) => {
                drop(reply.send(WorkerReport { statements: self.statements(), ..self.tell_all() }));
            }
            Command::Resume(what) => self.resume(&what),
            Command::Reconnect(scope) => self.for_each_pool(&scope, |pool| pool.reconnect()),
            Command::Kill(scope) => self.send_away(&scope, Farewell::Killed, false),
            Command::KillClient(id, reply) => {
                let handle = self.handles.borrow().get(&id).map(|(handle, _)| Rc::clone(handle));
                if let Some(handle) = &handle {
                    handle.send_away(Farewell::Killed, false);
                }
                let _ = reply.send(handle.is_some()); // the console may have gone
            }
            Command::Pause(..)
            | Command::Drain(_)
            | Command::Reconfigure(_)
            | Command::Suspend(_)
            | Command::WaitClose(..) => {}
        }
    }

    fn pause(&self, scope: &PauseScope) {
        self.paused.borrow_mut().push(scope.clone());
        self.for_each_pool(scope, |pool| pool.pause());
    }

    fn resume(&self, what: &Resumption) {
        match what {
            Resumption::All => self.paused.borrow_mut().clear(),
            Resumption::Pause(scope) => self.paused.borrow_mut().retain(|paused| paused != scope),
            Resumption::Suspension => {}
        }
        if matches!(what, Resumption::All | Resumption::Suspension) {
            self.end_suspension();
        }
        for set in self.sets.borrow().values().filter(|set| !self.is_paused(&set.database)) {
            set.for_each_pool(|_, pool| pool.resume());
        }
    }

    pub(super) fn for_each_pool(&self, scope: &PauseScope, mut visit: impl FnMut(&pool::Pool)) {
        for set in self.sets.borrow().values().filter(|set| scope.covers(&set.database)) {
            set.for_each_pool(|_, pool| visit(pool));
        }
        for (_, pool) in self.retired.borrow().iter().filter(|(name, _)| scope.covers(name)) {
            visit(pool);
        }
    }

    fn has_closed(&self, scope: &PauseScope) -> bool {
        let mut stale = 0;
        self.for_each_pool(scope, |pool| stale += pool.counts().stale);
        stale == 0
    }

    fn is_quiet(&self, scope: &PauseScope) -> bool {
        let mut busy = 0;
        self.for_each_pool(scope, |pool| {
            let counts = pool.counts();
            busy += counts.live.saturating_sub(counts.idle + counts.dialing + counts.listening);
        });
        busy == 0
    }

    fn send_away(&self, scope: &PauseScope, farewell: Farewell, at_boundary: bool) {
        for (handle, set) in self.handles.borrow().values() {
            if scope.covers(&set.database) {
                handle.send_away(farewell, at_boundary);
            }
        }
    }

    pub(super) fn topology_changed(&self, cluster: usize, view: &ClusterView) {
        if !view.refresh() {
            return;
        }
        if view.awaits_first_write.get() {
            self.awaits_first_write.set(true);
        }
        for set in self.sets.borrow().values().filter(|set| set.settings.borrow().cluster == cluster) {
            set.for_each_pool(|_, pool| pool.reroute_waiters());
            self.look_at_hubs(set);
        }
        release_held(&self.held);
        self.wake_linked();
    }

    fn retire_pools(&self, set: &PoolSet) {
        for pool in set.forget_pools() {
            pool.retire();
            self.retired.borrow_mut().push((set.database.clone(), pool));
        }
    }

    fn reconfigure(&self, world: Arc<World>) {
        let same_nodes = |a: &World, b: &World| {
            a.clusters.len() == b.clusters.len()
                && a.clusters.iter().zip(&b.clusters).all(|(a, b)| Arc::ptr_eq(&a.snapshots, &b.snapshots))
        };
        let previous = self.world.replace(Arc::clone(&world));
        let unchanged = same_nodes(&previous, &world);
        *self.views.borrow_mut() = world.clusters.iter().cloned().map(ClusterView::new).collect();
        for set in self.sets.borrow().values() {
            let Some(settings) = world.database(&set.database).map(|settings| settings.for_user(&set.user))
            else {
                self.send_away(&PauseScope::Database(set.database.clone()), Farewell::Killed, true);
                // nobody comes any more; those who are there may need connections until they leave
                set.settings.borrow_mut().pool.min_size = 0;
                self.retire_pools(set);
                continue;
            };
            let moved = settings.cluster != set.settings.borrow().cluster
                || settings.server_name != set.settings.borrow().server_name;
            *set.settings.borrow_mut() = settings.clone();
            if moved || !unchanged {
                self.retire_pools(set);
                continue;
            }
            let view = self.view(set);
            set.for_each_pool(|node, pool| {
                let plan = dial_plan(&view, set, node);
                let redial = !Arc::ptr_eq(&pool.plan().tls, &plan.tls);
                pool.reconfigure(settings.pool.clone(), plan, redial);
                // the former view is not kept up to date any more
                pool.set_gate(Rc::<ClusterView>::clone(&view));
                pool.rebound(world.bounds(&settings, set, node));
            });
        }
        release_held(&self.held);
        self.wake_linked();
    }
}

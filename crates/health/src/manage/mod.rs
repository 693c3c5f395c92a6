//! The shell of the failover manager: carries out its orders, each in a task of its own, and stores its record.

mod conninfo;
mod hands;
mod session;
mod steps;
pub(crate) mod store;
mod synchrony;
mod told;
mod work;

use std::{
    collections::HashMap,
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::{Instant, UNIX_EPOCH},
};

use agent::Hands;
use failover::{
    Answer, Command, Done, Failure, Manager, Note, Order, OrderId, Record, Refusal, Task, Ticket,
};
use tokio::{sync::oneshot, task::JoinSet};
use topology::{Mandate, NodeId, Snapshot};

use crate::{dialer::Dialer, events::wall_clock};
use session::Kept;
use told::Told;
use work::Bench;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is under way on a node from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Busy {
    /// Requests and transactions that had begun before the instant that was asked about.
    pub earlier: u32,
    /// All of them.
    pub all: u32,
}

/// The data plane, as far as a failover manager needs it.
pub trait Traffic: Send + Sync + std::fmt::Debug {
    /// Counts what is under way on a node of this cluster.
    fn busy<'a>(&'a self, cluster: &'a str, node: NodeId, before: Instant) -> BoxFuture<'a, Busy>;
}

/// What makes this process the manager of a cluster.
#[derive(Debug, Clone)]
pub struct Management {
    /// How it decides.
    pub settings: failover::Settings,
    /// Where its record is kept.
    pub record_file: PathBuf,
    /// What it counts when it drains.
    pub traffic: Arc<dyn Traffic>,
    /// How it acts on nodes where SQL cannot.
    pub hands: Arc<Hands>,
}

/// A manager and what it has in hand.
#[derive(Debug)]
pub(crate) struct Managed {
    manager: Manager,
    cluster: Box<str>,
    record_file: PathBuf,
    traffic: Arc<dyn Traffic>,
    hands: Arc<Hands>,
    dialer: Arc<Dialer>,
    sessions: HashMap<NodeId, Kept>,
    tasks: JoinSet<(OrderId, Answer)>,
    /// Of orders that were carried out on the spot.
    answers: Vec<(OrderId, Answer)>,
    tickets: HashMap<Ticket, oneshot::Sender<Result<(), Refusal>>>,
    next_ticket: u64,
    /// What the topology was told last.
    decree: Decree,
    /// When requests began to be drained.
    draining_since: Option<Instant>,
    /// Who is being promoted.
    promoting: Option<(OrderId, NodeId)>,
    /// Hindrances that were logged.
    told: Told,
}

/// Who may be the primary, as the manager says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decree {
    pub(crate) mandate: Mandate,
    /// The least epoch for it.
    pub(crate) epoch: topology::Epoch,
    /// Whose claims count for nothing.
    pub(crate) deposed: Vec<NodeId>,
    /// The standby that nothing is to be read from.
    pub(crate) resting: Option<NodeId>,
}

impl Default for Decree {
    fn default() -> Self {
        Self { mandate: Mandate::Open, epoch: topology::Epoch(0), deposed: Vec::new(), resting: None }
    }
}

impl Managed {
    pub(crate) fn new(
        management: &Management,
        record: Record,
        cluster: &str,
        dialer: Arc<Dialer>,
        snapshot: Arc<Snapshot>,
        now: Instant,
    ) -> Self {
        Self {
            manager: Manager::new(management.settings.clone(), record, snapshot, now),
            cluster: cluster.into(),
            record_file: management.record_file.clone(),
            traffic: Arc::clone(&management.traffic),
            hands: Arc::clone(&management.hands),
            dialer,
            sessions: HashMap::new(),
            tasks: JoinSet::new(),
            answers: Vec::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
            decree: Decree::default(),
            draining_since: None,
            promoting: None,
            told: Told::default(),
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.manager.poll_timeout()
    }

    /// Waits for an order to end; for ever if none is under way.
    pub(crate) async fn next_answer(&mut self) -> (OrderId, Answer) {
        match self.tasks.join_next().await {
            Some(Ok(answer)) => answer,
            // an order whose task ended without an answer is waited for until its run is given up
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// Hands the cluster as it is to the manager. `Some`: the topology has to be told this, and to be asked again.
    pub(crate) fn observe(&mut self, snapshot: &Arc<Snapshot>, now: Instant) -> Option<Decree> {
        let time = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.manager.tell_time(time.as_secs());
        self.manager.handle_snapshot(Arc::clone(snapshot), now);
        let (mandate, epoch) = self.manager.mandate();
        if mandate == Mandate::Draining {
            self.draining_since.get_or_insert(now);
        } else {
            self.draining_since = None;
        }
        let decree =
            Decree { mandate, epoch, deposed: self.manager.deposed(), resting: self.manager.resting() };
        (decree != self.decree).then(|| {
            self.decree = decree.clone();
            decree
        })
    }

    /// Hands the end of an order to the manager. The node that is worth a look now: it was promoted.
    pub(crate) fn answered(&mut self, id: OrderId, answer: Answer, now: Instant) -> Option<NodeId> {
        let promoted = self.promoting.take_if(|(order, _)| *order == id).map(|(_, node)| node);
        self.manager.handle_answer(id, answer, now);
        promoted
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        self.manager.handle_timeout(now);
    }

    pub(crate) fn command(
        &mut self,
        command: Command,
        reply: oneshot::Sender<Result<(), Refusal>>,
        now: Instant,
    ) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, reply);
        self.manager.handle_command(ticket, command, now);
    }

    /// Goes on with other settings.
    pub(crate) fn reload(&mut self, management: &Management, dialer: Arc<Dialer>) {
        self.manager.replace_settings(management.settings.clone());
        self.hands = Arc::clone(&management.hands);
        self.dialer = dialer;
    }

    pub(crate) fn is_maintenance(&self) -> bool {
        self.manager.is_maintenance()
    }

    /// As it was when an earlier run ended.
    pub(crate) fn set_maintenance(&mut self, on: bool) {
        self.manager.set_maintenance(on);
    }

    pub(crate) fn next_note(&mut self) -> Option<Note> {
        self.manager.poll_note()
    }

    /// Whether MAINTENANCE is on, why there is no failover if one is due, and whether that is of a kind that was not told
    /// since there was a primary last.
    pub(crate) fn state(&mut self, now: Instant) -> (bool, Option<String>, bool) {
        let hindrance = self.manager.hindrance(now);
        let is_news = self.told.is_news(hindrance.as_ref(), now);
        (self.manager.is_maintenance(), hindrance.map(|why| why.to_string()), is_news)
    }

    /// Begins what the manager has ordered, and tells those who wait how their commands ended. True: an order was carried
    /// out at once, and its answer has led to more.
    pub(crate) async fn carry_out(&mut self, snapshot: &Arc<Snapshot>, now: Instant) -> bool {
        while let Some(reply) = self.manager.poll_reply() {
            if let Some(waiting) = self.tickets.remove(&reply.ticket) {
                // who asked may have gone
                let _ = waiting.send(reply.result);
            }
        }
        while let Some(order) = self.manager.poll_order() {
            self.begin(order, snapshot).await;
        }
        let answers = std::mem::take(&mut self.answers);
        let any = !answers.is_empty();
        answers.into_iter().for_each(|(id, answer)| self.manager.handle_answer(id, answer, now));
        any
    }

    async fn begin(&mut self, Order { id, epoch, task }: Order, snapshot: &Arc<Snapshot>) {
        let node = match task {
            Task::Store(record) => {
                let answer = self.store(record).await;
                self.answers.push((id, answer));
                return;
            }
            Task::Release => return self.release(),
            Task::Promote(node) => {
                self.promoting = Some((id, node));
                node
            }
            Task::CountBusy(node)
            | Task::Recruit(node)
            | Task::Halt(node)
            | Task::Resume(node)
            | Task::Restart(node)
            | Task::Checkpoint(node)
            | Task::Settle(node)
            | Task::CatchUp { node, .. }
            | Task::Follow { node, .. }
            | Task::DropSlots { node, .. }
            | Task::Rejoin { node, .. } => node,
        };
        let bench = Bench {
            cluster: self.cluster.clone(),
            epoch,
            snapshot: Arc::clone(snapshot),
            dialer: Arc::clone(&self.dialer),
            hands: Arc::clone(&self.hands),
            traffic: Arc::clone(&self.traffic),
            kept: Arc::clone(self.sessions.entry(node).or_default()),
            draining_since: self.draining_since,
        };
        self.tasks.spawn(async move { (id, bench.work(task).await) });
    }

    /// Stores a record; what waits for it relies on its being safe.
    async fn store(&self, record: Record) -> Answer {
        let path = self.record_file.clone();
        let written = tokio::task::spawn_blocking(move || store::write(&path, &record)).await;
        match written.unwrap_or_else(|_| Err(io::Error::other("the writing task ended"))) {
            Ok(()) => Ok(Done::Done),
            Err(error) => {
                let (cluster, path) = (&self.cluster, self.record_file.display());
                tracing::error!(%cluster, %path, %error, "the failover record cannot be written");
                Err(Failure::Failed(error.to_string()))
            }
        }
    }

    /// Closes the sessions, by which the nodes' locks end.
    fn release(&mut self) {
        for (_, kept) in self.sessions.drain() {
            self.tasks.spawn(async move {
                if let Some(session) = kept.lock().await.take() {
                    session.close().await;
                }
                // nobody waits for the end of it
                (OrderId(u64::MAX), Ok(Done::Done))
            });
        }
    }

    pub(crate) async fn shut_down(&mut self) {
        self.tasks.shutdown().await;
    }
}

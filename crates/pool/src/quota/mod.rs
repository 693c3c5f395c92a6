//! Bounds on server connections that are wider than one pool, over all workers.
//!
//! A place is asked for when a connection is dialed and given back when it is closed; a query that finds an idle
//! connection does not come here.

mod book;
#[cfg(test)]
mod tests;

use std::{
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use book::{Book, SCOPES};
use tokio::{sync::watch, time::Instant};
use topology::NodeId;

/// What a bound on server connections is over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of them.
    Total,
    /// Those to one node of a cluster, which is an index into the configured ones.
    Node(usize, NodeId),
    /// Those of one database, as clients call it.
    Database(Arc<str>),
    /// Those of one role.
    User(Arc<str>),
    /// Those of one database and role.
    DatabaseUser(Arc<str>, Arc<str>),
    /// Those to one node that are being made.
    Logins(usize, NodeId),
}

/// Most server connections in each scope that a pool is in; `None`: as many as there may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caps {
    /// In total.
    pub total: Option<u32>,
    /// To the pool's node.
    pub node: Option<u32>,
    /// Of its database.
    pub database: Option<u32>,
    /// Of its role.
    pub user: Option<u32>,
    /// Of its role in its database.
    pub database_user: Option<u32>,
    /// To its node, while they are being made.
    pub logins: Option<u32>,
}

/// The scopes that a pool is in, and their caps.
#[derive(Debug, Clone)]
pub struct Bounds([(Scope, Option<u32>); SCOPES]);

impl Bounds {
    /// Of the pool of `database` and `user` on a node of a cluster.
    #[must_use]
    pub fn new(cluster: usize, node: NodeId, database: &str, user: &str, caps: &Caps) -> Self {
        let (database, user): (Arc<str>, Arc<str>) = (database.into(), user.into());
        Self([
            (Scope::Total, caps.total),
            (Scope::Node(cluster, node), caps.node),
            (Scope::Database(Arc::clone(&database)), caps.database),
            (Scope::User(Arc::clone(&user)), caps.user),
            (Scope::DatabaseUser(database, user), caps.database_user),
            (Scope::Logins(cluster, node), caps.logins),
        ])
    }
}

/// How far a bound is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Which.
    pub scope: Scope,
    /// Connections that exist or are being made.
    pub used: u32,
    /// Most that there may be.
    pub cap: u32,
}

/// What a pool has to do for the others, and may do for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Close so many idle connections, those that were used longest ago.
    pub close: u32,
    /// So many more may be dialed.
    pub granted: u32,
}

/// The bounds of all pools on all workers. A pool that finds no room asks for a place and gets it in the turn of its
/// first client; for that, the connection that has been idle for longest elsewhere is closed, or one that comes back
/// to a pool whose own clients have not waited as long.
#[derive(Debug, Default)]
pub struct Quota {
    book: Mutex<Book>,
    news: watch::Sender<u64>,
}

impl Quota {
    /// One more worker, which is told of news here and then [offers](Quota::offer) and [takes orders](Quota::take_orders).
    pub fn enroll(&self) -> watch::Receiver<u64> {
        self.book().enroll();
        self.news.subscribe()
    }

    /// An account for a pool of this worker.
    #[must_use]
    pub fn open(self: &Arc<Self>, worker: usize, bounds: Bounds) -> Arc<Account> {
        let id = self.book().open(worker, bounds);
        Arc::new(Account { quota: Arc::clone(self), id })
    }

    /// Grants what time has made possible; whether somebody waits for a place that nothing under way will bring.
    pub fn look(&self) -> bool {
        self.change(|_, _| ());
        self.book().is_short()
    }

    /// Tells of the idle connections of a worker's pools: since when each pool's has been idle that has been so for
    /// longest.
    pub fn offer(&self, worker: usize, idle: &[(AccountId, Instant)]) {
        let idle: Vec<_> = idle.iter().map(|(account, since)| (account.0, *since)).collect();
        self.change(|book, now| book.offer(worker, &idle, now));
    }

    /// What a worker's pools have to do.
    #[must_use]
    pub fn take_orders(&self, worker: usize) -> Vec<(AccountId, Order)> {
        let orders = self.book().take_orders(worker);
        orders.into_iter().map(|(id, order)| (AccountId(id), order)).collect()
    }

    /// The bounds that have a cap, and how far each is used.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.book().usage()
    }

    /// Grants what has become possible after `change`, and tells the workers if there is news.
    fn change<T>(&self, change: impl FnOnce(&mut Book, Instant) -> T) -> T {
        let now = Instant::now();
        let mut book = self.book();
        let result = change(&mut book, now);
        book.settle(now);
        let has_news = book.take_news();
        drop(book);
        if has_news {
            self.news.send_modify(|news| *news = news.wrapping_add(1));
        }
        result
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a dial found its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It did, whatever the node thought of the login.
    Yes,
    /// It did not, and a moment later it might.
    No,
}

/// A number from 0 to 1 that nobody expects.
fn fraction() -> f64 {
    let number = foldhash::fast::RandomState::default().hash_one(0_u8);
    f64::from((number >> 32) as u32) / f64::from(u32::MAX)
}

/// Tells accounts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountId(usize);

/// A pool's share in the quota, of the pool and of its connections, which may outlive it.
#[derive(Debug)]
pub struct Account {
    quota: Arc<Quota>,
    id: usize,
}

impl Account {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> AccountId {
        AccountId(self.id)
    }

    /// A place for one more connection and its turn to log in, if there is room.
    pub(crate) fn take(self: &Arc<Self>) -> Option<(Slot, Turn)> {
        let taken = self.quota.book().take(self.id, Instant::now());
        taken.then(|| (Slot { account: Arc::clone(self) }, Turn { account: Arc::clone(self) }))
    }

    /// Asks for a place for a client that has waited since then, or not any more. News tell when it is granted.
    pub(crate) fn want(&self, since: Option<Instant>) {
        self.quota.change(|book, _| book.want(self.id, since));
    }

    /// A dial ended, or the topology says that it would now.
    pub(crate) fn login_ended(&self, reached: Reached) {
        let fraction = fraction();
        self.quota.change(|book, now| book.login_ended(self.id, reached, fraction, now));
    }

    /// What was granted is not needed any more.
    pub(crate) fn give_back_granted(&self) {
        self.quota.change(|book, _| book.give_back_granted(self.id));
    }

    /// Whether a connection that has come back is to be closed for a client elsewhere that has waited for longer than
    /// the first of its own pool, which has since `own`.
    pub(crate) fn yields(&self, own: Option<Instant>) -> bool {
        self.quota.change(|book, _| book.yields(self.id, own))
    }

    /// So many connections that were to be closed are not idle any more.
    pub(crate) fn not_closed(&self, count: u32) {
        self.quota.change(|book, _| book.not_closed(self.id, count));
    }

    /// Its pool's bounds are others now.
    pub(crate) fn rebound(&self, bounds: Bounds) {
        self.quota.change(|book, _| book.rebound(self.id, bounds));
    }

    /// The bound that keeps it from one more connection, if one does.
    pub(crate) fn obstacle(&self) -> Option<Usage> {
        self.quota.book().obstacle(self.id)
    }

    /// Its pool makes no more connections.
    pub(crate) fn close(&self) {
        self.quota.change(|book, _| book.close(self.id));
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.quota.change(|book, _| book.forget(self.id));
    }
}

/// A connection's place. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Slot {
    account: Arc<Account>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let account = &self.account;
        account.quota.change(|book, _| book.release(account.id));
    }
}

/// A turn to dial and log in. Dropping it gives the next one a turn.
#[derive(Debug)]
pub(crate) struct Turn {
    account: Arc<Account>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let account = &self.account;
        account.quota.change(|book, _| book.end_login(account.id));
    }
}

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    task::Waker,
};

use pool::Waiter;
use tokio::time::Instant;
use topology::NodeId;

use crate::{Purpose, cancel::CancelKey, clock::Clock, pin::Pins};

/// Tells clients apart in logs and console, over all workers; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

impl std::fmt::Display for ClientId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "C-{}", self.0)
    }
}

/// What a client is doing, for the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientState {
    /// Its welcome is being prepared.
    #[default]
    Login,
    /// It has no request under way.
    Idle,
    /// It has a server connection.
    Active,
    /// It waits for a server connection.
    Waiting,
    /// It waits for a primary.
    Held,
}

impl ClientState {
    /// The word in the console; `idle` and `active` both read `active` in PgBouncer's SHOW CLIENTS.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Held => "held",
        }
    }
}

/// A client that is held.
#[derive(Debug)]
pub(crate) struct Hold {
    /// By which its place in the queue is found.
    pub(crate) waiter: Rc<Waiter>,
    pub(crate) awaits: Awaits,
    /// What it waits for, in words.
    pub(crate) why: Box<str>,
}

/// What a client that is held waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// A primary that may be written to.
    Primary,
    /// A replica of the kind that the policy asks for.
    Replica,
    /// That others make room.
    Room,
}

/// Why a client has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The proxy shuts down.
    Shutdown,
    /// An administrator ended the session.
    Killed,
}

/// What others on the worker know of a session and ask of it.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) id: ClientId,
    pub(crate) key: CancelKey,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) connected_at: Instant,
    pub(crate) state: Cell<ClientState>,
    pub(crate) request_at: Cell<Instant>,
    /// Of no meaning when its waiter is in no queue.
    pub(crate) hold: RefCell<Option<Hold>>,
    pub(crate) node: Cell<Option<NodeId>>,
    /// Since when it has its server connection.
    pub(crate) linked_at: Cell<Instant>,
    /// It keeps its server connection though nothing is under way on it.
    pub(crate) idles_pinned: Cell<bool>,
    pub(crate) server_process: Cell<u32>,
    /// Why it keeps its server connection, and since when if there is a reason.
    pub(crate) pinned: Cell<Pins>,
    pub(crate) pinned_since: Cell<Instant>,
    pub(crate) statements: Cell<u32>,
    pub(crate) tls: bool,
    pub(crate) clock: Clock,
    /// Nothing is in its buffers; kept up while the worker is suspended.
    pub(crate) rests: Cell<bool>,
    pub(crate) purpose: Purpose,
    farewell: Cell<Option<Farewell>>,
    at_boundary: Cell<bool>,
    cancel: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Handle {
    pub(crate) fn new(
        id: ClientId,
        key: CancelKey,
        address: Option<SocketAddr>,
        tls: bool,
        purpose: Purpose,
        now: Instant,
    ) -> Rc<Self> {
        Rc::new(Self {
            id,
            key,
            address,
            connected_at: now,
            state: Cell::default(),
            request_at: Cell::new(now),
            hold: RefCell::default(),
            node: Cell::default(),
            linked_at: Cell::new(now),
            idles_pinned: Cell::default(),
            server_process: Cell::default(),
            pinned: Cell::default(),
            pinned_since: Cell::new(now),
            statements: Cell::default(),
            tls,
            clock: Clock::default(),
            rests: Cell::default(),
            purpose,
            farewell: Cell::default(),
            at_boundary: Cell::default(),
            cancel: Cell::default(),
            waker: RefCell::default(),
        })
    }

    /// Remembers whom to wake.
    pub(crate) fn remember_waker(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// Makes the session look around.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Ends the session: at once, or when its transaction is over.
    pub(crate) fn send_away(&self, farewell: Farewell, at_boundary: bool) {
        self.farewell.set(Some(farewell));
        self.at_boundary.set(at_boundary);
        self.wake();
    }

    /// Whether the session has to end now. `is_idle`: it has no transaction and no request under way.
    #[inline]
    pub(crate) fn farewell(&self, is_idle: impl FnOnce() -> bool) -> Option<Farewell> {
        self.farewell.get().filter(|_| !self.at_boundary.get() || is_idle())
    }

    /// Whether somebody has asked something of the session that it has not done yet.
    #[inline]
    pub(crate) fn is_asked_something(&self) -> bool {
        self.farewell.get().is_some() || self.cancel.get()
    }

    /// Cancels what the session runs or waits for.
    pub(crate) fn cancel(&self) {
        self.cancel.set(true);
        self.wake();
    }

    /// Leaves a cancel for the next turn that something else brings about.
    pub(crate) fn defer_cancel(&self) {
        self.cancel.set(true);
    }

    /// Whether a cancel was asked for since the last call.
    #[inline]
    pub(crate) fn take_cancel(&self) -> bool {
        self.cancel.replace(false)
    }
}

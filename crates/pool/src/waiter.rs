use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use crate::{DialFailure, Server};

/// What a waiting client gets.
#[derive(Debug)]
pub enum Delivery {
    /// A server connection.
    Server(Box<Server>),
    /// No connection could be made.
    Failed(Rc<DialFailure>),
    /// It waited too long.
    TimedOut,
    /// Something changed (the topology, a pause ended): decide again where to go.
    Again,
}

/// After this long a waiting client is told why nothing comes.
pub const TELL_AFTER: Duration = Duration::from_secs(1);

/// Whether a client that has waited so long has to be told so about now. Queues are looked at every 100 ms; the span
/// is three times as long, so that none is missed.
#[must_use]
pub fn has_news(waited: Duration) -> bool {
    (TELL_AFTER..TELL_AFTER + Duration::from_millis(300)).contains(&waited)
}

/// A client's place in a queue. Each session has one and uses it again, so that waiting allocates nothing.
#[derive(Debug)]
pub struct Waiter {
    slot: RefCell<Option<Delivery>>,
    waker: RefCell<Option<Waker>>,
    queued: Cell<bool>,
    since: Cell<Instant>,
}

impl Waiter {
    /// In no queue.
    #[must_use]
    pub fn new(now: Instant) -> Rc<Self> {
        Rc::new(Self {
            slot: RefCell::default(),
            waker: RefCell::default(),
            queued: Cell::default(),
            since: Cell::new(now),
        })
    }

    /// When its client began to wait; stays over several queues, so that limits count from the beginning.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since.get()
    }

    /// Marks the beginning of a wait.
    pub fn begin(&self, now: Instant) {
        self.since.set(now);
        self.slot.take();
    }

    /// Whether it stands in a queue.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.queued.get()
    }

    pub(crate) fn set_queued(&self, queued: bool) {
        self.queued.set(queued);
    }

    /// Enters a queue that is kept outside this crate.
    pub fn enter(&self) {
        self.queued.set(true);
    }

    /// What was delivered, if anything was; else `waker` is woken when something is.
    pub fn poll(&self, waker: &Waker) -> Option<Delivery> {
        let delivery = self.slot.take();
        if delivery.is_none() {
            let mut kept = self.waker.borrow_mut();
            if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
                *kept = Some(waker.clone());
            }
        }
        delivery
    }

    /// Hands over; the waiter is in no queue any more.
    pub fn deliver(&self, delivery: Delivery) {
        self.queued.set(false);
        *self.slot.borrow_mut() = Some(delivery);
        self.wake();
    }

    /// Wakes the client without a delivery.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Leaves the queue; a server that was delivered meanwhile comes back.
    pub fn leave(&self) -> Option<Box<Server>> {
        self.queued.set(false);
        match self.slot.take() {
            Some(Delivery::Server(server)) => Some(server),
            Some(Delivery::Failed(_) | Delivery::TimedOut | Delivery::Again) | None => None,
        }
    }
}

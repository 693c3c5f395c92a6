use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use tokio::time::Instant;

use super::Subscriber;
use crate::ClientId;

/// Where a client stands with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It may come to listen: the channel is kept for it.
    Reserved,
    /// Its LISTEN may commit at any time: notifications are kept for it from now on.
    Committing,
    /// It listens.
    Listening,
}

/// A channel that clients of one database and user listen to, or are about to.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: Box<[u8]>,
    listeners: RefCell<HashMap<ClientId, (Rc<Subscriber>, Standing), foldhash::fast::RandomState>>,
    /// Since when the shared connection has listened to it; `None`: it does not.
    pub(crate) heard_since: Cell<Option<Instant>>,
    /// Notifications that came.
    pub(crate) received: Cell<u64>,
    /// Notifications sent to clients.
    pub(crate) delivered: Cell<u64>,
    /// Notifications that clients did not get because they did not read.
    pub(crate) dropped: Cell<u64>,
}

impl Channel {
    pub(super) fn new(name: &[u8]) -> Rc<Self> {
        Rc::new(Self {
            name: name.into(),
            listeners: RefCell::default(),
            heard_since: Cell::default(),
            received: Cell::default(),
            delivered: Cell::default(),
            dropped: Cell::default(),
        })
    }

    /// Where a client stands; `None`: it has nothing to do with the channel.
    pub(super) fn standing(&self, client: ClientId) -> Option<Standing> {
        self.listeners.borrow().get(&client).map(|(_, standing)| *standing)
    }

    /// Changes where a client stands that has something to do with the channel.
    pub(super) fn set_standing(&self, client: ClientId, standing: Standing) {
        if let Some((_, present)) = self.listeners.borrow_mut().get_mut(&client) {
            *present = standing;
        }
    }

    pub(super) fn enter(&self, subscriber: &Rc<Subscriber>) {
        let entry = (Rc::clone(subscriber), Standing::Reserved);
        self.listeners.borrow_mut().insert(subscriber.id(), entry);
    }

    /// Whether nobody is left.
    pub(super) fn leave(&self, client: ClientId) -> bool {
        let mut listeners = self.listeners.borrow_mut();
        listeners.remove(&client);
        listeners.is_empty()
    }

    pub(super) fn for_each(&self, mut visit: impl FnMut(&Rc<Subscriber>, Standing)) {
        self.listeners.borrow().values().for_each(|(subscriber, standing)| visit(subscriber, *standing));
    }

    /// How many clients listen.
    pub(crate) fn clients(&self) -> usize {
        let listeners = self.listeners.borrow();
        listeners.values().filter(|(_, standing)| *standing == Standing::Listening).count()
    }
}

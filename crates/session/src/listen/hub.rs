use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
};

use pool::Usage;
use tokio::{sync::Notify, time::Instant};
use topology::NodeId;
use wire::message::{backend::finish, error::ErrorMessage};

use super::channel::{Channel, Standing};
use crate::{ClientId, stats::count};

/// The shared connection, for the console.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineReport {
    pub(crate) node: NodeId,
    pub(crate) process: u32,
    pub(crate) connected_at: Instant,
    pub(crate) tls: bool,
}

/// What the shared connection is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Listen(Box<[u8]>),
    Unlisten(Box<[u8]>),
}

/// Whether a task looks after the shared connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Keeper {
    /// None: nobody listens.
    #[default]
    Absent,
    /// It runs until nobody has listened for a while.
    Present,
}

/// All channels that clients of one database, user and encoding listen to, and how the shared connection does. The
/// server converts names and payloads to an encoding once for each connection, so clients of another have another hub.
#[derive(Debug)]
pub(crate) struct Hub {
    encoding: Box<[u8]>,
    channels: RefCell<HashMap<Box<[u8]>, Rc<Channel>, foldhash::fast::RandomState>>,
    /// Wakes the task that looks after the connection.
    pub(super) changed: Notify,
    /// Channels have come or gone since the connection was last told.
    is_new: Cell<bool>,
    /// Somebody is to be told of a gap.
    has_gap: Cell<bool>,
    keeper: Cell<Keeper>,
    unused_since: Cell<Option<Instant>>,
    queue_limit: Cell<usize>,
    line: Cell<Option<LineReport>>,
    /// Why there is no connection at present.
    trouble: RefCell<Option<Trouble>>,
    /// Of those that wait for the connection while there is no place for it, the one that keeps its own meanwhile.
    first: Cell<Option<ClientId>>,
}

/// What keeps the shared connection from being made.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// This bound leaves no room.
    NoPlace(Usage),
    /// A server or the network said so.
    Failed(ErrorMessage),
}

impl Hub {
    pub(crate) fn new(encoding: &[u8], queue_limit: usize) -> Rc<Self> {
        Rc::new(Self {
            encoding: encoding.into(),
            channels: RefCell::default(),
            changed: Notify::new(),
            is_new: Cell::default(),
            has_gap: Cell::default(),
            keeper: Cell::default(),
            unused_since: Cell::default(),
            queue_limit: Cell::new(queue_limit),
            line: Cell::default(),
            trouble: RefCell::default(),
            first: Cell::default(),
        })
    }

    /// The shared connection, while there is one.
    pub(crate) fn line(&self) -> Option<LineReport> {
        self.line.get()
    }

    /// The client encoding that it is for.
    pub(crate) fn encoding(&self) -> &[u8] {
        &self.encoding
    }

    /// Most bytes kept for one client.
    pub(super) fn queue_limit(&self) -> usize {
        self.queue_limit.get()
    }

    /// True once, until the task has ended: somebody has to begin it.
    pub(super) fn needs_keeper(&self) -> bool {
        self.keeper.replace(Keeper::Present) == Keeper::Absent
    }

    pub(super) fn keeper_ended(&self) {
        self.keeper.set(Keeper::Absent);
        self.trouble.take();
    }

    /// What keeps the connection from being made, as of the last try.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.borrow().clone()
    }

    /// The connection could not be made, or was lost. Whoever waits for it looks whether it goes on to.
    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) {
        *self.trouble.borrow_mut() = trouble;
        self.wake_waiting();
    }

    /// Whether `client` may keep its server connection while it waits for a place for the shared one. If all kept
    /// theirs, there might never be one; if none did, connections that listen could take all places there are.
    pub(super) fn is_first(&self, client: ClientId) -> bool {
        let first = self.first.get().unwrap_or(client);
        self.first.set(Some(first));
        first == client
    }

    /// It does not wait any more.
    pub(super) fn waits_no_more(&self, client: ClientId) {
        if self.first.get() == Some(client) {
            self.first.set(None);
        }
    }

    fn wake_waiting(&self) {
        for channel in self.channels.borrow().values().filter(|channel| channel.heard_since.get().is_none()) {
            wake_waiting(channel);
        }
    }

    /// Called ten times a second and when the topology has changed: the connection is looked at, and whoever waits for
    /// it looks whether it has waited too long.
    pub(crate) fn look_around(&self, queue_limit: usize) {
        self.queue_limit.set(queue_limit);
        if self.keeper.get() == Keeper::Absent {
            return;
        }
        self.changed.notify_one();
        self.wake_waiting();
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<Rc<Channel>> {
        self.channels.borrow().get(name).map(Rc::clone)
    }

    /// The channel of this name; the shared connection is going to listen to it.
    pub(super) fn channel(&self, name: &[u8]) -> Rc<Channel> {
        let mut channels = self.channels.borrow_mut();
        if let Some(channel) = channels.get(name) {
            return Rc::clone(channel);
        }
        let channel = Channel::new(name);
        channels.insert(name.into(), Rc::clone(&channel));
        self.is_new.set(true);
        self.changed.notify_one();
        channel
    }

    /// A client has nothing more to do with a channel; one that nobody has is forgotten.
    pub(super) fn leave(&self, channel: &Rc<Channel>, client: ClientId) {
        if channel.leave(client) {
            let mut channels = self.channels.borrow_mut();
            if channels.get(&channel.name).is_some_and(|known| Rc::ptr_eq(known, channel)) {
                channels.remove(&channel.name);
                self.is_new.set(true);
                self.changed.notify_one();
            }
        }
    }

    pub(crate) fn for_each_channel(&self, mut visit: impl FnMut(&Channel)) {
        self.channels.borrow().values().for_each(|channel| visit(channel));
    }

    /// Since when there has been no channel.
    pub(super) fn unused_since(&self, now: Instant) -> Option<Instant> {
        let since = self.channels.borrow().is_empty().then(|| self.unused_since.get().unwrap_or(now));
        self.unused_since.set(since);
        since
    }

    /// What the connection, which listens to `heard`, has to be told; at most `max` orders, the rest later.
    pub(super) fn orders(&self, heard: &HashSet<Box<[u8]>>, max: usize, now: Instant) -> Vec<Order> {
        if !self.is_new.get() {
            return Vec::new();
        }
        let channels = self.channels.borrow();
        // one that was forgotten and came back before the connection was told
        for (_, back) in channels.iter().filter(|(name, _)| heard.contains(*name)) {
            if back.heard_since.get().is_none() {
                back.heard_since.set(Some(now));
                wake_waiting(back);
            }
        }
        let gone = heard.iter().filter(|name| !channels.contains_key(*name)).cloned().map(Order::Unlisten);
        let come = channels.keys().filter(|name| !heard.contains(*name)).cloned().map(Order::Listen);
        let orders: Vec<_> = gone.chain(come).take(max).collect();
        self.is_new.set(orders.len() == max);
        orders
    }

    /// The connection was made anew: it has to be told of everything.
    pub(super) fn connected(&self, line: LineReport) {
        self.line.set(Some(line));
        self.trouble.take();
        self.is_new.set(true);
    }

    /// The connection listens to `name`, unless nobody wants that any more.
    pub(super) fn heard(&self, name: &[u8], now: Instant) {
        if let Some(channel) = self.find(name) {
            channel.heard_since.set(Some(now));
            wake_waiting(&channel);
        }
    }

    /// The connection is lost: nothing is heard, and whoever listened has to be told when it is again.
    pub(super) fn lost(&self) {
        self.line.set(None);
        for channel in self.channels.borrow().values() {
            if channel.heard_since.take().is_some() {
                channel.for_each(|subscriber, standing| {
                    if standing > Standing::Reserved {
                        subscriber.missed.set(true);
                        self.expect_gap();
                    }
                });
            }
        }
    }

    /// Somebody is to be told of a gap when the connection listens again.
    pub(super) fn expect_gap(&self) {
        self.has_gap.set(true);
    }

    /// Tells those who may have missed something, and of whose channels all are heard again.
    pub(super) fn tell_gap(&self) {
        if !self.has_gap.replace(false) {
            return;
        }
        for channel in self.channels.borrow().values() {
            channel.for_each(|subscriber, _| {
                if subscriber.missed.get() {
                    if subscriber.is_heard() {
                        subscriber.missed.set(false);
                        subscriber.tell_gap();
                    } else {
                        self.has_gap.set(true);
                    }
                }
            });
        }
    }

    /// A notification: `body` is a NotificationResponse's.
    pub(super) fn dispatch(&self, body: &[u8]) {
        let Some(channel) = channel_of(body).and_then(|name| self.find(name)) else { return };
        count(&channel.received, 1);
        let mut message = Vec::with_capacity(body.len() + 5);
        finish(&mut message, b'A', |out| out.extend_from_slice(body));
        let message: Rc<[u8]> = message.into();
        channel.for_each(|subscriber, standing| {
            if standing > Standing::Reserved {
                subscriber.push(&channel, &message);
            }
        });
    }
}

fn wake_waiting(channel: &Channel) {
    channel.for_each(|subscriber, _| {
        if subscriber.waits.get() {
            subscriber.wake();
        }
    });
}

/// The channel of a NotificationResponse, whose payload need not be whole: behind the process id, up to a NUL.
pub(super) fn channel_of(body: &[u8]) -> Option<&[u8]> {
    let name = body.get(4..)?;
    name.get(..name.iter().position(|&b| b == 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(names: &[&str]) -> HashSet<Box<[u8]>> {
        names.iter().map(|name| name.as_bytes().into()).collect()
    }

    #[test]
    fn the_connection_is_told_what_differs_and_only_once() {
        let hub = Hub::new(b"UTF8", 1000);
        let now = Instant::now();
        assert!(hub.orders(&heard(&[]), 10, now).is_empty());
        hub.channel(b"a");
        hub.channel(b"b");
        assert_eq!(
            hub.orders(&heard(&["b", "c"]), 10, now),
            [Order::Unlisten(b"c".as_slice().into()), Order::Listen(b"a".as_slice().into())]
        );
        assert!(hub.orders(&heard(&["a", "b"]), 10, now).is_empty());
        assert!(hub.find(b"b").unwrap().heard_since.get().is_some());
    }

    #[test]
    fn what_is_too_much_at_a_time_follows_later() {
        let hub = Hub::new(b"UTF8", 1000);
        for name in 0..25_u8 {
            hub.channel(&[name + 1]);
        }
        let mut told = HashSet::new();
        let mut rounds = 0;
        loop {
            let orders = hub.orders(&told, 10, Instant::now());
            if orders.is_empty() {
                break;
            }
            rounds += 1;
            for order in orders {
                let Order::Listen(name) = order else { panic!("{order:?}") };
                assert!(told.insert(name));
            }
        }
        assert_eq!((told.len(), rounds), (25, 3));
    }

    #[test]
    fn the_name_stands_behind_the_process_id() {
        assert_eq!(channel_of(b"\0\0\0\x01news\0payload\0"), Some(&b"news"[..]));
        assert_eq!(channel_of(b"\0\0\0\x01news"), None);
        assert_eq!(channel_of(b"\0\0"), None);
    }
}

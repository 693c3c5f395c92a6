use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use wire::{
    SqlState,
    message::error::{ErrorMessage, Severity},
};

use super::{
    Hub,
    channel::{Channel, Standing},
};
use crate::{ClientId, handle::Handle, stats::count};

/// What a notification in a queue costs beside its bytes.
const OVERHEAD: usize = 64;

/// What a client is to be told when it has no transaction.
#[derive(Debug)]
enum News {
    /// A whole NotificationResponse, shared by all who get it.
    Notification { channel: Rc<Channel>, message: Rc<[u8]> },
    /// Some may have been missed.
    Gap,
}

/// A client that listens, or is about to: its channels, and what it has not been told yet.
#[derive(Debug)]
pub(crate) struct Subscriber {
    handle: Rc<Handle>,
    hub: Rc<Hub>,
    channels: RefCell<Vec<Rc<Channel>>>,
    /// It stands with some channel otherwise than listening.
    unsettled: Cell<bool>,
    /// It waits for the shared connection.
    pub(super) waits: Cell<bool>,
    /// It does so without a server connection.
    pub(super) aside: Cell<bool>,
    /// The shared connection was lost while it listened.
    pub(super) missed: Cell<bool>,
    news: RefCell<VecDeque<News>>,
    bytes: Cell<usize>,
    /// Notifications dropped since it was last told so.
    dropped: Cell<u64>,
}

impl Subscriber {
    pub(super) fn new(handle: &Rc<Handle>, hub: &Rc<Hub>) -> Rc<Self> {
        Rc::new(Self {
            handle: Rc::clone(handle),
            hub: Rc::clone(hub),
            channels: RefCell::default(),
            unsettled: Cell::default(),
            waits: Cell::default(),
            aside: Cell::default(),
            missed: Cell::default(),
            news: RefCell::default(),
            bytes: Cell::default(),
            dropped: Cell::default(),
        })
    }

    pub(super) fn id(&self) -> ClientId {
        self.handle.id
    }

    pub(super) fn hub(&self) -> &Rc<Hub> {
        &self.hub
    }

    /// How many channels it has something to do with.
    pub(super) fn channels(&self) -> usize {
        self.channels.borrow().len()
    }

    /// Has a channel kept for it; whether the shared connection listens to it already.
    pub(super) fn reserve(self: &Rc<Self>, name: &[u8]) -> bool {
        let channel = self.hub.channel(name);
        if channel.standing(self.id()).is_none() {
            channel.enter(self);
            self.channels.borrow_mut().push(Rc::clone(&channel));
            self.unsettled.set(true);
        }
        channel.heard_since.get().is_some()
    }

    /// What it has asked for and not heard of may be committed at any time.
    pub(super) fn may_commit(&self) {
        if self.unsettled.get() {
            for channel in &*self.channels.borrow() {
                if channel.standing(self.id()) == Some(Standing::Reserved) {
                    self.stand(channel, Standing::Committing);
                }
            }
        }
    }

    /// Its LISTEN has committed.
    pub(super) fn listen(&self, name: &[u8]) {
        if let Some(channel) = self.hub.find(name) {
            self.stand(&channel, Standing::Listening);
        }
    }

    /// From now on notifications are kept for it, unless they are not heard: the shared connection was lost since its
    /// LISTEN was sent.
    fn stand(&self, channel: &Channel, standing: Standing) {
        channel.set_standing(self.id(), standing);
        if channel.heard_since.get().is_none() {
            self.missed.set(true);
            self.hub.expect_gap();
        }
    }

    /// Its UNLISTEN has committed; `None`: of all channels.
    pub(super) fn unlisten(&self, name: Option<&[u8]>) {
        for channel in &*self.channels.borrow() {
            if name.is_none_or(|name| *channel.name == *name)
                && channel.standing(self.id()) == Some(Standing::Listening)
            {
                channel.set_standing(self.id(), Standing::Reserved);
                self.unsettled.set(true);
            }
        }
    }

    /// Nothing that it asked for is open: it lets go of all channels that it does not listen to.
    pub(super) fn settle(&self) {
        self.hub.waits_no_more(self.id());
        if self.unsettled.replace(false) {
            self.keep(|standing| standing == Some(Standing::Listening));
        }
    }

    /// Whether all its channels have ASCII names, which are the same in every encoding.
    pub(super) fn has_plain_names(&self) -> bool {
        self.channels.borrow().iter().all(|channel| channel.name.is_ascii())
    }

    /// Listens to what `before`, of another encoding, listened to, which lets go of it; what `before` has not been told
    /// is in that encoding, and missed.
    pub(super) fn take_over(self: &Rc<Self>, before: &Self) {
        for channel in &*before.channels.borrow() {
            if channel.standing(before.id()) == Some(Standing::Listening) {
                self.reserve(&channel.name);
                self.listen(&channel.name);
                self.missed.set(true);
            }
        }
        before.leave();
        self.hub.expect_gap();
        self.hub.changed.notify_one();
    }

    /// Lets go of everything.
    pub(crate) fn leave(&self) {
        self.hub.waits_no_more(self.id());
        self.keep(|_| false);
        self.news.take();
    }

    fn keep(&self, stays: impl Fn(Option<Standing>) -> bool) {
        self.channels.borrow_mut().retain(|channel| {
            let stays = stays(channel.standing(self.id()));
            if !stays {
                self.hub.leave(channel, self.id());
            }
            stays
        });
    }

    /// Whether it listens to a channel by way of the shared connection.
    pub(super) fn listens(&self, name: &[u8]) -> bool {
        self.hub.find(name).is_some_and(|channel| channel.standing(self.id()).is_some())
    }

    /// Whether the shared connection listens to all its channels.
    pub(super) fn is_heard(&self) -> bool {
        self.channels.borrow().iter().all(|channel| channel.heard_since.get().is_some())
    }

    /// Makes its session look around.
    pub(super) fn wake(&self) {
        self.handle.wake();
    }

    /// Keeps a notification for it, if there is room. Once something was dropped, all is until the client has been told
    /// so, and what it gets has one hole and not many.
    pub(super) fn push(&self, channel: &Rc<Channel>, message: &Rc<[u8]>) {
        let bytes = self.bytes.get() + message.len() + OVERHEAD;
        if self.dropped.get() > 0 || bytes > self.hub.queue_limit() {
            count(&self.dropped, 1);
            count(&channel.dropped, 1);
            return;
        }
        self.bytes.set(bytes);
        let news = News::Notification { channel: Rc::clone(channel), message: Rc::clone(message) };
        self.news.borrow_mut().push_back(news);
        self.wake();
    }

    /// The shared connection listens again: it is told that there was a gap.
    pub(super) fn tell_gap(&self) {
        let told_already = self.news.borrow().iter().any(|news| matches!(news, News::Gap));
        if !told_already {
            self.news.borrow_mut().push_back(News::Gap);
        }
        self.wake();
    }

    /// Whether there is something to tell.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.dropped.get() > 0 || !self.news.borrow().is_empty()
    }

    /// Writes what there is to tell, up to about `room` bytes.
    pub(super) fn tell(&self, room: usize, out: &mut Vec<u8>) {
        let mut queue = self.news.borrow_mut();
        while out.len() < room {
            match queue.pop_front() {
                Some(News::Notification { channel, message }) => {
                    self.bytes.set(self.bytes.get().saturating_sub(message.len() + OVERHEAD));
                    // it may have come before an UNLISTEN
                    if channel.standing(self.id()) == Some(Standing::Listening) {
                        count(&channel.delivered, 1);
                        out.extend_from_slice(&message);
                    }
                }
                Some(News::Gap) => gap().write(out),
                None => {
                    *queue = VecDeque::new();
                    match self.dropped.take() {
                        0 => {}
                        dropped => overflow(dropped, self.hub.queue_limit()).write(out),
                    }
                    return;
                }
            }
        }
    }
}

fn warning(text: impl Into<std::borrow::Cow<'static, str>>) -> ErrorMessage {
    ErrorMessage { severity: Severity::Warning, ..ErrorMessage::error(SqlState::WARNING, text) }
}

fn gap() -> ErrorMessage {
    warning("notifications may have been missed")
        .with_detail(
            "The connection over which the proxy listens was lost or replaced; it listens again now.",
        )
        .with_hint("Look again at whatever the notifications tell about.")
}

fn overflow(dropped: u64, limit: usize) -> ErrorMessage {
    warning(format!("{dropped} notifications were dropped because the client did not read them in time"))
        .with_detail(format!("At most {limit} bytes are kept for a client."))
        .with_hint("Read faster, or raise [session] notification_limit.")
}

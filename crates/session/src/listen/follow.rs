//! A session that listens: its LISTEN waits for the shared connection, and it is told of notifications when it has no
//! transaction.

use std::{rc::Rc, task::Context, time::Duration};

use pool::{Body, PoolMode, Server};
use sql::SettingChange;
use wire::{
    SqlState,
    message::{backend::TxStatus, error::ErrorMessage},
};

use super::{
    Hub, Subscriber,
    hub::{self, Trouble},
    line,
};
use crate::{
    clock::Timed,
    effects::Change,
    exchange::Entrance,
    io::send,
    session::{ClientBody, End, Session},
    wait::all_taken,
};

/// Most channels of one client.
const CHANNELS_MAX: usize = 10_000;

/// Notifications that are sent in one go, in bytes.
const ROOM: usize = 32 * 1024;

impl Session {
    /// Whether a text that listens may be sent: the shared connection listens to all of its channels. Asks it to.
    pub(crate) fn may_listen(&mut self, text: &[u8]) -> bool {
        if self.pools_mode() == PoolMode::Session {
            return true;
        }
        let subscriber = self.subscriber();
        let mut is_heard = true;
        for change in sql::setting_changes(text) {
            if let SettingChange::Listen { channel } = change {
                is_heard &= subscriber.reserve(&channel);
            }
        }
        subscriber.waits.set(!is_heard);
        self.keep_line(&subscriber);
        if subscriber.channels() > CHANNELS_MAX {
            self.exchange_mut().unsuited = Some(Box::new(too_many()));
            return false;
        }
        if is_heard {
            subscriber.hub().waits_no_more(self.handle.id);
            self.exchange_mut().awaits_channel = None;
            return true;
        }
        let now = self.worker.now();
        let since = *self.exchange_mut().awaits_channel.get_or_insert(now);
        self.time(Timed::Nothing);
        let waited = now.duration_since(since);
        let trouble = subscriber.hub().trouble();
        // the one place that there is has the connection on which the LISTEN is to run
        let in_vain = matches!(&trouble, Some(Trouble::NoPlace(usage)) if usage.cap <= 1);
        if in_vain || waited >= self.worker.settings().session.max_hold {
            self.exchange_mut().unsuited = Some(Box::new(not_heard(waited, trouble)));
        }
        false
    }

    /// Whether a LISTEN that cannot be sent stands in its unit behind messages that have been.
    pub(crate) fn is_stuck(&self, server: &Server) -> bool {
        self.exchange().awaits_channel.is_some()
            && server.ledger.ready_owed() == 0
            && !server.ledger.is_settled()
    }

    /// The session's channels, none at first.
    fn subscriber(&mut self) -> Rc<Subscriber> {
        if let Some(subscriber) = &self.listening {
            return Rc::clone(subscriber);
        }
        let subscriber = self.new_subscriber();
        self.listening = Some(Rc::clone(&subscriber));
        subscriber
    }

    fn new_subscriber(&self) -> Rc<Subscriber> {
        let encoding = self.encoding();
        let limit = self.worker.settings().session.notification_limit as usize;
        Subscriber::new(&self.handle, &self.pools.hub(encoding, || Hub::new(encoding, limit)))
    }

    /// The client's encoding, as it was told.
    fn encoding(&self) -> &[u8] {
        self.told.as_ref().and_then(|told| told.value(b"client_encoding")).unwrap_or_default()
    }

    /// Makes sure that somebody looks after the connection that listens for `subscriber`.
    fn keep_line(&self, subscriber: &Subscriber) {
        if subscriber.hub().needs_keeper() {
            let (worker, pools) = (Rc::clone(&self.worker), Rc::clone(&self.pools));
            tokio::task::spawn_local(line::keep(worker, pools, Rc::clone(subscriber.hub())));
        }
    }

    /// Whether the client has changed its encoding since it began to listen. A name that is not ASCII has other bytes in
    /// each, so a client that listens to one stays where it is.
    fn has_other_encoding(&self) -> bool {
        self.listening.as_ref().is_some_and(|subscriber| {
            subscriber.hub().encoding() != self.encoding() && subscriber.has_plain_names()
        })
    }

    /// Listens over the connection for the client's present encoding; between the two something may be missed.
    #[cold]
    fn follow_encoding(&mut self) {
        let Some(before) = self.listening.take() else { return };
        let now = self.new_subscriber();
        now.take_over(&before);
        self.keep_line(&now);
        self.listening = Some(now);
    }

    /// A LISTEN that was sent in the open transaction, or before, may commit now.
    pub(crate) fn listen_may_commit(&self) {
        if let Some(subscriber) = &self.listening {
            subscriber.may_commit();
        }
    }

    /// A LISTEN or UNLISTEN has committed.
    pub(crate) fn channels_changed(&self, change: &Change) {
        let Some(subscriber) = &self.listening else { return };
        match change {
            Change::Listen { channel } => subscriber.listen(channel),
            Change::Unlisten { channel } => subscriber.unlisten(Some(channel)),
            Change::UnlistenAll | Change::DiscardAll => subscriber.unlisten(None),
            Change::Set { .. } | Change::Reset { .. } | Change::ResetAll => {}
        }
    }

    /// Nothing is open that could yet change its channels: those that it does not listen to are let go.
    pub(crate) fn settle_channels(&mut self) {
        let Some(subscriber) = &self.listening else { return };
        subscriber.settle();
        if subscriber.channels() == 0 {
            self.listening = None;
        }
    }

    /// Whether a notification on its own server connection comes by way of the shared one as well.
    pub(crate) fn is_heard_elsewhere(&self, notification: &[u8]) -> bool {
        let subscriber = self.listening.as_ref();
        subscriber
            .zip(hub::channel_of(notification))
            .is_some_and(|(subscriber, name)| subscriber.listens(name))
    }

    /// Whether there is something to do for, or to tell to, a client that keeps its server connection, and it has no
    /// transaction and no request under way.
    pub(crate) fn may_tell_news(&self, server: &Server) -> bool {
        !self.pins().is_empty()
            && (self.listening.as_ref().is_some_and(|subscriber| subscriber.has_news())
                || self.has_other_encoding())
            && server.ledger.is_answered()
            && server.ledger.status() == TxStatus::Idle
            && server.body == Body::Boundary
            && server.input.is_empty()
            && self.body == ClientBody::Boundary
            && !self.exchange().unit_open
            && self.exchange().entrance == Entrance::Open
    }

    /// Sends notifications that have come, if any: the session has no transaction and no request under way, and has
    /// taken all that was sent before. Whether there were some.
    pub(crate) fn tell_news(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.has_other_encoding() {
            self.follow_encoding();
        }
        let Some(subscriber) = self.listening.as_ref().filter(|subscriber| subscriber.has_news()) else {
            return Ok(false);
        };
        let mut out = Vec::new();
        subscriber.tell(ROOM, &mut out);
        send(cx, &mut self.stream, &mut self.output, &out).map_err(End::ClientIo)?;
        Ok(true)
    }
}

fn too_many() -> ErrorMessage {
    ErrorMessage::error(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many channels")
        .with_detail(format!("A client may listen to {CHANNELS_MAX}."))
        .with_hint("Use fewer channels, and tell in the payload what a notification is about.")
}

pub(super) fn not_heard(waited: Duration, trouble: Option<Trouble>) -> ErrorMessage {
    let detail = match trouble {
        Some(Trouble::NoPlace(usage)) => {
            let text = "there is no room for the server connection over which the proxy listens";
            return ErrorMessage::error(SqlState::TOO_MANY_CONNECTIONS, text).with_detail(all_taken(&usage)).with_hint(
                "It takes one beside the client's own: raise max_server_connections, or find out what keeps the \
                 connections busy: SHOW LIMITS, SHOW SERVERS.",
            );
        }
        Some(Trouble::Failed(error)) => {
            format!("Waited {waited:?} for the connection over which it listens: {}.", error.message)
        }
        None => format!("Waited {waited:?} for the connection over which it listens."),
    };
    let text = "the proxy cannot listen for notifications at the moment";
    ErrorMessage::error(SqlState::CANNOT_CONNECT_NOW, text)
        .with_detail(detail)
        .with_hint("Try again later, or another host.")
}

//! The connection that listens for all.

use std::{
    collections::{HashSet, VecDeque},
    io,
    rc::Rc,
    time::Duration,
};

use bytes::{Buf, BytesMut};
use conn::Stream;
use pool::{DialFailure, ListeningPlace, Usage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use topology::{Health, Report, Stamp, Writable};
use wire::{
    SqlState,
    frame::{Direction, Peek, peek},
    message::{backend::read_parameter_status, error::ErrorView, frontend},
};

use super::{
    Hub,
    hub::{LineReport, Order, Trouble},
};
use crate::{pool_set::PoolSet, worker::Worker};

/// Time between two tries to connect.
const RETRY: Duration = Duration::from_millis(100);

/// Orders under way at a time, so that neither they nor their answers fill a socket's buffer.
const ORDERS_MAX: usize = 500;

/// A payload has fewer than 8,000 bytes; no other message is longer.
const MESSAGE_LIMIT: u32 = 64 * 1024;

/// A role may have a limit for sessions that ask for nothing (PostgreSQL 14 and later), as this one does.
const SETUP: &[u8] = b"SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
    WHERE name = 'idle_session_timeout'";

/// Why the connection ends, or was not made.
enum End {
    /// Nobody has listened for a while.
    Unused,
    /// There is no primary to connect to, or this one is to be used no more.
    NotPrimary,
    /// As many server connections as there may be exist, by this bound unless it was a moment's matter.
    NoPlace(Option<Usage>),
    /// An administrator wants a new one.
    Replaced,
    /// It could not be made.
    Dial(DialFailure),
    /// It broke, or the server ended it with this code.
    Broken(Option<SqlState>),
}

/// Keeps the connection of `hub` until nobody listens any more.
pub(super) async fn keep(worker: Rc<Worker>, pools: Rc<PoolSet>, hub: Rc<Hub>) {
    let mut since = Instant::now();
    while hub.unused_since(Instant::now()).is_none() {
        let mut has_lasted = false;
        let end = match Line::open(&worker, &pools, &hub, since).await {
            Ok(mut line) => {
                let opened = Instant::now();
                let end = line.serve().await;
                since = Instant::now();
                has_lasted = since - opened >= RETRY;
                end
            }
            Err(end) => end,
        };
        hub.lost();
        hub.set_trouble(match &end {
            End::NoPlace(obstacle) => obstacle.clone().map(Trouble::NoPlace),
            End::Dial(failure) => Some(Trouble::Failed(failure.error_message())),
            End::Unused | End::NotPrimary | End::Replaced | End::Broken(_) => None,
        });
        let trouble = match &end {
            End::Unused => break,
            End::NotPrimary => "there is no primary, or another one".to_owned(),
            End::NoPlace(_) => "there is no place for one more server connection".to_owned(),
            End::Replaced => "its pool makes its connections anew".to_owned(),
            End::Dial(failure) => failure.to_string(),
            End::Broken(code) => {
                code.map_or_else(|| "it was closed".to_owned(), |code| format!("code {code}"))
            }
        };
        tracing::debug!(database = %pools.database, user = %pools.user, trouble, "does not listen");
        match end {
            // until it is made anew, its clients miss what comes
            End::Broken(_) | End::Replaced if has_lasted => {}
            End::NotPrimary => drop(tokio::time::timeout(RETRY, hub.changed.notified()).await),
            _ => tokio::time::sleep(RETRY).await,
        }
    }
    hub.keeper_ended();
}

/// The connection, while there is one.
struct Line<'a> {
    worker: &'a Rc<Worker>,
    pools: &'a Rc<PoolSet>,
    hub: &'a Rc<Hub>,
    stream: Stream,
    stamp: Stamp,
    place: ListeningPlace,
    input: BytesMut,
    /// Channels that it listens to.
    heard: HashSet<Box<[u8]>>,
    /// What was sent and not answered yet; `None`: the set-up.
    sent: VecDeque<Option<Order>>,
}

impl<'a> Line<'a> {
    /// Connects to the primary, where alone there are notifications.
    async fn open(
        worker: &'a Rc<Worker>,
        pools: &'a Rc<PoolSet>,
        hub: &'a Rc<Hub>,
        since: Instant,
    ) -> Result<Self, End> {
        let snapshot = worker.snapshot(pools);
        let Writable::Primary(node) = snapshot.writable else { return Err(End::NotPrimary) };
        let stamp = snapshot.stamp(node);
        drop(snapshot);
        let pool = worker.pool(pools, node);
        let Some(mut place) = pool.take_listening_place(since) else {
            return Err(End::NoPlace(pool.obstacle()));
        };
        let plan = pool.plan();
        let encoding = std::str::from_utf8(hub.encoding()).unwrap_or_default();
        let parameters = [("client_encoding", encoding)];
        let parameters = if encoding.is_empty() { &[] } else { &parameters[..] };
        let connection = plan.connect(parameters).await.map_err(|failure| {
            if let Some(report) = failure.report() {
                worker.report(pools, node, report);
            }
            End::Dial(failure)
        })?;
        place.logged_in();
        let (connected_at, tls) = (Instant::now(), connection.stream.is_tls());
        hub.connected(LineReport { node, process: connection.pid, connected_at, tls });
        Ok(Self {
            worker,
            pools,
            hub,
            stream: connection.stream,
            stamp,
            place,
            input: BytesMut::new(),
            heard: HashSet::new(),
            sent: VecDeque::new(),
        })
    }

    /// Listens to what is wanted and passes on what is heard, until the end.
    async fn serve(&mut self) -> End {
        match self.listen().await {
            Ok(end) => end,
            Err(error) => {
                tracing::debug!(database = %self.pools.database, %error, "the connection that listens is lost");
                self.worker.report(self.pools, self.stamp.node, Report::Crashed);
                End::Broken(None)
            }
        }
    }

    async fn listen(&mut self) -> io::Result<End> {
        let mut out = Vec::new();
        frontend::query(SETUP, &mut out);
        self.sent.push_back(None);
        loop {
            if let Some(end) = self.reason_to_end() {
                return Ok(end);
            }
            if self.sent.is_empty() {
                self.hub.tell_gap();
                self.order(&mut out);
            }
            if !out.is_empty() {
                self.stream.write_all(&out).await?;
                self.stream.flush().await?;
                out.clear();
            }
            tokio::select! {
                read = read_some(&mut self.stream, &mut self.input) => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    if let Some(end) = self.take_messages()? {
                        return Ok(end);
                    }
                }
                () = self.hub.changed.notified() => {}
            }
        }
    }

    fn reason_to_end(&self) -> Option<End> {
        let now = Instant::now();
        let health = self.worker.snapshot(self.pools).node(self.stamp.node).map(|node| node.health);
        let idle_timeout = self.pools.settings.borrow().pool.server_idle_timeout;
        if matches!(health, Some(Health::Down | Health::Stale | Health::Foreign) | None)
            || self.worker.is_deposed(self.pools, &self.stamp)
        {
            Some(End::NotPrimary)
        } else if self.place.is_stale() {
            Some(End::Replaced)
        } else if let Some(since) = self.hub.unused_since(now)
            && (now - since >= idle_timeout || self.is_in_the_way())
        {
            Some(End::Unused)
        } else {
            None
        }
    }

    /// Clients wait for a connection of the same pool, or of any for a place.
    fn is_in_the_way(&self) -> bool {
        let pool = self.worker.pool(self.pools, self.stamp.node);
        pool.counts().waiting > 0 || pool.is_short()
    }

    /// Writes what the server has to be told. Each order is a query of its own, so that one that the server refuses, as
    /// for a name that is not of its encoding, does not keep others from being carried out.
    fn order(&mut self, out: &mut Vec<u8>) {
        for order in self.hub.orders(&self.heard, ORDERS_MAX, Instant::now()) {
            let (verb, name) = match &order {
                Order::Listen(name) => ("LISTEN", name),
                Order::Unlisten(name) => ("UNLISTEN", name),
            };
            frontend::query(&statement(verb, name), out);
            self.sent.push_back(Some(order));
        }
    }

    fn take_messages(&mut self) -> io::Result<Option<End>> {
        loop {
            let peeked = peek(&self.input, Direction::Backend, MESSAGE_LIMIT).map_err(io::Error::other)?;
            let Peek::Whole { header, body } = peeked else { return Ok(None) };
            match header.tag {
                b'A' => self.hub.dispatch(body),
                b'Z' => match self.sent.pop_front() {
                    // refused or not: the client's own LISTEN shows
                    Some(Some(Order::Listen(name))) => {
                        self.hub.heard(&name, Instant::now());
                        self.heard.insert(name);
                    }
                    Some(Some(Order::Unlisten(name))) => drop(self.heard.remove(&name)),
                    Some(None) => {}
                    None => return Err(io::Error::other("an answer to nothing")),
                },
                b'E' => {
                    let view = ErrorView::read(body);
                    if view.is_fatal() {
                        self.report(view.code);
                        return Ok(Some(End::Broken(view.code)));
                    }
                }
                b'S' if matches!(read_parameter_status(body), Ok((b"in_hot_standby", b"on"))) => {
                    return Ok(Some(End::NotPrimary));
                }
                _ => {}
            }
            self.input.advance(header.total_len());
        }
    }

    fn report(&self, code: Option<SqlState>) {
        let report = match code {
            Some(SqlState::ADMIN_SHUTDOWN) => Report::Shutdown,
            Some(SqlState::CRASH_SHUTDOWN) => Report::Crashed,
            _ => return,
        };
        self.worker.report(self.pools, self.stamp.node, report);
    }
}

/// Reads once.
async fn read_some(stream: &mut Stream, input: &mut BytesMut) -> io::Result<usize> {
    /// What a server sends at once. Without a reserve 64 bytes would be read at a time.
    const AT_ONCE: usize = 8 * 1024;
    input.reserve(AT_ONCE);
    stream.read_buf(input).await
}

/// `verb "name"`.
fn statement(verb: &str, name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(verb.len() + name.len() + 3);
    text.extend_from_slice(verb.as_bytes());
    text.extend_from_slice(b" \"");
    for &byte in name {
        if byte == b'"' {
            text.push(b'"');
        }
        text.push(byte);
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(statement("LISTEN", b"News"), b"LISTEN \"News\"");
        assert_eq!(statement("UNLISTEN", b"a\"; drop table t; --"), b"UNLISTEN \"a\"\"; drop table t; --\"");
    }
}

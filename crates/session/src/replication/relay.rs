//! Bytes between a client and its walsender.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use conn::Stream;
use pool::DialPlan;
use tokio::time::{Sleep, sleep};
use topology::{Health, Stamp};
use wire::{
    SqlState,
    message::{
        backend::{Authentication, TxStatus, backend_key_data, parameter_status, ready_for_query},
        error::ErrorMessage,
    },
};

use super::{
    Guest,
    connect::Walsender,
    framing::{Framing, Until},
};
use crate::{
    exchange::Side,
    handle::ClientState,
    io::{drain, poll_read, send},
    serve::Turn,
    stats::count,
};

/// Turns before the others on the worker get theirs.
const TURNS_AT_ONCE: u32 = 16;

/// How long the end of a message is waited for before a client that has to go is cut off in the middle of it.
const LAST_MESSAGE: Duration = Duration::from_secs(1);

/// A client and its walsender.
struct Relay {
    guest: Guest,
    server: Stream,
    /// What the server has not taken yet.
    server_output: BytesMut,
    framing: Framing,
    stamp: Stamp,
    side: Side,
    /// For cancels.
    plan: DialPlan,
    process: u32,
    key: Rc<[u8]>,
    leaving: Option<Leaving>,
}

/// The client has to go after the present message.
struct Leaving {
    error: ErrorMessage,
    deadline: Pin<Box<Sleep>>,
}

/// Both ends are closed.
struct Over;

impl Guest {
    /// Welcomes the client in the server's words and passes everything on until either end has gone.
    pub(super) async fn relay(mut self, walsender: Walsender) {
        let Walsender { connection, plan, stamp, side, place } = walsender;
        let mut out = Vec::new();
        Authentication::Ok.write(&mut out);
        for (name, value) in &connection.parameters {
            parameter_status(name, value, &mut out);
        }
        backend_key_data(self.handle.key.pid, &self.handle.key.secret, &mut out);
        ready_for_query(TxStatus::Idle, &mut out);
        self.output.extend_from_slice(&out);
        self.handle.state.set(ClientState::Active);
        self.handle.node.set(Some(stamp.node));
        self.handle.server_process.set(connection.pid);
        count(&self.pools.stats.server_assignments, 1);
        let mut relay = Relay {
            guest: self,
            server: connection.stream,
            server_output: BytesMut::new(),
            framing: Framing::default(),
            stamp,
            side,
            plan,
            process: connection.pid,
            key: connection.cancel_key.into(),
            leaving: None,
        };
        (&mut relay).await;
        let Relay { guest, server, plan, process, key, .. } = relay;
        guest.worker.end_process(plan, (process, key), server, place);
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = self.get_mut();
        let worker = Rc::clone(&me.guest.worker);
        let (mut read, _) = worker.buffers();
        me.guest.handle.remember_waker(cx.waker());
        for _ in 0..TURNS_AT_ONCE {
            match me.turn(cx, &mut read) {
                Ok(Turn::Again) => {}
                Ok(Turn::Wait) => return Poll::Pending,
                Err(Over) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Relay {
    fn turn(&mut self, cx: &mut Context<'_>, read: &mut [u8]) -> Result<Turn, Over> {
        if self.guest.handle.take_cancel() {
            self.guest.worker.cancel_process(&self.plan, self.process, &self.key);
        }
        if self.leaving.is_none()
            && let Some(error) = self.reason_to_leave()
        {
            self.leaving = Some(Leaving { error, deadline: Box::pin(sleep(LAST_MESSAGE)) });
        }
        if drain(cx, &mut self.server, &mut self.server_output).is_err() {
            self.server_output.clear(); // what it said last is read below
        }
        let taken = drain(cx, &mut self.guest.stream, &mut self.guest.output).map_err(|_| Over)?;
        if let Some(leaving) = &mut self.leaving {
            let too_late = leaving.deadline.as_mut().poll(cx).is_ready();
            if too_late || self.framing.is_between_messages() {
                let error = leaving.error.clone();
                return Err(self.end(cx, error));
            }
        }
        if self.is_suspended() {
            return Ok(Turn::Wait);
        }
        let from_server = taken && self.read_server(cx, read)?;
        let from_client = self.server_output.is_empty() && self.read_client(cx, read)?;
        Ok(if from_server || from_client { Turn::Again } else { Turn::Wait })
    }

    /// Whether it has nothing to do until RESUME: nothing of it is in the proxy's buffers. Notes that for whoever waits
    /// for it.
    fn is_suspended(&self) -> bool {
        let rests = self.guest.output.is_empty() && self.server_output.is_empty();
        self.guest.handle.rests.set(rests);
        rests && self.guest.worker.is_suspended()
    }

    /// Why the client has to find another server.
    fn reason_to_leave(&self) -> Option<ErrorMessage> {
        let Guest { worker, pools, .. } = &self.guest;
        if let Some(farewell) = self.guest.farewell() {
            return Some(farewell);
        }
        let text = if self.side == Side::Primary && worker.is_deposed(pools, &self.stamp) {
            "terminating connection: another node has become the primary"
        } else if worker.is_set_aside(pools, self.stamp.node) {
            "terminating connection: the node was detached or is being restarted"
        } else {
            let snapshot = worker.snapshot(pools);
            match snapshot.node(self.stamp.node).map(|node| node.health) {
                Some(Health::Unknown | Health::Up | Health::Suspect | Health::Recovering) => return None,
                Some(Health::Down | Health::Stale | Health::Foreign) | None => {
                    "terminating connection: the node is not to be used any more"
                }
            }
        };
        Some(ErrorMessage::fatal(SqlState::ADMIN_SHUTDOWN, text).with_hint("Connect again."))
    }

    /// Reads once from the server; whether anything came.
    fn read_server(&mut self, cx: &mut Context<'_>, read: &mut [u8]) -> Result<bool, Over> {
        let n = match poll_read(cx, &mut self.server, read) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(n)) if n > 0 => n,
            Poll::Ready(_) => {
                let text = "terminating connection: the server has closed its side";
                let error = ErrorMessage::fatal(SqlState::ADMIN_SHUTDOWN, text).with_hint("Connect again.");
                return Err(self.end(cx, error));
            }
        };
        let until = if self.leaving.is_some() { Until::MessageEnd } else { Until::End };
        let passed = self.framing.pass(read.get(..n).unwrap_or_default(), until);
        count(&self.guest.pools.stats.sent, passed as u64);
        let Guest { stream, output, .. } = &mut self.guest;
        send(cx, stream, output, read.get(..passed).unwrap_or_default()).map_err(|_| Over)?;
        Ok(true)
    }

    /// Reads once from the client; whether anything came.
    fn read_client(&mut self, cx: &mut Context<'_>, read: &mut [u8]) -> Result<bool, Over> {
        let n = match poll_read(cx, &mut self.guest.stream, read) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(n)) if n > 0 => n,
            Poll::Ready(_) => return Err(Over),
        };
        count(&self.guest.pools.stats.received, n as u64);
        self.guest.handle.request_at.set(self.guest.worker.now());
        if send(cx, &mut self.server, &mut self.server_output, read.get(..n).unwrap_or_default()).is_err() {
            self.server_output.clear(); // what it said last is read next
        }
        Ok(true)
    }

    /// Last words, if they fit in here and the server has not said them itself.
    fn end(&mut self, cx: &mut Context<'_>, error: ErrorMessage) -> Over {
        let told = self.framing.ended_with_an_error();
        tracing::info!(client = %self.guest.handle.id, node = self.stamp.node.0, reason = %error.message, "replication ended");
        if self.framing.is_between_messages() && !told {
            let mut out = Vec::new();
            error.write(&mut out);
            let Guest { stream, output, .. } = &mut self.guest;
            // the connection ends whether or not the client still listens
            let _ = send(cx, stream, output, &out);
        }
        Over
    }
}

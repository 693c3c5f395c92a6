//! A session as a task.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::BytesMut;
use pool::{Replay, Waiter};
use tokio::time::Instant;
use wire::{SqlState, message::error::ErrorMessage};

use crate::{
    NewClient,
    handle::{Farewell, Handle},
    io::send,
    names::Names,
    session::{ClientBody, End, Phase, Session},
    stats::count,
    worker::Worker,
};

/// Serves one client until it has gone. Dropped in any state, it leaves nothing behind: that is also what contains
/// a panic.
pub(crate) struct SessionTask(Session);

impl SessionTask {
    /// Takes a client in.
    pub(crate) fn spawn(worker: &Rc<Worker>, client: NewClient) {
        let NewClient { id, mut stream, address, user, database, settings, secret, policy, purpose, key } =
            client;
        let now = Instant::now();
        let handle = Handle::new(id, key, address, stream.is_tls(), purpose, now);
        let pools = worker.pool_set(&database, user.user());
        let rebound = stream.rebind();
        let (Some(pools), Ok(())) = (pools, rebound) else {
            worker.unregister(&handle);
            return;
        };
        count(&pools.stats.logins, 1);
        if let Some(secret) = secret {
            worker.adopt_secret(&pools, secret);
        }
        worker.register(&handle, &pools);
        let policy = pools.settings.borrow().policy.unwrap_or(policy);
        let settings = settings.into_iter().map(|(name, value)| (name, Replay::Value(value)));
        let startup = pools.states.intern(settings);
        let session = Session {
            worker: Rc::clone(worker),
            handle,
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            body: ClientBody::Boundary,
            phase: Phase::Idle,
            exchange: None,
            waiter: Waiter::new(now),
            names: Names::default(),
            wanted: Rc::clone(&startup),
            startup,
            told: None,
            written: None,
            policy,
            primary_only: false,
            reruns: 0,
            waiting: false,
            told_to_wait: false,
            pools,
        };
        tracing::debug!(client = %id, peer = ?address, database = %session.pools.database, user = %session.pools.user, "logged in");
        tokio::task::spawn_local(Self(session));
    }
}

impl Future for SessionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(end) => {
                self.0.say_goodbye(cx, end);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
        self.worker.unregister(&self.handle);
    }
}

impl Session {
    /// Last words, as far as the client takes them at once.
    fn say_goodbye(&mut self, cx: &mut Context<'_>, end: End) {
        let id = self.handle.id;
        let error = match end {
            End::ClientLeft => {
                tracing::debug!(client = %id, "left");
                return;
            }
            End::ClientIo(error) => {
                tracing::debug!(client = %id, %error, "connection lost");
                return;
            }
            End::CutOff => {
                tracing::warn!(client = %id, "closed: its server was lost in the middle of a message to it");
                return;
            }
            End::Farewell(Farewell::Shutdown) => ErrorMessage::fatal(
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection: the proxy is shutting down",
            ),
            End::Farewell(Farewell::Killed) => ErrorMessage::fatal(
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection due to administrator command",
            ),
            End::Refused(error) => {
                tracing::info!(client = %id, code = %error.code, message = %error.message, "closed");
                *error
            }
        };
        let mut out = Vec::new();
        error.write(&mut out);
        // the session ends whether or not the client still listens
        let _ = send(cx, &mut self.stream, &mut self.output, &out);
    }
}

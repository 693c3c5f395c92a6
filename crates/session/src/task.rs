//! A session as a task.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use pool::{Replay, Waiter};
use tokio::{
    io::AsyncWrite,
    time::{Instant, Sleep, sleep},
};
use wire::{SqlState, message::error::ErrorMessage};

use crate::{
    NewClient,
    client::Admitted,
    handle::Farewell,
    io::{drain, poll_read, send},
    names::Names,
    session::{ClientBody, End, Phase, Session},
    standing_hint::StandingHint,
    worker::Worker,
};

/// Serves one client until it has gone. Dropped in any state, it leaves nothing behind: that is also what contains
/// a panic.
pub(crate) struct SessionTask {
    session: Session,
    /// Its client was told to go: until when it may take that in.
    leaving: Option<Pin<Box<Sleep>>>,
}

/// How long a client that was told to go may take to hear it and to hang up.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

impl SessionTask {
    /// Takes a client in.
    pub(crate) fn spawn(worker: &Rc<Worker>, client: NewClient) {
        let (id, address, now) = (client.id, client.address, Instant::now());
        let Some(Admitted { handle, pools, stream, mut settings, policy }) = client.admit(worker, now) else {
            return;
        };
        // its values were looked at before its login
        let standing_hint = StandingHint::take_from(&mut settings).unwrap_or_default();
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
            listening: None,
            policy,
            standing_hint,
            primary_only: false,
            awaits_pin: None,
            writings: 0,
            reruns: 0,
            waiting: false,
            told_to_wait: false,
            pools,
        };
        tracing::debug!(client = %id, peer = ?address, database = %session.pools.database, user = %session.pools.user, "logged in");
        tokio::task::spawn_local(Self { session, leaving: None });
    }
}

impl Future for SessionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { session, leaving } = &mut *self;
        let deadline = match leaving {
            Some(deadline) => deadline,
            None => {
                let end = ready!(session.poll(cx));
                let Spoken::LastWords = session.say_goodbye(cx, end) else { return Poll::Ready(()) };
                session.leave();
                leaving.insert(Box::pin(sleep(GOODBYE_MAX)))
            }
        };
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        session.poll_goodbye(cx)
    }
}

/// What a client hears at the end of its session.
enum Spoken {
    /// It has gone already, or is in the middle of a message.
    Nothing,
    /// Why it has to go; not all of it may be on its way yet.
    LastWords,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
        if let Some(listening) = self.listening.take() {
            listening.leave();
        }
        self.worker.unregister(&self.handle);
    }
}

impl Session {
    /// Tells the client why it has to go.
    fn say_goodbye(&mut self, cx: &mut Context<'_>, end: End) -> Spoken {
        let id = self.handle.id;
        let error = match end {
            End::ClientLeft => {
                tracing::debug!(client = %id, "left");
                return Spoken::Nothing;
            }
            End::ClientIo(error) => {
                tracing::debug!(client = %id, %error, "connection lost");
                return Spoken::Nothing;
            }
            End::CutOff => {
                tracing::warn!(client = %id, "closed: its server was lost in the middle of a message to it");
                return Spoken::Nothing;
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
        match send(cx, &mut self.stream, &mut self.output, &out) {
            Ok(()) => Spoken::LastWords,
            Err(_) => Spoken::Nothing, // it does not listen any more
        }
    }

    /// Waits until the client has taken the last words, and then until it hangs up. A socket that has only just
    /// come to this worker takes nothing in its first turn; and closing one that holds unread input resets it, which
    /// can cost the client what it has not read yet.
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        /// Reads before the others on the worker get their turn.
        const READS_AT_ONCE: u32 = 16;
        match drain(cx, &mut self.stream, &mut self.output) {
            Ok(true) => {}
            Ok(false) => return Poll::Pending,
            Err(_) => return Poll::Ready(()), // it does not listen any more
        }
        // For everybody else the session is over; a proxy that shuts down does not wait for it.
        self.worker.unregister(&self.handle);
        if ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
            return Poll::Ready(());
        }
        let mut ignored = [0; 1024];
        for _ in 0..READS_AT_ONCE {
            match ready!(poll_read(cx, &mut self.stream, &mut ignored)) {
                Ok(n) if n > 0 => {}
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

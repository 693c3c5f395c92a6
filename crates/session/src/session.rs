use std::{collections::VecDeque, io, rc::Rc};

use bytes::BytesMut;
use conn::Stream;
use pool::{ParameterSet, Pool, Server, SessionState, Waiter};
use routing::{Policy, Written};
use tokio::time::Instant;
use wire::{
    SqlState,
    frame::FrameError,
    message::error::{ErrorMessage, Severity},
};

use crate::{
    exchange::{Exchange, Rerun},
    handle::{Farewell, Handle},
    in_doubt::Doubt,
    listen::Subscriber,
    local::Responder,
    names::Names,
    pool_set::PoolSet,
    scan::Scanned,
    standing_hint::StandingHint,
    worker::Worker,
};

/// Where in a message's body the client's next bytes belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientBody {
    /// A head comes next.
    Boundary,
    /// This many more bytes of a body go to the server.
    Forward(u32),
    /// This many more bytes of a body go nowhere: the server that they were for is gone.
    Discard(u32),
}

impl ClientBody {
    /// After `n` more bytes.
    pub(crate) fn less(self, n: u32) -> Self {
        match self {
            Self::Forward(left) if left > n => Self::Forward(left - n),
            Self::Discard(left) if left > n => Self::Discard(left - n),
            Self::Boundary | Self::Forward(_) | Self::Discard(_) => Self::Boundary,
        }
    }
}

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It sent Terminate or closed its socket.
    ClientLeft,
    /// Its socket failed.
    ClientIo(io::Error),
    /// Its server was lost in the middle of a message to it: nothing more can be said.
    CutOff,
    /// It has to go, and is told why.
    Refused(Box<ErrorMessage>),
    /// It was sent away.
    Farewell(Farewell),
}

impl End {
    /// The client broke the protocol.
    pub(crate) fn protocol(message: &'static str) -> Self {
        Self::Refused(Box::new(ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, message)))
    }

    /// What would fail a request fails a login.
    pub(crate) fn refused_login(responder: Responder) -> Self {
        let error = responder.into_error();
        let error = error.unwrap_or_else(|| ErrorMessage::error(SqlState::INTERNAL_ERROR, "login failed"));
        Self::Refused(Box::new(ErrorMessage { severity: Severity::Fatal, ..error }))
    }

    /// The client sent a head that is none.
    pub(crate) fn bad_frame(error: FrameError) -> Self {
        Self::Refused(Box::new(ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string())))
    }
}

/// Where a session stands.
///
/// ```text
///   Idle --a unit--> Linked --settled--> Idle
///     |                 |--server lost--> Local --the client is out of it--> Idle
///     |                 '--lost in COMMIT--> InDoubt --resolved--> Idle
///     |--no server--> Waiting --server--> Linked
///     '--no primary-> Held --topology changed--> (decide again)
/// ```
#[derive(Debug)]
pub(crate) enum Phase {
    /// No server connection, nothing under way.
    Idle,
    /// In a pool's queue.
    Waiting(Rc<Pool>),
    /// In the worker's queue for a primary.
    Held,
    /// It owns a server connection.
    Linked(Box<Server>),
    /// Its server was lost while it committed, and it waits to hear whether it did.
    InDoubt(Box<Doubt>),
    /// The proxy itself answers.
    Local(Box<Responder>),
}

/// One client, from its login to its end. Polled as one task; what it does not need while idle it does not own.
pub(crate) struct Session {
    pub(crate) worker: Rc<Worker>,
    pub(crate) pools: Rc<PoolSet>,
    pub(crate) handle: Rc<Handle>,
    pub(crate) stream: Stream,
    /// What the client sent and nobody took yet.
    pub(crate) input: BytesMut,
    /// What the client has not taken yet.
    pub(crate) output: BytesMut,
    pub(crate) body: ClientBody,
    pub(crate) phase: Phase,
    /// How the present server connection is used; there is one while linked.
    pub(crate) exchange: Option<Box<Exchange>>,
    pub(crate) waiter: Rc<Waiter>,
    pub(crate) names: Names,
    /// The settings that the client wants, and those it asked for at startup.
    pub(crate) wanted: Rc<SessionState>,
    pub(crate) startup: Rc<SessionState>,
    /// What the client was told by ParameterStatus; `None` until it was welcomed.
    pub(crate) told: Option<Rc<ParameterSet>>,
    pub(crate) written: Option<Written>,
    /// The channels that it listens to over the shared connection, if any.
    pub(crate) listening: Option<Rc<Subscriber>>,
    pub(crate) policy: Policy,
    /// What it asked of routing at startup, if anything.
    pub(crate) standing_hint: Option<Box<StandingHint>>,
    /// The present request must go to the primary: a standby refused it.
    pub(crate) primary_only: bool,
    /// How often the present request was run again.
    pub(crate) reruns: u8,
    /// The present request waits for clients of this pool that keep their connections.
    pub(crate) awaits_pin: Option<Rc<Pool>>,
    /// How often it wrote through some server connection.
    pub(crate) writings: u32,
    /// The present request waits, since [`Session::waiting_since`].
    pub(crate) waiting: bool,
    /// The client was told that it waits.
    pub(crate) told_to_wait: bool,
}

/// Scratch space of a worker, borrowed by one session at a time.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) out: Vec<u8>,
    pub(crate) scanned: VecDeque<Scanned>,
}

impl Session {
    /// The present use of a server connection.
    ///
    /// Only called while linked, which is when there is one.
    pub(crate) fn exchange(&self) -> &Exchange {
        self.exchange.as_deref().expect("a linked session has an exchange")
    }

    /// See [`Session::exchange`].
    pub(crate) fn exchange_mut(&mut self) -> &mut Exchange {
        self.exchange.as_deref_mut().expect("a linked session has an exchange")
    }

    /// Most bytes of input to keep.
    pub(crate) fn input_limit(&self) -> usize {
        self.worker.settings().session.input_limit as usize
    }

    /// The answer to the present request has begun, or the request cannot be kept: it is not run again.
    pub(crate) fn give_up_rerun(&mut self) {
        let exchange = self.exchange_mut();
        if let Rerun::Possible { bytes, .. } = std::mem::take(&mut exchange.rerun) {
            self.worker.keep_spare(bytes);
        }
    }

    /// Puts `input`, which was consumed already, back in front of what the client sent since.
    pub(crate) fn put_back(&mut self, input: &[u8]) {
        if self.input.is_empty() {
            self.input.extend_from_slice(input);
        } else {
            let mut whole = BytesMut::with_capacity(input.len() + self.input.len());
            whole.extend_from_slice(input);
            whole.extend_from_slice(&self.input);
            self.input = whole;
        }
    }

    /// The next request fails with `error`; after it, the session goes on.
    pub(crate) fn fail_request(&mut self, error: ErrorMessage) {
        self.settle_channels();
        self.phase = Phase::Local(Box::new(Responder::request_fails(error)));
    }

    /// When the present wait began.
    pub(crate) fn waiting_since(&self) -> Instant {
        self.waiter.since()
    }
}

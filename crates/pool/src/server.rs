use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Waker},
};

use bytes::BytesMut;
use conn::{ServerConnection, Stream};
use protocol::Ledger;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};
use topology::Stamp;
use wire::message::backend::TxStatus;

use crate::{ParameterSet, Pool, Prepared, SequenceValues, SessionState, permit::Permit};

/// Where in a message's body the bytes that come next from a server belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    /// A head comes next.
    #[default]
    Boundary,
    /// This many more bytes of a body go to the client.
    Forward(u32),
    /// This many more bytes of a body are swallowed.
    Swallow(u32),
}

/// What a server connection has been used for, for the console.
#[derive(Debug, Clone, Copy)]
pub struct ServerActivity {
    /// When it was dialed.
    pub connected_at: Instant,
    /// When it was last checked out.
    pub last_checkout: Instant,
}

/// A server connection and all that is known about it. It moves by value (boxed) between its pool and the one
/// session that uses it; dropping it closes it and gives its place in the pool back.
#[derive(Debug)]
pub struct Server {
    /// The socket.
    pub stream: Stream,
    /// What it owes.
    pub ledger: Ledger,
    /// The beginning of a message that has to be seen whole.
    pub input: BytesMut,
    /// What it has not taken yet.
    pub output: BytesMut,
    /// What the next bytes from it are.
    pub body: Body,
    /// The settings that are in force on it.
    pub state: Rc<SessionState>,
    /// What it reported.
    pub parameters: Rc<ParameterSet>,
    /// Whether it said to be a standby; `None` before PostgreSQL 14.
    pub in_hot_standby: Option<bool>,
    /// The statements prepared on it.
    pub prepared: Prepared,
    /// Its client's LISTEN was run on it: notifications come until that is undone.
    pub listens: bool,
    /// Whose values `currval` and `lastval` tell on it.
    pub sequence_values: SequenceValues,
    /// What it was used for.
    pub activity: ServerActivity,
    stamp: Stamp,
    process_id: u32,
    cancel_key: Rc<[u8]>,
    cancels: Rc<Cell<u32>>,
    doomed: Rc<Cell<bool>>,
    permit: Permit,
}

impl Server {
    pub(crate) fn new(
        connection: ServerConnection,
        stamp: Stamp,
        state: Rc<SessionState>,
        parameters: Rc<ParameterSet>,
        permit: Permit,
        now: Instant,
    ) -> Box<Self> {
        let in_hot_standby = connection
            .parameters
            .iter()
            .find(|(name, _)| **name == *b"in_hot_standby")
            .map(|(_, value)| **value == *b"on");
        Box::new(Self {
            stream: connection.stream,
            ledger: Ledger::default(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            body: Body::Boundary,
            state,
            parameters,
            in_hot_standby,
            prepared: Prepared::default(),
            listens: false,
            sequence_values: SequenceValues::default(),
            activity: ServerActivity { connected_at: now, last_checkout: now },
            stamp,
            process_id: connection.pid,
            cancel_key: Rc::from(&*connection.cancel_key),
            cancels: Rc::default(),
            doomed: Rc::default(),
            permit,
        })
    }

    /// Node, timeline and epoch under which it was dialed.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The server process at its other end.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// The secret that cancels what runs on it.
    #[must_use]
    pub fn cancel_key(&self) -> Rc<[u8]> {
        Rc::clone(&self.cancel_key)
    }

    /// Counts the cancel requests under way to it; while there is one, nobody else may get the connection.
    #[must_use]
    pub fn cancels(&self) -> &Rc<Cell<u32>> {
        &self.cancels
    }

    /// Set when a cancel may be carried out at any time to come: only its present client can bear that, and nobody gets
    /// the connection after it.
    #[must_use]
    pub fn doomed(&self) -> &Rc<Cell<bool>> {
        &self.doomed
    }

    /// The pool that dialed it, and the only one that takes it back; `None`: there is none any more.
    #[must_use]
    pub fn pool(&self) -> Option<Rc<Pool>> {
        self.permit.pool()
    }

    /// Whether `pool` dialed it, and has not replaced its connections since.
    pub(crate) fn is_current_in(&self, pool: &Pool) -> bool {
        self.permit.is_current_in(pool)
    }

    /// Proves that nothing of its last use is left on it: every reply paid, no transaction, whole messages in both
    /// directions, no channel listened to, no cancel on its way.
    ///
    /// # Errors
    /// Gives it back if anything is left.
    pub fn prove_clean(self: Box<Self>) -> Result<CleanServer, Box<Self>> {
        let clean = self.ledger.is_settled()
            && self.ledger.status() == TxStatus::Idle
            && self.input.is_empty()
            && self.output.is_empty()
            && self.body == Body::Boundary
            && !self.listens
            && self.cancels.get() == 0
            && !self.doomed.get();
        if clean { Ok(CleanServer(self)) } else { Err(self) }
    }
}

/// A server connection that was proven clean: the only thing that a pool takes back.
#[derive(Debug)]
pub struct CleanServer(Box<Server>);

impl CleanServer {
    pub(crate) fn into_inner(self) -> Box<Server> {
        self.0
    }

    /// Whether the idle connection said anything, such as its end. Costs no system call when it did not.
    pub(crate) fn has_spoken(&mut self) -> bool {
        let mut byte = [0_u8; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.0.stream).poll_read(&mut context, &mut buffer).is_ready()
    }

    pub(crate) fn get(&self) -> &Server {
        &self.0
    }
}

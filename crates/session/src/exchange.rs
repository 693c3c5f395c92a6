//! What is known about the use of one server connection from checkout to release.

use std::{collections::VecDeque, rc::Rc};

use pool::{PinPermit, Statement};
use tokio::time::Instant;
use topology::NodeId;
use wire::message::error::ErrorMessage;

use crate::{effects::Effects, pin::Pins};

/// What the server connection was checked out as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The primary: takes everything.
    Primary,
    /// A replica: takes reads.
    Replica,
}

/// Whether client input may go to the server yet.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) enum Entrance {
    /// It may.
    #[default]
    Open,
    /// The client's settings are being replayed; this many ReadyForQuery are to come.
    Replaying { left: u32 },
    /// The settings travel ahead of the client's first request; this many ReadyForQuery are to come.
    Ahead { left: u32 },
}

/// What is kept of a first request so that it can be run again elsewhere.
#[derive(Debug, Default)]
pub(crate) enum Rerun {
    /// It cannot, or its answer has begun.
    #[default]
    No,
    /// The client's bytes so far, and the statement names that they introduced.
    Possible { bytes: Vec<u8>, names: Vec<Box<[u8]>>, read_only: bool },
}

/// The transaction block, as far as what was sent tells; the server's answers lag behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Block {
    /// None.
    #[default]
    None,
    /// One was begun and not ended.
    Open,
    /// A COMMIT is under way; with `chain` another block follows.
    Committing { chain: bool },
}

impl Block {
    /// What is sent next is inside a block.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Committing { chain: true })
    }

    /// A COMMIT is under way.
    pub(crate) fn is_committing(self) -> bool {
        matches!(self, Self::Committing { .. })
    }
}

/// What was sent since the last end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Intent {
    /// Reads alone.
    #[default]
    Reads,
    /// Something that is not known to be a read.
    Writes,
}

/// Whether the present request runs again on account of a statement that has to be prepared anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Again {
    /// It does not.
    #[default]
    No,
    /// It does once the server has said ReadyForQuery.
    AfterReady,
    /// It does now.
    Now,
}

/// Whether the server is asked what is left of what pins the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inquiry {
    /// Nothing has happened since this instant that may have ended anything.
    NotDue { since: Instant },
    /// As soon as nothing is under way.
    Due,
    /// It was asked, and said `found` so far.
    Asked { found: Option<Pins> },
    /// It did not answer the question, and is asked again after the next transaction.
    Failed,
}

/// A Parse whose ParseComplete is still to come.
#[derive(Debug)]
pub(crate) struct ParseUnderWay {
    /// The unit that it belongs to.
    pub(crate) unit: u32,
    /// What was sent under its server name; `None` for the unnamed statement.
    pub(crate) statement: Option<Rc<Statement>>,
    /// The client's name for it, if the client sent this Parse.
    pub(crate) name: Option<Box<[u8]>>,
    /// The client's name that stood for another statement already: the server will say so of its own name.
    pub(crate) taken: Option<Box<[u8]>>,
}

impl ParseUnderWay {
    /// One that nothing has to be done about, whatever the server answers.
    pub(crate) fn other(unit: u32) -> Self {
        Self { unit, statement: None, name: None, taken: None }
    }
}

/// Bookkeeping of one use. Without requests under way it owns no memory.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) node: NodeId,
    pub(crate) side: Side,
    pub(crate) entrance: Entrance,
    pub(crate) replay_error: Option<Box<ErrorMessage>>,
    pub(crate) effects: Effects,
    pub(crate) parses: VecDeque<ParseUnderWay>,
    /// Named statements that were bound since nothing was owed.
    pub(crate) bound: Vec<Rc<Statement>>,
    pub(crate) rerun: Rerun,
    /// Answers that are kept back while the request could still be run again.
    pub(crate) held_back: Vec<u8>,
    /// Units sent and units answered.
    pub(crate) units_sent: u32,
    pub(crate) units_done: u32,
    /// Part of the answer to a unit has come, beyond what comes before anything is executed.
    pub(crate) unit_answering: bool,
    /// The unit being answered had an error.
    pub(crate) unit_failed: bool,
    /// Part of a unit was sent, its end was not.
    pub(crate) unit_open: bool,
    pub(crate) block: Block,
    pub(crate) intent: Intent,
    pub(crate) again: Again,
    pub(crate) inquiry: Inquiry,
    /// What pinned the session when its last transaction ended.
    pub(crate) established: Pins,
    /// Statements that were not sent, with their units and what the client is told.
    pub(crate) refused: VecDeque<(u32, Box<ErrorMessage>)>,
    /// Its place among the pinned connections of the pool.
    pub(crate) pin_permit: Option<PinPermit>,
    /// Since when its primary is known to have been replaced.
    pub(crate) deposed_since: Option<Instant>,
    pub(crate) started: Instant,
    pub(crate) unit_started: Instant,
}

impl Exchange {
    pub(crate) fn new(node: NodeId, side: Side, now: Instant) -> Self {
        Self {
            node,
            side,
            entrance: Entrance::Open,
            replay_error: None,
            effects: Effects::default(),
            parses: VecDeque::new(),
            bound: Vec::new(),
            rerun: Rerun::No,
            held_back: Vec::new(),
            units_sent: 0,
            units_done: 0,
            unit_answering: false,
            unit_failed: false,
            unit_open: false,
            block: Block::default(),
            intent: Intent::default(),
            again: Again::No,
            inquiry: Inquiry::NotDue { since: now },
            established: Pins::default(),
            refused: VecDeque::new(),
            pin_permit: None,
            deposed_since: None,
            started: now,
            unit_started: now,
        }
    }

    /// Starts anew for another use, keeping what memory there is.
    pub(crate) fn begin(&mut self, node: NodeId, side: Side, now: Instant) {
        let mut parses = std::mem::take(&mut self.parses);
        let mut bound = std::mem::take(&mut self.bound);
        let mut held_back = std::mem::take(&mut self.held_back);
        parses.clear();
        bound.clear();
        held_back.clear();
        *self = Self { parses, bound, held_back, ..Self::new(node, side, now) };
    }
}

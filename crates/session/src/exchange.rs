//! What is known about the use of one server connection from checkout to release.

use std::{collections::VecDeque, rc::Rc};

use pool::{PinPermit, PoolMode, Statement};
use protocol::Ledger;
use tokio::time::Instant;
use topology::NodeId;
use wire::message::error::ErrorMessage;

use crate::{
    effects::Effects,
    pin::Pins,
    reworded::{Ahead, Reworded},
    unconfirmed::Unconfirmed,
    witness::Witness,
};

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
    /// It can.
    Possible {
        /// The client's bytes so far.
        bytes: Vec<u8>,
        /// The statement names that they gave.
        names: Vec<Box<[u8]>>,
        /// Those of before that they took away, and what these stood for.
        closed: Vec<(Box<[u8]>, Rc<Statement>)>,
        /// What the unnamed statement was.
        unnamed: Option<Rc<Statement>>,
        /// They hold nothing but reads.
        read_only: bool,
    },
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

/// What is known of the client's unnamed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Unnamed {
    /// It is among its names, or there is none.
    #[default]
    Named,
    /// It was too long to be read here: only the server knows it.
    Unread,
}

/// What `currval` and `lastval` tell on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sequences {
    /// What other clients got, perhaps.
    #[default]
    Foreign,
    /// Nothing but what this client got.
    Own,
    /// As before, and the present transaction asked for it.
    Asked,
}

/// Whether another unit may follow on what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Next {
    /// It may.
    #[default]
    Follows,
    /// Not until everything is answered: what it would find depends on the answers.
    Waits,
}

/// Whether functions were made, changed or dropped in the present transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Functions {
    #[default]
    Unchanged,
    Changed,
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

/// Which of the units whose transactions have not ended hold something that is not known to be a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Writes {
    /// The first and the last such unit.
    span: Option<(u32, u32)>,
    /// Since the checkout there was one, though its transaction may have ended.
    any: bool,
}

impl Writes {
    /// Unit number `unit`, the newest, holds one.
    pub(crate) fn note(&mut self, unit: u32) {
        let first = self.span.map_or(unit, |(first, _)| first);
        self.span = Some((first, unit));
        self.any = true;
    }

    /// The last such unit.
    pub(crate) fn last(self) -> Option<u32> {
        self.span.map(|(_, last)| last)
    }

    /// No such unit is under way.
    pub(crate) fn is_empty(self) -> bool {
        self.span.is_none()
    }

    /// There was one since the checkout.
    pub(crate) fn were_any(self) -> bool {
        self.any
    }

    /// The transaction that unit number `unit` belongs to has ended; whether it held one. Later units may follow in the
    /// same pipeline.
    pub(crate) fn end_of_transaction(&mut self, unit: u32) -> bool {
        let Some((first, last)) = self.span else { return false };
        self.span = (last > unit).then_some((first.max(unit + 1), last));
        first <= unit
    }
}

/// Bookkeeping of one use. Without requests under way it owns no memory.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) node: NodeId,
    pub(crate) side: Side,
    /// The pool's mode when it began; a reload changes that of the next one.
    pub(crate) mode: PoolMode,
    pub(crate) entrance: Entrance,
    pub(crate) replay_error: Option<Box<ErrorMessage>>,
    pub(crate) effects: Effects,
    /// Steps taken ahead of their confirmation, oldest first.
    pub(crate) unconfirmed: VecDeque<Unconfirmed>,
    /// This portal drops all statements when it is executed.
    pub(crate) forgets_at_execute: Option<Box<[u8]>>,
    pub(crate) sequences: Sequences,
    pub(crate) next: Next,
    pub(crate) unnamed: Unnamed,
    /// Named statements that were bound in units not answered yet, and the unit.
    pub(crate) bound: VecDeque<(u32, Rc<Statement>)>,
    pub(crate) rerun: Rerun,
    /// Answers that are kept back while the request could still be run again.
    pub(crate) held_back: Vec<u8>,
    /// Units sent.
    pub(crate) units_sent: u32,
    /// Part of the answer to a unit has come, beyond what comes before anything is executed.
    pub(crate) unit_answering: bool,
    /// The unit being answered had an error.
    pub(crate) unit_failed: bool,
    /// Executes of the unit that is being sent.
    pub(crate) executes: u32,
    /// Part of a unit was sent, its end was not.
    pub(crate) unit_open: bool,
    pub(crate) block: Block,
    pub(crate) writes: Writes,
    pub(crate) witness: Witness,
    pub(crate) ahead: Ahead,
    /// How the last text that names a prepared statement was changed.
    pub(crate) reworded: VecDeque<Reworded>,
    /// Settings are in force that may pass with the transaction, or are not known; their number.
    pub(crate) unsettled: Option<u64>,
    /// Since when the next LISTEN has waited for the connection that listens for all.
    pub(crate) awaits_channel: Option<Instant>,
    /// Why the next unit cannot follow here.
    pub(crate) unsuited: Option<Box<ErrorMessage>>,
    pub(crate) again: Again,
    pub(crate) functions: Functions,
    pub(crate) inquiry: Inquiry,
    /// What pinned the session when its last transaction ended.
    pub(crate) established: Pins,
    /// What came to pin it after the last DISCARD ALL was sent.
    pub(crate) pinned_since_discard: Pins,
    /// Statements that were not sent, with their units and what the client is told.
    pub(crate) refused: VecDeque<(u32, Box<ErrorMessage>)>,
    /// Its place among the pinned connections of the pool.
    pub(crate) pin_permit: Option<PinPermit>,
    /// Since when its node is known to have been replaced or set aside.
    pub(crate) leaving_since: Option<Instant>,
    pub(crate) started: Instant,
    pub(crate) unit_started: Instant,
}

impl Exchange {
    pub(crate) fn new(node: NodeId, side: Side, now: Instant) -> Self {
        Self {
            node,
            side,
            mode: PoolMode::default(),
            entrance: Entrance::Open,
            replay_error: None,
            effects: Effects::default(),
            unconfirmed: VecDeque::new(),
            forgets_at_execute: None,
            sequences: Sequences::default(),
            next: Next::default(),
            unnamed: Unnamed::default(),
            bound: VecDeque::new(),
            rerun: Rerun::No,
            held_back: Vec::new(),
            units_sent: 0,
            unit_answering: false,
            unit_failed: false,
            executes: 0,
            unit_open: false,
            block: Block::default(),
            writes: Writes::default(),
            witness: Witness::default(),
            ahead: Ahead::default(),
            reworded: VecDeque::new(),
            unsettled: None,
            awaits_channel: None,
            unsuited: None,
            again: Again::No,
            functions: Functions::default(),
            inquiry: Inquiry::NotDue { since: now },
            established: Pins::default(),
            pinned_since_discard: Pins::default(),
            refused: VecDeque::new(),
            pin_permit: None,
            leaving_since: None,
            started: now,
            unit_started: now,
        }
    }

    /// A named statement is bound in the present unit.
    pub(crate) fn note_bound(&mut self, statement: &Rc<Statement>) {
        /// A unit may bind without end. One that is forgotten here keeps its plan until it is prepared anew.
        const BOUND_MAX: usize = 1000;
        if self
            .bound
            .back()
            .is_some_and(|(unit, last)| *unit == self.units_sent && Rc::ptr_eq(last, statement))
        {
            return;
        }
        if self.bound.len() >= BOUND_MAX {
            self.bound.pop_front();
        }
        self.bound.push_back((self.units_sent, Rc::clone(statement)));
    }

    /// Units answered: those that no ReadyForQuery is owed for any more. A Sync that the server ignores within a COPY
    /// and a Query that it skips behind an error count as answered with what follows them.
    pub(crate) fn units_done(&self, ledger: &Ledger) -> u32 {
        self.units_sent.saturating_sub(u32::try_from(ledger.ready_owed()).unwrap_or(u32::MAX))
    }

    /// Starts anew for another use, keeping what memory there is.
    pub(crate) fn begin(&mut self, node: NodeId, side: Side, now: Instant) {
        let mut unconfirmed = std::mem::take(&mut self.unconfirmed);
        let mut bound = std::mem::take(&mut self.bound);
        let mut held_back = std::mem::take(&mut self.held_back);
        unconfirmed.clear();
        bound.clear();
        held_back.clear();
        *self = Self { unconfirmed, bound, held_back, ..Self::new(node, side, now) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_one_transaction_leaves_the_writes_of_later_units() {
        let mut writes = Writes::default();
        assert!(!writes.end_of_transaction(0), "a read");
        writes.note(1);
        writes.note(2);
        writes.note(5);
        assert!(writes.end_of_transaction(1));
        assert!(!writes.is_empty());
        assert!(writes.end_of_transaction(2));
        assert!(writes.end_of_transaction(5));
        assert!(writes.is_empty());
        assert!(!writes.end_of_transaction(6));
    }
}

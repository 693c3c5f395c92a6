//! `currval` and `lastval`: what a session got from sequences is known to the server process that gave it alone, and what
//! another client got through the same one since would be told instead. So these functions run only where nobody but this
//! client got anything, and fail elsewhere as for a session that got nothing (55000). In a pool whose clients ask so, a
//! client keeps its server for a moment after it wrote, and before a client writes the values of others are discarded.

use std::{task::Context, time::Duration};

use pool::{PoolMode, SequenceValues, Server, StatePolicy, Writing};
use sql::{Class, Effect, PinCause, Statements};
use wire::{SqlState, message::error::ErrorMessage};

use crate::{
    clock::Timed,
    exchange::{Exchange, Sequences, Side},
    pin::PinReason,
    scan::{Group, Seeks},
    session::Session,
};

/// How long a client that wrote keeps its server. Clients ask for the value at once, if they do; others may be waiting.
pub(crate) const KEPT_MAX: Duration = Duration::from_millis(300);

/// How the clients of a pool ask for values that they got from sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Questions {
    /// Not at all.
    #[default]
    None,
    /// In the transaction or text that got them, or wrote at least: nothing of others must be there.
    WithinTransactions,
    /// Afterwards, too.
    Afterwards,
}

impl Session {
    fn note_question(&self, question: Questions) {
        let questions = &self.pools.questions;
        questions.set(questions.get().max(question));
    }

    /// What these functions tell on a server that was just checked out, and what to run there first.
    pub(crate) fn sequences_on(
        &self,
        server: &mut Server,
        group: Group,
    ) -> (Sequences, Option<&'static str>) {
        let values = server.sequence_values;
        if values == SequenceValues::Nobodys || values.are_of(self.handle.id.0, self.writings) {
            return (Sequences::Own, None);
        }
        let ask = group.seeks == Seeks::SequenceValues || self.pools.questions.get() > Questions::None;
        if group.replica || !ask || self.pools.settings.borrow().pool.session_state != StatePolicy::Pin {
            return (Sequences::Foreign, None);
        }
        server.sequence_values = SequenceValues::Nobodys;
        (Sequences::Own, Some("DISCARD SEQUENCES"))
    }

    /// A use of `server` is over: if the client wrote, whatever it may have got from sequences is there.
    pub(crate) fn note_writing(&mut self, server: &mut Server, exchange: &Exchange) {
        if exchange.writes.were_any() {
            self.writings = self.writings.wrapping_add(1);
            let writing = Writing { client: self.handle.id.0, serial: self.writings };
            server.sequence_values = server.sequence_values.then(writing);
        }
    }

    /// What to run before the next request of a client that keeps its server, now that its pool asks for such values: the
    /// server may have those of others.
    pub(crate) fn discard_sequences(&mut self, server: &mut Server) -> Option<&'static str> {
        let foreign =
            self.exchange().sequences == Sequences::Foreign && self.exchange().side == Side::Primary;
        let lasting = !self.pins().is_empty() && !self.pins().has(PinReason::SessionPooling);
        if !foreign || !lasting || self.pools.questions.get() == Questions::None {
            return None;
        }
        server.sequence_values = SequenceValues::Nobodys;
        self.exchange_mut().sequences = Sequences::Own;
        Some("DISCARD SEQUENCES")
    }

    /// What is left of the class of a statement with this text when its values from sequences are seen to; an error if
    /// the server does not have them.
    pub(crate) fn with_sequence_values(
        &mut self,
        server: &Server,
        class: Class,
        text: &[u8],
    ) -> (Class, Option<ErrorMessage>) {
        let Effect::Pin(causes) = class.effect else { return (class, None) };
        if !causes.has(PinCause::SequenceValue) {
            return (class, None);
        }
        let effect = causes.without(PinCause::SequenceValue).map_or(Effect::None, Effect::Pin);
        let without = Class { effect, ..class };
        let (mode, policy) = {
            let settings = self.pools.settings.borrow();
            (settings.pool.mode, settings.pool.session_state)
        };
        // a standby refuses it
        let elsewhere = mode == PoolMode::Session || self.exchange().side == Side::Replica;
        if elsewhere || policy == StatePolicy::Allow {
            return (without, None);
        }
        if self.gets_them_itself(class, text) {
            if !sql::calls_nextval(text) {
                self.note_question(Questions::WithinTransactions);
            }
            return (without, None);
        }
        if policy == StatePolicy::Refuse {
            return (class, None);
        }
        self.note_question(Questions::Afterwards);
        let exchange = self.exchange();
        let wrote_here = exchange.writes.were_any() || server.sequence_values != SequenceValues::Nobodys;
        let has_them = match exchange.sequences {
            Sequences::Own | Sequences::Asked => {
                // otherwise the server says so itself; and a function may get some before it asks
                wrote_here || self.writings == 0 || !sql::names_sequence_value(text)
            }
            Sequences::Foreign => exchange.writes.were_any() && !sql::names_sequence_value(text),
        };
        if has_them {
            self.exchange_mut().sequences = Sequences::Asked;
        }
        (without, (!has_them).then(lost_values))
    }

    /// Whether the values come from the same text, or from the transaction that it is in.
    fn gets_them_itself(&self, class: Class, text: &[u8]) -> bool {
        let exchange = self.exchange();
        let in_transaction = exchange.block.is_open() && !exchange.writes.is_empty();
        let in_text = class.statements == Statements::Many && sql::gets_from_sequence(text);
        in_transaction || in_text || sql::calls_nextval(text)
    }

    /// A transaction of the client's ended. It keeps its server if it may ask for what it got from sequences.
    pub(crate) fn keep_for_sequence_values(&mut self, wrote: bool) {
        let exchange = self.exchange_mut();
        let asked = exchange.sequences == Sequences::Asked;
        if asked {
            exchange.sequences = Sequences::Own;
        }
        let may_ask = wrote
            && exchange.sequences == Sequences::Own
            && self.pools.questions.get() == Questions::Afterwards;
        let is_pinned = self.pins().has(PinReason::SequenceValue);
        if (asked || may_ask) && !self.pins().has(PinReason::SessionPooling) {
            self.pin(PinReason::SequenceValue);
            self.time(Timed::Kept);
            self.worker.note_timed();
        } else if is_pinned {
            self.keep_pins(self.pins().without(PinReason::SequenceValue.into()));
        }
    }

    /// It has kept its server long enough.
    pub(crate) fn keep_no_longer(&mut self, cx: &Context<'_>) {
        self.keep_pins(self.pins().without(PinReason::SequenceValue.into()));
        self.time(Timed::Idle);
        cx.waker().wake_by_ref();
    }
}

fn lost_values() -> ErrorMessage {
    ErrorMessage::error(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "currval() and lastval() are not yet defined on this server connection",
    )
    .with_detail("Since the client wrote, other clients have written through the connection that it wrote through.")
    .with_hint(
        "Use INSERT … RETURNING, or ask in the same transaction. If both are repeated, one right after the other, it works.",
    )
}

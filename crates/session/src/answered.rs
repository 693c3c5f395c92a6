//! What a server's answers mean for the session: statements that exist now, settings that came true, writes that
//! reads must see.

use std::rc::Rc;

use pool::{DATE_STYLE, Replay, Server};
use protocol::Owner;
use tokio::time::Instant;
use wire::{
    SqlState,
    message::{
        backend::{TxStatus, command_complete},
        error::{ErrorMessage, ErrorView},
    },
};

use crate::{
    clock::Timed,
    effects::Change,
    exchange::{Block, Functions, Side},
    lost::aborted,
    pin::PinReason,
    session::Session,
    stats::{add, count},
    unconfirmed::Step,
};

/// "cached plan must not change result type": a table of the statement was altered. A client that then prepares the
/// same text anew must get a new plan, so the text becomes a new statement.
pub(crate) fn is_stale_plan(view: &ErrorView<'_>) -> bool {
    view.code == Some(SqlState::FEATURE_NOT_SUPPORTED) && view.routine == b"RevalidateCachedQuery"
}

/// Whether a command tag says that functions were made, changed or dropped.
fn is_of_function(tag: &[u8]) -> bool {
    let object = [&b"CREATE "[..], b"ALTER ", b"DROP "].iter().find_map(|verb| tag.strip_prefix(*verb));
    matches!(
        object,
        Some(b"FUNCTION\0" | b"PROCEDURE\0" | b"ROUTINE\0" | b"AGGREGATE\0" | b"EXTENSION\0" | b"SCHEMA\0")
    )
}

impl Session {
    /// The message that the client gets instead of an error, if it must not pass as it is.
    pub(crate) fn error_for_client(&mut self, server: &Server, body: &[u8], owner: Owner) -> Option<Vec<u8>> {
        let own_words = self.error_in_own_words(server, body, owner);
        let reworded = self.reword(server, body);
        let Some(error) = own_words else { return reworded };
        let mut out = Vec::new();
        error.write(&mut out);
        Some(out)
    }

    /// Looks at an error that the client gets. `Some`: it names a statement as only servers do, speaks of a cancel that
    /// nobody asked for, or came of a refusal, and has to be put in other words.
    fn error_in_own_words(&mut self, server: &Server, body: &[u8], owner: Owner) -> Option<ErrorMessage> {
        let view = ErrorView::read(body);
        if is_stale_plan(&view) {
            let bound = std::mem::take(&mut self.exchange_mut().bound);
            bound.iter().for_each(|(_, statement)| self.pools.forget_statement(statement));
        }
        // a whole error ends with the NUL of its last field and its own
        if !body.ends_with(b"\0\0") {
            return None;
        }
        if let Some(error) = self.cancelled_for_time(&view) {
            return Some(error);
        }
        if owner != Owner::Client {
            return None;
        }
        if view.code != Some(SqlState::DUPLICATE_PREPARED_STATEMENT) {
            return self.refused_in_own_words(server, &view);
        }
        let Step::Taken(taken) = &self.exchange().unconfirmed.front()?.step else { return None };
        let text = format!("prepared statement \"{}\" already exists", String::from_utf8_lossy(taken));
        Some(ErrorMessage::error(SqlState::DUPLICATE_PREPARED_STATEMENT, text))
    }

    /// An error: what its unit did to statements and was not confirmed is skipped.
    pub(crate) fn unit_error(&mut self, server: &mut Server) {
        self.give_up_rerun();
        self.exchange_mut().unit_failed = true;
        self.forget_unconfirmed(server);
    }

    /// The present unit failed: what it did to statements and was not confirmed is skipped.
    pub(crate) fn forget_unconfirmed(&mut self, server: &mut Server) {
        let unit = self.exchange().units_done(&server.ledger);
        self.take_back(&mut server.prepared, unit);
        server.prepared.set_unnamed(None);
    }

    /// The turn of a DEALLOCATE has come whose statement is the client's alone to forget.
    pub(crate) fn deallocated(&mut self, server: &mut Server, out: &mut Vec<u8>) {
        // the empty query that was sent in its place is answered
        let unit = self.exchange().units_done(&server.ledger).saturating_sub(1);
        self.unnamed_at_ready(unit);
        if server.ledger.status() == TxStatus::Failed {
            self.exchange_mut().unit_failed = true;
            self.take_back(&mut server.prepared, unit);
            aborted().write(out);
        } else {
            self.confirm();
            command_complete("DEALLOCATE", out);
        }
    }

    pub(crate) fn command_completed(&mut self, server: &mut Server, body: &[u8]) {
        match body {
            b"DISCARD ALL\0" | b"DEALLOCATE ALL\0" => {
                self.statements_forgotten(server);
            }
            b"LISTEN\0" => server.listens = true,
            _ if body.starts_with(b"ALTER ") || body.starts_with(b"DROP ") => {
                self.pools.forget_statements();
                // until its end nobody knows whether tables stay as they are now
                self.unsettle();
            }
            _ => {}
        }
        if is_of_function(body) {
            self.exchange_mut().functions = Functions::Changed;
        }
        let unit = self.exchange().units_done(&server.ledger);
        let exchange = self.exchange_mut();
        exchange.witness.completed(body);
        exchange.effects.completed(unit, body);
    }

    /// A unit of the client's was answered: ReadyForQuery.
    pub(crate) fn unit_answered(&mut self, server: &mut Server, counts: bool) {
        let now = self.worker.now();
        let status = server.ledger.status();
        let settled = server.ledger.ready_owed() == 0;
        let unit = self.exchange().units_done(&server.ledger).saturating_sub(1);
        self.forget_refusals(unit);
        self.unnamed_at_ready(unit);
        let exchange = self.exchange_mut();
        let failed = std::mem::take(&mut exchange.unit_failed);
        if server.ledger.is_answered() {
            exchange.unit_open = false; // a Sync that a COPY did not ignore after all
        }
        let unit_started = exchange.unit_started;
        let started = exchange.started;
        let outcome = exchange.effects.unit_ended(unit, failed, status);
        while exchange.bound.front().is_some_and(|(of, _)| *of <= unit) {
            exchange.bound.pop_front();
        }
        if settled {
            exchange.block = if status == TxStatus::Idle { Block::None } else { Block::Open };
        }
        exchange.unit_answering = false;
        exchange.witness.answered(status, server.ledger.is_settled());
        let wrote = status == TxStatus::Idle && exchange.writes.end_of_transaction(unit);
        if wrote && exchange.side == Side::Primary {
            // not the turn's time, which lies before the commit: a sample of the primary taken in between would not
            // cover it
            self.written = Some(routing::Written::After(Instant::now().into_std()));
            self.worker.note_write(&self.pools, self.exchange().node);
        }
        if server.ledger.is_settled() && !self.exchange().unconfirmed.is_empty() {
            // an answer that was promised did not come: later requests must not wait for it
            self.take_back(&mut server.prepared, u32::MAX);
        }
        self.time(match status {
            _ if !server.ledger.is_settled() => Timed::Query,
            TxStatus::Idle => Timed::Idle,
            TxStatus::InTransaction | TxStatus::Failed => Timed::IdleTransaction,
        });
        outcome.committed.into_iter().for_each(|change| self.apply(server, change));
        if self.exchange().effects.is_empty() && self.exchange().awaits_channel.is_none() {
            self.settle_channels();
        }
        if outcome.in_doubt {
            self.pin(PinReason::SettingsInDoubt);
        }
        self.settle(server);
        self.forget_reworded(unit);
        if counts {
            add(&self.pools.stats.query_time, now.duration_since(unit_started));
        }
        if status == TxStatus::Idle {
            if std::mem::take(&mut self.exchange_mut().functions) == Functions::Changed {
                self.worker.refresh_functions(&self.pools); // before the commit nobody else could see them
            }
            self.note_end_of_transaction();
            self.keep_for_sequence_values(wrote);
            count(&self.pools.stats.transactions, 1);
            add(&self.pools.stats.transaction_time, now.duration_since(started));
        }
    }

    fn apply(&mut self, server: &mut Server, change: Change) {
        self.channels_changed(&change);
        let states = Rc::clone(&self.pools.states);
        match change {
            Change::Set { name, replay } => {
                let replay = self.replay_of(server, &name, replay);
                self.wanted = states.with(&self.wanted, &name, replay.clone());
                server.state = states.with(&server.state, &name, replay);
            }
            Change::Reset { name } => {
                self.wanted = states.without(&self.wanted, &name, &self.startup);
                server.state = states.without(&server.state, &name, &states.empty());
            }
            Change::ResetAll => {
                self.wanted = states.reset_all(&self.wanted, &self.startup);
                server.state = states.reset_all(&server.state, &states.empty());
            }
            Change::DiscardAll => {
                self.wanted = Rc::clone(&self.startup);
                server.state = states.empty();
                self.unpin();
            }
            Change::Listen { .. } | Change::Unlisten { .. } | Change::UnlistenAll => {}
        }
        if Rc::ptr_eq(&self.wanted, &server.state) {
            server.state.prove(&server.parameters);
        }
    }

    /// How to bring about what `replay` did on this server. A date style is the sum of several: the server tells it.
    fn replay_of(&mut self, server: &Server, name: &[u8], replay: Replay) -> Replay {
        if name != DATE_STYLE {
            return replay;
        }
        match server.parameters.value(b"DateStyle") {
            Some(value) if server.ledger.status() == TxStatus::Idle => Replay::Value(value.into()),
            _ => {
                self.pin(PinReason::SettingsInDoubt); // what another transaction has set for itself may be in it
                replay
            }
        }
    }

    /// Tells the client what differs between the server it has now and what it was told before.
    pub(crate) fn tell_parameters(&mut self, server: &Server, out: &mut Vec<u8>) {
        let Some(told) = &mut self.told else { return };
        if !Rc::ptr_eq(told, &server.parameters) {
            for (name, value) in told.changes_to(&server.parameters) {
                wire::message::backend::parameter_status(name, value, out);
            }
            *told = Rc::clone(&server.parameters);
        }
    }
}

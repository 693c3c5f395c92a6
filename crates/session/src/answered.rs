//! What a server's answers mean for the session: statements that exist now, settings that came true, writes that
//! reads must see.

use std::rc::Rc;

use pool::Server;
use protocol::Owner;
use tokio::time::Instant;
use wire::{
    SqlState,
    message::{
        backend::TxStatus,
        error::{ErrorMessage, ErrorView},
    },
};

use crate::{
    effects::{Change, LastTag, Outcome},
    exchange::{Block, Intent, Side},
    pin::PinReason,
    session::Session,
    stats::{add, count},
};

/// "cached plan must not change result type": a table of the statement was altered. A client that then prepares the
/// same text anew must get a new plan, so the text becomes a new statement.
pub(crate) fn is_stale_plan(view: &ErrorView<'_>) -> bool {
    view.code == Some(SqlState::FEATURE_NOT_SUPPORTED) && view.routine == b"RevalidateCachedQuery"
}

impl Session {
    pub(crate) fn parsed(&mut self) {
        if let Some(parse) = self.exchange_mut().parses.pop_front()
            && let Some(statement) = parse.statement
        {
            statement.accept(&self.wanted);
        }
    }

    /// Looks at an error that the client gets. `Some`: it names a statement as only servers do, and has to be put in
    /// the client's words.
    pub(crate) fn error_in_own_words(
        &mut self,
        body: &[u8],
        owner: Owner,
        status: TxStatus,
    ) -> Option<ErrorMessage> {
        let view = ErrorView::read(body);
        if is_stale_plan(&view) {
            let bound = std::mem::take(&mut self.exchange_mut().bound);
            bound.iter().for_each(|statement| self.pools.forget_statement(statement));
        }
        // a whole error ends with the NUL of its last field and its own
        if owner != Owner::Client || !body.ends_with(b"\0\0") {
            return None;
        }
        if view.code != Some(SqlState::DUPLICATE_PREPARED_STATEMENT) {
            return self.refused_in_own_words(&view, status);
        }
        let taken = self.exchange_mut().parses.front_mut()?.taken.take()?;
        let text = format!("prepared statement \"{}\" already exists", String::from_utf8_lossy(&taken));
        Some(ErrorMessage::error(SqlState::DUPLICATE_PREPARED_STATEMENT, text))
    }

    /// An error.
    pub(crate) fn unit_error(&mut self, server: &mut Server) {
        self.give_up_rerun();
        self.exchange_mut().unit_failed = true;
        self.forget_unconfirmed(server);
    }

    /// The present unit failed: what it parsed and was not confirmed is not there.
    pub(crate) fn forget_unconfirmed(&mut self, server: &mut Server) {
        let exchange = self.exchange_mut();
        let unit = exchange.units_done;
        let of_unit = exchange.parses.iter().take_while(|parse| parse.unit <= unit).count();
        let failed: Vec<_> = exchange.parses.drain(..of_unit).collect();
        for parse in failed {
            if let Some(statement) = parse.statement {
                server.prepared.remove(statement.id());
            }
            if let Some(name) = parse.name {
                self.names.remove(&name);
            }
        }
        server.prepared.set_unnamed(None);
    }

    pub(crate) fn command_completed(&mut self, server: &mut Server, body: &[u8]) {
        match body {
            b"DISCARD ALL\0" | b"DEALLOCATE ALL\0" => {
                server.prepared.clear();
                self.names.clear();
                self.handle.statements.set(0);
            }
            _ => {
                let exchange = self.exchange_mut();
                if !exchange.effects.is_empty() {
                    exchange.effects.completed(LastTag::read(body));
                }
            }
        }
    }

    /// A unit of the client's was answered: ReadyForQuery.
    pub(crate) fn unit_answered(&mut self, server: &mut Server, counts: bool) {
        let now = self.worker.now();
        let status = server.ledger.status();
        let settled = server.ledger.ready_owed() == 0;
        self.forget_refusals(self.exchange().units_done);
        let exchange = self.exchange_mut();
        let (unit, failed) = (exchange.units_done, std::mem::take(&mut exchange.unit_failed));
        exchange.units_done += 1;
        let unit_started = exchange.unit_started;
        let started = exchange.started;
        let outcome = if exchange.effects.is_empty() {
            Outcome::Committed(Vec::new())
        } else {
            exchange.effects.unit_ended(unit, failed, status)
        };
        if settled {
            exchange.bound.clear();
            exchange.block = if status == TxStatus::Idle { Block::None } else { Block::Open };
        }
        exchange.unit_answering = false;
        if status == TxStatus::Idle
            && std::mem::take(&mut exchange.intent) == Intent::Writes
            && exchange.side == Side::Primary
        {
            // not the turn's time, which lies before the commit: a sample of the primary taken in between would not
            // cover it
            self.written = Some(routing::Written::After(Instant::now().into_std()));
        }
        match outcome {
            Outcome::Committed(changes) => changes.into_iter().for_each(|change| self.apply(server, change)),
            Outcome::InDoubt => self.pin(PinReason::SettingsInDoubt),
        }
        if counts {
            add(&self.pools.stats.query_time, now.duration_since(unit_started));
        }
        if status == TxStatus::Idle {
            self.note_end_of_transaction();
            count(&self.pools.stats.transactions, 1);
            add(&self.pools.stats.transaction_time, now.duration_since(started));
        }
    }

    fn apply(&mut self, server: &mut Server, change: Change) {
        let states = &self.pools.states;
        match change {
            Change::Set { name, replay } => {
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
                server.prepared.clear();
                self.names.clear();
                // what was sent behind it may have left something again
                let exchange = self.exchange();
                if exchange.units_sent == exchange.units_done && !exchange.unit_open {
                    self.unpin();
                }
            }
        }
        if Rc::ptr_eq(&self.wanted, &server.state) {
            server.state.prove(&server.parameters);
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

//! Prepared statements that a server cannot run any more, because a table was altered or the server lost them: they
//! are prepared anew, and the request that met the error runs again before its client hears of it.

use std::{rc::Rc, task::Context};

use pool::{Server, Statement};
use wire::{
    SqlState,
    frame::{Direction, MESSAGE_LIMIT, Peek, peek},
    message::error::ErrorView,
};

use crate::{
    answered::is_stale_plan,
    clock::Timed,
    exchange::{Again, Block, Rerun},
    lost::RERUNS_MAX,
    serve::Turn,
    session::{ClientBody, End, Session},
    stats::count,
};

impl Session {
    /// Takes an error upon itself that preparing anew cures: outside a transaction, if the request is one unit of
    /// which nothing was answered. False: the client gets it.
    pub(crate) fn prepares_again(&mut self, server: &mut Server, view: &ErrorView<'_>) -> bool {
        let exchange = self.exchange();
        let Rerun::Possible { bytes, .. } = &exchange.rerun else { return false };
        let one_unit = exchange.units_sent == 1 && !exchange.unit_open;
        let alone = one_unit && exchange.block == Block::None && server.ledger.ready_owed() == 1;
        let may_leave = self.body == ClientBody::Boundary && self.pins().is_empty();
        if !alone || !may_leave || self.reruns >= RERUNS_MAX {
            return false;
        }
        // A client that does not ask for a description takes the rows for what they were: it has to hear of it.
        let stale = is_stale_plan(view) && asks_for_description(bytes);
        let lost = |statement: &Rc<Statement>| {
            view.code == Some(SqlState::INVALID_SQL_STATEMENT_NAME)
                && names(view.message, statement.server_name())
        };
        if !stale && !exchange.bound.iter().any(|(_, statement)| lost(statement)) {
            return false;
        }
        let bound = std::mem::take(&mut self.exchange_mut().bound);
        for (_, statement) in &bound {
            if stale {
                self.pools.forget_statement(statement);
                let anew =
                    self.pools.intern(statement.text(), statement.parameter_types(), statement.state());
                self.names.replace(statement, &anew);
            } else if lost(statement) {
                server.prepared.remove(statement.id());
            }
        }
        self.forget_unconfirmed(server);
        self.exchange_mut().again = Again::AfterReady;
        true
    }

    /// The server is done with the request, which begins anew.
    pub(crate) fn run_again(&mut self, cx: &mut Context<'_>, server: Box<Server>) -> Result<Turn, End> {
        let exchange = self.exchange_mut();
        exchange.again = Again::No;
        exchange.held_back.clear();
        if let Rerun::Possible { bytes, names, closed, unnamed, .. } = std::mem::take(&mut exchange.rerun) {
            self.put_names_back(names, closed, unnamed);
            self.put_back(&bytes);
            self.worker.keep_spare(bytes);
        }
        self.time(Timed::Nothing);
        count(&self.pools.stats.reads_rerun, 1);
        let reruns = self.reruns.saturating_add(1);
        let turn = self.release(cx, server)?;
        self.reruns = reruns;
        Ok(turn)
    }
}

/// Whether a message has this name in it, in whatever quotes its language uses, and not as the start of a longer one.
fn names(message: &[u8], name: &[u8]) -> bool {
    let with_next = name.len().saturating_add(1);
    message
        .windows(with_next)
        .any(|part| part.strip_prefix(name).is_some_and(|next| !next.iter().all(u8::is_ascii_digit)))
}

/// Whether a Describe is among these messages.
fn asks_for_description(mut messages: &[u8]) -> bool {
    while let Ok(Peek::Whole { header, .. }) = peek(messages, Direction::Frontend, MESSAGE_LIMIT) {
        // the answer to a simple query is always described
        if matches!(header.tag, b'D' | b'Q') {
            return true;
        }
        messages = messages.get(header.total_len()..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_name_is_not_found_in_a_longer_one() {
        let message = "prepared statement \"pgherd_12\" does not exist".as_bytes();
        assert!(names(message, b"pgherd_12"));
        assert!(!names(message, b"pgherd_1"));
        assert!(names("vorbereitete Anweisung »pgherd_1« existiert nicht".as_bytes(), b"pgherd_1"));
    }
}

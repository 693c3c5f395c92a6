//! Statement pooling: a server connection is kept for one unit of client messages, so there are no transactions of
//! several.

use std::collections::VecDeque;

use pool::PoolMode;
use protocol::first_unit;
use sql::Kind;
use wire::{
    SqlState,
    frame::MESSAGE_LIMIT,
    message::{
        backend::TxStatus,
        error::{ErrorMessage, Severity},
    },
};

use crate::{
    scan::Scanned,
    session::{End, Session},
};

impl Session {
    /// Whether the pool is in statement mode, or was when the present use of a server connection began.
    pub(crate) fn is_per_statement(&self) -> bool {
        let mode = self.exchange.as_deref().map_or_else(|| self.pools_mode(), |exchange| exchange.mode);
        mode == PoolMode::Statement
    }

    /// The part of `input` that may be run on one server connection: all of it, or the first unit.
    pub(crate) fn for_one_checkout<'a>(&self, input: &'a [u8]) -> Result<&'a [u8], End> {
        if !self.is_per_statement() {
            return Ok(input);
        }
        let first = first_unit(input, MESSAGE_LIMIT).map_err(End::bad_frame)?;
        Ok(first.and_then(|end| input.get(..end)).unwrap_or(input))
    }

    /// Lets the request fail if it would begin a transaction that statement mode cannot give; true if it did.
    pub(crate) fn refuse_begin(&mut self, scanned: &VecDeque<Scanned>) -> bool {
        let begins = |scanned: &Scanned| {
            let kind = match scanned {
                Scanned::Query(class) => class.kind,
                Scanned::Parse(statement) => statement.class().kind,
            };
            matches!(kind, Kind::Begin { .. })
        };
        let refused = self.is_per_statement() && scanned.iter().any(begins);
        if refused {
            self.fail_request(no_transactions());
        }
        refused
    }

    /// Ends the session if a text that did not look it has begun a transaction.
    ///
    /// # Errors
    /// [`End::Refused`]; the transaction is then rolled back, as that of any client that leaves.
    pub(crate) fn refuse_transaction(&self, status: TxStatus) -> Result<(), End> {
        if status == TxStatus::Idle || !self.is_per_statement() {
            return Ok(());
        }
        Err(End::Refused(Box::new(ErrorMessage { severity: Severity::Fatal, ..no_transactions() })))
    }
}

fn no_transactions() -> ErrorMessage {
    ErrorMessage::error(
        SqlState::FEATURE_NOT_SUPPORTED,
        "transaction blocks not allowed in statement pooling mode",
    )
    .with_hint("Set [pool] mode to \"transaction\" for this database.")
}

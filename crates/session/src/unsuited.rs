//! Statements that the node in use would run, and must not.

use std::task::Context;

use pool::Server;
use protocol::first_unit;
use sql::{Class, Effect, Kind};
use wire::{
    SqlState,
    frame::MESSAGE_LIMIT,
    message::error::{ErrorMessage, Severity},
};

use crate::{
    exchange::Side,
    lost::Loss,
    serve::Turn,
    session::{End, Phase, Session},
    sql_prepared::class_by_name,
    texts::{Text, texts},
};

impl Session {
    /// The next unit of the client's must not be sent to its server; the client is told why.
    pub(crate) fn refuse_unit(
        &mut self,
        cx: &mut Context<'_>,
        server: Box<Server>,
        error: Box<ErrorMessage>,
    ) -> Result<Turn, End> {
        if self.is_stuck(&server) {
            // what was sent is not answered before a Sync that cannot be sent
            self.phase = Phase::Linked(server);
            return Err(End::Refused(Box::new(ErrorMessage { severity: Severity::Fatal, ..*error })));
        }
        self.exchange_mut().awaits_channel = None;
        if self.may_release(&server) {
            self.settle_channels();
            self.release(cx, server)?;
            self.fail_request(*error);
        } else {
            self.lost(cx, server, Loss::Unsuited(error))?;
        }
        Ok(Turn::Again)
    }

    /// Why the unit that `rest` begins with must not follow in the open transaction or pinned session. `None`: nothing
    /// is wrong with what is there of it.
    pub(crate) fn unsuited(&self, rest: &[u8]) -> Option<ErrorMessage> {
        self.suits()?;
        let unit = first_unit(rest, MESSAGE_LIMIT).ok().flatten().and_then(|end| rest.get(..end));
        texts(unit.unwrap_or(rest), &self.names).find_map(|text| match text {
            Text::Sent(text) => {
                let class = self.pools.classify(text);
                let class = class_by_name(text, class, &self.names, &self.wanted, &self.pools);
                self.unsuited_statement(class, text)
            }
            Text::Prepared(statement) => {
                self.pools.reclassify(statement);
                self.unsuited_statement(statement.class(), statement.text())
            }
        })
    }

    /// The same of one statement, wherever in its unit it stands.
    pub(crate) fn unsuited_statement(&self, class: Class, text: &[u8]) -> Option<ErrorMessage> {
        match self.suits()? {
            Suits::LeavesNothing => {
                let locks = class.kind == Kind::Write && sql::calls_advisory_lock(text);
                (locks || matches!(class.effect, Effect::Pin(_) | Effect::Listen)).then(needs_primary)
            }
            Suits::StaysReadOnly => {
                let reopens = match class.kind {
                    Kind::Begin { replica } => !replica,
                    Kind::Read => false,
                    Kind::Write if !self.exchange().block.is_open() => true,
                    _ => mentions(text, b"transaction"),
                };
                reopens.then(stays_read_only)
            }
        }
    }

    /// What alone may follow here; `None`: anything.
    ///
    /// A transaction that began read-only is on a replica, where locks exclude nobody on the primary and where a
    /// client that is pinned could not write any more. Under a read-only policy it may be on the primary, for lack of a
    /// replica, and must stay what it began as; so must a pinned session.
    fn suits(&self) -> Option<Suits> {
        let exchange = self.exchange();
        let (in_block, is_pinned) = (exchange.block.is_open(), !self.pins().is_empty());
        match (exchange.side, self.policy.is_read_only()) {
            (Side::Replica, _) => (in_block && !is_pinned).then_some(Suits::LeavesNothing),
            (Side::Primary, true) => (in_block || is_pinned).then_some(Suits::StaysReadOnly),
            (Side::Primary, false) => None,
        }
    }
}

/// What may follow in a transaction or a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suits {
    /// What leaves nothing behind and locks nothing.
    LeavesNothing,
    /// What lets nothing be written.
    StaysReadOnly,
}

fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

fn needs_primary() -> ErrorMessage {
    ErrorMessage::error(
        SqlState::FEATURE_NOT_SUPPORTED,
        "cannot take session state or advisory locks in a read-only transaction on a replica",
    )
    .with_detail("The transaction began READ ONLY, so it runs on a standby, where a lock excludes nobody on the primary.")
    .with_hint("Begin it without READ ONLY, or with the comment /* pgherd: primary */.")
}

fn stays_read_only() -> ErrorMessage {
    ErrorMessage::error(
        SqlState::READ_ONLY_SQL_TRANSACTION,
        "cannot make a transaction of a read-only listener or database writable",
    )
    .with_hint("Connect to a listener for writes.")
}

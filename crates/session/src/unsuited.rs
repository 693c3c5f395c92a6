//! Statements that the node in use would run, and must not.

use protocol::first_unit;
use routing::Policy;
use sql::{Class, Effect, Kind};
use wire::{SqlState, frame::MESSAGE_LIMIT, message::error::ErrorMessage};

use crate::{
    exchange::Side,
    session::Session,
    sql_prepared::class_by_name,
    texts::{Text, texts},
};

impl Session {
    /// Why the unit that `rest` begins with must not follow in the open transaction or pinned session. `None`: nothing
    /// is wrong with it.
    ///
    /// A transaction that began read-only is on a replica, where locks exclude nobody on the primary and where a
    /// client that is pinned could not write any more. Under a read-only policy it may be on the primary, for lack of a
    /// replica, and must stay what it began as; so must a pinned session.
    pub(crate) fn unsuited(&self, rest: &[u8]) -> Option<ErrorMessage> {
        let exchange = self.exchange();
        let in_block = exchange.block.is_open();
        match (exchange.side, self.policy) {
            (Side::Replica, _) if in_block && self.pins().is_empty() => self.find(rest, |class, text| {
                let locks = class.kind == Kind::Write && mentions(text, b"advisory");
                (locks || matches!(class.effect, Effect::Pin(_) | Effect::Listen)).then(needs_primary)
            }),
            (Side::Primary, Policy::ReadOnly) if in_block || !self.pins().is_empty() => {
                self.find(rest, |class, text| {
                    let reopens = match class.kind {
                        Kind::Begin { replica } => !replica,
                        Kind::Read => false,
                        Kind::Write if !in_block => true,
                        _ => mentions(text, b"transaction"),
                    };
                    reopens.then(stays_read_only)
                })
            }
            (Side::Primary | Side::Replica, _) => None,
        }
    }

    /// The first of what `judge` says of the statements up to the end of the unit.
    fn find(
        &self,
        rest: &[u8],
        judge: impl Fn(Class, &[u8]) -> Option<ErrorMessage>,
    ) -> Option<ErrorMessage> {
        let unit = first_unit(rest, MESSAGE_LIMIT).ok().flatten().and_then(|end| rest.get(..end));
        texts(unit.unwrap_or(rest), &self.names).find_map(|text| match text {
            Text::Sent(text) => {
                let class = self.pools.classify(text);
                judge(class_by_name(text, class, &self.names, &self.wanted, &self.pools), text)
            }
            Text::Prepared(statement) => {
                self.pools.reclassify(statement);
                judge(statement.class(), statement.text())
            }
        })
    }
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

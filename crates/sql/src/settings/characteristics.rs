//! `SET SESSION CHARACTERISTICS AS TRANSACTION mode, …`: settings in words of their own, several in one statement
//! (manual, "SET TRANSACTION"). Each is replayed by itself, since a later statement may change one of them alone.

use crate::token::{Keyword, TokenKind, Tokenizer};

/// A setting, and the statement that gives it its value.
pub(crate) type Mode = (&'static str, &'static str);

const SERIALIZABLE: Mode =
    ("default_transaction_isolation", "SET default_transaction_isolation TO 'serializable'");
const REPEATABLE_READ: Mode =
    ("default_transaction_isolation", "SET default_transaction_isolation TO 'repeatable read'");
const READ_COMMITTED: Mode =
    ("default_transaction_isolation", "SET default_transaction_isolation TO 'read committed'");
const READ_UNCOMMITTED: Mode =
    ("default_transaction_isolation", "SET default_transaction_isolation TO 'read uncommitted'");
const READ_ONLY: Mode = ("default_transaction_read_only", "SET default_transaction_read_only TO on");
const READ_WRITE: Mode = ("default_transaction_read_only", "SET default_transaction_read_only TO off");
const DEFERRABLE: Mode = ("default_transaction_deferrable", "SET default_transaction_deferrable TO on");
const NOT_DEFERRABLE: Mode = ("default_transaction_deferrable", "SET default_transaction_deferrable TO off");

/// Reads what follows CHARACTERISTICS, the `;` included: the source from the first mode on. `None`: there is something
/// else among them, or nothing.
pub(crate) fn read_characteristics<'a>(tokens: &mut Tokenizer<'a>) -> Option<&'a [u8]> {
    let leads = tokens.peek().is_some_and(|token| token.keyword == Keyword::As);
    if leads {
        tokens.next();
    }
    let first = tokens.peek().filter(|token| leads && token.keyword == Keyword::Transaction);
    let modes = first.map(|first| first.behind()).unwrap_or_default();
    tokens.skip_statement();
    let mut all = Tokenizer::new(modes);
    let mut count = 0_u32;
    while all.peek().is_some_and(|token| token.kind != TokenKind::Semicolon) {
        next_mode(&mut all)?;
        count = count.saturating_add(1);
    }
    (count > 0).then_some(modes)
}

/// The next mode of a list; `None` at its end, and for what is none.
pub(crate) fn next_mode(tokens: &mut Tokenizer<'_>) -> Option<Mode> {
    if tokens.peek()?.kind == TokenKind::Comma {
        tokens.next();
    }
    let mut next = || tokens.next().map(|token| token.keyword);
    Some(match next()? {
        Keyword::Isolation => match (next()?, next()?) {
            (Keyword::Level, Keyword::Serializable) => SERIALIZABLE,
            (Keyword::Level, Keyword::Repeatable) if next()? == Keyword::Read => REPEATABLE_READ,
            (Keyword::Level, Keyword::Read) => match next()? {
                Keyword::Committed => READ_COMMITTED,
                Keyword::Uncommitted => READ_UNCOMMITTED,
                _ => return None,
            },
            _ => return None,
        },
        Keyword::Read => match next()? {
            Keyword::Only => READ_ONLY,
            Keyword::Write => READ_WRITE,
            _ => return None,
        },
        Keyword::Deferrable => DEFERRABLE,
        Keyword::Not if next()? == Keyword::Deferrable => NOT_DEFERRABLE,
        _ => return None,
    })
}

//! BEGIN, COMMIT, ROLLBACK and their variants, from behind their first word on.

use super::Outcome;
use crate::class::{Effect, Kind};
use crate::token::{Keyword, TokenKind, Tokenizer};

/// Which end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    Rollback,
}

/// What the list of transaction modes declares so far. The last mode of its sort holds, as in the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Reads and writes, or not said.
    ReadWrite,
    /// `READ ONLY`.
    ReadOnly,
    /// `SERIALIZABLE` or a mode that is not known here: not on a standby, whatever else is said.
    PrimaryOnly,
}

/// Behind BEGIN, or behind START TRANSACTION.
pub(super) fn begin(tokens: &mut Tokenizer<'_>) -> Outcome {
    let mut access = Access::ReadWrite;
    while let Some(token) = tokens.next().filter(|token| token.kind != TokenKind::Semicolon) {
        let mode = match token.keyword {
            Keyword::Read => match tokens.peek().map(|next| next.keyword) {
                Some(Keyword::Only) => Access::ReadOnly,
                Some(Keyword::Write) => Access::ReadWrite,
                Some(Keyword::Committed | Keyword::Uncommitted) => continue,
                _ => Access::PrimaryOnly,
            },
            // the words behind READ, and those that decide nothing
            Keyword::Only | Keyword::Write | Keyword::Committed | Keyword::Uncommitted => continue,
            Keyword::Work | Keyword::Transaction | Keyword::Isolation | Keyword::Level => continue,
            Keyword::Repeatable if next_is_read(tokens) => continue,
            Keyword::Not | Keyword::Deferrable => continue,
            _ if token.kind == TokenKind::Comma => continue,
            _ => Access::PrimaryOnly,
        };
        if access != Access::PrimaryOnly {
            access = mode;
        }
    }
    Outcome::new(Kind::Begin { replica: access == Access::ReadOnly }, Effect::None)
}

/// Passes the READ of REPEATABLE READ.
fn next_is_read(tokens: &mut Tokenizer<'_>) -> bool {
    let is_read = tokens.peek().is_some_and(|token| token.keyword == Keyword::Read);
    if is_read {
        tokens.next();
    }
    is_read
}

/// Behind COMMIT, END, ROLLBACK or ABORT.
pub(super) fn end(which: End, tokens: &mut Tokenizer<'_>) -> Outcome {
    let mut kind = match which {
        End::Commit => Kind::Commit { chain: false },
        End::Rollback => Kind::Rollback { chain: false },
    };
    let mut previous = Keyword::Other;
    while let Some(token) = tokens.next().filter(|token| token.kind != TokenKind::Semicolon) {
        match token.keyword {
            // COMMIT PREPARED ends another transaction
            Keyword::Prepared if previous == Keyword::Other => kind = Kind::Write,
            Keyword::To if which == End::Rollback => kind = Kind::Control,
            Keyword::Chain if previous == Keyword::And => {
                kind = match which {
                    End::Commit => Kind::Commit { chain: true },
                    End::Rollback => Kind::Rollback { chain: true },
                };
            }
            _ => {}
        }
        previous = token.keyword;
    }
    Outcome::new(kind, Effect::None)
}

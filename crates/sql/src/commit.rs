//! Which texts commit the transaction block that they stand in.

use crate::classify::statement::prepares_transaction;
use crate::token::{Keyword, TokenKind, Tokenizer};

/// Whether the first statement of `text` is `COMMIT` or `END`, which commits for good. `PREPARE TRANSACTION` does not.
#[must_use]
pub fn is_commit(text: &[u8]) -> bool {
    first_keyword(text).is_some_and(|keyword| matches!(keyword, Keyword::Commit | Keyword::End))
}

/// Whether the first statement of `text` is a `COPY`, behind which the server may take data instead of messages.
#[must_use]
pub fn is_copy(text: &[u8]) -> bool {
    first_keyword(text) == Some(Keyword::Copy)
}

/// Whether some statement of `text` ends a transaction block with a commit: `COMMIT`, `END` or `PREPARE TRANSACTION`. Errs
/// on the side of yes, as in the body of a function.
#[must_use]
pub fn holds_commit(text: &[u8]) -> bool {
    let mut tokens = Tokenizer::new(text);
    let mut starts = true;
    while let Some(token) = tokens.next() {
        let commits = match token.keyword {
            Keyword::Commit | Keyword::End => true,
            Keyword::Prepare => prepares_transaction(&tokens),
            _ => false,
        };
        if starts && commits {
            return true;
        }
        starts = token.kind == TokenKind::Semicolon;
    }
    false
}

fn first_keyword(text: &[u8]) -> Option<Keyword> {
    let mut tokens = Tokenizer::new(text);
    while let Some(token) = tokens.next() {
        if token.kind != TokenKind::Semicolon {
            return Some(token.keyword);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, commits: bool, holds: bool) {
        assert_eq!(is_commit(text.as_bytes()), commits, "{text}");
        assert_eq!(holds_commit(text.as_bytes()), holds, "{text}");
    }

    #[test]
    fn commits_are_told_from_what_only_looks_like_one() {
        for text in ["commit", " /* a */ ; END;", "Commit and chain", "end work -- x"] {
            check(text, true, true);
        }
        for text in ["select 1; commit", "begin; insert into t values (1); end", "prepare transaction 'a'"] {
            check(text, false, true);
        }
        for text in ["", ";", "rollback", "select 'a; commit'", "prepare a as select 1", "begin; abort"] {
            check(text, false, false);
        }
    }

    #[test]
    fn a_copy_is_one_by_its_first_word() {
        assert!(is_copy(b"; copy t from stdin"));
        assert!(!is_copy(b"select 'copy'"));
    }
}

//! Advisory locks, which name nothing in the database.

use crate::name::folded;
use crate::token::{Keyword, Token, TokenKind, Tokenizer};

/// Whether `text` calls a function of the families `pg_advisory_` and `pg_try_advisory_`, or is a DO whose code has such a
/// word in it. What other functions do is not seen.
#[must_use]
pub fn calls_advisory_lock(text: &[u8]) -> bool {
    let mut tokens = Tokenizer::new(text);
    let (mut previous, mut starts, mut runs_code): (Option<Token<'_>>, _, _) = (None, true, false);
    while let Some(token) = tokens.next() {
        let found = match token.kind {
            TokenKind::Open => previous.is_some_and(is_of_locks),
            TokenKind::String => runs_code && mentions_locks(token.text()),
            _ => false,
        };
        if found {
            return true;
        }
        if starts {
            runs_code = token.keyword == Keyword::Do;
        }
        starts = token.kind == TokenKind::Semicolon;
        previous = Some(token);
    }
    false
}

fn is_of_locks(name: Token<'_>) -> bool {
    let folded = folded(name);
    match name.kind {
        TokenKind::EscapedName => true, // it may be any
        TokenKind::Word | TokenKind::QuotedName => {
            folded.starts_with(b"pg_advisory_") || folded.starts_with(b"pg_try_advisory_")
        }
        _ => false,
    }
}

fn mentions_locks(code: &[u8]) -> bool {
    const WORD: &[u8] = b"advisory_";
    code.windows(WORD.len()).any(|part| part.eq_ignore_ascii_case(WORD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_a_call_and_no_word() {
        for text in [
            "select pg_advisory_xact_lock(1)",
            "select 1, pg_catalog.\"pg_try_advisory_xact_lock\" (1)",
            "SELECT PG_ADVISORY_UNLOCK_ALL()",
            "select U&\"pg\\005fadvisory_xact_lock\"(1)",
            "select 1; do $$ begin perform Pg_Advisory_Xact_Lock(1); end $$",
        ] {
            assert!(calls_advisory_lock(text.as_bytes()), "{text}");
        }
        for text in [
            "select f() from advisory_board",
            "select 'pg_advisory_xact_lock(1)', pg_advisory_ from t",
            "-- pg_advisory_lock(1)\nselect 1",
            "do $$ begin perform f(1); end $$; select 'advisory_'",
        ] {
            assert!(!calls_advisory_lock(text.as_bytes()), "{text}");
        }
    }
}

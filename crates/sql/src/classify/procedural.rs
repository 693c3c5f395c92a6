//! DO: what its code may leave behind in the session.

use crate::class::{Effect, PinCause};
use crate::name::is_temporary_schema;
use crate::token::{TokenKind, Tokenizer, is_word_byte};

/// The effect of the DO statement behind whose first word `tokens` stands.
///
/// The code is in a string and may build statements in further strings, so its words are looked at, whatever quotes
/// they stand in. That pins too often and misses only what is put together from pieces.
pub(super) fn effect_of(tokens: &mut Tokenizer<'_>) -> Effect {
    let mut effect = Effect::None;
    while let Some(token) = tokens.next().filter(|token| token.kind != TokenKind::Semicolon) {
        if token.kind == TokenKind::String {
            effect = effect.then(effect_of_code(token.text()));
        }
    }
    effect
}

fn effect_of_code(mut rest: &[u8]) -> Effect {
    let mut effect = Effect::None;
    let mut before = Before::Start;
    while let [first, after @ ..] = rest {
        // `$` ends a quote here rather than being part of a name
        let is_word = |b: u8| is_word_byte(b) && b != b'$';
        if is_word(*first) {
            let len = rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at_checked(len).unwrap_or((rest, b""));
            effect = effect.then(effect_of_word(before, word));
            before = Before::of(word);
            rest = behind;
        } else {
            if matches!(first, b';' | b'\'' | b'$' | b'"') {
                before = Before::Start;
            } else if !first.is_ascii_whitespace() {
                before = Before::Other;
            }
            rest = after;
        }
    }
    effect
}

/// What stands before a word of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Something that a statement follows.
    Start,
    /// A word that `TEMP` may follow.
    Creates,
    /// `WITH`.
    With,
    /// Anything else.
    Other,
}

impl Before {
    fn of(word: &[u8]) -> Self {
        let is = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
        if is(&["begin", "then", "else", "loop", "execute", "perform"]) {
            Self::Start
        } else if is(&["create", "replace", "local", "global", "into"]) {
            Self::Creates
        } else if is(&["with"]) {
            Self::With
        } else {
            Self::Other
        }
    }
}

fn effect_of_word(before: Before, word: &[u8]) -> Effect {
    let is = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    let starts = |prefix: &str| {
        word.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let cause = match before {
        Before::Creates if is(&["temp", "temporary"]) => PinCause::TemporaryTable,
        Before::With if is(&["hold"]) => PinCause::HoldCursor,
        Before::Start if is(&["listen"]) => PinCause::Listen,
        Before::Start if is(&["load"]) => PinCause::Load,
        Before::Start if is(&["prepare"]) => PinCause::SqlPrepare,
        Before::Start if is(&["set", "reset", "discard", "deallocate"]) => PinCause::Settings,
        _ if is_temporary_schema(word) => PinCause::TemporaryTable,
        _ if is(&["set_config", "setseed", "dblink_connect"]) => PinCause::Settings,
        _ if starts("pg_advisory_lock") || starts("pg_try_advisory_lock") => PinCause::AdvisoryLock,
        _ => return Effect::None,
    };
    Effect::pin(cause)
}

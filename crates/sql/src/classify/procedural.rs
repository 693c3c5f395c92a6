//! Code of DO and of functions: what it may leave behind in the session.

use crate::class::{Effect, PinCause, PinCauses};
use crate::functions::Functions;
use crate::name::{NameBuffer, is_temporary_schema};
use crate::token::{TokenKind, Tokenizer, is_word_byte};

/// The effect of the DO statement behind whose first word `tokens` stands.
///
/// The code is in a string and may build statements in further strings, so its words are looked at, whatever quotes
/// they stand in. That pins too often and misses only what is put together from pieces.
pub(super) fn effect_of<F: Functions + ?Sized>(tokens: &mut Tokenizer<'_>, functions: &F) -> Effect {
    let mut effect = Effect::None;
    while let Some(token) = tokens.next().filter(|token| token.kind != TokenKind::Semicolon) {
        if token.kind == TokenKind::String {
            let left = left_by_calls(token.text(), functions);
            let left = left.and_then(|causes| what_is_of_before(causes, token.text()));
            let causes = [effect_of_code(token.text()), left];
            effect = causes.into_iter().flatten().fold(effect, |effect, more| effect.then(Effect::Pin(more)));
        }
    }
    effect
}

/// What functions leave behind that the code may call.
fn left_by_calls<F: Functions + ?Sized>(code: &[u8], functions: &F) -> Option<PinCauses> {
    let mut buffer = NameBuffer::new();
    let mut causes: Option<PinCauses> = None;
    for word in code.split(|&b| !is_word_byte(b)).filter(|word| !word.is_empty()) {
        let Some(name) = buffer.fold_word(word) else { continue };
        for name in [name, word] {
            if let Some(more) = functions.leaves_behind(None, name) {
                causes = Some(causes.map_or(more, |others| others.and(more)));
            }
        }
    }
    causes
}

/// What code in any language may leave behind in the session that runs it; `None`: nothing, as far as its words show.
#[must_use]
pub fn effect_of_code(code: &[u8]) -> Option<PinCauses> {
    what_is_of_before(causes_of_words(code)?, code)
}

/// Without values from sequences if the code may get them itself.
fn what_is_of_before(causes: PinCauses, code: &[u8]) -> Option<PinCauses> {
    let itself = causes.has(PinCause::SequenceValue) && gets_from_sequence(code);
    if itself { causes.without(PinCause::SequenceValue) } else { Some(causes) }
}

/// Whether `text`, of a statement or of code, may get a value from a sequence itself before it asks for that again.
#[must_use]
pub fn gets_from_sequence(text: &[u8]) -> bool {
    has_word(text, &["nextval", "insert"])
}

/// Whether `text` names `currval` or `lastval`, rather than functions that may call them.
#[must_use]
pub fn names_sequence_value(text: &[u8]) -> bool {
    has_word(text, &["currval", "lastval"])
}

/// Whether `text` may call `nextval`.
#[must_use]
pub fn calls_nextval(text: &[u8]) -> bool {
    has_word(text, &["nextval"])
}

/// Whether one of these words stands in `text`, in code, quotes or comments.
fn has_word(text: &[u8], words: &[&str]) -> bool {
    let is_one = |word: &[u8]| words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    text.split(|&b| !is_word_byte(b)).any(is_one)
}

fn causes_of_words(mut rest: &[u8]) -> Option<PinCauses> {
    let mut effect: Option<PinCauses> = None;
    let mut before = Before::Start;
    while let [first, after @ ..] = rest {
        // `$` ends a quote here rather than being part of a name
        let is_word = |b: u8| is_word_byte(b) && b != b'$';
        if is_word(*first) {
            let len = rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at_checked(len).unwrap_or((rest, b""));
            if let Some(cause) = effect_of_word(before, word, behind) {
                let causes = PinCauses::of(cause);
                effect = Some(effect.map_or(causes, |others| others.and(causes)));
            }
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

fn effect_of_word(before: Before, word: &[u8], behind: &[u8]) -> Option<PinCause> {
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
        Before::Start if is(&["set"]) && is_for_transaction(behind) => return None,
        Before::Start if is(&["set", "reset", "discard", "deallocate"]) => PinCause::Settings,
        _ if is_temporary_schema(word) => PinCause::TemporaryTable,
        _ if is(&["set_config"]) && is_local_config(behind) => return None,
        _ if is(&["set_config", "setseed", "dblink_connect"]) => PinCause::Settings,
        _ if is(&["currval", "lastval"]) => PinCause::SequenceValue,
        _ if starts("pg_advisory_lock") || starts("pg_try_advisory_lock") => PinCause::AdvisoryLock,
        _ => return None,
    };
    Some(cause)
}

/// Whether `behind` goes on a SET that ends with the transaction.
fn is_for_transaction(behind: &[u8]) -> bool {
    let behind = behind.trim_ascii_start();
    let len = behind.iter().position(|&b| !is_word_byte(b)).unwrap_or(behind.len());
    let word = behind.get(..len).unwrap_or_default();
    [&b"local"[..], b"transaction", b"constraints"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Whether `behind` holds the arguments of a `set_config` whose third one is the word `true`.
fn is_local_config(behind: &[u8]) -> bool {
    let Some(arguments) = behind.trim_ascii_start().strip_prefix(b"(") else { return false };
    let (mut depth, mut in_quotes, mut commas) = (0_usize, false, 0_usize);
    let mut third = None;
    for (at, byte) in arguments.iter().enumerate() {
        match byte {
            b'\'' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            b'(' | b'[' => depth = depth.saturating_add(1),
            b')' if depth == 0 => {
                let third = third.and_then(|begin| arguments.get(begin..at)).unwrap_or_default();
                return commas == 2 && third.trim_ascii().eq_ignore_ascii_case(b"true");
            }
            b')' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                commas = commas.saturating_add(1);
                third = Some(at.saturating_add(1));
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, expected: Option<PinCause>) {
        assert_eq!(effect_of_code(code.as_bytes()), expected.map(PinCauses::of), "{code}");
    }

    #[test]
    fn what_ends_with_the_transaction_leaves_nothing() {
        for code in [
            "begin perform set_config('app.tenant', who, true); end",
            "begin perform set_config('a' , format('%s,(', f(x, y)) , TRUE ) ; end",
            "begin set local work_mem = '1MB'; SET\n TRANSACTION READ ONLY; set constraints all deferred; end",
            "begin update t set a = 1; insert into t values (1) on conflict do update set a = 2; end",
            "select 'it''s set', reset from settings",
        ] {
            check(code, None);
        }
    }

    #[test]
    fn what_lasts_longer_is_told() {
        for code in [
            "begin perform set_config('app.tenant', who, false); end",
            "begin perform set_config('app.tenant', who, lasting); end",
            "begin perform set_config('a', 'true, true', f(true)); end",
            "begin perform set_config('a', 'true', is_local => true, more); end",
            "begin perform set_config",
            "begin if x then set work_mem = '1MB'; end if; end",
            "begin execute 'set ' || name || ' = 1'; end",
            "plpy.execute(\"set work_mem = '1MB'\")",
        ] {
            check(code, Some(PinCause::Settings));
        }
        check("begin return currval('s'); end", Some(PinCause::SequenceValue));
        check("begin insert into t default values; return lastval(); end", None);
        check("begin perform pg_advisory_lock(1); end", Some(PinCause::AdvisoryLock));
        check("create temp table if not exists a (x int)", Some(PinCause::TemporaryTable));
    }
}

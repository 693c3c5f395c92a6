//! Rules over tokens: statement by statement, then together.

mod call;
mod copy;
mod explain;
mod plain;
mod procedural;
mod scan;
pub(crate) mod statement;
#[cfg(test)]
mod tests;
mod transaction;

pub use procedural::{calls_nextval, effect_of_code, gets_from_sequence, names_sequence_value};

use crate::class::{Class, Effect, Kind, PinCause, Statements};
use crate::functions::Functions;
use crate::hint::{Hint, HintTarget};
use crate::token::{TokenKind, Tokenizer};

/// What running `text` means.
///
/// Of the hints only one bears on the result: with `replica`, a query is a read although it calls functions that are
/// not known to be harmless. Everything else that a hint asks for is left to the caller.
#[must_use]
pub fn classify<F: Functions + ?Sized>(text: &[u8], functions: &F) -> Class {
    let mut tokens = Tokenizer::new(text);
    let total = match tokens.next_first() {
        None => Total::Empty,
        Some(first) => {
            let one = statement::read(first, &mut tokens, functions);
            if tokens.is_at_end() { Total::One(one) } else { several(one, &mut tokens, functions) }
        }
    };
    total.class(tokens.hint())
}

/// The statement that was read and what follows it, if that is more than blanks.
#[cold]
#[inline(never)]
fn several<F: Functions + ?Sized>(one: Outcome, tokens: &mut Tokenizer<'_>, functions: &F) -> Total {
    let mut total = Total::One(one);
    while let Some(first) = tokens.next_first() {
        total.add(statement::read(first, tokens, functions));
    }
    total
}

/// Whether what follows the name of a prepared statement in EXECUTE, its arguments if there are any, is harmless.
pub(crate) fn arguments_are_read<F: Functions + ?Sized>(tokens: &mut Tokenizer<'_>, functions: &F) -> bool {
    let mut verdict = Verdict::Read;
    if let Some(open) = tokens.peek().filter(|token| token.kind == TokenKind::Open) {
        tokens.next();
        verdict = scan::Scan::new(scan::Form::Query, functions).parenthesised(open, tokens).verdict;
    }
    let ends = tokens.peek().is_none_or(|token| token.kind == TokenKind::Semicolon);
    ends && verdict == Verdict::Read
}

/// What one statement is found to be.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    verdict: Verdict,
    effect: Effect,
    replayable: bool,
}

impl Outcome {
    /// A statement that is not replayable.
    fn new(kind: Kind, effect: Effect) -> Self {
        Self { verdict: Verdict::Fixed(kind), effect, replayable: false }
    }
}

/// How sure the kind of a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// A read.
    Read,
    /// A read if its functions are harmless, which only a hint can say.
    Unvouched,
    /// Never a read.
    Fixed(Kind),
}

/// The statements of a text so far.
#[derive(Debug)]
enum Total {
    /// None.
    Empty,
    /// One.
    One(Outcome),
    /// Several, with what they are together.
    Many { verdict: Verdict, effect: Effect, control: Control },
}

/// Whether several statements change the transaction that they run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    /// They run in one transaction, which they leave as it is.
    Absent,
    /// One begins or ends a transaction or a part of one.
    Present,
}

impl Control {
    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Fixed(
                Kind::Begin { .. } | Kind::Commit { .. } | Kind::Rollback { .. } | Kind::Control,
            ) => Self::Present,
            Verdict::Read | Verdict::Unvouched | Verdict::Fixed(Kind::Empty | Kind::Read) => Self::Absent,
            Verdict::Fixed(Kind::Write | Kind::Session) => Self::Absent,
        }
    }
}

impl Total {
    fn add(&mut self, next: Outcome) {
        let (verdict, effect, control) = match *self {
            Self::Empty => {
                *self = Self::One(next);
                return;
            }
            Self::One(first) => (first.verdict, first.effect, Control::of(first.verdict)),
            Self::Many { verdict, effect, control } => (verdict, effect, control),
        };
        *self = Self::Many {
            verdict: match (verdict, next.verdict) {
                (Verdict::Fixed(_), _) | (_, Verdict::Fixed(_)) => Verdict::Fixed(Kind::Write),
                (Verdict::Unvouched, _) | (_, Verdict::Unvouched) => Verdict::Unvouched,
                (Verdict::Read, Verdict::Read) => Verdict::Read,
            },
            effect: effect.then(next.effect),
            control: if control == Control::Present { control } else { Control::of(next.verdict) },
        };
    }

    #[inline(always)]
    fn class(self, hint: Option<Hint<'_>>) -> Class {
        let (verdict, effect, statements, replayable) = match self {
            Self::Empty => (Verdict::Fixed(Kind::Empty), Effect::None, Statements::None, false),
            Self::One(one) => {
                // what leaves something behind is not sent again; what is listened to goes with the connection
                let gone = matches!(
                    one.effect,
                    Effect::None | Effect::LocalSettings | Effect::Listen | Effect::Unlisten
                );
                let replayable = one.replayable && gone;
                (one.verdict, one.effect, Statements::One, replayable)
            }
            Self::Many { verdict, effect, control } => {
                let effect = match effect {
                    Effect::None | Effect::LocalSettings | Effect::Pin(_) => effect,
                    // answered for the server only where nothing else has to be run: see `Effect::Deallocate`
                    Effect::Deallocate => Effect::None,
                    Effect::Listen if control == Control::Present => Effect::pin(PinCause::Listen),
                    // whether it was rolled back is not known; a client that listens for longer misses nothing
                    Effect::Unlisten if control == Control::Present => Effect::None,
                    _ if control == Control::Present => Effect::pin(PinCause::Mixed),
                    _ => effect,
                };
                (verdict, effect, Statements::Many, false)
            }
        };
        let kind = match verdict {
            Verdict::Read => Kind::Read,
            Verdict::Unvouched if hint.and_then(|hint| hint.target) == Some(HintTarget::Replica) => {
                Kind::Read
            }
            Verdict::Unvouched => Kind::Write,
            Verdict::Fixed(kind) => kind,
        };
        Class { kind, effect, statements, hinted: hint.is_some(), replayable }
    }
}

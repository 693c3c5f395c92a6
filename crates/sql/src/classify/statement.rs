//! One statement, by its first word.

use super::scan::{Form, Scan};
use super::transaction::{self, End};
use super::{Outcome, Verdict, copy, explain, procedural};
use crate::class::{Effect, Kind, PinCause};
use crate::functions::Functions;
use crate::settings::{
    Channel, ConfigList, SetStatement, config_list, deallocated, read_channel, read_reset, read_set,
};
use crate::token::{Keyword, Token, TokenKind, Tokenizer};

/// Reads the statement that starts with `first`, its `;` included.
#[inline(always)]
pub(super) fn read<'a, F>(first: Token<'a>, tokens: &mut Tokenizer<'a>, functions: &F) -> Outcome
where
    F: Functions + ?Sized,
{
    match first.keyword {
        Keyword::Select => select(first, tokens, functions),
        Keyword::Begin => transaction::begin(tokens),
        Keyword::Start if next_is(tokens, Keyword::Transaction) => transaction::begin(tokens),
        Keyword::Commit | Keyword::End => transaction::end(End::Commit, tokens),
        Keyword::Rollback | Keyword::Abort => transaction::end(End::Rollback, tokens),
        Keyword::Savepoint | Keyword::Release => {
            tokens.skip_statement();
            Outcome::new(Kind::Control, Effect::None)
        }
        Keyword::Set => setting(&read_set(tokens)),
        Keyword::Reset => setting(&read_reset(tokens)),
        Keyword::Discard => discard(tokens),
        Keyword::Deallocate => deallocate(tokens),
        Keyword::Listen => listen(&read_channel(tokens)),
        Keyword::Unlisten => unlisten(&read_channel(tokens)),
        Keyword::Explain => explain::read(tokens, functions),
        Keyword::Copy => copy::read(tokens, functions),
        Keyword::Show => {
            tokens.skip_statement();
            Outcome { verdict: Verdict::Fixed(Kind::Write), effect: Effect::None, replayable: true }
        }
        Keyword::Prepare if prepares_transaction(tokens) => {
            tokens.skip_statement();
            Outcome::new(Kind::Commit { chain: false }, Effect::None)
        }
        Keyword::Do => {
            let effect = procedural::effect_of(tokens, functions);
            Outcome::new(Kind::Write, effect)
        }
        _ => plain(first, tokens, functions),
    }
}

/// Reads a statement that EXPLAIN may stand before, or one that is unknown.
pub(super) fn plain<'a, F>(first: Token<'a>, tokens: &mut Tokenizer<'a>, functions: &F) -> Outcome
where
    F: Functions + ?Sized,
{
    let (form, effect) = match first.keyword {
        Keyword::Select | Keyword::With | Keyword::Values | Keyword::Table => (Form::Query, Effect::None),
        _ if first.kind == TokenKind::Open => (Form::Query, Effect::None),
        Keyword::Insert | Keyword::Update | Keyword::Delete | Keyword::Merge => (Form::Change, Effect::None),
        Keyword::Create if creates_temporary(tokens) => (Form::Create, Effect::pin(PinCause::TemporaryTable)),
        Keyword::Create => (Form::Create, Effect::None),
        Keyword::Load => (Form::Unknown, Effect::pin(PinCause::Load)),
        Keyword::Prepare => (Form::Unknown, Effect::pin(PinCause::SqlPrepare)),
        Keyword::Declare if holds(tokens) => (Form::Unknown, Effect::pin(PinCause::HoldCursor)),
        _ => (Form::Unknown, Effect::None),
    };
    let mut outcome = Scan::new(form, functions).statement(first, tokens);
    outcome.effect = effect.then(outcome.effect);
    outcome
}

/// SELECT: `set_config` and nothing else, or any other.
#[inline(always)]
fn select<'a, F>(first: Token<'a>, tokens: &mut Tokenizer<'a>, functions: &F) -> Outcome
where
    F: Functions + ?Sized,
{
    // a look at one byte spares most queries the attempt
    let may_be_config = tokens.next_byte().is_some_and(|b| !b.is_ascii_alphabetic() || b"sSpP".contains(&b));
    if !may_be_config {
        return plain(first, tokens, functions);
    }
    match config_list(tokens) {
        None => plain(first, tokens, functions),
        Some(ConfigList::Session) => Outcome::new(Kind::Session, Effect::Settings),
        Some(ConfigList::Both) => Outcome::new(Kind::Write, Effect::Settings),
        Some(ConfigList::Transaction) => {
            let effect = Effect::LocalSettings;
            Outcome { verdict: Verdict::Fixed(Kind::Write), effect, replayable: true }
        }
    }
}

fn setting(statement: &SetStatement<'_>) -> Outcome {
    match statement {
        SetStatement::Set(_)
        | SetStatement::Reset(_)
        | SetStatement::Characteristics(_)
        | SetStatement::ResetAll => Outcome::new(Kind::Session, Effect::Settings),
        SetStatement::Local => Outcome::new(Kind::Control, Effect::LocalSettings),
        SetStatement::Transaction => Outcome::new(Kind::Control, Effect::None),
        SetStatement::Pin(cause) => Outcome::new(Kind::Session, Effect::pin(*cause)),
    }
}

fn listen(channel: &Channel<'_>) -> Outcome {
    match channel {
        Channel::Named(_) => following(Effect::Listen),
        Channel::Escaped => Outcome::new(Kind::Session, Effect::pin(PinCause::Listen)),
        Channel::All | Channel::Invalid => Outcome::new(Kind::Session, Effect::None),
    }
}

fn unlisten(channel: &Channel<'_>) -> Outcome {
    match channel {
        Channel::Named(_) | Channel::All => following(Effect::Unlisten),
        Channel::Escaped | Channel::Invalid => Outcome::new(Kind::Session, Effect::None),
    }
}

/// Of a change of the channels that are listened to: it leaves nothing unless it commits.
fn following(effect: Effect) -> Outcome {
    Outcome { verdict: Verdict::Fixed(Kind::Session), effect, replayable: true }
}

/// Behind DISCARD.
fn discard(tokens: &mut Tokenizer<'_>) -> Outcome {
    let all = next_is(tokens, Keyword::All);
    tokens.skip_statement();
    Outcome::new(Kind::Session, if all { Effect::DiscardAll } else { Effect::None })
}

/// Behind DEALLOCATE.
fn deallocate(tokens: &mut Tokenizer<'_>) -> Outcome {
    let one = deallocated(&mut tokens.clone()).is_some();
    tokens.skip_statement();
    Outcome::new(Kind::Session, if one { Effect::Deallocate } else { Effect::DeallocateAll })
}

/// Whether behind CREATE, with what may stand before it, comes `TEMP` or `TEMPORARY`.
fn creates_temporary(tokens: &Tokenizer<'_>) -> bool {
    let mut ahead = tokens.clone();
    loop {
        match ahead.next().map(|token| token.keyword) {
            Some(Keyword::Or | Keyword::Replace | Keyword::Local | Keyword::Global) => {}
            Some(Keyword::Temp | Keyword::Temporary) => return true,
            _ => return false,
        }
    }
}

/// Whether the DECLARE behind which `tokens` stands says `WITH HOLD` before its query.
fn holds(tokens: &Tokenizer<'_>) -> bool {
    let mut ahead = tokens.clone();
    let mut previous = Keyword::Other;
    while let Some(token) = ahead.next().filter(|token| token.kind != TokenKind::Semicolon) {
        match token.keyword {
            Keyword::Hold if previous == Keyword::With => return true,
            Keyword::For => return false,
            keyword => previous = keyword,
        }
    }
    false
}

/// Whether it is PREPARE TRANSACTION and not PREPARE of a statement that is called `transaction`.
pub(crate) fn prepares_transaction(tokens: &Tokenizer<'_>) -> bool {
    let mut ahead = tokens.clone();
    ahead.next().is_some_and(|token| token.keyword == Keyword::Transaction)
        && ahead.next().is_some_and(|token| token.kind == TokenKind::String)
}

fn next_is(tokens: &Tokenizer<'_>, keyword: Keyword) -> bool {
    tokens.peek().is_some_and(|token| token.keyword == keyword)
}

/// Whether a statement that begins so is a query, or changes rows: what PREPARE takes, and what EXPLAIN shows a plan of.
pub(crate) fn begins_query_or_change(first: Token<'_>) -> bool {
    first.kind == TokenKind::Open
        || matches!(
            first.keyword,
            Keyword::Select
                | Keyword::With
                | Keyword::Values
                | Keyword::Table
                | Keyword::Insert
                | Keyword::Update
                | Keyword::Delete
                | Keyword::Merge
        )
}

//! EXPLAIN: what it plans runs only with ANALYZE.

use super::scan::{Form, Scan};
use super::{Outcome, Verdict, statement};
use crate::class::{Effect, Kind};
use crate::functions::Functions;
use crate::token::{Keyword, Token, TokenKind, Tokenizer, is_word_byte};

/// Whether the statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It is only planned.
    Plan,
    /// It runs and its rows are thrown away.
    Run,
}

/// Behind EXPLAIN, up to the end of the statement.
pub(super) fn read<'a, F>(tokens: &mut Tokenizer<'a>, functions: &F) -> Outcome
where
    F: Functions + ?Sized,
{
    let mut mode = Mode::Plan;
    let first = loop {
        let Some(token) = tokens.next() else { return Outcome::new(Kind::Write, Effect::None) };
        match token.keyword {
            Keyword::Analyze | Keyword::Analyse => mode = Mode::Run,
            Keyword::Verbose => {}
            _ if token.kind == TokenKind::Open && !is_query(tokens) => mode = options(tokens),
            _ => break token,
        }
    };
    if first.kind == TokenKind::Semicolon {
        Outcome::new(Kind::Write, Effect::None)
    } else if statement::begins_query_or_change(first) {
        explained(first, mode, tokens, functions)
    } else {
        // CREATE TABLE AS, DECLARE, EXECUTE, REFRESH
        Outcome { verdict: Verdict::Fixed(Kind::Write), ..statement::plain(first, tokens, functions) }
    }
}

/// A query, or a statement that changes rows.
fn explained<'a, F>(first: Token<'a>, mode: Mode, tokens: &mut Tokenizer<'a>, functions: &F) -> Outcome
where
    F: Functions + ?Sized,
{
    if mode == Mode::Run {
        return statement::plain(first, tokens, functions);
    }
    let mut scan = Scan::new(Form::Query, functions);
    scan.statement(first, tokens);
    let verdict = if scan.creates_table() { Verdict::Fixed(Kind::Write) } else { Verdict::Read };
    Outcome { verdict, effect: Effect::None, replayable: true }
}

/// Whether a query in parentheses goes on here, and not a list of options: no option has such a name.
fn is_query(tokens: &Tokenizer<'_>) -> bool {
    tokens.peek().is_some_and(|token| {
        matches!(token.keyword, Keyword::Select | Keyword::With | Keyword::Values | Keyword::Table)
            || token.kind == TokenKind::Open
    })
}

/// The options, up to their `)`. The last ANALYZE holds, but for a name in quotes, which may spell it and is not read.
fn options(tokens: &mut Tokenizer<'_>) -> Mode {
    let (mut mode, mut quoted) = (Mode::Plan, Mode::Plan);
    let mut previous = Keyword::Other;
    while let Some(token) = tokens.next().filter(|token| token.kind != TokenKind::Close) {
        match token.keyword {
            _ if matches!(token.kind, TokenKind::QuotedName | TokenKind::EscapedName) => quoted = Mode::Run,
            Keyword::Analyze | Keyword::Analyse => mode = Mode::Run,
            _ if matches!(previous, Keyword::Analyze | Keyword::Analyse) && is_off(token) => {
                mode = Mode::Plan
            }
            _ => {}
        }
        previous = token.keyword;
    }
    if quoted == Mode::Run { quoted } else { mode }
}

/// Whether a value of an option switches it off.
fn is_off(value: Token<'_>) -> bool {
    matches!(value.keyword, Keyword::False | Keyword::Off)
        // not 0x1, which is a token and a word here
        || (value.text() == b"0" && !value.behind().first().is_some_and(|b| is_word_byte(*b)))
        || [&b"'false'"[..], b"'off'"].iter().any(|off| value.text().eq_ignore_ascii_case(off))
}

//! COPY: a read if rows go to the client.

use super::scan::{Form, Scan};
use super::{Outcome, Verdict};
use crate::class::{Effect, Kind};
use crate::functions::Functions;
use crate::token::{Keyword, TokenKind, Tokenizer};

/// Behind COPY, up to the end of the statement.
pub(super) fn read<'a, F>(tokens: &mut Tokenizer<'a>, functions: &F) -> Outcome
where
    F: Functions + ?Sized,
{
    let mut first = tokens.next();
    if first.is_some_and(|token| token.keyword == Keyword::Binary) {
        first = tokens.next();
    }
    let Some(first) = first else { return Outcome::new(Kind::Write, Effect::None) };
    let mut source = Outcome { verdict: Verdict::Read, effect: Effect::None, replayable: true };
    match first.kind {
        TokenKind::Open => source = Scan::new(Form::Query, functions).parenthesised(first, tokens),
        TokenKind::Semicolon => return Outcome::new(Kind::Write, Effect::None),
        _ => skip_table(tokens),
    }
    if next_is(tokens, Keyword::To) {
        tokens.next();
        // TO STDIN is taken for TO STDOUT by the server, too
        if next_is(tokens, Keyword::Stdout) || next_is(tokens, Keyword::Stdin) {
            tokens.skip_statement();
            return source;
        }
    }
    // from the client or a file, or to a file or a program: neither is undone
    let Some(next) = tokens.next() else { return Outcome::new(Kind::Write, source.effect) };
    let rest = match next.kind {
        TokenKind::Semicolon => Effect::None,
        _ => Scan::new(Form::Unknown, functions).statement(next, tokens).effect,
    };
    Outcome::new(Kind::Write, source.effect.then(rest))
}

/// Passes the rest of a table's name and its list of columns.
fn skip_table(tokens: &mut Tokenizer<'_>) {
    let mut previous = TokenKind::Word;
    while let Some(token) = tokens.peek() {
        match token.kind {
            TokenKind::Dot => {}
            _ if previous == TokenKind::Dot => {}
            TokenKind::Open => {
                while tokens.next().is_some_and(|token| token.kind != TokenKind::Close) {}
                return;
            }
            _ => return,
        }
        previous = token.kind;
        tokens.next();
    }
}

fn next_is(tokens: &Tokenizer<'_>, keyword: Keyword) -> bool {
    tokens.peek().is_some_and(|token| token.keyword == keyword)
}

//! LISTEN and UNLISTEN.

use crate::name::folded;
use crate::token::{Token, TokenKind, Tokenizer};

/// What a LISTEN or UNLISTEN statement names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Channel<'a> {
    /// One channel.
    Named(Token<'a>),
    /// `*`: all.
    All,
    /// A name that is written with escapes.
    Escaped,
    /// Nothing that the server would take.
    Invalid,
}

/// Reads what follows LISTEN or UNLISTEN, the `;` included.
pub(crate) fn read_channel<'a>(tokens: &mut Tokenizer<'a>) -> Channel<'a> {
    let Some(first) = tokens.next().filter(|token| token.kind != TokenKind::Semicolon) else {
        return Channel::Invalid;
    };
    let channel = match first.kind {
        TokenKind::EscapedName => Channel::Escaped,
        TokenKind::Word | TokenKind::QuotedName if !folded(first).is_empty() => Channel::Named(first),
        TokenKind::Operator if first.text() == b"*" => Channel::All,
        _ => Channel::Invalid,
    };
    match tokens.next() {
        Some(token) if token.kind != TokenKind::Semicolon => {
            tokens.skip_statement();
            Channel::Invalid
        }
        Some(_) | None => channel,
    }
}

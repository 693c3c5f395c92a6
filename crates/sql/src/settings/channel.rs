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
        TokenKind::Word => Channel::Named(first),
        TokenKind::QuotedName if ends(first.text()) && !folded(first).is_empty() => Channel::Named(first),
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

/// Whether a quoted name has its end: each quote within it is doubled.
fn ends(quoted: &[u8]) -> bool {
    quoted.iter().filter(|&&b| b == b'"').count().is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use crate::{Effect, NoFunctions, classify};

    #[test]
    fn a_quoted_channel_without_an_end_is_none() {
        let effect = |sql: &str| classify(sql.as_bytes(), &NoFunctions).effect;
        for sql in ["listen \"c\"", "listen \"a\"\"b\" ;", "listen c -- x"] {
            assert_eq!(effect(sql), Effect::Listen, "{sql}");
        }
        for sql in ["listen \"", "listen \" ", "listen \"c", "listen \"a\"\"", "listen \"\""] {
            assert_eq!(effect(sql), Effect::None, "{sql}");
        }
    }
}

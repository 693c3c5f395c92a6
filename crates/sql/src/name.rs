//! Identifiers as the server knows them.

use std::borrow::Cow;

use crate::token::{Token, TokenKind};

/// `NAMEDATALEN - 1`: the bytes of an identifier that the server keeps.
const NAME_BYTES: usize = 63;

/// Room for one folded identifier on the stack.
pub(crate) struct NameBuffer([u8; NAME_BYTES]);

impl NameBuffer {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self([0; NAME_BYTES])
    }

    /// A name without quotes in lower case. `None` if it is longer than the server keeps.
    pub(crate) fn fold_word<'a>(&'a mut self, word: &'a [u8]) -> Option<&'a [u8]> {
        // most are written so
        if word.len() <= NAME_BYTES && !word.iter().fold(false, |found, b| found | b.is_ascii_uppercase()) {
            return Some(word);
        }
        let name = self.0.get_mut(..word.len())?;
        name.copy_from_slice(word);
        name.make_ascii_lowercase();
        Some(name)
    }

    /// The name that `token` writes, in lower case or as quoted. `None` if it is longer than the server keeps or
    /// written with escapes; no function of PostgreSQL itself has so long a name.
    pub(crate) fn fold<'a>(&'a mut self, token: Token<'a>) -> Option<&'a [u8]> {
        let mut len = 0_usize;
        let mut rest = match token.kind {
            TokenKind::Word => return self.fold_word(token.text()),
            TokenKind::QuotedName => inside_quotes(token.text()),
            _ => return None,
        };
        while let [byte, after @ ..] = rest {
            *self.0.get_mut(len)? = *byte;
            len = len.saturating_add(1);
            rest = if *byte == b'"' { after.strip_prefix(b"\"").unwrap_or(after) } else { after };
        }
        self.0.get(..len)
    }
}

/// The name that `token` writes, in lower case or as quoted, cut to what the server keeps. An escaped name is left as
/// it is written.
pub(crate) fn folded(token: Token<'_>) -> Cow<'_, [u8]> {
    let name = match token.kind {
        TokenKind::Word if token.text().iter().any(u8::is_ascii_uppercase) => {
            Cow::Owned(token.text().to_ascii_lowercase())
        }
        TokenKind::QuotedName => undoubled(inside_quotes(token.text()), b'"'),
        _ => Cow::Borrowed(token.text()),
    };
    if name.len() <= NAME_BYTES {
        return name;
    }
    // the server cuts between characters
    let end = (0..=NAME_BYTES).rev().find(|&at| name.get(at).is_none_or(|b| b & 0xc0 != 0x80)).unwrap_or(0);
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.get(..end).unwrap_or(name)),
        Cow::Owned(mut name) => {
            name.truncate(end);
            Cow::Owned(name)
        }
    }
}

/// What stands between the first and the last quote of `'…'` or `"…"`; quotes inside are still doubled.
pub(crate) fn inside_quotes(text: &[u8]) -> &[u8] {
    match text {
        [first @ (b'\'' | b'"'), inside @ .., last] if first == last => inside,
        [_, inside @ ..] => inside, // does not end
        [] => text,
    }
}

/// `inside` with each doubled `quote` as one.
fn undoubled(inside: &[u8], quote: u8) -> Cow<'_, [u8]> {
    if !inside.contains(&quote) {
        return Cow::Borrowed(inside);
    }
    let mut out = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let [byte, after @ ..] = rest {
        out.push(*byte);
        rest = match after {
            [next, behind @ ..] if *byte == quote && *next == quote => behind,
            _ => after,
        };
    }
    Cow::Owned(out)
}

/// Whether `token` is the unquoted or quoted name `lower`, whatever its case.
pub(crate) fn is_named(token: Token<'_>, lower: &[u8]) -> bool {
    match token.kind {
        TokenKind::Word => token.text().eq_ignore_ascii_case(lower),
        TokenKind::QuotedName => inside_quotes(token.text()).eq_ignore_ascii_case(lower),
        _ => false,
    }
}

/// Whether `token` means the schema or object `lower`: unquoted in any case, or quoted in lower case.
pub(crate) fn is_named_exactly(token: Token<'_>, lower: &[u8]) -> bool {
    match token.kind {
        TokenKind::Word => token.text().eq_ignore_ascii_case(lower),
        TokenKind::QuotedName => inside_quotes(token.text()) == lower,
        _ => false,
    }
}

/// Whether `text`, with or without quotes, names the schema of the session's temporary objects.
pub(crate) fn is_temporary_schema(text: &[u8]) -> bool {
    let text = if matches!(text, [b'\'' | b'"', ..]) { inside_quotes(text) } else { text };
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"\"").unwrap_or(text); // a list in one string may quote again
    text.get(..PG_TEMP.len()).is_some_and(|start| start.eq_ignore_ascii_case(PG_TEMP))
}

const PG_TEMP: &[u8] = b"pg_temp";

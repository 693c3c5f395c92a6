//! Where words, numbers, strings, operators and comments end.

use super::TokenKind;
use super::byte::{Start, goes_on_word, is_word_byte};

/// A word of one byte or, where it is a prefix, the string or name behind it. `from` starts with that byte.
pub(super) fn prefixed(from: &[u8]) -> (TokenKind, usize) {
    let (kind, rest) = match from {
        [b'e' | b'E', b'\'', inside @ ..] => (TokenKind::String, after_escape_string(inside)),
        [b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', inside @ ..]
        | [b'u' | b'U', b'&', b'\'', inside @ ..] => (TokenKind::String, after_quoted(inside, b'\'')),
        [b'u' | b'U', b'&', b'"', inside @ ..] => (TokenKind::EscapedName, after_quoted(inside, b'"')),
        _ => return (TokenKind::Word, 1),
    };
    (kind, from.len().saturating_sub(rest.len()))
}

/// What follows a number of nothing but digits that `from` starts with; `None` if there may be more to it.
#[inline(always)]
pub(super) fn after_digits(from: &[u8]) -> Option<&[u8]> {
    let mut rest = from;
    while let [b'0'..=b'9', after @ ..] = rest {
        rest = after;
    }
    if matches!(rest, [b'.' | b'e' | b'E', ..]) { None } else { Some(rest) }
}

/// The length of `'…'` or `"…"`.
pub(super) fn quoted_len(from: &[u8], quote: u8) -> usize {
    from.len().saturating_sub(after_quoted(from.get(1..).unwrap_or_default(), quote).len())
}

/// What follows the `quote` that ends `inside`, in which doubled ones stand for one; nothing if it does not end.
pub(super) fn after_quoted(inside: &[u8], quote: u8) -> &[u8] {
    let mut rest = inside;
    while let Some(at) = position(rest, |b| b == quote) {
        rest = rest.get(at.saturating_add(1)..).unwrap_or_default();
        match rest {
            [b, after @ ..] if *b == quote => rest = after,
            _ => return rest,
        }
    }
    b""
}

/// What follows `E'…'`, in which a backslash protects the next byte, and the strings that continue it on later lines:
/// they are escape strings too, although they do not look it.
fn after_escape_string(inside: &[u8]) -> &[u8] {
    let mut rest = inside;
    while let Some(at) = position(rest, |b| b == b'\'' || b == b'\\') {
        rest = match rest.get(at..).unwrap_or_default() {
            [b'\\', _, after @ ..] | [b'\'', b'\'', after @ ..] => after,
            [b'\'', after @ ..] => match continuation(after) {
                Some(inside) => inside,
                None => return after,
            },
            _ => break,
        };
    }
    b""
}

/// The inside of the string that continues the one before `rest`: only whitespace with a newline stands between.
fn continuation(mut rest: &[u8]) -> Option<&[u8]> {
    let mut newline = false;
    loop {
        rest = match rest {
            [b'\n' | b'\r', after @ ..] => {
                newline = true;
                after
            }
            [b' ' | b'\t' | 0x0b | 0x0c, after @ ..] => after,
            [b'-', b'-', ..] => after_line_comment(rest),
            [b'\'', after @ ..] if newline => return Some(after),
            _ => return None,
        };
    }
}

/// A number without its sign. What follows it at once, as in `1e`, `0x1f` or `1_000`, is a token of its own: where the
/// versions of PostgreSQL disagree, the others refuse the text. Before 16, `1_0$x$` is a number and the name `_0$x$`;
/// since then a string behind a number is a mistake wherever it stands.
pub(super) fn number_len(from: &[u8]) -> usize {
    let digit = |b: u8| b.is_ascii_digit();
    let mut rest = skip(from, digit);
    if let [b'.', after @ ..] = rest
        && after.first() != Some(&b'.')
    {
        rest = skip(after, digit);
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let unsigned = match exponent {
            [b'+' | b'-', unsigned @ ..] => unsigned,
            unsigned => unsigned,
        };
        if unsigned.first().is_some_and(u8::is_ascii_digit) {
            rest = skip(unsigned, digit);
        }
    }
    from.len().saturating_sub(rest.len())
}

/// `$1`, `$tag$…$tag$`, or a lone `$`.
pub(super) fn dollar(from: &[u8]) -> (TokenKind, usize) {
    let after = from.get(1..).unwrap_or_default();
    if after.first().is_some_and(u8::is_ascii_digit) {
        return (TokenKind::Parameter, run_len(after, |b| b.is_ascii_digit()).saturating_add(1));
    }
    let tag = run_len(after, |b| is_word_byte(b) && b != b'$');
    if after.get(tag) != Some(&b'$') {
        return (TokenKind::Other, 1);
    }
    let (delimiter, mut rest) = from.split_at_checked(tag.saturating_add(2)).unwrap_or((from, b""));
    // a failed comparison stops at the next `$`, which the tag does not hold: linear
    while let Some(at) = position(rest, |b| b == b'$') {
        rest = rest.get(at..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix(delimiter) {
            return (TokenKind::String, from.len().saturating_sub(after.len()));
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    (TokenKind::String, from.len())
}

/// The length of a run of operator characters, which a comment ends; 0 if `from` starts with none.
#[inline]
pub(super) fn operator_len(from: &[u8]) -> usize {
    let mut rest = from;
    while let [first, after @ ..] = rest {
        rest = match (Start::of(*first), after) {
            (Start::Operator, _) => after,
            (Start::Comment, [second, ..]) if is_comment(*first, *second) => break,
            (Start::Comment, _) => after,
            _ => break,
        };
    }
    from.len().saturating_sub(rest.len())
}

/// Whether these two bytes begin a comment, if the first one may.
const fn is_comment(first: u8, second: u8) -> bool {
    matches!((first, second), (b'-', b'-') | (b'/', b'*'))
}

/// What follows the line that a `--` comment ends.
pub(super) fn after_line_comment(from: &[u8]) -> &[u8] {
    position(from, |b| b == b'\n' || b == b'\r').and_then(|at| from.get(at..)).unwrap_or_default()
}

/// What follows the block comment whose `/*` stands before `inside`; nothing if it does not end.
pub(super) fn after_block_comment(inside: &[u8]) -> Option<&[u8]> {
    let mut depth = 1_usize;
    let mut rest = inside;
    while let Some(at) = position(rest, |b| b == b'*' || b == b'/') {
        rest = rest.get(at..).unwrap_or_default();
        rest = match rest {
            [b'*', b'/', after @ ..] => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(after);
                }
                after
            }
            [b'/', b'*', after @ ..] => {
                depth = depth.saturating_add(1);
                after
            }
            [_, after @ ..] => after,
            [] => break,
        };
    }
    None
}

/// Where the first byte that `is` one of those stands.
#[inline]
fn position(from: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let mut passed = 0_usize;
    if let Some(start) = from.first_chunk::<16>() {
        // most are short
        for (at, byte) in start.iter().enumerate() {
            if is(*byte) {
                return Some(at);
            }
        }
        passed = start.len();
        let (steps, _) = from.get(passed..)?.as_chunks::<16>();
        for step in steps {
            // without a jump for each byte, so that the compiler looks at all of them at once
            if step.iter().fold(false, |found, byte| found | is(*byte)) {
                break;
            }
            passed = passed.wrapping_add(step.len());
        }
    }
    let at = from.get(passed..)?.iter().position(|byte| is(*byte))?;
    Some(passed.wrapping_add(at))
}

/// What follows the word that `from` starts with.
#[inline(always)]
pub(super) fn after_word(from: &[u8]) -> &[u8] {
    let mut rest = from;
    // in steps whose length is known, so that the compiler writes three instructions for each byte and no loop
    while let Some((step, after)) = rest.split_first_chunk::<8>() {
        for (at, byte) in step.iter().enumerate() {
            if !goes_on_word(*byte) {
                return behind(rest, at);
            }
        }
        rest = after;
    }
    while let [byte, after @ ..] = rest
        && goes_on_word(*byte)
    {
        rest = after;
    }
    rest
}

#[inline]
fn run_len(from: &[u8], of: impl Fn(u8) -> bool) -> usize {
    from.iter().position(|&b| !of(b)).unwrap_or(from.len())
}

/// What follows the first `len` bytes of `from`.
#[inline(always)]
pub(super) fn behind(from: &[u8], len: usize) -> &[u8] {
    match from.get(len..) {
        Some(behind) => behind,
        None => nothing(),
    }
}

/// What is behind the end of a text. No token is so long: a jump that is never taken costs less than a choice.
#[cold]
#[inline(never)]
fn nothing() -> &'static [u8] {
    b""
}

#[inline]
fn skip(from: &[u8], while_is: impl Fn(u8) -> bool) -> &[u8] {
    from.get(run_len(from, while_is)..).unwrap_or_default()
}

//! PostgreSQL's lexical rules over bytes: the manual's "Lexical Structure", and `scan.l` where the manual is silent.

mod byte;
mod keyword;
mod literal;
#[cfg(test)]
mod tests;

use byte::Start;
use keyword::Lengths;

pub(crate) use byte::is_word_byte;
pub(crate) use keyword::Keyword;

use crate::hint::Hint;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A key word or an unquoted identifier.
    Word,
    /// `"…"`.
    QuotedName,
    /// `U&"…"`, with the `UESCAPE '…'` behind it, whose escapes nobody here decodes.
    EscapedName,
    /// `'…'` and every string with a prefix, `$tag$…$tag$` included.
    String,
    /// An unsigned number.
    Number,
    /// `$1`.
    Parameter,
    /// A run of operator characters.
    Operator,
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// `,`.
    Comma,
    /// `;`.
    Semicolon,
    /// `.`.
    Dot,
    /// `::`.
    Cast,
    /// `[`, `]`, `:`, `..` and bytes that no token of PostgreSQL starts with.
    Other,
}

/// A token: a piece of the text that is neither whitespace nor comment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub(crate) kind: TokenKind,
    /// The key word, if it is one that decides something here; [`Keyword::Other`] for every other token.
    pub(crate) keyword: Keyword,
    /// The text from here to its end.
    pub(crate) from: &'a [u8],
    /// In bytes.
    len: usize,
}

impl<'a> Token<'a> {
    /// As written, quotes included.
    #[inline]
    pub(crate) fn text(&self) -> &'a [u8] {
        self.from.get(..self.len).unwrap_or(self.from)
    }

    /// The text behind it.
    pub(crate) fn behind(&self) -> &'a [u8] {
        self.from.get(self.len..).unwrap_or_default()
    }

    /// Whether it is a word of the grammar, and no function's name, before a `(`.
    pub(crate) fn opens_parenthesis(&self) -> bool {
        self.kind == TokenKind::Word && keyword::opens_parenthesis(self.from, self.len)
    }

    /// Whether it can name something.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.kind, TokenKind::Word | TokenKind::QuotedName | TokenKind::EscapedName)
    }
}

/// Whether an operator goes on with `rest`, or may.
#[inline(always)]
fn goes_on_operator(rest: &[u8]) -> bool {
    rest.first().is_some_and(|first| matches!(Start::of(*first), Start::Operator | Start::Comment))
}

/// Cuts a text into tokens; each byte is looked at once, twice between two strings. Cheap to clone: a clone looks ahead.
#[derive(Debug, Clone)]
pub(crate) struct Tokenizer<'a> {
    rest: &'a [u8],
    /// The last eight bytes of the text as a number, the last one highest; zeros before a text that is shorter.
    last_eight: u64,
    hint: Option<Hint<'a>>,
}

impl<'a> Tokenizer<'a> {
    /// From the start of `text`.
    #[inline]
    pub(crate) fn new(text: &'a [u8]) -> Self {
        let last_eight = match text.last_chunk() {
            Some(last) => u64::from_le_bytes(*last),
            None => text.iter().fold(0, |last, byte| last >> 8 | u64::from(*byte) << 56),
        };
        Self { rest: text, last_eight, hint: None }
    }

    /// What the comments passed so far ask for.
    pub(crate) fn hint(&self) -> Option<Hint<'a>> {
        self.hint
    }

    /// The next token; `None` at the end of the text.
    pub(crate) fn next(&mut self) -> Option<Token<'a>> {
        self.next_plain().or_else(|| self.next_of_any_sort())
    }

    /// [`Self::next`], whatever it is and whatever stands before it.
    #[inline(never)]
    fn next_of_any_sort(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        if let Some(token) = self.next_plain() {
            return Some(token);
        }
        let from = self.rest;
        let first = *from.first()?;
        let (kind, len) = match Start::of(first) {
            Start::Word => return Some(self.prefixed(from)),
            Start::Digit => (TokenKind::Number, literal::number_len(from)),
            Start::Comment | Start::Operator => (TokenKind::Operator, literal::operator_len(from)),
            _ => Self::symbol(first, from),
        };
        self.rest = literal::behind(from, len);
        Some(Token { kind, keyword: Keyword::Other, from, len })
    }

    /// The next token if it is one of those of which most of a text consists and stands behind nothing but a space: a word, a
    /// name or string in quotes without a prefix, a whole number, an operator of one byte, or `,`, `;`, `.` and parentheses.
    /// Otherwise it stays, for [`Self::next`]. For the loops in which most of the time is spent: it becomes a part of them.
    #[inline(always)]
    pub(crate) fn next_plain(&mut self) -> Option<Token<'a>> {
        let mut from = self.rest;
        if let [b' ', after @ ..] = from {
            from = after;
        }
        let &[first, ref after @ ..] = from else { return None };
        if let Some(lengths) = Lengths::of(first) {
            let rest = literal::after_word(after);
            let len = from.len().wrapping_sub(rest.len());
            if len == 1 && matches!(rest, [b'\'' | b'&', ..]) {
                return None;
            }
            let keyword = self.keyword(lengths, from, len);
            self.rest = rest;
            return Some(Token { kind: TokenKind::Word, keyword, from, len });
        }
        let (kind, rest) = match Start::of(first) {
            Start::Comma => (TokenKind::Comma, after),
            Start::Digit => (TokenKind::Number, literal::after_digits(after)?),
            Start::Operator | Start::Comment if !goes_on_operator(after) => (TokenKind::Operator, after),
            Start::Quote => (TokenKind::String, literal::after_quoted(after, b'\'')),
            Start::NameQuote => (TokenKind::QuotedName, literal::after_quoted(after, b'"')),
            Start::Open => (TokenKind::Open, after),
            Start::Close => (TokenKind::Close, after),
            Start::Dot if !matches!(after, [b'0'..=b'9' | b'.', ..]) => (TokenKind::Dot, after),
            Start::Semicolon => (TokenKind::Semicolon, after),
            _ => return None,
        };
        self.rest = rest;
        Some(Token { kind, keyword: Keyword::Other, from, len: from.len().wrapping_sub(rest.len()) })
    }

    /// Which key word the first `len` bytes of `from`, a word, are.
    #[inline(always)]
    fn keyword(&self, lengths: Lengths, from: &[u8], len: usize) -> Keyword {
        if lengths.may_be_keyword(len) {
            Keyword::of(self.first_eight(from), from, len)
        } else {
            Keyword::Other
        }
    }

    /// The first eight bytes of `from`, which is the end of the text, as a number, the first one lowest; zeros behind a
    /// shorter one.
    #[inline(always)]
    fn first_eight(&self, from: &[u8]) -> u64 {
        match from.first_chunk() {
            Some(first) => u64::from_le_bytes(*first),
            None => {
                let bits = u32::try_from(from.len()).unwrap_or(0).wrapping_mul(8);
                self.last_eight.wrapping_shr(u64::BITS.wrapping_sub(bits))
            }
        }
    }

    /// The token that `from` starts with: a letter that may be a prefix.
    #[cold]
    fn prefixed(&mut self, from: &'a [u8]) -> Token<'a> {
        let (kind, mut len) = literal::prefixed(from);
        self.rest = from.get(len..).unwrap_or_default();
        if kind == TokenKind::EscapedName {
            self.pass_uescape();
            len = from.len().saturating_sub(self.rest.len());
        }
        Token { kind, keyword: Keyword::Other, from, len }
    }

    /// Passes `UESCAPE '…'`, if that comes next: it belongs to the name before it. Not by way of [`Self::next`], which
    /// a row of escaped names would make recursive.
    #[cold]
    fn pass_uescape(&mut self) {
        let mut ahead = self.clone();
        ahead.skip_blanks();
        let Some((word, rest)) = ahead.rest.split_at_checked(b"uescape".len()) else { return };
        if !word.eq_ignore_ascii_case(b"uescape") || rest.first().is_some_and(|b| is_word_byte(*b)) {
            return;
        }
        ahead.rest = rest;
        ahead.skip_blanks();
        let (kind, len) = match ahead.rest {
            [b'a'..=b'z' | b'A'..=b'Z', ..] => literal::prefixed(ahead.rest),
            [first, ..] => Self::symbol(*first, ahead.rest), // of interest only if it is a string
            [] => return,
        };
        if kind == TokenKind::String {
            ahead.rest = ahead.rest.get(len..).unwrap_or_default();
            *self = ahead;
        }
    }

    /// Passes whitespace and comments.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest;
            match rest {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, after @ ..] => self.rest = after,
                [b'-' | b'/', ..] if self.skip_comment(rest) => {}
                _ => return,
            }
        }
    }

    /// The token that `from` starts with, neither a word nor a comment, and its length.
    fn symbol(first: u8, from: &[u8]) -> (TokenKind, usize) {
        match first {
            b'.' => match from {
                [_, b'0'..=b'9', ..] => (TokenKind::Number, literal::number_len(from)),
                [_, b'.', ..] => (TokenKind::Other, 2),
                _ => (TokenKind::Dot, 1),
            },
            b'\'' => (TokenKind::String, literal::quoted_len(from, b'\'')),
            b'"' => (TokenKind::QuotedName, literal::quoted_len(from, b'"')),
            b'$' => literal::dollar(from),
            b':' if from.get(1) == Some(&b':') => (TokenKind::Cast, 2),
            _ => (TokenKind::Other, 1),
        }
    }

    /// The first token of the next statement, empty ones passed.
    #[inline(always)]
    pub(crate) fn next_first(&mut self) -> Option<Token<'a>> {
        while !self.rest.is_empty() {
            match self.next_plain().or_else(|| self.next_of_any_sort()) {
                Some(token) if token.kind == TokenKind::Semicolon => {}
                first => return first,
            }
        }
        None
    }

    /// The token after this point, which stays where it is.
    pub(crate) fn peek(&self) -> Option<Token<'a>> {
        self.clone().next()
    }

    /// Whether nothing follows, not even a blank.
    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte that is no space.
    pub(crate) fn next_byte(&self) -> Option<u8> {
        self.rest.iter().copied().find(|b| *b != b' ')
    }

    /// Passes the rest of a statement that holds nothing more of interest, its `;` included.
    pub(crate) fn skip_statement(&mut self) {
        while self
            .next_plain()
            .or_else(|| self.next_of_any_sort())
            .is_some_and(|token| token.kind != TokenKind::Semicolon)
        {}
    }

    /// Passes the comment that `from` starts with, if it does.
    #[cold]
    fn skip_comment(&mut self, from: &'a [u8]) -> bool {
        match from {
            [b'-', b'-', ..] => self.rest = literal::after_line_comment(from),
            [b'/', b'*', inside @ ..] => {
                let behind = literal::after_block_comment(inside);
                self.rest = behind.unwrap_or_default();
                // one that does not end asks for nothing: PostgreSQL refuses the text, wherever it runs
                if let Some(asked) = behind.and_then(|_| Hint::read(inside)) {
                    self.hint = Some(self.hint.map_or(asked, |earlier| earlier.or(asked)));
                }
            }
            _ => return false,
        }
        true
    }
}

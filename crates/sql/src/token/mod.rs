//! PostgreSQL's lexical rules over bytes: the manual's "Lexical Structure", and `scan.l` where the manual is silent.

mod keyword;
mod literal;
#[cfg(test)]
mod tests;

pub(crate) use keyword::Keyword;
pub(crate) use literal::is_word_byte;

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

/// Cuts a text into tokens; each byte is looked at once, twice between two strings. Cheap to clone: a clone looks ahead.
#[derive(Debug, Clone)]
pub(crate) struct Tokenizer<'a> {
    rest: &'a [u8],
    hint: Option<Hint<'a>>,
}

impl<'a> Tokenizer<'a> {
    /// From the start of `text`.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { rest: text, hint: None }
    }

    /// What the comments passed so far ask for.
    pub(crate) fn hint(&self) -> Option<Hint<'a>> {
        self.hint
    }

    /// The next token; `None` at the end of the text.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let from = self.rest;
            let &[first, ref after @ ..] = from else { return None };
            // spaces and words are most of a text: a branch each, so that the table below sees only the rest
            if first == b' ' {
                self.rest = after;
                continue;
            }
            if matches!(first, b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..) {
                let (kind, mut len) = literal::word(from);
                self.rest = from.get(len..).unwrap_or_default();
                let keyword = match kind {
                    TokenKind::Word => Keyword::of(from, len),
                    TokenKind::EscapedName => {
                        self.pass_uescape();
                        len = from.len().saturating_sub(self.rest.len());
                        Keyword::Other
                    }
                    _ => Keyword::Other,
                };
                return Some(Token { kind, keyword, from, len });
            }
            let (kind, len) = match first {
                b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                    self.rest = after;
                    continue;
                }
                b'-' | b'/' if self.skip_comment(from) => continue,
                _ => Self::symbol(first, from),
            };
            self.rest = from.get(len..).unwrap_or_default();
            return Some(Token { kind, keyword: Keyword::Other, from, len });
        }
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
            [b'a'..=b'z' | b'A'..=b'Z', ..] => literal::word(ahead.rest),
            [first, ..] => Self::symbol(*first, ahead.rest),
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
    #[inline]
    fn symbol(first: u8, from: &[u8]) -> (TokenKind, usize) {
        match first {
            b',' => (TokenKind::Comma, 1),
            b'(' => (TokenKind::Open, 1),
            b')' => (TokenKind::Close, 1),
            b';' => (TokenKind::Semicolon, 1),
            b'0'..=b'9' => (TokenKind::Number, literal::number_len(from)),
            b'.' => match from {
                [_, b'0'..=b'9', ..] => (TokenKind::Number, literal::number_len(from)),
                [_, b'.', ..] => (TokenKind::Other, 2),
                _ => (TokenKind::Dot, 1),
            },
            b'\'' => (TokenKind::String, literal::quoted_len(from, b'\'')),
            b'"' => (TokenKind::QuotedName, literal::quoted_len(from, b'"')),
            b'$' => literal::dollar(from),
            b':' if from.get(1) == Some(&b':') => (TokenKind::Cast, 2),
            _ => match literal::operator_len(from) {
                0 => (TokenKind::Other, 1),
                len => (TokenKind::Operator, len),
            },
        }
    }

    /// The token after this point, which stays where it is.
    pub(crate) fn peek(&self) -> Option<Token<'a>> {
        self.clone().next()
    }

    /// The next byte that is no space.
    pub(crate) fn next_byte(&self) -> Option<u8> {
        self.rest.iter().copied().find(|b| *b != b' ')
    }

    /// Passes the rest of a statement that holds nothing more of interest, its `;` included.
    pub(crate) fn skip_statement(&mut self) {
        while self.next().is_some_and(|token| token.kind != TokenKind::Semicolon) {}
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

//! What two executions of one statement have in common.

use crate::token::{Token, TokenKind, Tokenizer};

/// A hash of the statement without its literals and parameters, the same in every process and version of pgherd.
///
/// Case of unquoted words, whitespace, comments, a list's number of literals (`IN (1, 2)`, `IN (1, 2, 3)`) and `;` at
/// the end make no difference. It remembers statements that a standby refused, and is no defence against somebody
/// who looks for collisions: at worst such a statement goes to the primary.
#[must_use]
pub fn shape(text: &[u8]) -> u64 {
    let mut hash = Fnv::new();
    let mut tokens = Tokenizer::new(text);
    let mut held = Held::Nothing;
    let mut previous = TokenKind::Semicolon;
    while let Some(token) = tokens.next() {
        let ended = previous == TokenKind::Semicolon && !hash.is_new();
        previous = token.kind;
        if token.kind == TokenKind::Semicolon {
            if held == Held::Comma {
                hash.separator(b',');
            }
            held = Held::Nothing;
            continue;
        }
        if ended {
            hash.separator(b';');
        }
        held = match (token.kind, held) {
            (TokenKind::String | TokenKind::Number | TokenKind::Parameter, Held::Nothing) => {
                hash.separator(b'?');
                Held::Literal
            }
            (TokenKind::String | TokenKind::Number | TokenKind::Parameter, _) => Held::Literal,
            (TokenKind::Comma, Held::Literal) => Held::Comma,
            (_, held) => {
                if held == Held::Comma {
                    hash.separator(b',');
                }
                hash.token(token);
                Held::Nothing
            }
        };
    }
    if held == Held::Comma {
        hash.separator(b',');
    }
    hash.0
}

/// What of a list of literals has been passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// The last token was no literal.
    Nothing,
    /// It was one.
    Literal,
    /// It was the comma behind one, which counts only if no literal follows.
    Comma,
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn is_new(&self) -> bool {
        self.0 == Self::new().0
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn token(&mut self, token: Token<'_>) {
        for byte in token.text() {
            self.byte(if token.kind == TokenKind::Word { byte.to_ascii_lowercase() } else { *byte });
        }
        self.byte(0); // in no token: keeps `a b` from `ab`
    }

    fn separator(&mut self, byte: u8) {
        self.byte(byte);
        self.byte(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(a: &str, b: &str) {
        assert_eq!(shape(a.as_bytes()), shape(b.as_bytes()), "{a}\n{b}");
    }

    #[track_caller]
    fn different(a: &str, b: &str) {
        assert_ne!(shape(a.as_bytes()), shape(b.as_bytes()), "{a}\n{b}");
    }

    #[test]
    fn literals_parameters_case_and_layout_make_no_difference() {
        same("select * from t where a = 1", "SELECT *\n FROM t -- all\nWHERE a = 'x';");
        same("select f($1, $2)", "select f(E'a\\'b', $$c$$)");
        same("select 1 from t where a in (1, 2, 3)", "select 2 from t where a in (4)");
    }

    #[test]
    fn words_quotes_and_structure_do() {
        different("select a from t", "select b from t");
        different("select \"A\" from t", "select \"a\" from t");
        different("select a b", "select ab");
        different("select 1, a", "select 1 a");
        different("select 1; select 2", "select 1");
        different("select 1,", "select 1");
    }

    #[test]
    fn the_hash_stays_what_it_was() {
        assert_eq!(shape(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(shape(b"/* nothing */ ;;"), shape(b""));
    }
}

//! What a byte may be the start of, by table: two tests of a byte take longer than one look.

/// What begins with a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// A word or, where that is a prefix, a string or a name.
    Word,
    /// Nothing: whitespace.
    Blank,
    /// `,`.
    Comma,
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// `;`.
    Semicolon,
    /// A number.
    Digit,
    /// An operator.
    Operator,
    /// A comment or an operator.
    Comment,
    /// A string without a prefix.
    Quote,
    /// A name in quotes.
    NameQuote,
    /// `.`, or what begins with one.
    Dot,
    /// Something that shows later, or nothing that PostgreSQL knows.
    Other,
}

impl Start {
    /// What begins with `byte`.
    #[inline(always)]
    pub(super) fn of(byte: u8) -> Self {
        const STARTS: &[Start; 256] = &starts();
        STARTS.get(usize::from(byte)).copied().unwrap_or(Self::Other)
    }

    const fn find(byte: u8) -> Self {
        match byte {
            _ if begins_word(byte) => Self::Word,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Self::Blank,
            b',' => Self::Comma,
            b'(' => Self::Open,
            b')' => Self::Close,
            b';' => Self::Semicolon,
            b'\'' => Self::Quote,
            b'"' => Self::NameQuote,
            b'.' => Self::Dot,
            b'0'..=b'9' => Self::Digit,
            b'-' | b'/' => Self::Comment,
            b'+' | b'*' | b'<' | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|'
            | b'`' | b'?' => Self::Operator,
            _ => Self::Other,
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "the compiler runs it")]
const fn starts() -> [Start; 256] {
    let mut table = [Start::Other; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = Start::find(byte);
        match byte.checked_add(1) {
            Some(next) => byte = next,
            None => break table,
        }
    }
}

/// [`is_word_byte`], by table.
#[inline(always)]
pub(super) fn goes_on_word(byte: u8) -> bool {
    const WORD_BYTES: &[bool; 256] = &word_bytes();
    WORD_BYTES.get(usize::from(byte)).copied().unwrap_or(false)
}

#[expect(clippy::indexing_slicing, reason = "the compiler runs it")]
const fn word_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = is_word_byte(byte);
        match byte.checked_add(1) {
            Some(next) => byte = next,
            None => break table,
        }
    }
}

/// Whether a word begins with `b`.
pub(super) const fn begins_word(b: u8) -> bool {
    matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..)
}

/// Whether a word goes on with `b`.
pub(crate) const fn is_word_byte(b: u8) -> bool {
    matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' | 0x80..)
}

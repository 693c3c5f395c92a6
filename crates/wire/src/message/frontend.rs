//! What clients send after startup: views that borrow the body, and writers of what the proxy itself sends.

use crate::{Malformed, Reader};

use super::backend::finish;

/// Parse: a prepared statement's name, text and parameter types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty is the unnamed one.
    pub statement: &'a [u8],
    /// The statement's text.
    pub query: &'a [u8],
    /// Count and OIDs of the declared parameter types, as on the wire.
    pub parameter_types: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`Malformed`] when a string is unterminated or the type list does not fill the body exactly.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let (statement, query) = (reader.cstr()?, reader.cstr()?);
        let parameter_types = reader.rest();
        let count = usize::from(reader.u16()?);
        reader.bytes(count.saturating_mul(4))?;
        reader.end()?;
        Ok(Self { statement, query, parameter_types })
    }

    /// Appends the message with this content.
    pub fn write(&self, out: &mut Vec<u8>) {
        finish(out, b'P', |out| {
            push_cstr(out, self.statement);
            push_cstr(out, self.query);
            out.extend_from_slice(self.parameter_types);
        });
    }
}

/// The names at the head of a Bind; the parameters stay where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindNames<'a> {
    /// The portal to make; empty is the unnamed one.
    pub portal: &'a [u8],
    /// The prepared statement to bind.
    pub statement: &'a [u8],
    /// Length in bytes of both names with their NULs.
    pub len: usize,
}

impl<'a> BindNames<'a> {
    /// Reads the names from as much of a Bind body as has arrived.
    ///
    /// # Errors
    /// [`Malformed`] when the names are not all there.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let (portal, statement) = (reader.cstr()?, reader.cstr()?);
        Ok(Self { portal, statement, len: body.len().saturating_sub(reader.rest().len()) })
    }
}

/// What a Describe or Close is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement of this name.
    Statement(&'a [u8]),
    /// A portal of this name.
    Portal(&'a [u8]),
}

impl<'a> Target<'a> {
    /// Reads a whole body of Describe or Close.
    ///
    /// # Errors
    /// [`Malformed`] for a kind other than `S` and `P`, a missing NUL or bytes after it.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let name = reader.cstr()?;
        reader.end()?;
        match kind {
            b'S' => Ok(Self::Statement(name)),
            b'P' => Ok(Self::Portal(name)),
            _ => Err(Malformed),
        }
    }

    /// Appends a Describe (`b'D'`) or Close (`b'C'`) of this target.
    pub fn write(&self, tag: u8, out: &mut Vec<u8>) {
        let (kind, name) = match *self {
            Self::Statement(name) => (b'S', name),
            Self::Portal(name) => (b'P', name),
        };
        finish(out, tag, |out| {
            out.push(kind);
            push_cstr(out, name);
        });
    }
}

/// The text of a Query body.
///
/// # Errors
/// [`Malformed`] when the NUL is missing or not the last byte.
pub fn query_text(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let text = reader.cstr()?;
    reader.end()?;
    Ok(text)
}

/// Appends a Query; `text` holds no NUL.
pub fn query(text: &[u8], out: &mut Vec<u8>) {
    finish(out, b'Q', |out| push_cstr(out, text));
}

/// Appends a Sync.
pub fn sync(out: &mut Vec<u8>) {
    finish(out, b'S', |_| {});
}

/// Appends a Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    finish(out, b'X', |_| {});
}

/// Appends a PasswordMessage, SASLInitialResponse or SASLResponse with this body.
pub fn password(body: &[u8], out: &mut Vec<u8>) {
    finish(out, b'p', |out| out.extend_from_slice(body));
}

/// Appends the five bytes of a head for a body of `body_len` bytes that follows by other means.
pub fn header(tag: u8, body_len: usize, out: &mut Vec<u8>) {
    out.push(tag);
    let length = u32::try_from(body_len.saturating_add(4)).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
}

pub(super) fn push_cstr(out: &mut Vec<u8>, text: &[u8]) {
    debug_assert!(!text.contains(&0), "a NUL would end the string early");
    out.extend_from_slice(text);
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parse_reads_back_as_written() {
        let parse = Parse { statement: b"s1", query: b"select $1", parameter_types: &[0, 1, 0, 0, 0, 23] };
        let mut out = Vec::new();
        parse.write(&mut out);
        assert_eq!(Parse::read(out.get(5..).unwrap()), Ok(parse));
    }

    #[test]
    fn a_parse_whose_type_count_lies_is_malformed() {
        assert_eq!(Parse::read(b"s\0select 1\0\x7f\xff"), Err(Malformed));
        assert_eq!(Parse::read(b"s\0select 1\0\0\0more"), Err(Malformed));
        assert_eq!(Parse::read(b"s\0select 1"), Err(Malformed));
    }

    #[test]
    fn a_query_must_end_with_its_only_nul() {
        assert_eq!(query_text(b"select 1\0"), Ok(&b"select 1"[..]));
        assert_eq!(query_text(b"select 1"), Err(Malformed));
        assert_eq!(query_text(b"select\0 1\0"), Err(Malformed));
    }

    #[test]
    fn the_names_of_a_bind_are_read_from_its_head_alone() {
        let names = BindNames::read(b"p\0stmt\0\0\0").unwrap();
        assert_eq!((names.portal, names.statement, names.len), (&b"p"[..], &b"stmt"[..], 7));
        assert_eq!(BindNames::read(b"p\0stm"), Err(Malformed));
    }
}

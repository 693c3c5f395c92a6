//! Message heads: a tag byte and a length, then the body (manual, "Message Formats").

/// Bytes of a message before its body: tag and length.
pub const HEADER_LEN: usize = 5;

/// The longest message PostgreSQL itself accepts or sends: its allocation limit of 1 GiB less one byte
/// (`MaxAllocSize`), the length field included.
pub const MESSAGE_LIMIT: u32 = 0x3fff_ffff;

/// Who sent a message; the tags differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Client to server.
    Frontend,
    /// Server to client.
    Backend,
}

impl Direction {
    /// Whether PostgreSQL defines `tag` for this direction after the startup phase.
    #[must_use]
    pub fn knows(self, tag: u8) -> bool {
        match self {
            Direction::Frontend => {
                matches!(
                    tag,
                    b'B' | b'C'
                        | b'D'
                        | b'E'
                        | b'F'
                        | b'H'
                        | b'P'
                        | b'Q'
                        | b'S'
                        | b'X'
                        | b'c'
                        | b'd'
                        | b'f'
                        | b'p'
                )
            }
            Direction::Backend => matches!(
                tag,
                b'1' | b'2'
                    | b'3'
                    | b'A'
                    | b'C'
                    | b'D'
                    | b'E'
                    | b'G'
                    | b'H'
                    | b'I'
                    | b'K'
                    | b'N'
                    | b'R'
                    | b'S'
                    | b'T'
                    | b'V'
                    | b'W'
                    | b'Z'
                    | b'c'
                    | b'd'
                    | b'n'
                    | b's'
                    | b't'
                    | b'v'
            ),
        }
    }
}

/// A message's tag and the length of its body in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message type.
    pub tag: u8,
    /// Bytes that follow the five of the header.
    pub body_len: u32,
}

/// Bytes that are no message. The stream they came from has lost its boundaries and must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field counts itself, so it is never under four.
    #[error("message {tag:#04x} declares a length of {length}")]
    BadLength {
        /// The message type.
        tag: u8,
        /// What the length field said.
        length: i32,
    },
    /// Longer than the limit; known before any of the body is kept.
    #[error("message {tag:#04x} of {length} bytes is over the limit of {limit}")]
    Oversized {
        /// The message type.
        tag: u8,
        /// What the length field said.
        length: u32,
        /// The limit it broke.
        limit: u32,
    },
    /// No message of this direction has this tag.
    #[error("unknown message type {tag:#04x}")]
    UnknownTag {
        /// The offending byte.
        tag: u8,
    },
}

impl Header {
    /// Reads the five bytes of a message head.
    ///
    /// # Errors
    /// [`FrameError`] when the tag is unknown to `direction`, or the length is under four or over `limit`.
    #[inline]
    pub fn parse(head: [u8; HEADER_LEN], direction: Direction, limit: u32) -> Result<Self, FrameError> {
        let [tag, length @ ..] = head;
        if !direction.knows(tag) {
            return Err(FrameError::UnknownTag { tag });
        }
        let length = u32::from_be_bytes(length);
        match length.checked_sub(4) {
            Some(body_len) if length <= limit => Ok(Self { tag, body_len }),
            Some(_) if i32::try_from(length).is_ok() => Err(FrameError::Oversized { tag, length, limit }),
            _ => Err(FrameError::BadLength { tag, length: length.cast_signed() }),
        }
    }

    /// Bytes of the whole message, header included.
    #[must_use]
    pub fn total_len(self) -> usize {
        (self.body_len as usize).saturating_add(HEADER_LEN)
    }
}

/// The first message of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek<'a> {
    /// Not even its head has arrived.
    Nothing,
    /// The head and `body`, the part of its body that has arrived.
    Partial {
        /// Tag and declared length.
        header: Header,
        /// What is there of the body, shorter than declared.
        body: &'a [u8],
    },
    /// All of it.
    Whole {
        /// Tag and length.
        header: Header,
        /// The whole body.
        body: &'a [u8],
    },
}

/// Looks at the first message of `input`.
///
/// # Errors
/// [`FrameError`] as soon as the head shows it, before any body is needed.
#[inline]
pub fn peek(input: &[u8], direction: Direction, limit: u32) -> Result<Peek<'_>, FrameError> {
    let Some((&head, rest)) = input.split_first_chunk::<HEADER_LEN>() else {
        return Ok(Peek::Nothing);
    };
    let header = Header::parse(head, direction, limit)?;
    Ok(match rest.get(..header.body_len as usize) {
        Some(body) => Peek::Whole { header, body },
        None => Peek::Partial { header, body: rest },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: Result<Peek<'_>, FrameError>) {
        assert_eq!(peek(input, Direction::Frontend, 100), expected);
    }

    #[test]
    fn a_message_is_whole_only_with_its_last_byte() {
        let header = Header { tag: b'Q', body_len: 2 };
        check(b"Q\0\0\0", Ok(Peek::Nothing));
        check(b"Q\0\0\0\x06", Ok(Peek::Partial { header, body: b"" }));
        check(b"Q\0\0\0\x06a", Ok(Peek::Partial { header, body: b"a" }));
        check(b"Q\0\0\0\x06a\0S", Ok(Peek::Whole { header, body: b"a\0" }));
    }

    #[test]
    fn a_lying_length_is_refused_at_the_head() {
        check(b"Q\0\0\0\x03", Err(FrameError::BadLength { tag: b'Q', length: 3 }));
        check(b"Q\xff\xff\xff\xff", Err(FrameError::BadLength { tag: b'Q', length: -1 }));
        check(b"Q\0\0\0\x65", Err(FrameError::Oversized { tag: b'Q', length: 101, limit: 100 }));
        check(
            b"Q\x7f\xff\xff\xff",
            Err(FrameError::Oversized { tag: b'Q', length: 0x7fff_ffff, limit: 100 }),
        );
    }

    #[test]
    fn a_tag_of_the_other_direction_is_unknown() {
        check(b"T\0\0\0\x04", Err(FrameError::UnknownTag { tag: b'T' }));
        check(b"GET /", Err(FrameError::UnknownTag { tag: b'G' }));
    }
}

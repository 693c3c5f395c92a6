/// A message body whose inner structure contradicts itself: a missing NUL, a count that outruns the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message body")]
pub struct Malformed;

/// Checked reads from a slice that was already cut to the message's outer length.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `body`.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `n` bytes.
    ///
    /// # Errors
    /// [`Malformed`] when fewer are left.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Malformed`] at the end.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        Ok(first)
    }

    /// Takes a big-endian 16-bit integer.
    ///
    /// # Errors
    /// [`Malformed`] when fewer than two bytes are left.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*head))
    }

    /// Takes a big-endian 32-bit integer.
    ///
    /// # Errors
    /// [`Malformed`] when fewer than four bytes are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*head))
    }

    /// Takes a NUL-terminated string, without its NUL.
    ///
    /// # Errors
    /// [`Malformed`] when no NUL follows.
    pub fn cstr(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.rest.iter().position(|&b| b == 0).ok_or(Malformed)?;
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Malformed`] when bytes are left over.
    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_without_its_nul_is_malformed() {
        assert_eq!(Reader::new(b"abc").cstr(), Err(Malformed));
        assert_eq!(Reader::new(b"abc\0d").cstr(), Ok(&b"abc"[..]));
    }

    #[test]
    fn a_count_beyond_the_body_is_malformed() {
        assert_eq!(Reader::new(b"abc").bytes(4), Err(Malformed));
        assert_eq!(Reader::new(&[0, 0, 1]).u32(), Err(Malformed));
    }
}

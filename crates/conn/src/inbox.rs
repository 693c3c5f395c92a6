use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use wire::frame::{self, Direction, FrameError, HEADER_LEN, Peek};

/// Bytes asked for at once, so that a length field alone never allocates more.
const CHUNK: usize = 16 * 1024;

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection failed or ended.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What arrived is no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// One message of a server.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Bytes,
}

/// Collects a server's messages without ever reading past the end of one, so a connection can change hands after
/// any of them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// The beginning of the next message.
    partial: BytesMut,
}

impl Inbox {
    /// Reads the next message, of at most `limit` bytes by its length field.
    ///
    /// # Cancel safety
    /// What was read of a message is kept for the next call.
    pub(crate) async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        limit: u32,
    ) -> Result<Message, ReadError> {
        loop {
            let missing = match frame::peek(&self.partial, Direction::Backend, limit)? {
                Peek::Nothing => HEADER_LEN.saturating_sub(self.partial.len()),
                Peek::Partial { header, body } => (header.body_len as usize).saturating_sub(body.len()),
                Peek::Whole { header, .. } => {
                    let mut message = self.partial.split_to(header.total_len());
                    message.advance(HEADER_LEN);
                    return Ok(Message { tag: header.tag, body: message.freeze() });
                }
            };
            let step = missing.min(CHUNK);
            self.partial.reserve(step);
            if (&mut *stream).take(step as u64).read_buf(&mut self.partial).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_that_is_cancelled_at_every_byte_loses_nothing() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let mut inbox = Inbox::default();
        for byte in *b"S\0\0\0\x08a\0b\0" {
            let cancelled = tokio::time::timeout(Duration::from_millis(1), inbox.next(&mut near, 100)).await;
            assert!(cancelled.is_err());
            far.write_all(&[byte]).await.unwrap();
        }
        let message = inbox.next(&mut near, 100).await.unwrap();
        assert_eq!((message.tag, &*message.body), (b'S', &b"a\0b\0"[..]));
    }

    #[tokio::test]
    async fn nothing_after_a_message_is_read() {
        let mut input = &b"Z\0\0\0\x05Inext"[..];
        assert_eq!(Inbox::default().next(&mut input, 100).await.unwrap().tag, b'Z');
        assert_eq!(input, b"next");
    }

    #[tokio::test]
    async fn a_claimed_length_is_neither_waited_for_nor_allocated() {
        let mut inbox = Inbox::default();
        let error = inbox.next(&mut &b"D\x7f\0\0\0"[..], 1000).await.unwrap_err();
        assert!(matches!(error, ReadError::Frame(FrameError::Oversized { .. })));
        let mut inbox = Inbox::default();
        inbox.next(&mut &b"D\x3f\0\0\0x"[..], frame::MESSAGE_LIMIT).await.unwrap_err();
        assert!(inbox.partial.capacity() < 100_000);
    }
}

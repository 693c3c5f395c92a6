//! Moving bytes without owning buffers: what a peer does not take at once is kept, and only that.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use conn::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once. Large enough for a whole flush of PostgreSQL (8 KiB) many times over.
pub(crate) const READ_BUFFER: usize = 64 * 1024;

/// Sends `bytes` behind what `backlog` holds; what `stream` does not take now is added to it.
///
/// # Errors
/// The stream's.
#[inline]
pub(crate) fn send(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    backlog: &mut BytesMut,
    mut bytes: &[u8],
) -> io::Result<()> {
    while backlog.is_empty() && !bytes.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => bytes = &bytes[n..],
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    backlog.extend_from_slice(bytes);
    if stream.is_tls()
        && backlog.is_empty()
        && let Poll::Ready(Err(error)) = Pin::new(stream).poll_flush(cx)
    {
        return Err(error);
    }
    Ok(())
}

/// Sends what `backlog` holds; true when nothing is left of it. Frees its memory then.
///
/// # Errors
/// The stream's.
#[inline]
pub(crate) fn drain(cx: &mut Context<'_>, stream: &mut Stream, backlog: &mut BytesMut) -> io::Result<bool> {
    if backlog.is_empty() && !stream.is_tls() {
        return Ok(true);
    }
    while !backlog.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, backlog) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => backlog.advance(n),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Ok(false),
        }
        if backlog.is_empty() {
            *backlog = BytesMut::new();
        }
    }
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(Err(error)) => Err(error),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(true),
    }
}

/// Reads once into `buffer`: the number of bytes, 0 at the end of the stream.
#[inline]
pub(crate) fn poll_read(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// A message stream on its way from input to output: most of it passes as it is, some of it is replaced. Nothing is
/// copied until the first replacement.
#[derive(Debug)]
pub(crate) struct Splice<'a> {
    input: &'a [u8],
    /// Where the input that was not copied yet begins.
    from: usize,
    /// Everything before that, with its replacements.
    out: &'a mut Vec<u8>,
}

impl<'a> Splice<'a> {
    /// Begins with nothing passed. `out` is emptied.
    pub(crate) fn new(input: &'a [u8], out: &'a mut Vec<u8>) -> Self {
        out.clear();
        Self { input, from: 0, out }
    }

    /// Begins behind bytes that `out` holds already.
    pub(crate) fn behind(input: &'a [u8], out: &'a mut Vec<u8>) -> Self {
        Self { input, from: 0, out }
    }

    /// Passes the input up to `at` and skips what follows up to `to`; the returned buffer takes what stands instead.
    pub(crate) fn replace(&mut self, at: usize, to: usize) -> &mut Vec<u8> {
        self.out.extend_from_slice(self.input.get(self.from..at).unwrap_or_default());
        self.from = to;
        self.out
    }

    /// Passes the input up to `end`: the whole output, in two parts of which either may be empty.
    pub(crate) fn finish(self, end: usize) -> (&'a [u8], &'a [u8]) {
        /// A tail shorter than this is copied, which is cheaper than one more system call.
        const WORTH_A_WRITE: usize = 16 * 1024;
        let tail = self.input.get(self.from..end).unwrap_or_default();
        if self.out.is_empty() || tail.len() >= WORTH_A_WRITE {
            return (self.out, tail);
        }
        self.out.extend_from_slice(tail);
        (self.out, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replaced_passes_uncopied() {
        let mut out = Vec::new();
        let splice = Splice::new(b"abcdef", &mut out);
        assert_eq!(splice.finish(4), (&b""[..], &b"abcd"[..]));
    }

    #[test]
    fn replacements_stand_where_the_input_stood() {
        let mut out = Vec::new();
        let mut splice = Splice::new(b"abcdef", &mut out);
        splice.replace(1, 3).extend_from_slice(b"XY");
        splice.replace(4, 4).push(b'!');
        assert_eq!(splice.finish(6), (&b"aXYd!ef"[..], &b""[..]));
    }
}

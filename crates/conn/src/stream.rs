use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{client, server};

use crate::Socket;

/// A connection to a client or a server, encrypted or not. Unbuffered: a read of a plain one is a read of its socket.
///
/// A TLS stream buffers what is written until it is flushed.
#[derive(Debug)]
pub enum Stream {
    /// Not encrypted.
    Plain(Socket),
    /// With a client; we are the TLS server.
    ClientTls(Box<server::TlsStream<Socket>>),
    /// With a server; we are the TLS client.
    ServerTls(Box<client::TlsStream<Socket>>),
}

impl Stream {
    /// The socket underneath.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::ClientTls(stream) => stream.get_ref().0,
            Self::ServerTls(stream) => stream.get_ref().0,
        }
    }

    /// Moves it to the runtime that calls this; see [`Socket::rebind`].
    ///
    /// # Errors
    /// As [`Socket::rebind`].
    pub fn rebind(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.rebind(),
            Self::ClientTls(stream) => stream.get_mut().0.rebind(),
            Self::ServerTls(stream) => stream.get_mut().0.rebind(),
        }
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::ClientTls(_) | Self::ServerTls(_) => true,
        }
    }

    /// Ready when a read may bring something; else the task is woken when one may, without a system call. A TLS stream
    /// may hold what it has read, so it is always ready.
    #[inline]
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(socket) => socket.poll_read_ready(cx),
            Self::ClientTls(_) | Self::ServerTls(_) => Poll::Ready(()),
        }
    }

    /// This end's address; `None` for a Unix-domain socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket().local_addr()
    }
}

/// Whether bytes, or the end of the stream, are there to be read now. A byte is consumed if so: for connections that
/// are given up then.
pub(crate) fn has_input(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    let poll = Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
    matches!(poll, Poll::Ready(Ok(()))) && !buffer.filled().is_empty()
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::ClientTls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
            Self::ServerTls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::ClientTls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
            Self::ServerTls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::ClientTls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
            Self::ServerTls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::ClientTls(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Self::ServerTls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::ClientTls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Self::ServerTls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

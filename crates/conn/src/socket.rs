use std::{
    io,
    net::SocketAddr,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// A connected socket, non-blocking and registered with the runtime that made or [rebound](Socket::rebind) it.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
}

impl Socket {
    /// A TCP socket with the options that every connection here has: no delay, and keepalive that ends an idle
    /// connection to a vanished host after 30 s and three probes 10 s apart.
    ///
    /// TCP_USER_TIMEOUT is left alone: Linux (6.18, measured) also applies it to a peer that acknowledges every
    /// window probe but does not read, so a client that pauses in a result, or a COPY that waits for a lock, would
    /// be cut off. A vanished host with data in flight is found by the probes of `health` instead.
    ///
    /// # Errors
    /// If the options cannot be set, as on a socket that was reset already.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(10))
            .with_retries(3);
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Self::Tcp(stream))
    }

    /// Moves it to the runtime that calls this: a client is accepted on the control runtime and served by a worker's.
    /// No byte is lost; wakers of the old runtime are forgotten.
    ///
    /// # Errors
    /// If the process has no descriptor left or the runtime cannot watch it; the socket then stays where it was.
    pub fn rebind(&mut self) -> io::Result<()> {
        // By way of a second descriptor, so that there is no moment without a socket here. Dropping the old one
        // takes it off the old runtime's poll set.
        *self = match self {
            Self::Tcp(stream) => {
                let descriptor = stream.as_fd().try_clone_to_owned()?;
                Self::Tcp(TcpStream::from_std(descriptor.into())?)
            }
            Self::Unix(stream) => {
                let descriptor = stream.as_fd().try_clone_to_owned()?;
                Self::Unix(UnixStream::from_std(descriptor.into())?)
            }
        };
        Ok(())
    }

    /// Ready when a read may bring something; else the task is woken when one may. No system call.
    #[inline]
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        // an error comes out of the read
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx).map(drop),
            Self::Unix(stream) => stream.poll_read_ready(cx).map(drop),
        }
    }

    /// This end's address; `None` for a Unix-domain socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Waits for the first byte and leaves it unread; `None` at the end of the stream, or over a Unix-domain socket,
    /// where the kernel cannot be asked safely.
    ///
    /// # Cancel safety
    /// Nothing is consumed.
    pub(crate) async fn peek(&self) -> io::Result<Option<u8>> {
        match self {
            Self::Tcp(stream) => {
                let mut byte = [0];
                Ok((stream.peek(&mut byte).await? > 0).then_some(byte).map(|[byte]| byte))
            }
            Self::Unix(_) => Ok(None),
        }
    }
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The kernel's buffer is all there is.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

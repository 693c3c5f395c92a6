use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::{
    ListenAddress, Socket,
    unix_listener::{self, SocketFile},
};

/// Connections that the kernel keeps for us until they are accepted (capped by `net.core.somaxconn`).
const BACKLOG: i32 = 1024;

/// Accepts clients.
#[derive(Debug)]
pub struct Listener {
    inner: Inner,
    address: ListenAddress,
}

#[derive(Debug)]
enum Inner {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Removes the socket from the file system.
        file: SocketFile,
    },
}

impl Listener {
    /// Listens at `address`; port 0 chooses a free one. An IPv6 wildcard address takes IPv4 clients as well where the
    /// system allows it. A Unix-domain socket gets the mode `unix_mode`; one that is there already is replaced if
    /// nobody listens at it, and it is removed when the listener is dropped.
    ///
    /// # Errors
    /// If the address is taken or not this machine's, or the socket's directory cannot be written to.
    pub fn bind(address: &ListenAddress, unix_mode: u32) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => Self::bind_tcp(*address),
            ListenAddress::Unix(path) => {
                let (listener, file) = unix_listener::listen(path, unix_mode, BACKLOG)?;
                Ok(Self { inner: Inner::Unix { listener, file }, address: address.clone() })
            }
        }
    }

    fn bind_tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the last run's connections to leave TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        let inner = TcpListener::from_std(socket.into())?;
        let address = ListenAddress::Tcp(inner.local_addr()?);
        Ok(Self { inner: Inner::Tcp(inner), address })
    }

    /// Takes over a listening socket from another process. That of a Unix-domain socket is removed when the listener is
    /// dropped, as if it had been made here.
    ///
    /// # Errors
    /// If it does not listen at `address`, or the runtime cannot watch it.
    pub fn adopt(descriptor: OwnedFd, address: &ListenAddress) -> io::Result<Self> {
        let socket = socket2::Socket::from(descriptor);
        let found = socket.local_addr()?;
        let is_same = match address {
            // port 0 is any
            ListenAddress::Tcp(wanted) => found
                .as_socket()
                .is_some_and(|found| found.ip() == wanted.ip() && [0, found.port()].contains(&wanted.port())),
            ListenAddress::Unix(path) => found.as_pathname() == Some(path),
        };
        if !is_same || !socket.is_listener()? {
            let text = "the socket that was handed over listens somewhere else";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        socket.set_nonblocking(true)?;
        match address {
            ListenAddress::Tcp(_) => {
                let inner = TcpListener::from_std(socket.into())?;
                let address = ListenAddress::Tcp(inner.local_addr()?);
                Ok(Self { inner: Inner::Tcp(inner), address })
            }
            ListenAddress::Unix(path) => {
                let file = SocketFile::of(path)?;
                let listener = UnixListener::from_std(socket.into())?;
                Ok(Self { inner: Inner::Unix { listener, file }, address: address.clone() })
            }
        }
    }

    /// The socket, for another process.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.inner {
            Inner::Tcp(listener) => listener.as_fd(),
            Inner::Unix { listener, .. } => listener.as_fd(),
        }
    }

    /// Another process has taken the socket over: what stands in the file system is its own from now on.
    pub fn disown(&self) {
        if let Inner::Unix { file, .. } = &self.inner {
            file.disown();
        }
    }

    /// Moves a Unix-domain socket to another path in the same directory; clients are accepted from there.
    ///
    /// # Errors
    /// As of renaming a file.
    pub fn rename(&mut self, path: &Path) -> io::Result<()> {
        if let Inner::Unix { file, .. } = &mut self.inner {
            file.rename(path)?;
            self.address = ListenAddress::Unix(path.to_owned());
        }
        Ok(())
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Takes the next client; with its address, if it has one.
    ///
    /// # Errors
    /// Of one client, such as one that is gone again, or of the process, such as no free descriptor: then wait a
    /// moment before the next call.
    ///
    /// # Cancel safety
    /// No client is lost.
    pub async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match &self.inner {
            Inner::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Socket::tcp(stream)?, Some(address)))
            }
            Inner::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), None))
            }
        }
    }
}

use std::{io, net::SocketAddr};

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
        _file: SocketFile,
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
                Ok(Self { inner: Inner::Unix { listener, _file: file }, address: address.clone() })
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

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::net::TcpListener;

use crate::Socket;

/// Connections that the kernel keeps for us until they are accepted (capped by `net.core.somaxconn`).
const BACKLOG: i32 = 1024;

/// Accepts clients.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens at `address`; port 0 chooses a free one. An IPv6 wildcard address takes IPv4 clients as well where the
    /// system allows it.
    ///
    /// # Errors
    /// If the address is taken or not this machine's.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the last run's connections to leave TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        let inner = TcpListener::from_std(socket.into())?;
        let address = inner.local_addr()?;
        Ok(Self { inner, address })
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the next client.
    ///
    /// # Errors
    /// Of one client, such as one that is gone again, or of the process, such as no free descriptor: then wait a
    /// moment before the next call.
    ///
    /// # Cancel safety
    /// No client is lost.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (stream, address) = self.inner.accept().await?;
        Ok((Socket::tcp(stream)?, address))
    }
}

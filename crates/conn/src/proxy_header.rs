use std::{io, net::SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::{ProxyHeader, ProxyHeaderError, SqlState, message::error::ErrorMessage};

use crate::Socket;

/// Why a connection that has to begin with a PROXY header was closed.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderFailure {
    /// It failed or ended, as that of a load balancer that only looks whether somebody listens.
    #[error("the peer went away")]
    Io(#[from] io::Error),
    /// It does not begin with a header that can be read.
    #[error(transparent)]
    Header(#[from] ProxyHeaderError),
}

/// Reads the PROXY header that a trusted peer begins its connection with, and nothing past it: the address of the
/// client that it stands for; `None`: it stands for itself, or does not know.
///
/// # Errors
/// [`ProxyHeaderFailure`]; a peer without a header was told so in PostgreSQL's protocol, which it speaks most likely.
///
/// # Cancel safety
/// What was read is lost: the connection is to be closed then.
pub async fn read_proxy_header(socket: &mut Socket) -> Result<Option<SocketAddr>, ProxyHeaderFailure> {
    let mut header = Vec::new();
    loop {
        match ProxyHeader::read(&header) {
            Ok(ProxyHeader::Whole(source)) => return Ok(source),
            Ok(ProxyHeader::Longer(more)) => {
                let at = header.len();
                header.resize(at.saturating_add(more), 0);
                socket.read_exact(header.get_mut(at..).unwrap_or_default()).await?;
            }
            Err(error) => {
                let refusal = ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string()).with_hint(
                    "Connections from this address have to begin with one: see proxy_protocol in [[listen]].",
                );
                let mut out = Vec::new();
                refusal.write(&mut out);
                // whether the peer still listens changes nothing about the refusal
                let _ = socket.write_all(&out).await;
                let _ = socket.shutdown().await;
                return Err(error.into());
            }
        }
    }
}

use std::{fmt, io};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use wire::{
    SqlState,
    message::{
        error::ErrorMessage,
        startup::{self, Startup, StartupError},
    },
};

use crate::{ClientTlsConfig, Socket, Stream, stream::has_input, tls::ALPN};

/// The first byte of a TLS handshake record: a client that begins TLS without asking (PostgreSQL 17's direct TLS).
const TLS_HANDSHAKE: u8 = 0x16;

/// What a client wants.
pub enum Greeting {
    /// A session. Nothing is judged yet: it may name any user.
    Session {
        /// The connection, encrypted as agreed.
        stream: Stream,
        /// The protocol version asked for: major in the high 16 bits, 3, and minor in the low ones.
        version: u32,
        /// Well-formed names and values, as on the wire; read them with [`startup::parameters`].
        parameters: Box<[u8]>,
    },
    /// To cancel what runs under this key.
    Cancel {
        /// The connection, to be closed when the request has been dealt with: libpq waits for that.
        stream: Stream,
        /// The process id that the client was given.
        pid: u32,
        /// The secret that came with it, 4 to 256 bytes.
        secret: Box<[u8]>,
    },
}

impl fmt::Debug for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { version, .. } => {
                f.debug_struct("Session").field("version", version).finish_non_exhaustive()
            }
            Self::Cancel { pid, .. } => f.debug_struct("Cancel").field("pid", pid).finish_non_exhaustive(),
        }
    }
}

/// Why a client was not greeted. It was told, where that makes sense, and its connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// The connection failed or ended.
    #[error("the client went away")]
    Io(#[from] io::Error),
    /// Its first packet is none.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// It asked for encryption again after it had its answer.
    #[error("the client asked for encryption twice")]
    Repeated,
    /// It sent bytes between its request for encryption and the answer. Somebody in between could have put them
    /// there, to be taken for encrypted ones (CVE-2021-23214).
    #[error("received unencrypted data after a request for encryption")]
    EarlyData,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// It began TLS unasked and TLS is off, or did not name the protocol `postgresql` (ALPN).
    #[error("the client began TLS without the protocol name that is required for that")]
    DirectTls,
    /// A session without TLS where TLS is required.
    #[error("TLS is required")]
    TlsRequired,
}

impl GreetError {
    /// What the client is told; `None`: nothing, as PostgreSQL does where the peer may not speak the protocol.
    fn answer(&self) -> Option<ErrorMessage> {
        let violation = SqlState::PROTOCOL_VIOLATION;
        match self {
            Self::Io(_) | Self::Handshake(_) | Self::DirectTls | Self::Startup(StartupError::Length) => None,
            Self::Startup(error @ StartupError::Version(_)) => Some(ErrorMessage::fatal(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("{error}: server supports 3.0 to 3.2"),
            )),
            Self::Startup(error @ StartupError::Layout) => {
                Some(ErrorMessage::fatal(violation, error.to_string()))
            }
            Self::Repeated | Self::EarlyData => Some(ErrorMessage::fatal(violation, self.to_string())),
            Self::TlsRequired => Some(
                ErrorMessage::fatal(
                    SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                    "connections without TLS are not accepted here",
                )
                .with_hint("Connect with sslmode=require or stricter."),
            ),
        }
    }
}

/// Reads a new client's first packets up to its wish, answering its requests for encryption on the way: at most one
/// for TLS and one for GSSAPI (always denied). Reads nothing past the packet that holds the wish.
///
/// # Errors
/// [`GreetError`]; the client was sent the matching FATAL.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn accept_startup(socket: Socket, tls: &ClientTlsConfig) -> Result<Greeting, GreetError> {
    let (mut stream, mut unasked) = match (socket.peek().await?, tls.acceptor()) {
        (Some(TLS_HANDSHAKE), Some(acceptor)) => (direct_tls(socket, acceptor).await?, Unasked::NOTHING),
        (Some(TLS_HANDSHAKE), None) => return Err(GreetError::DirectTls),
        _ => (Stream::Plain(socket), Unasked::ALL),
    };
    let wish = loop {
        match next_step(&mut stream, &mut unasked).await {
            Ok(Step::Tls) => stream = agreed_tls(stream, tls).await?,
            Ok(Step::Wish(wish)) => break Ok(wish),
            Err(error) => break Err(error),
        }
    };
    let refusal = match wish {
        Ok(Wish::Session { .. }) if matches!(tls, ClientTlsConfig::Require(_)) && !stream.is_tls() => {
            GreetError::TlsRequired
        }
        Ok(Wish::Session { version, parameters }) => {
            return Ok(Greeting::Session { stream, version, parameters });
        }
        Ok(Wish::Cancel { pid, secret }) => return Ok(Greeting::Cancel { stream, pid, secret }),
        Err(error) => error,
    };
    if let Some(answer) = refusal.answer() {
        let mut out = Vec::new();
        answer.write(&mut out);
        // Whether the client still listens changes nothing about the refusal.
        let _ = stream.write_all(&out).await;
        let _ = stream.shutdown().await;
    }
    Err(refusal)
}

/// The requests for encryption that a client may still make.
struct Unasked {
    tls: bool,
    gss: bool,
}

impl Unasked {
    const ALL: Self = Self { tls: true, gss: true };
    const NOTHING: Self = Self { tls: false, gss: false };
}

enum Step {
    /// TLS was asked for.
    Tls,
    /// The wish itself.
    Wish(Wish),
}

enum Wish {
    Session { version: u32, parameters: Box<[u8]> },
    Cancel { pid: u32, secret: Box<[u8]> },
}

/// Reads packets until one is more than a request for GSSAPI.
async fn next_step(stream: &mut Stream, unasked: &mut Unasked) -> Result<Step, GreetError> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let mut packet = vec![0; startup::body_len(length)?];
        stream.read_exact(&mut packet).await?;
        match Startup::read(&packet)? {
            Startup::SslRequest if std::mem::take(&mut unasked.tls) => {
                return if has_input(stream) { Err(GreetError::EarlyData) } else { Ok(Step::Tls) };
            }
            Startup::GssEncRequest if std::mem::take(&mut unasked.gss) => {
                if has_input(stream) {
                    return Err(GreetError::EarlyData);
                }
                stream.write_all(b"N").await?;
            }
            Startup::SslRequest | Startup::GssEncRequest => return Err(GreetError::Repeated),
            Startup::Session { version, parameters } => {
                return Ok(Step::Wish(Wish::Session { version, parameters: parameters.into() }));
            }
            Startup::Cancel { pid, secret } => {
                return Ok(Step::Wish(Wish::Cancel { pid, secret: secret.into() }));
            }
        }
    }
}

/// Answers a request for TLS and, if it is granted, does the handshake.
async fn agreed_tls(stream: Stream, tls: &ClientTlsConfig) -> Result<Stream, GreetError> {
    match (stream, tls.acceptor()) {
        (Stream::Plain(mut socket), Some(acceptor)) => {
            socket.write_all(b"S").await?;
            let stream = acceptor.accept(socket).await.map_err(GreetError::Handshake)?;
            Ok(Stream::ClientTls(Box::new(stream)))
        }
        (mut stream, _) => {
            stream.write_all(b"N").await?;
            Ok(stream)
        }
    }
}

/// Does the handshake of a client that began one unasked. The protocol name is demanded so that a connection meant
/// for another service cannot be redirected here (the ALPACA attack).
async fn direct_tls(socket: Socket, acceptor: &TlsAcceptor) -> Result<Stream, GreetError> {
    let stream = acceptor.accept(socket).await.map_err(GreetError::Handshake)?;
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
        Ok(Stream::ClientTls(Box::new(stream)))
    } else {
        Err(GreetError::DirectTls)
    }
}

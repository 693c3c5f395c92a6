use std::{fmt, io, net::IpAddr};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream, lookup_host},
};
use wire::{SqlState, message::startup};

use crate::{
    DialError, ServerConnection, ServerTlsConfig, ServerTlsMode, Socket, Stream, TlsFailure, login::log_in,
    stream::has_input,
};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A host name, an address, or the directory of a Unix-domain socket (it begins with a slash).
    pub host: String,
    /// The port; part of the socket's name for a directory.
    pub port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Target {
    fn is_local(&self) -> bool {
        self.host.starts_with('/')
    }
}

/// Who logs in, and how the session begins.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// The role.
    pub user: &'a str,
    /// The database.
    pub database: &'a str,
    /// The role's secret; `None`: the server is expected to ask for none.
    pub secret: Option<&'a auth::Secret>,
    /// More startup parameters: names and values, such as `application_name` or `replication`.
    pub parameters: &'a [(&'a str, &'a str)],
}

/// How much encryption one attempt insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// None.
    Without,
    /// If the server can.
    IfOffered,
    /// Or fail.
    Demanded,
}

/// Dials a server and logs in: resolved, connected, encrypted as `tls` says, authenticated, and past the first
/// ReadyForQuery. Nothing that follows it has been read.
///
/// The modes `allow` and `prefer` try the other way once, where libpq does: when `pg_hba.conf` refuses the first (28000)
/// or, for `prefer`, the handshake fails. No TLS over Unix-domain sockets.
///
/// # Errors
/// [`DialError`].
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn dial(
    target: &Target,
    tls: &ServerTlsConfig,
    login: &Login<'_>,
) -> Result<ServerConnection, DialError> {
    let (first, other) = match tls.mode() {
        _ if target.is_local() => (Encryption::Without, None),
        ServerTlsMode::Disable => (Encryption::Without, None),
        ServerTlsMode::Allow => (Encryption::Without, Some(Encryption::Demanded)),
        ServerTlsMode::Prefer => (Encryption::IfOffered, Some(Encryption::Without)),
        ServerTlsMode::Require | ServerTlsMode::VerifyCa | ServerTlsMode::VerifyFull => {
            (Encryption::Demanded, None)
        }
    };
    let Failure { error, encrypted } = match attempt(target, tls, login, first).await {
        Ok(connection) => return Ok(connection),
        Err(failure) => failure,
    };
    let worth_it = match (&error, first) {
        (DialError::Tls(TlsFailure::Handshake(_)), Encryption::IfOffered) => true,
        // A server that has no TLS was already tried without.
        (_, Encryption::IfOffered) if !encrypted => false,
        _ => error.sqlstate() == Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION),
    };
    match other {
        Some(other) if worth_it => {
            attempt(target, tls, login, other).await.map_err(|second| match second.error {
                // The first refusal says more than "no TLS here".
                DialError::Tls(TlsFailure::NotOffered) => error,
                second => second,
            })
        }
        _ => Err(error),
    }
}

struct Failure {
    error: DialError,
    encrypted: bool,
}

async fn attempt(
    target: &Target,
    tls: &ServerTlsConfig,
    login: &Login<'_>,
    encryption: Encryption,
) -> Result<ServerConnection, Failure> {
    let socket = connect(target).await.map_err(|error| Failure { error, encrypted: false })?;
    let stream = encrypt(socket, target, tls, encryption)
        .await
        .map_err(|error| Failure { error, encrypted: false })?;
    let encrypted = stream.is_tls();
    log_in(stream, login).await.map_err(|error| Failure { error, encrypted })
}

/// A connection to `target` for a cancel request: encrypted if that is possible or demanded.
pub(crate) async fn connect_for_cancel(target: &Target, tls: &ServerTlsConfig) -> Result<Stream, DialError> {
    let encryption = match tls.mode() {
        _ if target.is_local() => Encryption::Without,
        ServerTlsMode::Disable | ServerTlsMode::Allow => Encryption::Without,
        ServerTlsMode::Prefer => Encryption::IfOffered,
        ServerTlsMode::Require | ServerTlsMode::VerifyCa | ServerTlsMode::VerifyFull => Encryption::Demanded,
    };
    encrypt(connect(target).await?, target, tls, encryption).await
}

/// The addresses that a target's host stands for; none if it stands for none, or for a directory.
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn addresses(target: &Target) -> Vec<IpAddr> {
    if target.is_local() {
        return Vec::new();
    }
    let found = lookup_host((target.host.as_str(), target.port)).await;
    found.map_or_else(|_| Vec::new(), |found| found.map(|address| address.ip()).collect())
}

/// Connects to the first address that accepts.
pub(crate) async fn connect(target: &Target) -> Result<Socket, DialError> {
    if target.is_local() {
        let path = format!("{}/.s.PGSQL.{}", target.host.trim_end_matches('/'), target.port);
        return match UnixStream::connect(path).await {
            Ok(stream) => Ok(Socket::Unix(stream)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DialError::Refused),
            Err(error) => Err(connect_error(error)),
        };
    }
    let addresses = lookup_host((target.host.as_str(), target.port)).await.map_err(DialError::Resolve)?;
    let mut failure = DialError::Resolve(io::ErrorKind::NotFound.into());
    for address in addresses {
        match TcpStream::connect(address).await.and_then(Socket::tcp) {
            Ok(socket) => return Ok(socket),
            Err(error) => {
                // One refusal among other failures does not mean that the server is gone.
                let error = connect_error(error);
                if !matches!((&failure, &error), (DialError::Io(_), DialError::Refused)) {
                    failure = error;
                }
            }
        }
    }
    Err(failure)
}

fn connect_error(error: io::Error) -> DialError {
    if error.kind() == io::ErrorKind::ConnectionRefused { DialError::Refused } else { DialError::Io(error) }
}

/// Asks for TLS and does the handshake. The answer is read as exactly one byte, so nothing that was sent in the clear
/// can be taken for something that was not.
async fn encrypt(
    mut socket: Socket,
    target: &Target,
    tls: &ServerTlsConfig,
    encryption: Encryption,
) -> Result<Stream, DialError> {
    let connector = match (encryption, tls.connector()) {
        (Encryption::IfOffered | Encryption::Demanded, Some(connector)) => connector,
        (Encryption::Demanded, None) => return Err(TlsFailure::NotOffered.into()),
        (Encryption::Without, _) | (Encryption::IfOffered, None) => return Ok(Stream::Plain(socket)),
    };
    let name = ServerName::try_from(target.host.clone()).map_err(|_| TlsFailure::HostName)?;
    let mut request = Vec::with_capacity(8);
    startup::ssl_request(&mut request);
    socket.write_all(&request).await?;
    match socket.read_u8().await? {
        b'S' | b'N' if has_input(&mut socket) => Err(TlsFailure::EarlyData.into()),
        b'S' => match connector.connect(name, socket).await {
            Ok(stream) => Ok(Stream::ServerTls(Box::new(stream))),
            Err(error) => Err(TlsFailure::Handshake(error).into()),
        },
        b'N' if encryption == Encryption::Demanded => Err(TlsFailure::NotOffered.into()),
        b'N' => Ok(Stream::Plain(socket)),
        // An ErrorResponse, perhaps. Nobody has shown who it is from, so its text goes nowhere.
        _ => Err(DialError::Protocol),
    }
}

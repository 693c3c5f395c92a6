use std::{fmt, io};

use auth::{Unable, scram::ScramClientError};
use wire::{Malformed, SqlState, frame::FrameError, message::error::ErrorView};

use crate::ReadError;

/// The longest text that is kept of one field of a server's error, in bytes.
const TEXT_LIMIT: usize = 2048;

/// Why a server connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// The host name has no address.
    #[error("the host name cannot be resolved")]
    Resolve(#[source] io::Error),
    /// The connection failed, or ended before the login did.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// TLS could not be agreed on.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// The login cannot succeed with what is known.
    #[error(transparent)]
    Auth(#[from] AuthFailure),
    /// The server refused the login.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server does not speak the protocol, or lies.
    #[error("the server broke the protocol")]
    Protocol,
}

/// Why there is no TLS to a server.
#[derive(Debug, thiserror::Error)]
pub enum TlsFailure {
    /// The server has none and the settings demand it.
    #[error("the server does not support TLS")]
    NotOffered,
    /// The handshake failed, or the certificate did not pass the checks.
    #[error("the TLS handshake with the server failed")]
    Handshake(#[source] io::Error),
    /// The server sent bytes before the handshake, to be taken for encrypted ones (CVE-2021-23222).
    #[error("received unencrypted data after the server agreed to TLS")]
    EarlyData,
    /// The host is neither a DNS name nor an address, so no certificate can be for it.
    #[error("no certificate can be issued for this host name")]
    HostName,
}

/// Why a login to a server was not gone through with.
#[derive(Debug, thiserror::Error)]
pub enum AuthFailure {
    /// It asks for a password and none is configured.
    #[error("the server asks for a password and none is configured")]
    NoSecret,
    /// It asks for the password itself over a connection that anybody can read.
    #[error("the server asks for the clear-text password without TLS")]
    ClearTextWithoutTls,
    /// It asks for a method that is not spoken here: its code in the protocol.
    #[error("the server asks for authentication method {0}, which is not supported")]
    Method(u32),
    /// It let us in before it had proven that it knows the password itself.
    #[error("the server did not finish the SCRAM exchange")]
    Unproven,
    /// The SCRAM exchange failed.
    #[error(transparent)]
    Scram(#[from] ScramClientError),
    /// The stored secret does not suffice.
    #[error(transparent)]
    Unable(#[from] Unable),
}

impl DialError {
    /// The server's SQLSTATE, if it refused the login with one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        match self {
            Self::Server(error) => Some(error.code),
            Self::Refused
            | Self::Resolve(_)
            | Self::Io(_)
            | Self::Tls(_)
            | Self::Auth(_)
            | Self::Protocol => None,
        }
    }
}

impl From<ReadError> for DialError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::Frame(_) => Self::Protocol,
        }
    }
}

impl From<Malformed> for DialError {
    fn from(_: Malformed) -> Self {
        Self::Protocol
    }
}

impl From<FrameError> for DialError {
    fn from(_: FrameError) -> Self {
        Self::Protocol
    }
}

impl From<ScramClientError> for DialError {
    fn from(error: ScramClientError) -> Self {
        Self::Auth(error.into())
    }
}

impl From<Unable> for DialError {
    fn from(error: Unable) -> Self {
        Self::Auth(error.into())
    }
}

/// An ErrorResponse that a server sent after the startup packet, each text cut to 2 KiB. What a server says instead
/// of an answer to SSLRequest never becomes one: anybody on the way could have said it (CVE-2024-10977).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// `FATAL`, `ERROR`: never localised where the server tells.
    pub severity: Box<str>,
    /// Its SQLSTATE; XX000 if it sent none.
    pub code: SqlState,
    /// The primary message.
    pub message: Box<str>,
    /// The DETAIL.
    pub detail: Option<Box<str>>,
    /// The HINT.
    pub hint: Option<Box<str>>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.code, self.message)
    }
}

impl std::error::Error for ServerError {}

impl ServerError {
    pub(crate) fn read(body: &[u8]) -> Self {
        let view = ErrorView::read(body);
        let optional = |bytes: &[u8]| (!bytes.is_empty()).then(|| text(bytes));
        Self {
            severity: text(view.severity),
            code: view.code.unwrap_or(SqlState::INTERNAL_ERROR),
            message: text(view.message),
            detail: optional(view.detail),
            hint: optional(view.hint),
        }
    }

    /// Whether the server ends the connection after this.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(&*self.severity, "FATAL" | "PANIC")
    }
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes.get(..TEXT_LIMIT).unwrap_or(bytes)).into()
}

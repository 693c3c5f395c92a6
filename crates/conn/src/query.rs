//! The proxy's own small queries: probes, catalog loads, look-ups.

use std::io;

use tokio::io::AsyncWriteExt;
use wire::{
    Malformed, SqlState,
    frame::FrameError,
    message::{
        backend::{self, TxStatus, read_data_row, read_parameter_status},
        frontend,
    },
};

use crate::{ReadError, ServerConnection, ServerError, inbox::Message, server_connection::Phase};

/// One row: the values' text, `None` for NULL.
pub type Row = Vec<Option<String>>;

/// The longest message of an answer, in bytes.
const MESSAGE_LIMIT: u32 = 4 * 1024 * 1024;

/// The most rows of an answer.
const ROWS_LIMIT: usize = 500_000;

/// The most bytes of all rows of an answer.
const BYTES_LIMIT: usize = 64 * 1024 * 1024;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The connection failed or ended.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The server answered with an error. Unless it is fatal, the connection stays usable.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server broke the protocol, or the query was of a kind that is not run here, such as COPY.
    #[error("the server broke the protocol")]
    Protocol,
    /// The answer has too many rows or bytes.
    #[error("the answer is too large")]
    TooLarge,
    /// An earlier query was cancelled half-way or failed: the connection is of no use any more.
    #[error("an earlier query on this connection was not finished")]
    Unfinished,
}

impl QueryError {
    /// The server's SQLSTATE, if it answered with one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        match self {
            Self::Server(error) => Some(error.code),
            Self::Io(_) | Self::Protocol | Self::TooLarge | Self::Unfinished => None,
        }
    }
}

impl From<ReadError> for QueryError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::Frame(FrameError::Oversized { .. }) => Self::TooLarge,
            ReadError::Frame(FrameError::BadLength { .. } | FrameError::UnknownTag { .. }) => Self::Protocol,
        }
    }
}

impl From<Malformed> for QueryError {
    fn from(_: Malformed) -> Self {
        Self::Protocol
    }
}

impl ServerConnection {
    /// Runs `sql` by the simple protocol, which replication commands need; gives the rows of all its statements.
    /// Never with text that somebody else chose: see [`ServerConnection::query`].
    ///
    /// # Errors
    /// [`QueryError`]. After any but a non-fatal [`QueryError::Server`] the connection is of no use.
    ///
    /// # Cancel safety
    /// None: a connection whose query was dropped half-way answers [`QueryError::Unfinished`] from then on.
    pub async fn simple_query(&mut self, sql: &str) -> Result<Vec<Row>, QueryError> {
        let mut out = Vec::with_capacity(sql.len().saturating_add(8));
        frontend::query(without_nul(sql)?, &mut out);
        self.run(&out).await
    }

    /// Runs the one statement `sql` by the extended protocol with text `parameters` for `$1`, `$2`, …
    ///
    /// # Errors
    /// As [`ServerConnection::simple_query`].
    ///
    /// # Cancel safety
    /// As [`ServerConnection::simple_query`].
    pub async fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>, QueryError> {
        let count = u16::try_from(parameters.len()).map_err(|_| QueryError::TooLarge)?;
        let mut out = Vec::with_capacity(sql.len().saturating_add(64));
        frontend::Parse { statement: b"", query: without_nul(sql)?, parameter_types: &[0, 0] }
            .write(&mut out);
        backend::finish(&mut out, b'B', |out| {
            out.extend_from_slice(b"\0\0\0\0"); // unnamed portal and statement, all parameters in text format
            out.extend_from_slice(&count.to_be_bytes());
            for parameter in parameters {
                let len = parameter.map_or(-1, |text| i32::try_from(text.len()).unwrap_or(i32::MAX));
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(parameter.unwrap_or_default().as_bytes());
            }
            out.extend_from_slice(b"\0\0"); // all columns in text format
        });
        backend::finish(&mut out, b'E', |out| out.extend_from_slice(b"\0\0\0\0\0")); // unnamed portal, all rows
        frontend::sync(&mut out);
        self.run(&out).await
    }

    /// Sends `request` and reads up to the ReadyForQuery that answers it.
    async fn run(&mut self, request: &[u8]) -> Result<Vec<Row>, QueryError> {
        if self.phase == Phase::Busy {
            return Err(QueryError::Unfinished);
        }
        self.phase = Phase::Busy;
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut rows = Vec::new();
        let mut bytes = 0_usize;
        let mut error: Option<ServerError> = None;
        loop {
            let Message { tag, body } =
                match (self.inbox.next(&mut self.stream, MESSAGE_LIMIT).await, error.take()) {
                    (Ok(message), unfinished) => {
                        error = unfinished;
                        message
                    }
                    // After a FATAL the end of the stream is expected, and says less.
                    (Err(_), Some(error)) => return Err(error.into()),
                    (Err(error), None) => return Err(error.into()),
                };
            match tag {
                b'D' => {
                    bytes = bytes.saturating_add(body.len());
                    if rows.len() >= ROWS_LIMIT || bytes > BYTES_LIMIT {
                        return Err(QueryError::TooLarge);
                    }
                    rows.push(read_row(&body)?);
                }
                b'E' if error.is_none() => error = Some(ServerError::read(&body)),
                b'S' => {
                    let (name, value) = read_parameter_status(&body)?;
                    self.set_parameter(name, value);
                }
                b'Z' => {
                    TxStatus::read(&body)?;
                    self.phase = Phase::Ready;
                    return error.map_or(Ok(rows), |error| Err(error.into()));
                }
                b'T' | b'C' | b'I' | b'N' | b'A' | b'1' | b'2' | b'n' => {}
                _ => return Err(QueryError::Protocol),
            }
        }
    }
}

fn without_nul(sql: &str) -> Result<&[u8], QueryError> {
    if sql.contains('\0') { Err(QueryError::Protocol) } else { Ok(sql.as_bytes()) }
}

fn read_row(body: &[u8]) -> Result<Row, Malformed> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Ok(read_data_row(body)?.into_iter().map(|value| value.map(text)).collect())
}

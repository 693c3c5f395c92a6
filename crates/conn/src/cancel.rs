use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::message::startup;

use crate::{DialError, ServerTlsConfig, Target, dial::connect_for_cancel};

/// Asks a server to cancel what the process `pid` runs, and waits until it closes the connection: only then has the
/// signal been sent, and only then is it safe to give the server connection to somebody else.
///
/// # Errors
/// If the server cannot be reached or does not grant TLS where it is demanded. Whether anything was cancelled is
/// never told.
///
/// # Cancel safety
/// Dropping it closes the connection; the request may have been sent.
pub async fn cancel(target: &Target, tls: &ServerTlsConfig, pid: u32, key: &[u8]) -> io::Result<()> {
    let mut stream = connect_for_cancel(target, tls).await.map_err(|error| match error {
        DialError::Io(error) | DialError::Resolve(error) => error,
        DialError::Refused => io::ErrorKind::ConnectionRefused.into(),
        other => io::Error::other(other),
    })?;
    let mut request = Vec::with_capacity(16);
    startup::cancel_request(pid, key, &mut request);
    stream.write_all(&request).await?;
    stream.flush().await?;
    match stream.read_u8().await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "the server answered a cancel request")),
        Err(error) => match error.kind() {
            // PostgreSQL closes without a TLS farewell; either way the connection is over.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Ok(()),
            _ => Err(error),
        },
    }
}

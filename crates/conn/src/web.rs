use rustls_pki_types::ServerName;

use crate::{DialError, Stream, Target, TlsFailure, WebTlsConfig, dial::connect};

/// Connects to an HTTP server; by TLS if `tls` is given.
///
/// # Errors
/// [`DialError`]: refused, not to be reached, or its certificate does not pass.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn dial_web(target: &Target, tls: Option<&WebTlsConfig>) -> Result<Stream, DialError> {
    let socket = connect(target).await?;
    let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
    let name = ServerName::try_from(target.host.clone()).map_err(|_| TlsFailure::HostName)?;
    match tls.connector().connect(name, socket).await {
        Ok(stream) => Ok(Stream::ServerTls(Box::new(stream))),
        Err(error) => Err(TlsFailure::Handshake(error).into()),
    }
}

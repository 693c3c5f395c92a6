//! The HTTP listener that says whether the proxy is well.

use std::{sync::Arc, time::Duration};

use admin::{Readiness, answer_health};
use conn::{ListenAddress, Listener};
use tokio::sync::{Semaphore, watch};

/// Questions that are answered at a time; further ones wait.
const AT_A_TIME: usize = 64;

/// After a failed accept the next one waits this long.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Opens the listener, if there is to be one.
///
/// # Errors
/// Names the address that is taken or not this machine's.
pub(crate) fn open(address: Option<&ListenAddress>) -> anyhow::Result<Option<Listener>> {
    /// As `[[listen]] socket_mode`.
    const SOCKET_MODE: u32 = 0o777;
    let Some(address) = address else { return Ok(None) };
    let listener = Listener::bind(address, SOCKET_MODE)
        .map_err(|error| anyhow::anyhow!("cannot listen on {address} for [health]: {error}"))?;
    tracing::info!(address = %listener.address(), "listening for HTTP");
    Ok(Some(listener))
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: Listener, readiness: watch::Receiver<Readiness>) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((mut socket, _)) => {
                let readiness = readiness.clone();
                tokio::spawn(async move {
                    let now = *readiness.borrow();
                    answer_health(&mut socket, now).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept for HTTP");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

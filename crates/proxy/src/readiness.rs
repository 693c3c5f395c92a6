//! The HTTP listener that says whether the proxy is well.

use std::{sync::Arc, time::Duration};

use admin::{Readiness, answer_health};
use conn::{ListenAddress, Listener};
use tokio::sync::{Semaphore, watch};

use crate::takeover::Predecessor;

/// By which another process finds the socket.
pub(crate) const LABEL: &str = "health";

/// Questions that are answered at a time; further ones wait.
const AT_A_TIME: usize = 64;

/// After a failed accept the next one waits this long.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Opens the listener, or takes its socket over, if there is to be one.
///
/// # Errors
/// Names the address that is taken or not this machine's.
pub(crate) fn open(
    address: Option<&ListenAddress>,
    predecessor: &mut Option<Predecessor>,
) -> anyhow::Result<Option<Listener>> {
    /// As `[[listen]] socket_mode`.
    const SOCKET_MODE: u32 = 0o777;
    let Some(address) = address else { return Ok(None) };
    let inherited = predecessor.as_mut().and_then(|before| before.take(LABEL));
    // it may be configured to be somewhere else now
    let adopted = inherited.and_then(|socket| Listener::adopt(socket, address).ok());
    let listener = adopted
        .map_or_else(|| Listener::bind(address, SOCKET_MODE), Ok)
        .map_err(|error| anyhow::anyhow!("cannot listen on {address} for [health]: {error}"))?;
    tracing::info!(address = %listener.address(), "listening for HTTP");
    Ok(Some(listener))
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: Arc<Listener>, readiness: watch::Receiver<Readiness>) {
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

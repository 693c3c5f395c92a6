//! The HTTP listener that says whether the proxy is well, and how nodes are.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use admin::answer_http;
use conn::{ListenAddress, Listener};
use tokio::task::AbortHandle;

use crate::{proxy::Proxy, takeover::Predecessor};

/// By which another process finds the socket.
pub(crate) const LABEL: &str = "health";

/// Questions that are answered at a time. For a further one the connection that is open for longest is closed: who asks at once
/// is answered at once, so only somebody who is slow loses by it.
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
pub(crate) async fn serve(listener: Arc<Listener>, proxy: Arc<Proxy>) {
    let mut asking: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((mut socket, _)) => {
                asking.retain(|task| !task.is_finished());
                if asking.len() >= AT_A_TIME
                    && let Some(oldest) = asking.pop_front()
                {
                    oldest.abort();
                }
                let proxy = Arc::clone(&proxy);
                let answering = async move {
                    answer_http(&mut socket, || (*proxy.readiness.borrow(), proxy.world.load_full())).await;
                };
                asking.push_back(tokio::spawn(answering).abort_handle());
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept for HTTP");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

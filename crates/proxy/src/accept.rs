//! Listeners: each accepted socket is greeted in a task of its own.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use admin::{Console, ConsoleClient, ConsoleRole};
use config::ListenSettings;
use conn::{ListenAddress, Listener, ProxyPeers, Stream};
use routing::Policy;
use session::{Arrival, Greeted, Via};
use tokio::{io::AsyncWriteExt, task::JoinSet};
use wire::{SqlState, message::error::ErrorMessage};

use crate::{activation::Activated, proxy::Proxy, takeover::Predecessor};

/// After a failed accept (no file descriptors left, as a rule) the next one waits this long.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// An open listener, and what its clients may do.
pub(crate) struct Entry {
    pub(crate) listener: Listener,
    policy: Policy,
    balancers: ProxyPeers,
}

impl Entry {
    /// By which another process finds the socket that it is to take over.
    pub(crate) fn label(&self) -> String {
        label(self.listener.address())
    }

    fn arrival(&self, address: Option<SocketAddr>) -> Arrival {
        let is_balancer = address.is_some_and(|address| self.balancers.contains(address.ip()));
        let via = if is_balancer { Via::Balancer } else { Via::Direct };
        Arrival { policy: self.policy, address, via }
    }
}

fn label(address: &ListenAddress) -> String {
    format!("listen {address}")
}

/// Opens all listeners, unless their sockets came with this process or are taken over from another.
///
/// # Errors
/// Names the address that is taken or not this machine's.
pub(crate) fn open(
    listeners: &[ListenSettings],
    predecessor: &mut Option<Predecessor>,
    mut activated: Activated,
) -> anyhow::Result<Vec<Entry>> {
    let mut open = |settings: &ListenSettings| {
        let address = &settings.address;
        let inherited = predecessor.as_mut().and_then(|before| before.take(&label(address)));
        let listener = if let Some(socket) = inherited {
            Listener::adopt(socket, address)
        } else if let Some(socket) = activated.take(address) {
            // its file is systemd's
            Listener::adopt(socket, address).inspect(Listener::disown)
        } else {
            Listener::bind(address, settings.socket_mode)
        };
        let listener =
            listener.map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", settings.address))?;
        tracing::info!(address = %listener.address(), policy = settings.policy.as_str(), "listening");
        Ok(Entry { listener, policy: settings.policy, balancers: settings.proxy_protocol.clone() })
    };
    let entries = listeners.iter().map(&mut open).collect();
    activated.close_the_rest();
    entries
}

/// Accepts clients until it is dropped.
pub(crate) async fn accept_all(proxy: Arc<Proxy>, console: Arc<Console>, listeners: Arc<[Entry]>) {
    let mut accepting = JoinSet::new();
    for at in 0..listeners.len() {
        let listeners = Arc::clone(&listeners);
        accepting.spawn(accept(Arc::clone(&proxy), Arc::clone(&console), listeners, at));
    }
    drop(listeners);
    while accepting.join_next().await.is_some() {}
}

async fn accept(proxy: Arc<Proxy>, console: Arc<Console>, listeners: Arc<[Entry]>, at: usize) {
    while let Some(entry) = listeners.get(at) {
        match entry.listener.accept().await {
            Ok((socket, address)) => {
                let arrival = entry.arrival(address);
                let (proxy, console) = (Arc::clone(&proxy), Arc::clone(&console));
                tokio::spawn(async move {
                    if let Greeted::Console { stream, user, id } = proxy.greeter.greet(socket, arrival).await
                    {
                        serve_console(&proxy, console, stream, user.user(), id.0).await;
                    }
                });
            }
            Err(error) => {
                // a client that left in the meantime is its own affair; anything else may last
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::error!(%error, "cannot accept clients");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }
}

async fn serve_console(proxy: &Proxy, console: Arc<Console>, mut stream: Stream, user: &str, id: u64) {
    let settings = proxy.settings();
    let named = |users: &[String]| users.iter().any(|name| name == user);
    let role = if named(&settings.admin.users) {
        ConsoleRole::Admin
    } else if named(&settings.admin.stats_users) {
        ConsoleRole::Stats
    } else {
        let error = ErrorMessage::fatal(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("role \"{user}\" may not use the console"),
        )
        .with_hint("Name it in [admin] users or stats_users.");
        let mut out = Vec::new();
        error.write(&mut out);
        // whether the client still listens changes nothing about the refusal
        let _ = stream.write_all(&out).await;
        let _ = stream.shutdown().await;
        return;
    };
    admin::serve(stream, ConsoleClient { id, user: user.into(), role }, console).await;
}

//! The agent's HTTP.

mod answer;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    node::{Node, NodeError},
    settings::Settings,
    tls::TlsFileError,
};

/// How long a handshake may take, and then the head of a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many connections there may be; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Most bytes of a request's head.
const HEAD_MAX: usize = 16 * 1024;
/// How long a verb that is at work may take to end when the agent is told to.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait after the system had no socket to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an agent does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// PostgreSQL does not run as root, and nothing that can be asked over a network should.
    #[error("the agent does not run as root; run it as the user who runs PostgreSQL")]
    Root,
    /// A certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The data folder.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The address.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

/// Serves until `end` completes, then waits a while for what is at work. `ready` is told the address once callers are
/// accepted.
///
/// # Errors
/// [`ServeError`], before anybody is served.
pub async fn serve(
    settings: Settings,
    ready: impl FnOnce(SocketAddr),
    end: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    if nix::unistd::Uid::effective().is_root() {
        return Err(ServeError::Root);
    }
    let acceptor = settings.tls.acceptor()?;
    let listen = settings.listen;
    let node = Node::open(settings)?;
    let listener = TcpListener::bind(listen).await.map_err(|error| ServeError::Listen(listen, error))?;
    let address = listener.local_addr().unwrap_or(listen);
    ready(address);
    let guard = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.guard().await }
    });
    tokio::select! {
        () = accept(&listener, &acceptor, &node) => {}
        () = end => {}
    }
    guard.abort();
    node.finish(END_PATIENCE).await;
    Ok(())
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor, node: &Arc<Node>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, peer)) => {
                let (acceptor, node) = (acceptor.clone(), Arc::clone(node));
                tokio::spawn(async move {
                    converse(socket, peer, &acceptor, node).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, one request: a caller that asks again connects again.
async fn converse(socket: TcpStream, peer: SocketAddr, acceptor: &TlsAcceptor, node: Arc<Node>) {
    let stream = match timeout(PATIENCE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(%peer, %error, "a caller is refused");
            return;
        }
        Err(_) => {
            tracing::debug!(%peer, "a handshake takes too long");
            return;
        }
    };
    let service = service_fn(move |request| answer::answer(Arc::clone(&node), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        // gone while a verb is at work, most often: the verb goes on
        tracing::debug!(%peer, %error, "a connection failed");
    }
}

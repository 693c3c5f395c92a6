//! Replication connections: a client that asks for a walsender gets a server connection of its own, and every byte
//! passes as it is until either end has gone. Nothing is pooled, followed or run again.

mod connect;
mod framing;
mod relay;

use std::rc::Rc;

use bytes::BytesMut;
use conn::Stream;
use routing::Policy;
use tokio::{io::AsyncWriteExt, time::Instant};
use wire::{
    SqlState,
    message::error::{ErrorMessage, Severity},
};

use crate::{
    NewClient, Purpose,
    client::Admitted,
    handle::{Farewell, Handle},
    pool_set::PoolSet,
    worker::Worker,
};

/// A client of a walsender. Dropped in any state, it leaves nothing behind.
struct Guest {
    worker: Rc<Worker>,
    pools: Rc<PoolSet>,
    handle: Rc<Handle>,
    stream: Stream,
    /// What the client has not taken yet.
    output: BytesMut,
    purpose: Purpose,
    policy: Policy,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.worker.unregister(&self.handle);
    }
}

/// Takes a client in that asked for a walsender.
pub(crate) fn spawn(worker: &Rc<Worker>, client: NewClient) {
    let (id, address, purpose) = (client.id, client.address, client.purpose);
    let admitted = client.admit(worker, Instant::now());
    let Some(Admitted { handle, pools, stream, settings, policy }) = admitted else { return };
    let output = BytesMut::new();
    let guest = Guest { worker: Rc::clone(worker), pools, handle, stream, output, purpose, policy };
    tracing::debug!(client = %id, peer = ?address, database = %guest.pools.database, user = %guest.pools.user, "logged in for replication");
    tokio::task::spawn_local(async move {
        match guest.connect(&settings).await {
            Ok(walsender) => guest.relay(walsender).await,
            Err(error) => guest.refuse(*error).await,
        }
    });
}

impl Guest {
    /// What a client is told that has to go.
    fn farewell(&self) -> Option<ErrorMessage> {
        let text = match self.handle.farewell(|| true)? {
            Farewell::Shutdown => "terminating connection: the proxy is shutting down",
            Farewell::Killed => "terminating connection due to administrator command",
        };
        Some(ErrorMessage::fatal(SqlState::ADMIN_SHUTDOWN, text))
    }

    async fn refuse(mut self, error: ErrorMessage) {
        tracing::info!(client = %self.handle.id, code = %error.code, message = %error.message, "closed");
        let mut out = Vec::new();
        ErrorMessage { severity: Severity::Fatal, ..error }.write(&mut out);
        // whether the client still listens changes nothing about the refusal
        let _ = self.stream.write_all(&out).await;
        let _ = self.stream.shutdown().await;
    }
}

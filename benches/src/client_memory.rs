//! What an idle client costs a proxy.

use anyhow::{Context, Result};
use auth::Secret;
use conn::{Login, ServerConnection, ServerTlsConfig, Target, dial};
use lab::Cluster;
use serde::Serialize;
use tokio::runtime;

use crate::{process_usage::memory_kib, proxy::Open, through::Through};

/// Server connections that PostgreSQL has for a proxy that gives each client one of its own.
const UNPOOLED_CLIENTS: u16 = 250;

/// Clients that log in and ask something before the measurement begins, so that what is needed but once is there.
const FIRST_CLIENTS: u16 = 20;

/// The memory of idle clients.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClientMemory {
    /// Of which proxy.
    pub(crate) through: Through,
    /// How many clients there were.
    pub(crate) clients: u16,
    /// What each took, in KiB.
    pub(crate) kib_per_client: f64,
}

/// Connects that many clients, without TLS and each with one `select 1`, and divides the growth of the proxy's memory.
///
/// # Errors
/// When a client is refused or the proxy is gone. `None`: there is no proxy.
pub(crate) fn measure(cluster: &Cluster, open: &Open, clients: u16) -> Result<Option<ClientMemory>> {
    let Some(pid) = open.pid() else { return Ok(None) };
    let clients = if open.through.is_pool() { clients } else { clients.min(UNPOOLED_CLIENTS) };
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().context("could not make a runtime")?;
    runtime.block_on(async {
        let secret = Secret::parse(&cluster.application().password)?;
        let first = connect(cluster, open, &secret, FIRST_CLIENTS).await?;
        let before = memory_kib(pid)?;
        let all = connect(cluster, open, &secret, clients).await?;
        let after = memory_kib(pid)?;
        for client in first.into_iter().chain(all) {
            client.close().await;
        }
        #[expect(clippy::cast_precision_loss, reason = "KiB of one process")]
        let growth = after as f64 - before as f64;
        Ok(Some(ClientMemory { through: open.through, clients, kib_per_client: growth / f64::from(clients) }))
    })
}

async fn connect(
    cluster: &Cluster,
    open: &Open,
    secret: &Secret,
    clients: u16,
) -> Result<Vec<ServerConnection>> {
    let target = Target { host: "127.0.0.1".to_owned(), port: open.port };
    let tls = ServerTlsConfig::disabled();
    let login = Login {
        user: &cluster.application().user,
        database: cluster.database(),
        secret: Some(secret),
        parameters: &[],
    };
    let mut connections = Vec::with_capacity(usize::from(clients));
    for number in 0..clients {
        let attempt = async {
            let mut connection = dial(&target, &tls, &login).await?;
            connection.simple_query("select 1").await?;
            anyhow::Ok(connection)
        };
        let connection =
            attempt.await.with_context(|| format!("client {number} through {}", open.through.name()))?;
        connections.push(connection);
    }
    Ok(connections)
}

//! Clients that are connected and do nothing, and what they cost a proxy.

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use conn::ServerConnection;
use lab::Cluster;
use serde::Serialize;
use tokio::{
    runtime::{self, Runtime},
    time::Instant,
};

use super::{Encryption, Held, door::Door};
use crate::comparison::{
    measure::{Memory, memory, open_files},
    target::{Entry, Pool, Target, UNPOOLED_CLIENTS},
};

/// Clients that log in and ask something before the measurement begins, so that what is needed but once is there.
const FIRST_CLIENTS: u16 = 20;

/// Numbers of clients at which the memory is read.
const STEPS: [u16; 2] = [1000, 5000];

/// How long a proxy may take to see that clients have left.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);

/// The memory of idle clients.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClientMemory {
    /// Of which proxy.
    pub(crate) target: String,
    /// What it holds.
    pub(crate) held: Held,
    /// Whether they speak TLS.
    pub(crate) encryption: Encryption,
    /// How many clients there were.
    pub(crate) clients: u16,
    /// What each took in KiB, of resident pages.
    pub(crate) rss_kib: f64,
    /// What each took in KiB, each shared page divided by those who share it.
    pub(crate) pss_kib: f64,
}

impl ClientMemory {
    /// The growth between two readings, divided by the number of clients.
    pub(super) fn new(
        target: &Target,
        held: Held,
        encryption: Encryption,
        clients: u16,
        before: Memory,
        after: Memory,
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "KiB of one process")]
        let each = |before: u64, after: u64| (after as f64 - before as f64) / f64::from(clients);
        Self {
            target: target.name.clone(),
            held,
            encryption,
            clients,
            rss_kib: each(before.rss_kib, after.rss_kib),
            pss_kib: each(before.pss_kib, after.pss_kib),
        }
    }
}

/// Connects clients step by step, each with one `select 1`, and divides the growth of the proxy's memory. The proxy
/// should be fresh: what it keeps of earlier clients would not grow again.
///
/// # Errors
/// When a client is refused or the proxy is gone.
pub(super) fn measure(
    cluster: &Cluster,
    target: &Target,
    encryption: Encryption,
) -> Result<Vec<ClientMemory>> {
    let pid = target.pid().context("the proxy's process is not known")?;
    let first = IdleClients::connect(cluster, target, encryption, FIRST_CLIENTS)?;
    let before = memory(pid)?;
    let mut all: Vec<IdleClients> = Vec::new();
    let mut figures = Vec::new();
    let unpooled = [UNPOOLED_CLIENTS];
    let steps: &[u16] = if target.is_pool() { &STEPS } else { &unpooled };
    for &clients in steps {
        let connected: usize = all.iter().map(|clients| clients.connections.len()).sum();
        let more = usize::from(clients).saturating_sub(connected);
        all.push(IdleClients::connect(cluster, target, encryption, u16::try_from(more)?)?);
        let after = memory(pid)?;
        figures.push(ClientMemory::new(target, Held::Idle, encryption, clients, before, after));
    }
    // Those who came last leave first, since each waits until as much is open as before it came.
    for clients in all.into_iter().rev().chain([first]) {
        clients.close(target)?;
    }
    Ok(figures)
}

/// Clients that stay connected until they are closed.
#[derive(Debug)]
pub(crate) struct IdleClients {
    runtime: Runtime,
    connections: Vec<ServerConnection>,
    files_before: usize,
}

impl IdleClients {
    /// Connects them one after the other.
    ///
    /// # Errors
    /// When one is refused.
    pub(crate) fn connect(
        cluster: &Cluster,
        target: &Target,
        encryption: Encryption,
        clients: u16,
    ) -> Result<Self> {
        let files_before = target.pid().map_or(0, open_files);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let door = Door::of(cluster, target, encryption, Entry::Scram)?;
        let connections = runtime.block_on(async {
            let mut connections = Vec::with_capacity(usize::from(clients));
            for number in 0..clients {
                let entered = door.enter().await;
                connections
                    .push(entered.with_context(|| format!("client {number} through {}", target.name))?);
            }
            anyhow::Ok(connections)
        })?;
        Ok(Self { runtime, connections, files_before })
    }

    /// Has them leave, and waits until the proxy has seen it, so that whoever comes next is not measured with it.
    ///
    /// # Errors
    /// When the proxy keeps them.
    pub(crate) fn close(self, target: &Target) -> Result<()> {
        let Self { runtime, connections, files_before } = self;
        let clients = connections.len();
        runtime.block_on(async {
            for connection in connections {
                connection.close().await;
            }
        });
        let Some(pid) = target.pid() else { return Ok(()) };
        let deadline = Instant::now() + LEAVE_PATIENCE;
        // It may have got more server connections.
        while open_files(pid) > files_before + clients / 10 + usize::from(Pool::Twenty.size()) {
            if Instant::now() > deadline {
                anyhow::bail!("{} keeps clients that have left", target.name);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

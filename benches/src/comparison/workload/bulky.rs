//! What a proxy holds for clients with long answers: after they were read, and while nobody reads them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use conn::{ServerConnection, Stream};
use lab::Cluster;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime,
    time::{Instant, sleep},
};

use super::{ClientMemory, Encryption, Held, Workload, door::Door};
use crate::comparison::{
    measure::memory,
    target::{Entry, Target},
};

/// Asks for one message of 64 MiB.
const LONG_MESSAGE: &str = "select repeat('x', 64 << 20)";
/// Asks for 10 MB, more than all sockets on the way hold.
const LONG_RESULT: &str = "select v from bench_rows";
/// Its memory is what a proxy has when it has not changed for so long.
const SETTLED: Duration = Duration::from_millis(500);
/// Or what it then has.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// Has each client of the workload ask for something long and divides the growth of the proxy's memory.
///
/// # Errors
/// When a client is refused or the proxy is gone.
pub(super) fn measure(
    cluster: &Cluster,
    target: &Target,
    workload: &Workload,
    held: Held,
) -> Result<ClientMemory> {
    let pid = target.pid().context("the proxy's process is not known")?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let door = Door::of(cluster, target, Encryption::Plain, Entry::Scram)?;
    runtime.block_on(async {
        let mut clients: Vec<ServerConnection> = Vec::new();
        for _ in 0..workload.clients {
            clients.push(door.enter().await?);
        }
        let before = memory(pid)?;
        for client in &mut clients {
            let query = if held == Held::Unread { LONG_RESULT } else { LONG_MESSAGE };
            ask(&mut client.stream, query).await?;
            if held != Held::Unread {
                read_answer(&mut client.stream).await?;
            }
        }
        let after = settled(pid).await?;
        for client in clients {
            client.close().await;
        }
        Ok(ClientMemory::new(target, held, Encryption::Plain, workload.clients, before, after))
    })
}

async fn settled(pid: u32) -> Result<crate::comparison::measure::Memory> {
    let begun = Instant::now();
    let (mut last, mut since) = (memory(pid)?, begun);
    loop {
        sleep(SETTLED / 10).await;
        let now = memory(pid)?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() >= SETTLED || begun.elapsed() >= SETTLE_PATIENCE {
            return Ok(now);
        }
    }
}

async fn ask(stream: &mut Stream, query: &str) -> Result<()> {
    let length = u32::try_from(query.len() + 5)?;
    let message = [b"Q", &length.to_be_bytes()[..], query.as_bytes(), b"\0"].concat();
    stream.write_all(&message).await.context("the connection ended")
}

/// Reads messages up to ReadyForQuery and keeps none.
async fn read_answer(stream: &mut Stream) -> Result<()> {
    let mut scratch = vec![0; 1 << 16];
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.context("the connection ended")?;
        let [tag, length @ ..] = head;
        let mut left = usize::try_from(u32::from_be_bytes(length))?.saturating_sub(4);
        while left > 0 {
            let part = left.min(scratch.len());
            stream.read_exact(&mut scratch[..part]).await.context("the connection ended")?;
            left -= part;
        }
        match tag {
            b'Z' => return Ok(()),
            b'E' => bail!("the long answer is an error: {}", String::from_utf8_lossy(&scratch[..200])),
            _ => {}
        }
    }
}

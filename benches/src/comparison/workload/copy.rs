//! COPY to the server.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use conn::Stream;
use lab::Cluster;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime,
    time::Instant,
};

use super::{Figures, Overhead, Workload, door::Door};
use crate::comparison::{
    measure::{Latency, Meter},
    target::Target,
};

/// Bytes of a line, its end included.
const LINE: usize = 1 << 10;
/// Lines in a CopyData message: libpq's own buffer makes such.
const LINES_A_MESSAGE: usize = 8;
/// Messages in a COPY.
const MESSAGES: usize = 1280;
/// Bytes of lines that one COPY sends.
pub(super) const BYTES: u64 = (LINE * LINES_A_MESSAGE * MESSAGES) as u64;

/// The server reads every line and stores none.
const COPY: &str = "copy bench_copy from stdin where false";

/// Does it for so many seconds.
///
/// # Errors
/// When the server refuses it, or the proxy is gone.
pub(super) fn run(cluster: &Cluster, target: &Target, workload: &Workload, seconds: u16) -> Result<Figures> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let door = Door::of(cluster, target, workload.encryption, workload.entry())?;
    runtime.block_on(async {
        let mut client = door.enter().await?;
        let (query, data) = (message(b'Q', &[COPY.as_bytes(), b"\0"].concat())?, lines()?);
        let meter = Meter::start(target)?;
        let begun = Instant::now();
        let until = begun + Duration::from_secs(u64::from(seconds));
        let mut times = Vec::new();
        let mut now = begun;
        while now < until {
            copy(&mut client.stream, &query, &data).await?;
            times.push(u64::try_from(now.elapsed().as_micros())?);
            now = Instant::now();
        }
        let took = begun.elapsed().as_secs_f64();
        let used = meter.stop()?;
        client.close().await;
        let mut figures = Figures::new(u64::try_from(times.len())?, took, used, &Overhead::default());
        figures.latency = Latency::of(times);
        Ok(figures)
    })
}

/// All CopyData messages of a COPY, and its CopyDone.
fn lines() -> Result<Vec<u8>> {
    let mut line = vec![b'x'; LINE];
    if let Some(end) = line.last_mut() {
        *end = b'\n';
    }
    let messages = message(b'd', &line.repeat(LINES_A_MESSAGE))?.repeat(MESSAGES);
    Ok([messages, message(b'c', &[])?].concat())
}

/// A message as the manual's "Message Formats" has it.
fn message(tag: u8, body: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(body.len() + 4)?;
    Ok([&[tag], &length.to_be_bytes()[..], body].concat())
}

async fn copy(stream: &mut Stream, query: &[u8], data: &[u8]) -> Result<()> {
    stream.write_all(query).await?;
    expect(stream, b'G').await?;
    stream.write_all(data).await?;
    expect(stream, b'Z').await
}

/// Reads messages up to the one with this tag.
async fn expect(stream: &mut Stream, tag: u8) -> Result<()> {
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.context("the connection ended")?;
        let [read, length @ ..] = head;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length))?.saturating_sub(4).min(10_000)];
        stream.read_exact(&mut body).await.context("the connection ended")?;
        match read {
            b'E' => bail!("{COPY}: {}", String::from_utf8_lossy(&body).replace('\0', " ")),
            _ if read == tag => return Ok(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_bytes_that_it_is_said_to_have() {
        let heads = MESSAGES * 5 + 5;
        assert_eq!(lines().unwrap().len(), usize::try_from(BYTES).unwrap() + heads);
        assert_eq!(message(b'c', &[]).unwrap(), [b'c', 0, 0, 0, 4]);
    }
}

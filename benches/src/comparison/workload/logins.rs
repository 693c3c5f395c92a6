//! Clients that connect, ask for one row and leave, again and again.

use std::{cell::RefCell, rc::Rc, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::Cluster;
use tokio::{
    runtime,
    task::{JoinSet, LocalSet},
    time::Instant,
};

use super::{Figures, Overhead, Workload, door::Door};
use crate::comparison::{
    measure::{Latency, Meter},
    target::Target,
};

/// Does it for so many seconds.
///
/// # Errors
/// When no client gets in, or the proxy is gone.
pub(super) fn run(cluster: &Cluster, target: &Target, workload: &Workload, seconds: u16) -> Result<Figures> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let door = Rc::new(Door::of(cluster, target, workload.encryption, workload.entry())?);
    let times: Rc<RefCell<Vec<u64>>> = Rc::default();
    LocalSet::new().block_on(&runtime, async {
        door.enter().await?.close().await;
        let meter = Meter::start(target)?;
        let begun = Instant::now();
        let until = begun + Duration::from_secs(u64::from(seconds));
        let mut clients = JoinSet::new();
        for _ in 0..workload.clients {
            clients.spawn_local(again_and_again(Rc::clone(&door), until, Rc::clone(&times)));
        }
        let mut error = None;
        while let Some(ended) = clients.join_next().await {
            error = ended?.err().or(error);
        }
        let took = begun.elapsed().as_secs_f64();
        let used = meter.stop()?;
        let times = times.take();
        ensure!(!times.is_empty(), "no client came in through {}: {error:?}", target.name);
        let mut figures = Figures::new(u64::try_from(times.len())?, took, used, &Overhead::default());
        figures.latency = Latency::of(times);
        figures.error = error.map(|error| format!("{error:#}"));
        Ok(figures)
    })
}

async fn again_and_again(door: Rc<Door>, until: Instant, times: Rc<RefCell<Vec<u64>>>) -> Result<()> {
    loop {
        let begun = Instant::now();
        if begun >= until {
            return Ok(());
        }
        door.enter().await?.close().await;
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        times.borrow_mut().push(took);
    }
}

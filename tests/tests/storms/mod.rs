//! Many clients that do to each other what they can (CHECKS R13, R14, R15), by chance that can be repeated. Each storm
//! has a short form and one of minutes, and prints its figure.

mod answer;
mod cancels;
mod statements;
mod timeouts;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use e2e::Herd;
use testkit::ConnectionParameters;
use tokio::{task::JoinSet, time::Instant};

/// Where chance begins; `E2E_SEED` names another place.
fn seed() -> u64 {
    let seed = env::var("E2E_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_u64);
    println!("seed {seed} (E2E_SEED)");
    seed
}

/// How long a storm goes on.
const SHORT: Duration = Duration::from_secs(8);
const LONG: Duration = Duration::from_secs(180);

/// Lets all of them go on for so long, or until one panics; then tells them that it is over and waits for them.
async fn weather(mut clients: JoinSet<()>, over: Arc<AtomicBool>, span: Duration) {
    let deadline = Instant::now() + span;
    while Instant::now() < deadline && !clients.is_empty() {
        tokio::select! {
            Some(ended) = clients.join_next() => ended.unwrap(),
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// How the role `app` connects where every request goes to the primary.
fn of_primary(herd: &Herd) -> ConnectionParameters {
    let address = ([127, 0, 0, 1], herd.proxy(0).port_of("read-write")).into();
    ConnectionParameters { address, ..herd.app() }
}

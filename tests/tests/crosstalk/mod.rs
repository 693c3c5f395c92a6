//! No row reaches a client whose request did not cause it (CHECKS R10, R12, R13), whatever happens to the others.

mod client;
mod dice;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use client::{Actor, Figures};
pub(crate) use dice::Dice;
use e2e::{Setup, eventually};
use tokio::{task::JoinSet, time::Instant};

/// How long the clients go on.
const SPAN: Duration = Duration::from_secs(10);
/// How many clients share 8 server connections of each node.
const CLIENTS: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_reaches_another_client() {
    run(CLIENTS, SPAN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes; run by make test-long"]
async fn no_row_reaches_another_client_for_ten_minutes() {
    run(500, Duration::from_secs(600)).await;
}

async fn run(clients: u64, span: Duration) {
    let herd = Setup::shared()
        .set("pool.size", 8)
        .set("pool.max_prepared_statements", 20)
        .set("pool.wait_timeout", "2s")
        .start();
    herd.psql("create table tagged (client int, n int, tag text); create index on tagged (client)").unwrap();
    herd.psql(&format!(
        "insert into tagged select c, n, 'c' || c from generate_series(0, {clients} - 1) c, generate_series(1, 20) n;
         create table sink (client int, tag text)"
    ))
    .unwrap();
    herd.cluster().wait_for_all().unwrap();
    let seed = std::env::var("E2E_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_u64);
    println!("seed {seed} (E2E_SEED)");

    let figures = Arc::new(Figures::default());
    let over = Arc::new(AtomicBool::new(false));
    let mut actors = JoinSet::new();
    for id in 0..clients {
        let actor = Actor::new(id, seed, herd.app(), Arc::clone(&figures), Arc::clone(&over));
        actors.spawn(actor.play());
    }
    let deadline = Instant::now() + span;
    while Instant::now() < deadline && !actors.is_empty() {
        tokio::select! {
            Some(ended) = actors.join_next() => ended.unwrap(),
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = actors.join_next().await {
        ended.unwrap();
    }

    println!("{}", figures.report());
    let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    assert_eq!(load(&figures.wrong), 0, "wrong rows");
    assert!(load(&figures.rows) > 10_000 && load(&figures.deaths) > 50, "{}", figures.report());
    assert!(load(&figures.cancelled) > 10 && load(&figures.timed_out) > 10, "{}", figures.report());
    assert!(!herd.proxy(0).log().contains("panicked"), "a task panicked");
    let foreign =
        herd.psql_directly("select count(*) from sink where tag not like 'c' || client || '-%'").unwrap();
    assert_eq!(foreign, "0", "rows that were copied in by another client");
    // Nobody is there any more: no server connection is in the middle of anything.
    for node in 0..herd.cluster().nodes().len() {
        let busy = format!(
            "select count(*) filter (where state <> 'idle'), count(*) from pg_stat_activity
             where datname = '{}' and usename = 'app'",
            herd.database()
        );
        eventually("all server connections are idle", Duration::from_secs(10), || {
            let row = herd.cluster().psql(node, &busy).unwrap();
            let (busy, all) = row.split_once('|').unwrap();
            assert!(all.parse::<u32>().unwrap() <= 8 + 2, "{all} connections to node {node}");
            (busy == "0").then_some(())
        });
    }
    let mut client = herd.connect().await;
    for _ in 0..50 {
        assert_eq!(client.value("select 'the end'").await, "the end");
    }
}

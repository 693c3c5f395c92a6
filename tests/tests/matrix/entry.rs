//! Ways in: F22, F39.

use std::time::Duration;

use e2e::{Setup, eventually};
use testkit::Client;
use tokio::{task::JoinSet, time::Instant};

use super::case::{Allowed, Bars, Case};
use crate::{
    failover::{managed, start},
    topology::{PATIENCE, wait_for_event},
};

/// libpq goes to the next host by itself; whoever stays at the other proxy notices nothing.
#[test]
#[ignore = "takes long"]
fn f22_clients_of_a_killed_proxy_come_back_by_the_next_host() {
    let herd = Setup::own(1).regions(["eu", "us"]).start();
    let hosts = format!("{},{}", herd.proxy(1).port(), herd.proxy(0).port());
    let login = herd.cluster().application();
    let connect = || {
        let begun = Instant::now();
        let mut psql = herd.cluster().psql_command(herd.proxy(0).port(), login, herd.database());
        psql.args(["-h", "127.0.0.1,127.0.0.1", "-p", &hosts, "-Atc", "select 'well'"]);
        let output = psql.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "well", "{output:?}");
        begun.elapsed()
    };
    let bars = Bars::of_ms(200, 200);
    let case = Case::begin("F22 kill -9 of another proxy", Allowed::Nothing, bars, &herd, 200);
    let before = (0..5).map(|_| connect()).max().unwrap();
    herd.proxy(1).kill();
    let after = (0..5).map(|_| connect()).max().unwrap();
    println!("psql with two hosts: {before:?}, and {after:?} once the first was killed (bar: 100 ms more)");
    case.end(&herd, 0);
}

/// Everybody comes back at once while there is no primary.
#[test]
#[ignore = "takes long"]
fn f39_a_storm_of_logins_and_statements_waits_within_bounds() {
    const CLIENTS: usize = 2000;
    const BOUND: usize = 1500;
    let herd = start(managed(1).set("session.max_held", 1500).set("pool.max_waiting", 5000));
    herd.psql("create table storm (n int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    let memory = |what: &str| {
        let pid = herd.proxy(0).pid().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        println!("{what}: {line}");
    };
    memory("before");
    for node in [0, 1] {
        herd.cluster().freeze(node).unwrap();
    }
    wait_for_event(&herd, "primary_lost");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (done, refused) = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            let parameters = herd.app();
            clients.spawn(async move {
                let mut client: Client = parameters.connect().await.unwrap();
                client.failure(&format!("insert into storm values ({n})")).await
            });
        }
        let mut outcomes = Vec::new();
        let mut thawed = false;
        while let Some(outcome) = tokio::time::timeout(PATIENCE * 3, clients.join_next()).await.unwrap() {
            outcomes.push(outcome.unwrap());
            if outcomes.len() >= CLIENTS - BOUND && !thawed {
                memory("held");
                for node in [0, 1] {
                    herd.cluster().thaw(node).unwrap();
                }
                thawed = true;
            }
        }
        let done = outcomes.iter().filter(|outcome| outcome.is_none()).count();
        assert!(outcomes.iter().flatten().all(|code| code == "57P03"), "{outcomes:?}");
        (done, outcomes.len() - done)
    });
    println!("F39: {done} of {CLIENTS} were served, {refused} refused beyond {BOUND}");
    assert_eq!((done, refused), (BOUND, CLIENTS - BOUND));
    eventually("all rows are there", Duration::from_secs(20), || {
        let rows = herd.psql_directly("select count(*), count(distinct n) from storm").ok()?;
        (rows == format!("{done}|{done}")).then_some(())
    });
}

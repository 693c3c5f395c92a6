//! Replicas that lag.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use e2e::Setup;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// How long pgherd may take to find out about a lag.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_reads_what_it_wrote_while_replay_stops_and_goes() {
    let herd = Arc::new(Setup::own(1).regions(["us"]).start());
    herd.psql("create table own (id bigint primary key)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    let replica = herd.cluster().node(1).port().to_string();
    let mut clients = JoinSet::new();
    for number in 0..8_i64 {
        let (mut client, replica) = (herd.connect().await, replica.clone());
        clients.spawn(async move {
            let (mut missing, mut pairs, mut on_replica) = (0, 0, 0);
            for n in 0..150 {
                let id = (number << 32) | n;
                client.execute(&format!("insert into own values ({id})")).await;
                // Some sessions read on for a while, so that a replica gets its chance.
                for again in 0..if number < 6 { 1 } else { 20 } {
                    let sql = format!("select current_setting('port') from own where id = {id}");
                    let rows = client.rows(&sql).await.unwrap();
                    pairs += u32::from(again == 0);
                    missing += u32::from(rows.is_empty());
                    on_replica += u32::from(rows.iter().any(|row| row[0].as_ref() == Some(&replica)));
                    if number >= 6 {
                        sleep(Duration::from_millis(5)).await;
                    }
                }
                if number >= 6 && n >= 40 {
                    break;
                }
            }
            (missing, pairs, on_replica)
        });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let pauses = std::thread::spawn({
        let (herd, stop) = (Arc::clone(&herd), Arc::clone(&stop));
        move || {
            let mut pauses = 0;
            while !stop.load(Relaxed) {
                herd.cluster().psql(1, "select pg_wal_replay_pause()").unwrap();
                std::thread::sleep(Duration::from_millis(400));
                herd.cluster().psql(1, "select pg_wal_replay_resume()").unwrap();
                std::thread::sleep(Duration::from_millis(600));
                pauses += 1;
            }
            pauses
        }
    });
    let (mut missing, mut pairs, mut on_replica) = (0, 0, 0);
    let mut last = herd.connect().await;
    while let Some(done) = clients.join_next().await {
        let (more_missing, more_pairs, more_on_replica) = done.unwrap();
        missing += more_missing;
        pairs += more_pairs;
        on_replica += more_on_replica;
    }
    stop.store(true, Relaxed);
    let pauses = pauses.join().unwrap();
    // A session that reads on comes back to the replica, however busy the machine is.
    last.execute("insert into own values (-1)").await;
    for _ in 0..1000 {
        let rows = last.rows("select current_setting('port') from own where id = -1").await.unwrap();
        missing += u32::from(rows.is_empty());
        if rows.iter().any(|row| row[0].as_ref() == Some(&replica)) {
            on_replica += 1;
            break;
        }
        sleep(POLL).await;
    }
    println!(
        "read your writes: {pairs} pairs, {missing} missing, {on_replica} reads on the replica, {pauses} pauses"
    );
    assert!(pairs >= 950, "{pairs}");
    assert_eq!(missing, 0);
    assert!(on_replica > 0, "no read ever reached the replica");
}

#[tokio::test]
async fn a_replica_beyond_the_lag_bound_is_left_out_and_comes_back() {
    let herd = Setup::own(1).regions(["us"]).set("routing.max_lag", "1s").start();
    herd.psql("create table lagging (a int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    let [primary, replica] = [0, 1].map(|node| herd.cluster().node(node).port().to_string());
    let mut reader = herd.connect().await;
    let mut admin = herd.proxy(0).admin().await;
    let port = "select current_setting('port')";
    assert_eq!(reader.value(port).await, replica);
    herd.cluster().psql(1, "select pg_wal_replay_pause()").unwrap();
    herd.psql("insert into lagging values (1)").unwrap();
    let deadline = Instant::now() + PATIENCE;
    let unfit = loop {
        let rows = admin.rows("EXPLAIN ROUTE select * from lagging").await.unwrap();
        let rows = rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect());
        let row = rows.into_iter().find(|row: &Vec<String>| row[0] == "node" && row[1] == "us").unwrap();
        if row[3] == "unfit" {
            break row;
        }
        assert!(Instant::now() < deadline, "the replica is not left out: {row:?}");
        sleep(POLL).await;
    };
    println!("lag bound: {unfit:?}");
    assert!(unfit[4].starts_with("lag: "), "{unfit:?}");
    // Not one read from then on is older than the bound.
    for _ in 0..20 {
        assert_eq!(reader.value("select count(*) from lagging").await, "1");
        assert_eq!(reader.value(port).await, primary);
    }
    herd.cluster().psql(1, "select pg_wal_replay_resume()").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while reader.value(port).await != replica {
        assert!(Instant::now() < deadline, "the replica does not come back");
        sleep(POLL).await;
    }
}

#[tokio::test]
async fn a_role_and_a_database_that_the_replica_has_not_got_yet_are_served_by_the_primary() {
    let herd = Setup::own(1).regions(["us"]).start();
    let primary = herd.cluster().node(0).port().to_string();
    herd.cluster().wait_for_all().unwrap();
    herd.cluster().psql(1, "select pg_wal_replay_pause()").unwrap();
    herd.cluster().psql(0, "create role newcomer login password 'first'").unwrap();
    herd.cluster().psql(0, "create database fresh owner newcomer").unwrap();
    let newcomer = lab::Login { user: "newcomer".into(), password: "first".into() };
    for database in [herd.database(), "fresh"] {
        let mut client = herd.proxy(0).login(&newcomer, database).connect().await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.value("select current_setting('port')").await, primary, "{database}");
        }
    }
    herd.cluster().psql(1, "select pg_wal_replay_resume()").unwrap();
}

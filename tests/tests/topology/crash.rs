//! Nodes that die without a word, and those that merely stumble.

use e2e::{Setup, eventually};
use lab::Signal;
use tokio::time::Instant;

use super::{PATIENCE, events, show, wait_for_event, wait_for_state};
use crate::load::Load;

#[test]
fn writes_wait_for_the_promotion_after_a_primary_was_killed_and_reads_go_on() {
    let herd = Setup::own(2).start();
    let load = Load::start(&herd, 6, 2);
    herd.cluster().kill(0).unwrap();
    wait_for_event(&herd, "primary_lost");
    // Nobody can be written to, and clients read on.
    load.wait_for_reads(100);
    herd.cluster().promote(1).unwrap();
    load.wait_for_writes(300);
    let promoted = wait_for_event(&herd, "promoted");
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, 1);
    ledger.report("promotion after SIGKILL", missing);
    println!("the event: {promoted}");
    ledger.assert_only_doubts();
}

#[test]
fn a_killed_standby_is_no_error_for_those_who_read_from_it() {
    let herd = Setup::own(2).regions(["us"]).start();
    let load = Load::start(&herd, 2, 6);
    let reads = |node: usize| -> u64 {
        let name = herd.cluster().node(node).name();
        show(&herd, "NODES").iter().find(|row| row[0] == name).unwrap()[18].parse().unwrap()
    };
    assert!(reads(1) > 0, "the standby of the region is read from");
    herd.cluster().kill(1).unwrap();
    load.wait_for_reads(300);
    wait_for_event(&herd, "node_down");
    let before = reads(2);
    load.wait_for_reads(100);
    assert!(reads(2) > before, "the other standby takes over");
    herd.cluster().start_node(1).unwrap();
    wait_for_state(&herd, 1, "standby", "up");
    let before = reads(1);
    eventually("it is read from again", PATIENCE, || (reads(1) > before).then_some(()));
    let ledger = load.stop();
    ledger.report("standby killed", ledger.count_missing(&herd, 0));
    ledger.assert_no_errors();
}

#[test]
fn one_killed_backend_is_no_failover() {
    let herd = Setup::own(1).start();
    let load = Load::start(&herd, 4, 2);
    let sql = format!("select pid from pg_stat_activity where datname = '{}' limit 1", herd.database());
    let victim = herd.cluster().psql(0, &sql).unwrap().parse().unwrap();
    let checkpointer = "select pid from pg_stat_activity where backend_type = 'checkpointer'";
    let before = herd.cluster().psql(0, checkpointer).unwrap();
    lab::signal(victim, Signal::SIGKILL).unwrap();
    // All of its processes are replaced.
    eventually("the server has recovered", PATIENCE, || {
        herd.cluster().psql(0, checkpointer).ok().filter(|now| !now.is_empty() && *now != before)
    });
    load.wait_for_writes(300);
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, 0);
    ledger.report("one backend killed", missing);
    ledger.assert_only_doubts();
    assert_eq!(missing, 0);
    let events = events(&herd);
    assert!(!events.iter().any(|(name, _)| name == "promoted"), "{events:?}");
    let epochs = show(&herd, "EPOCHS");
    assert_eq!(epochs.len(), 1, "{epochs:?}");
}

#[test]
fn a_frozen_primary_that_wakes_after_the_promotion_is_not_written_to() {
    let herd = Setup::own(1).start();
    let load = Load::start(&herd, 6, 2);
    herd.cluster().freeze(0).unwrap();
    herd.cluster().promote(1).unwrap();
    wait_for_event(&herd, "promoted");
    let promoted_at = Instant::now();
    load.wait_for_writes(100);
    herd.cluster().thaw(0).unwrap();
    wait_for_event(&herd, "stale_primary");
    load.wait_for_writes(300);
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, 1);
    ledger.report("frozen primary", missing);
    ledger.assert_only_doubts();
    assert_eq!(ledger.count_begun_since(&herd, 0, promoted_at), 0, "written to the old primary");
}

#[test]
fn the_end_of_the_hold_is_57p03_and_the_session_goes_on() {
    let herd = Setup::own(1).set("session.max_hold", "1s").start();
    herd.psql("create table held (a int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut client = runtime.block_on(herd.connect());
    runtime.block_on(client.execute("set work_mem = '7MB'"));
    herd.cluster().kill(0).unwrap();
    wait_for_event(&herd, "primary_lost");
    runtime.block_on(async {
        let began = Instant::now();
        assert_eq!(client.failure("insert into held values (1)").await.as_deref(), Some("57P03"));
        println!("held for {} ms", began.elapsed().as_millis());
        assert_eq!(client.value("select count(*) from held").await, "0");
    });
    herd.cluster().promote(1).unwrap();
    runtime.block_on(async {
        client.execute("insert into held values (2)").await;
        assert_eq!(client.value("select a from held").await, "2");
        assert_eq!(client.value("show work_mem").await, "7MB");
    });
}

#[tokio::test]
async fn a_login_is_not_called_wrong_while_no_node_can_tell() {
    let mut setup = Setup::shared();
    for node in 0..3 {
        setup = setup.set(&format!("cluster.0.nodes.{node}.address"), format!("127.0.0.1:{}", node + 1));
    }
    let herd = setup.start_without_service();
    let refused = herd.app().connect().await.unwrap_err();
    assert_eq!(refused.sqlstate().as_deref(), Some("57P03"), "{refused}");
    // The console's users are configured.
    assert_eq!(herd.proxy(0).admin().await.rows("SHOW NODES").await.unwrap().len(), 3);
}

//! The primary dies, and nobody says what to do.

use e2e::{Herd, eventually};

use super::{managed, start, story};
use crate::{
    load::Load,
    topology::{PATIENCE, events, show, wait_for_event, wait_for_state},
};

#[test]
fn a_killed_primary_is_replaced_while_clients_wait() {
    let herd = start(managed(2));
    let load = Load::start(&herd, 6, 2);
    herd.cluster().kill(0).unwrap();
    let promoted = wait_for_event(&herd, "promoted");
    load.wait_for_writes(300);
    let primary = herd.cluster().primary().unwrap();
    let follower = 3 - primary;
    eventually("the other standby follows", PATIENCE, || {
        let sender = herd
            .cluster()
            .psql(follower, "select sender_port from pg_stat_wal_receiver where status = 'streaming'");
        (sender.ok()? == herd.cluster().node(primary).port().to_string()).then_some(())
    });
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, primary);
    ledger.report("SIGKILL, own manager", missing);
    println!("the event: {promoted}\n{}", story(&herd));
    ledger.assert_only_doubts();
    let row = show(&herd, "FAILOVERS").pop().unwrap();
    assert_eq!([row[3].as_str(), row[7].as_str()], ["automatic", "done"], "{row:?}");
}

#[test]
fn a_frozen_primary_is_replaced_and_never_written_to_again() {
    let herd = start(managed(2));
    let load = Load::start(&herd, 6, 2);
    herd.cluster().freeze(0).unwrap();
    wait_for_event(&herd, "promoted");
    load.wait_for_writes(300);
    herd.cluster().thaw(0).unwrap();
    wait_for_event(&herd, "stale_primary");
    load.wait_for_writes(100);
    let primary = herd.cluster().primary().unwrap();
    let ledger = load.stop();
    ledger.report("frozen, own manager", ledger.count_missing(&herd, primary));
    println!("{}", story(&herd));
    ledger.assert_only_doubts();
}

#[test]
fn one_killed_backend_and_a_restarted_primary_are_no_failovers() {
    let herd = start(managed(1));
    let load = Load::start(&herd, 4, 2);
    let sql = format!("select pid from pg_stat_activity where datname = '{}' limit 1", herd.database());
    let victim = herd.cluster().psql(0, &sql).unwrap().parse().unwrap();
    let before = herd.cluster().psql(0, "select clock_timestamp()").unwrap();
    lab::signal(victim, lab::Signal::SIGKILL).unwrap();
    let sql = format!(
        "select 1 from pg_stat_activity where backend_type = 'checkpointer' and backend_start > '{before}'"
    );
    eventually("all of the server's processes are new", PATIENCE, || {
        (herd.cluster().psql(0, &sql).ok()? == "1").then_some(())
    });
    load.wait_for_writes(300);
    let ledger = load.stop();
    ledger.assert_only_doubts();
    assert_eq!(ledger.count_missing(&herd, 0), 0);
    let events = events(&herd);
    assert!(!events.iter().any(|(name, _)| name == "promoted"), "{events:?}");
}

#[test]
fn the_next_candidate_takes_over_when_the_new_primary_dies_too() {
    let herd = start(managed(2));
    let load = Load::start(&herd, 4, 2);
    herd.cluster().kill(0).unwrap();
    wait_for_event(&herd, "promoted");
    load.wait_for_writes(100);
    let second = herd.cluster().primary().unwrap();
    let third = 3 - second;
    wait_for_state(&herd, third, "standby", "up");
    wait_until_second_timeline_is_followed(&herd, third);
    herd.cluster().kill(second).unwrap();
    load.wait_for_writes(200);
    assert_eq!(herd.cluster().primary().unwrap(), third);
    let ledger = load.stop();
    ledger.report("two in a row", ledger.count_missing(&herd, third));
    println!("{}", story(&herd));
    ledger.assert_only_doubts();
}

#[test]
fn what_a_standby_followed_is_known_to_who_never_saw_it_follow() {
    let herd = start(managed(2));
    herd.psql("create table kept as select 1 as id").unwrap();
    herd.cluster().wait_for_all().unwrap();
    herd.cluster().kill(0).unwrap();
    wait_for_event(&herd, "promoted");
    let second = herd.cluster().primary().unwrap();
    let third = 3 - second;
    wait_until_second_timeline_is_followed(&herd, third);
    herd.proxy(0).kill();
    herd.cluster().kill(second).unwrap();
    herd.proxy(0).spawn();
    herd.proxy(0).wait_until_listening();
    herd.psql("insert into kept values (2)").unwrap();
    assert_eq!(herd.cluster().primary().unwrap(), third);
    assert!(!herd.proxy(0).log().contains("no standby is up that may be promoted"));
}

fn wait_until_second_timeline_is_followed(herd: &Herd, node: usize) {
    eventually("the other standby follows", PATIENCE, || {
        let timeline = herd
            .cluster()
            .psql(node, "select received_tli from pg_stat_wal_receiver where status = 'streaming'");
        (timeline.ok()? == "2").then_some(())
    });
}

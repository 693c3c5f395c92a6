//! The primary dies, and nobody says what to do. What that costs clients is measured in `matrix`.

use e2e::{Herd, eventually};

use super::{managed, start, story};
use crate::{
    load::Load,
    topology::{PATIENCE, wait_for_event, wait_for_state},
};

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

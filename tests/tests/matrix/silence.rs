//! Nodes that fall silent without a word: F4, F5, F6, F35.

use std::{thread::sleep, time::Duration};

use e2e::eventually;
use lab::{Signal, signal};

use super::{
    case::{Allowed, Bars, Case, assert_never},
    sandbox,
};
use crate::{
    failover::{managed, start, story, toll},
    topology::{PATIENCE, events, wait_for_event},
};

const SILENCE: Bars = Bars::of_ms(3000, 3000);

#[test]
fn f4_a_frozen_primary_is_replaced_and_never_written_to_again() {
    let herd = start(managed(2));
    let case = Case::begin("F4 frozen node", Allowed::Doubts, SILENCE, &herd, 200);
    herd.cluster().freeze(0).unwrap();
    wait_for_event(&herd, "promoted");
    case.load.wait_for_writes(300);
    let promoted = tokio::time::Instant::now();
    herd.cluster().thaw(0).unwrap();
    wait_for_event(&herd, "stale_primary");
    println!("{}", story(&herd));
    let primary = herd.cluster().primary().unwrap();
    let ledger = case.end(&herd, primary);
    assert_eq!(ledger.count_begun_since(&herd, 0, promoted), 0, "writes to the stale primary");

    let errors: u32 = ledger.write_errors.values().sum();
    let (first_write, gap, held, codes) = eventually("all errors are counted", PATIENCE, || {
        let (first_write, gap, held, failed, codes) = toll(&herd);
        (failed == u64::from(errors)).then_some((first_write, gap, held, codes))
    });
    assert!(first_write >= gap && held > 0, "first write {first_write}, gap {gap}, {held} held");
    assert_eq!(codes, if errors == 0 { String::new() } else { format!("08007: {errors}") });
    assert!(story(&herd).contains("the first write was answered"), "{}", story(&herd));
}

/// Connections that are open go on; nobody can make a new one.
#[test]
#[ignore = "takes long"]
fn f5_a_primary_that_takes_no_new_connections_is_written_to_over_those_that_are_open() {
    let herd = start(managed(2));
    let bars = Bars::of_ms(1000, 1000);
    let case = Case::begin("F5 postmaster alone frozen", Allowed::Nothing, bars, &herd, 50);
    let folder = herd.cluster().node(0).data();
    let pid_file = std::fs::read_to_string(folder.join("postmaster.pid")).unwrap();
    let postmaster = pid_file.lines().next().unwrap().parse().unwrap();
    signal(postmaster, Signal::SIGSTOP).unwrap();
    // longer than a node may be silent
    sleep(Duration::from_secs(6));
    case.load.wait_for_writes(300);
    signal(postmaster, Signal::SIGCONT).unwrap();
    case.end(&herd, 0);
    assert_never(&herd, "promoted");
}

#[test]
#[ignore = "takes long, and a network namespace"]
fn f6_a_host_that_vanishes_without_a_word_is_replaced() {
    if !sandbox::is_entered("matrix::silence::f6_a_host_that_vanishes_without_a_word_is_replaced") {
        return;
    }
    let herd = start(managed(2));
    let case = Case::begin("F6 host vanished", Allowed::Doubts, SILENCE, &herd, 200);
    sandbox::firewall(&sandbox::drop_all(herd.cluster().node(0).port()));
    wait_for_event(&herd, "promoted");
    case.load.wait_for_writes(300);
    let back = tokio::time::Instant::now();
    sandbox::firewall("");
    wait_for_event(&herd, "stale_primary");
    println!("{}", story(&herd));
    let primary = herd.cluster().primary().unwrap();
    let ledger = case.end(&herd, primary);
    assert_eq!(ledger.count_begun_since(&herd, 0, back), 0, "writes to the stale primary");
}

#[test]
#[ignore = "takes long"]
fn f35_a_node_that_comes_and_goes_costs_one_failover() {
    let herd = start(managed(2));
    let bars = Bars::of_ms(6000, 6000);
    let case = Case::begin("F35 2 s up, 2 s down", Allowed::Doubts, bars, &herd, 50);
    for _ in 0..8 {
        herd.cluster().freeze(0).unwrap();
        sleep(Duration::from_secs(2));
        herd.cluster().thaw(0).unwrap();
        sleep(Duration::from_secs(2));
    }
    let promotions = events(&herd).iter().filter(|(name, _)| name == "promoted").count();
    println!("{promotions} failovers in {} s", 8 * 4);
    assert!(promotions <= 1, "{:?}", events(&herd));
    let primary = herd.cluster().primary().unwrap();
    case.end(&herd, primary);
}

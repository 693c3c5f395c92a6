//! Processes that die: F1, F2, F3, F13 to F17, F38.

use std::env;

use e2e::eventually;
use lab::StopMode;

use super::{
    case::{Allowed, Bars, Case, assert_never},
    cast::Cast,
};
use crate::{
    failover::{managed, start, story},
    topology::{PATIENCE, show, wait_for_event, wait_for_state},
};

const CRASH: Bars = Bars::of_ms(1000, 200);

/// How often the long form does it.
fn rounds() -> usize {
    env::var("MATRIX_ROUNDS").map_or(5, |rounds| rounds.parse().expect("MATRIX_ROUNDS is a number"))
}

#[test]
fn f1_a_killed_primary_costs_nobody_who_was_idle_anything_and_everybody_else_is_told_the_truth() {
    crash_with(200);
}

#[test]
#[ignore = "takes long"]
fn f1_the_same_with_a_thousand_idle_clients_again_and_again() {
    for _ in 0..rounds() {
        crash_with(1000);
    }
}

/// F1, and with it F13, F14, F16 and F17: what clients can be in the middle of.
fn crash_with(idle: usize) {
    let herd = start(managed(2).set("pool.size", 30));
    let case = Case::begin("F1 kill -9 of the primary", Allowed::Doubts, CRASH, &herd, idle);
    let cast = Cast::enter(&herd);
    herd.cluster().kill(0).unwrap();
    wait_for_event(&herd, "promoted");
    cast.leave(&herd);
    let primary = herd.cluster().primary().unwrap();
    let follower = 3 - primary;
    wait_for_state(&herd, follower, "standby", "up");
    println!("{}", story(&herd));
    case.end(&herd, primary);
    let row = show(&herd, "FAILOVERS").pop().unwrap();
    assert_eq!([row[3].as_str(), row[7].as_str()], ["automatic", "done"], "{row:?}");
}

#[test]
fn f2_a_killed_backend_is_no_failover() {
    let herd = start(managed(1));
    let bars = Bars::of_ms(500, 500);
    let case = Case::begin("F2 kill -9 of one backend", Allowed::Doubts, bars, &herd, 50);
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
    let ledger = case.end(&herd, 0);
    assert_eq!(ledger.count_missing(&herd, 0), 0, "a crash restart loses nothing");
    assert_never(&herd, "promoted");
}

#[test]
#[ignore = "takes long"]
fn f3_a_primary_that_somebody_stops_is_replaced() {
    for mode in [StopMode::Fast, StopMode::Immediate] {
        for _ in 0..rounds() {
            let herd = start(managed(2));
            let what = match mode {
                StopMode::Immediate => "F3 pg_ctl stop -m immediate",
                _ => "F3 pg_ctl stop -m fast",
            };
            let case = Case::begin(what, Allowed::Doubts, CRASH, &herd, 50);
            herd.cluster().stop(0, mode).unwrap();
            wait_for_event(&herd, "promoted");
            case.load.wait_for_writes(100);
            let primary = herd.cluster().primary().unwrap();
            case.end(&herd, primary);
        }
    }
}

#[test]
#[ignore = "takes long"]
fn f38_a_candidate_that_dies_with_the_primary_leaves_the_next() {
    for _ in 0..rounds() {
        let herd = start(managed(2));
        let bars = Bars::of_ms(2000, 2000);
        let case = Case::begin("F38 primary and a standby at once", Allowed::Doubts, bars, &herd, 50);
        herd.cluster().kill(0).unwrap();
        herd.cluster().kill(1).unwrap();
        wait_for_event(&herd, "promoted");
        case.load.wait_for_writes(100);
        case.end(&herd, 2);
        println!("{}", story(&herd));
    }
}

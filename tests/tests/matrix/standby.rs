//! Standbys that die or lag: F9, F11.

use std::time::Duration;

use e2e::eventually;

use super::case::{Allowed, Bars, Case};
use crate::{
    failover::{managed, start},
    topology::{PATIENCE, wait_for_state},
};

#[test]
#[ignore = "takes long"]
fn f9_a_killed_standby_is_no_error_for_those_who_read() {
    let herd = start(managed(2));
    let case = Case::begin("F9 kill -9 of a standby", Allowed::Nothing, Bars::of_ms(500, 200), &herd, 200);
    for node in [1, 2] {
        herd.cluster().kill(node).unwrap();
        case.load.wait_for_reads(200);
    }
    case.end(&herd, 0);
}

#[test]
#[ignore = "takes long"]
fn f11_nobody_reads_from_a_replica_that_lags_too_far() {
    let herd = start(managed(2).set("routing.max_lag", "1s"));
    let case = Case::begin("F11 replay paused", Allowed::Nothing, Bars::of_ms(500, 500), &herd, 50);
    herd.psql("create table clock (at timestamptz); insert into clock values (clock_timestamp())").unwrap();
    herd.cluster().wait_for_all().unwrap();
    for node in [1, 2] {
        herd.cluster().psql(node, "select pg_wal_replay_pause()").unwrap();
    }
    let mut oldest = Duration::ZERO;
    for _ in 0..60 {
        herd.psql_directly("update clock set at = clock_timestamp()").unwrap();
        let age = herd.psql("select extract(epoch from clock_timestamp() - at) from clock").unwrap();
        oldest = oldest.max(Duration::from_secs_f64(age.parse::<f64>().unwrap().max(0.0)));
    }
    // the bound, and the age that what is known of a replica may have
    let bound = Duration::from_secs(1 + 3);
    println!("oldest read: {oldest:?}, bound {bound:?}");
    assert!(oldest <= bound, "{oldest:?}");
    for node in [1, 2] {
        herd.cluster().psql(node, "select pg_wal_replay_resume()").unwrap();
        wait_for_state(&herd, node, "standby", "up");
    }
    herd.cluster().wait_for_all().unwrap();
    eventually("replicas are read from again", PATIENCE, || {
        let (cluster, port) = (herd.cluster(), herd.proxy(0).port_of("read-only"));
        let sql = "select pg_is_in_recovery()";
        let read = cluster.psql_at(port, cluster.application(), herd.database(), sql).ok()?;
        (read == "t").then_some(())
    });
    case.end(&herd, 0);
}

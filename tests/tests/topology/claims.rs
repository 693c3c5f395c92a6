//! Several nodes say that they are the primary.

use std::sync::Arc;

use e2e::{Setup, eventually};
use lab::{Cluster, Options, StopMode};
use tokio::time::Instant;

use super::{PATIENCE, bytes_in, show, state_of, wait_for_event, wait_for_state};
use crate::load::Load;

#[test]
fn a_returning_old_primary_is_never_written_to() {
    let herd = Setup::own(1).start();
    let load = Load::start(&herd, 6, 2);
    herd.cluster().kill(0).unwrap();
    herd.cluster().promote(1).unwrap();
    wait_for_event(&herd, "promoted");
    let promoted_at = Instant::now();
    load.wait_for_writes(100);
    herd.cluster().start_node(0).unwrap();
    let alarm = wait_for_event(&herd, "stale_primary");
    println!("the alarm: {alarm}");
    assert_eq!(state_of(&herd, 0), ("claims primary".to_owned(), "stale".to_owned()));
    load.wait_for_writes(300);
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, 1);
    ledger.report("the old primary came back", missing);
    assert!(
        missing == 0 || bytes_in(&alarm).is_some_and(|bytes| bytes > 0),
        "{missing} rows are lost: {alarm}"
    );
    ledger.assert_only_doubts();
    assert_eq!(ledger.count_begun_since(&herd, 0, promoted_at), 0, "written to the old primary");
    // As a standby it is welcome.
    herd.cluster().rejoin(0).unwrap();
    wait_for_state(&herd, 0, "standby", "up");
    let port = herd.cluster().node(0).port().to_string();
    eventually("it is read from", PATIENCE, || {
        (herd.psql("select current_setting('port')").unwrap() == port).then_some(())
    });
}

#[test]
fn two_primaries_on_unrelated_timelines_are_an_alarm_and_no_writes() {
    let herd = Setup::own(2).set("session.max_hold", "500ms").start();
    herd.psql("create table split (a int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    herd.cluster().kill(0).unwrap();
    herd.cluster().promote(1).unwrap();
    herd.cluster().promote(2).unwrap();
    println!("the alarm: {}", wait_for_event(&herd, "split_brain"));
    assert_eq!(show(&herd, "TOPOLOGY")[0][0].split(", ").nth(1), Some("split brain)"));
    let count = |node: usize| {
        let cluster = herd.cluster();
        cluster.psql_as(node, cluster.superuser(), herd.database(), "select count(*) from split").unwrap()
    };
    for _ in 0..3 {
        let error = herd.psql("insert into split values (1)").unwrap_err().to_string();
        assert!(error.contains("no primary to run this on"), "{error}");
    }
    assert_eq!((count(1).as_str(), count(2).as_str()), ("0", "0"));
    // One of them gives way.
    herd.cluster().stop(2, StopMode::Fast).unwrap();
    eventually("writes go on", PATIENCE, || herd.psql("insert into split values (2)").ok());
    assert_eq!(count(1), "1");
}

#[test]
fn a_second_promotion_to_the_same_timeline_is_an_alarm_and_no_writes() {
    let herd = Setup::own(2).set("session.max_hold", "500ms").start();
    herd.psql("create table heirs (a int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    herd.cluster().kill(0).unwrap();
    herd.cluster().promote(1).unwrap();
    wait_for_event(&herd, "promoted");
    herd.psql("insert into heirs values (1)").unwrap();
    // The last standby has not heard of timeline 2 when it is promoted, so it takes the same number.
    herd.cluster().kill(1).unwrap();
    herd.cluster().promote(2).unwrap();
    println!("the alarm: {}", wait_for_event(&herd, "unproven_primary"));
    let error = herd.psql("insert into heirs values (2)").unwrap_err().to_string();
    assert!(error.contains("no primary to run this on"), "{error}");
    herd.cluster().stop(2, StopMode::Fast).unwrap();
    herd.cluster().start_node(1).unwrap();
    eventually("writes go on", PATIENCE, || herd.psql("insert into heirs values (3)").ok());
    assert_eq!(herd.psql("select array_agg(a order by a) from heirs").unwrap(), "{1,3}");
}

#[test]
fn a_restarted_pgherd_remembers_which_timeline_was_abandoned() {
    let cluster = Arc::new(Cluster::start(Options { standbys: 1, ..Options::default() }).unwrap());
    let app = cluster.application().clone();
    // Its password is configured: roles cannot be looked up while no node is good.
    let herd = Setup::of_cluster(cluster)
        .set("auth.query_optional", true)
        .set("user.1.name", app.user)
        .set("user.1.secret", app.password)
        .set("proxy.state_dir", "state")
        .set("session.max_hold", "500ms")
        .start();
    herd.psql("create table remembered (a int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    herd.cluster().kill(0).unwrap();
    herd.cluster().promote(1).unwrap();
    wait_for_event(&herd, "promoted");
    herd.psql("insert into remembered values (1)").unwrap();
    // The new primary is down, the old one back, and pgherd starts anew.
    herd.cluster().stop(1, StopMode::Fast).unwrap();
    let proxy = herd.proxy(0);
    proxy.kill();
    herd.cluster().start_node(0).unwrap();
    proxy.spawn();
    proxy.wait_until_listening();
    wait_for_event(&herd, "stale_primary");
    let error = herd.psql("insert into remembered values (2)").unwrap_err().to_string();
    println!("with only the stale primary there: {error}");
    let rows = |node: usize| {
        let cluster = herd.cluster();
        cluster
            .psql_as(node, cluster.superuser(), herd.database(), "select array_agg(a) from remembered")
            .unwrap()
    };
    assert_eq!(rows(0), "");
    herd.cluster().start_node(1).unwrap();
    eventually("the new primary is back", PATIENCE, || herd.psql("insert into remembered values (3)").ok());
    assert_eq!((rows(0).as_str(), rows(1).as_str()), ("", "{1,3}"));
}

//! An operator has another node take over.

use e2e::Herd;

use super::{managed, start, story, toll};
use crate::{load::Load, topology::show};

pub(super) fn console(herd: &Herd, command: &str) -> Result<String, String> {
    let admin = herd.proxy(0).admin_login();
    let answer = herd.cluster().psql_at(herd.proxy(0).port(), admin, "pgherd", command);
    answer.map_err(|error| format!("{error:#}"))
}

#[test]
fn a_switchover_costs_no_error_and_no_row() {
    let herd = start(managed(2));
    let load = Load::start(&herd, 6, 2);
    let to = herd.cluster().node(2).name();
    console(&herd, &format!("SWITCHOVER TO \"{to}\"")).unwrap();
    load.wait_for_writes(300);
    assert!(!herd.cluster().is_standby(2).unwrap());
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, 2);
    ledger.report("switchover by SQL fence", missing);
    println!("{}", story(&herd));
    ledger.assert_no_errors();
    assert_eq!(missing, 0);
    let row = show(&herd, "FAILOVERS").pop().unwrap();
    assert_eq!([row[3].as_str(), row[7].as_str()], ["switchover", "done"], "{row:?}");
    let (_, _, held, failed, codes) = toll(&herd);
    assert!(held > 0 && failed == 0, "{held} were held, {failed} failed: {codes}");
}

#[test]
fn what_cannot_take_over_is_refused_and_changes_nothing() {
    let herd = start(managed(1));
    let load = Load::start(&herd, 2, 2);
    a_switchover_that_fails_behind_its_fence_is_rolled_back(&herd);
    let (primary, standby) = (herd.cluster().node(0).name(), herd.cluster().node(1).name());
    herd.cluster().stop(1, lab::StopMode::Fast).unwrap();
    crate::topology::wait_for_event(&herd, "node_down");
    for (command, expected) in [
        (format!("SWITCHOVER TO \"{standby}\""), "it is not up"),
        (format!("SWITCHOVER TO \"{primary}\""), "is the primary already"),
        ("SWITCHOVER".to_owned(), "no standby is close behind"),
        ("SWITCHOVER TO nobody".to_owned(), "there is no node \"nobody\""),
        (format!("FAILOVER TO \"{standby}\""), "it is no standby that is up"),
        (format!("RESTART NODE \"{standby}\""), "it is not up"),
        ("RESTART NODES".to_owned(), "it is not up"),
        ("RESTART NODES nowhere".to_owned(), "there is no cluster"),
    ] {
        let error = console(&herd, &command).unwrap_err();
        assert!(error.contains(expected), "{command}: {error}");
    }
    load.wait_for_writes(100);
    load.stop().assert_no_errors();
    let [only] = show(&herd, "FAILOVERS").try_into().unwrap();
    assert!(only[3] == "switchover" && only[7].starts_with("rolled back"), "{only:?}");
}

/// No standby can be cut off, so none is promoted; what was set on the primary is as it was, whoever set it.
fn a_switchover_that_fails_behind_its_fence_is_rolled_back(herd: &Herd) {
    let psql = |sql: &str| herd.cluster().psql(0, sql).unwrap();
    let monitor = &herd.cluster().monitor().user;
    psql("alter system set synchronous_standby_names = 'FIRST 1 (\"no-such\", *)'");
    psql("select pg_reload_conf()");
    psql(&format!("revoke alter system on parameter primary_conninfo from {monitor}"));
    let error = console(herd, "SWITCHOVER").unwrap_err();
    assert!(error.contains("it was rolled back"), "{error}");
    assert_eq!(psql("show synchronous_standby_names"), "FIRST 1 (\"no-such\", *)");
    psql(&format!("grant alter system on parameter primary_conninfo to {monitor}"));
    psql("alter system reset synchronous_standby_names");
    psql("select pg_reload_conf()");
    println!("{}", story(herd));
}

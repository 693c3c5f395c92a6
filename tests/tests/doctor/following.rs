//! Slots, streaming and replay; and CHECK REPLICATION.

use e2e::{Herd, Setup, eventually};
use lab::Login;

use super::{PATIENCE, doctor, patient::Patient};

const EU: usize = 0;
const US: usize = 1;

/// CHECK REPLICATION as a role: node, state, replayed after ms, lag bytes, verdict, why, fix.
fn check_replication(herd: &Herd, login: &Login, sql: &str) -> anyhow::Result<Vec<[String; 7]>> {
    let text = herd.cluster().psql_at(herd.proxy(0).port(), login, "pgherd", sql)?;
    let rows = text.lines().map(|line| {
        let cells: Vec<String> = line.split('|').map(str::to_owned).collect();
        let [node, _, state, after, lag, verdict, why, fix] = <[String; 8]>::try_from(cells).unwrap();
        [node, state, after, lag, verdict, why, fix]
    });
    Ok(rows.collect())
}

#[test]
fn a_marker_is_followed_to_every_standby() {
    let herd = Herd::common();
    let admin = herd.proxy(0).admin_login().clone();
    let rows = check_replication(&herd, &admin, "CHECK REPLICATION 60").unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["eu", "us", "ap"]);
    assert_eq!(rows[0][1], "primary");
    for row in &rows {
        assert_eq!(row[4], "ok", "{row:?}");
    }
    for row in &rows[1..] {
        assert_eq!((row[1].as_str(), row[3].as_str()), ("streaming", "0"), "{row:?}");
        row[2].parse::<u64>().unwrap();
    }
    for wrong in ["CHECK REPLICATION 0", "CHECK REPLICATION 61", "CHECK REPLICATION x", "CHECK", "CHECK UP"] {
        check_replication(&herd, &admin, wrong).unwrap_err();
    }
    let (code, out, _) = doctor(&herd, &["--replication", "60"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("ok       us: streaming, replayed after "), "{out}");
}

#[test]
fn who_may_only_look_may_check_the_cluster_and_write_no_marker() {
    let herd = Setup::shared()
        .set("user.1.name", "watcher")
        .set("user.1.secret", "w")
        .set("admin.stats_users", vec!["watcher".to_owned()])
        .start();
    let watcher = Login { user: "watcher".to_owned(), password: "w".to_owned() };
    let port = herd.proxy(0).port();
    let text = herd.cluster().psql_at(port, &watcher, "pgherd", "CHECK CLUSTER").unwrap();
    assert!(text.contains("|wal_level|replica|ok|"), "{text}");
    let error = check_replication(&herd, &watcher, "CHECK REPLICATION").unwrap_err().to_string();
    assert!(error.contains("needs an administrator"), "{error}");
}

#[test]
fn a_standby_that_does_not_replay_is_named_with_what_mends_it() {
    let patient = Patient::healthy(Setup::own(2));
    let admin = patient.0.proxy(0).admin_login().clone();
    let of_us = || {
        let rows = check_replication(&patient.0, &admin, "CHECK REPLICATION 2").unwrap();
        assert_eq!((rows[0][4].as_str(), rows[2][4].as_str()), ("ok", "ok"), "{rows:?}");
        rows[1].clone()
    };
    patient.sql(US, "select pg_wal_replay_pause()");
    let row = of_us();
    assert_eq!(
        (row[1].as_str(), row[4].as_str(), row[6].as_str()),
        ("paused", "failure", "SELECT pg_wal_replay_resume();")
    );
    assert!(row[3].parse::<u64>().unwrap() > 0, "{row:?}");
    let (code, out, _) = doctor(&patient.0, &["--replication=1"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("FAILURE  us: paused, ") && out.contains("SELECT pg_wal_replay_resume();"), "{out}");
    patient.is_told_and_mended(US, "replay", "failure");
    assert_eq!(of_us()[1], "streaming");

    // neither commits that wait for nobody knows whom, nor transactions that may not write, keep the marker away
    patient.set(EU, "synchronous_standby_names", "nobody");
    patient.set(EU, "default_transaction_read_only", "on");
    assert_eq!(of_us()[1], "streaming");
    patient.set(EU, "synchronous_standby_names", "");
    patient.set(EU, "default_transaction_read_only", "off");

    // a query on the standby needs rows that the primary has cleaned up
    patient.set(US, "hot_standby_feedback", "off");
    patient.set(US, "max_standby_streaming_delay", "-1");
    patient.sql(EU, "create table t as select generate_series(1, 1000) as a");
    patient.0.cluster().wait_for_replay(US).unwrap();
    let mut psql = patient.0.cluster().psql_command(
        patient.0.cluster().node(US).port(),
        patient.0.cluster().superuser(),
        "postgres",
    );
    let query = "begin isolation level repeatable read; select count(*) from t; select pg_sleep(600)";
    let mut reader = psql
        .args(["-c", query])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the query runs", PATIENCE, || {
        let sql = "select count(*) from pg_stat_activity where query like 'begin isolation%' and wait_event = 'PgSleep'";
        (patient.0.cluster().psql(US, sql).unwrap() == "1").then_some(())
    });
    patient.sql(EU, "delete from t");
    // feedback from before still holds the first of them back
    let row = eventually("vacuum takes away what the query sees", PATIENCE, || {
        patient.sql(EU, "vacuum t");
        Some(of_us()).filter(|row| row[1] != "streaming")
    });
    assert_eq!((row[1].as_str(), row[4].as_str()), ("waiting", "failure"), "{row:?}");
    assert!(row[6].starts_with("SELECT pg_terminate_backend("), "{row:?}");
    patient.sql(US, &row[6]);
    assert!(!reader.wait().unwrap().success());
    assert_eq!(of_us()[4], "ok");
}

#[test]
fn slots_that_are_missing_unused_or_not_copied_are_told() {
    let patient = Patient::healthy(Setup::own(2));
    patient
        .sql(EU, "select pg_create_physical_replication_slot('left_behind', true); select pg_switch_wal()");
    let row = patient.is_told_and_mended(EU, "slot", "warning");
    assert_eq!(row.fix, "SELECT pg_drop_replication_slot('left_behind');");

    patient.set(US, "primary_slot_name", "not_there");
    patient.finds(US, "streaming", "failure");
    let row = patient.finds(EU, "slot", "failure");
    assert_eq!(row.fix, "SELECT pg_create_physical_replication_slot('not_there', true);");
    patient.apply(EU, &row.fix);
    patient.finds_no_more(US, "streaming");
    // that which it used before is left over now
    eventually("all slots are in order", PATIENCE, || match patient.trouble(EU, "slot") {
        Some(row) => {
            patient.apply(EU, &row.fix);
            None
        }
        None => Some(()),
    });

    patient.set_and_restart(EU, "wal_level", "logical");
    let logical = "select pg_create_logical_replication_slot('changes', 'pgoutput')";
    patient.sql(EU, logical);
    patient.finds(EU, "logical slot", "warning");
    if patient.0.cluster().binaries().major() >= 17 {
        patient.sql(EU, "select pg_drop_replication_slot('changes')");
        patient.sql(EU, &logical.replace("'pgoutput'", "'pgoutput', failover => true"));
        patient.finds_no_more(EU, "logical slot");
        patient.is_told_and_mended(US, "sync_replication_slots", "warning");
    }
}

#[test]
fn a_standby_that_follows_nobody_is_told_how_to_follow_the_primary() {
    let patient = Patient::healthy(Setup::own(1));
    patient.set(US, "primary_conninfo", "host=127.0.0.1 port=1 user=pgherd");
    let row = patient.finds(US, "streaming", "failure");
    assert!(row.value.ends_with("primary_conninfo leads to 127.0.0.1:1"), "{row:?}");
    assert!(!row.fix.contains(&patient.0.cluster().monitor().password), "{row:?}");
    let fix = row.fix.replace('…', &patient.0.cluster().monitor().password);
    patient.apply(US, &fix);
    patient.finds_no_more(US, "streaming");

    patient.set(US, "primary_conninfo", "");
    patient.finds(US, "primary_conninfo", "failure");
}

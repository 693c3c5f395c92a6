//! Logins and privileges that a failover needs.

use std::fs;

use e2e::Setup;
use lab::StopMode;

use super::{check_cluster, doctor, grant, patient::Patient, run};

const EU: usize = 0;
const US: usize = 1;
const AP: usize = 2;

/// Replaces a node's pg_hba.conf.
fn write_hba(patient: &Patient, node: usize, text: &str) {
    fs::write(patient.0.cluster().node(node).data().join("pg_hba.conf"), text).unwrap();
    patient.sql(node, "select pg_reload_conf()");
}

#[test]
fn a_missing_line_in_pg_hba_is_printed_and_pasting_it_mends_it() {
    let patient = Patient::healthy(Setup::own(2));
    // us lets everybody in, but nobody replicate: it could not be followed, and its history not be read
    write_hba(&patient, US, "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n");
    let row = patient.finds(US, "replication login", "failure");
    assert_eq!(row.fix, "host  replication  pgherd  127.0.0.1/32  scram-sha-256\nSELECT pg_reload_conf();");
    let row = patient.finds(US, "streaming to", "failure");
    assert_eq!(row.value, "eu as pgherd from 127.0.0.1");
    assert!(row.fix.starts_with("host  replication  pgherd  127.0.0.1/32  scram-sha-256\n"), "{row:?}");
    patient.is_told_and_mended(US, "streaming to", "failure");
    patient.finds_no_more(US, "replication login");

    // ap lets nobody in but superusers
    write_hba(&patient, AP, "host all postgres 127.0.0.1/32 scram-sha-256\n");
    let row = patient.is_told_and_mended(AP, "login", "failure");
    assert!(row.fix.starts_with("host  all  pgherd  127.0.0.1/32  scram-sha-256\n"), "{row:?}");
    patient.is_told_and_mended(AP, "replication login", "failure");

    write_hba(&patient, AP, "host all all 127.0.0.1/32 scram-sha-256\nhost replication all all nonsense\n");
    patient.finds(AP, "pg_hba.conf", "failure");
}

#[test]
fn privileges_that_are_missing_are_told_with_the_grants_that_give_them() {
    let patient = Patient::healthy(Setup::own(1));
    patient.sql(EU, "revoke select on pg_authid from pgherd");
    let row = patient.is_told_and_mended(EU, "auth.query", "failure");
    assert!(row.value.contains("permission denied"), "{row:?}");
    patient.sql(EU, "revoke pg_monitor from pgherd");
    let row = patient.is_told_and_mended(EU, "privilege", "failure");
    assert_eq!(row.fix, "\\connect \"postgres\"\nGRANT pg_monitor TO \"pgherd\";");
    patient.sql(EU, "alter role pgherd noreplication");
    patient.finds(EU, "replication login", "failure");
    patient.is_told_and_mended(EU, "privilege", "failure");
    patient.finds_no_more(EU, "replication login");

    patient.sql(EU, "set password_encryption = md5; create role elder login password 'x'");
    let row = patient.finds(EU, "md5 passwords", "warning");
    assert_eq!(row.value, "elder");
}

#[test]
fn what_a_manager_lacks_is_told_to_it_alone_until_init_sql_was_run() {
    let patient = Patient::healthy(Setup::own(1));
    assert_eq!(patient.trouble(EU, "privilege"), None);
    let (code, out, _) = doctor(&patient.0, &["--manage"]);
    assert_eq!(code, Some(1), "{out}");
    let old = patient.0.cluster().binaries().major() < 15;
    for name in ["pg_promote(boolean, integer)", "ALTER SYSTEM SET primary_conninfo", "CHECKPOINT"] {
        assert!(out.contains(&format!("FAILURE  privilege: pgherd has no {name}")), "{out}");
    }
    assert_eq!(out.contains("ALTER ROLE \"pgherd\" SUPERUSER; -- before PostgreSQL 15"), old, "{out}");
    patient.0.proxy(0).write_configuration(|configuration| {
        configuration.set("cluster.0.manage", "single");
        configuration.set("proxy.state_dir", "state");
    });
    let (code, out, _) = doctor(&patient.0, &[]);
    assert!(code == Some(1) && out.contains("pgherd has no pg_promote"), "as the configuration says: {out}");
    grant(&patient.0, &["--manage"]);
    if old {
        patient.sql(EU, "alter role pgherd superuser");
    }
    let (_, out, _) = doctor(&patient.0, &["--manage"]);
    assert!(!out.contains("privilege"), "{out}");
}

#[test]
fn a_node_that_does_not_answer_is_a_finding_and_no_error() {
    let patient = Patient::healthy(Setup::own(1));
    patient.0.cluster().freeze(US).unwrap();
    let row = patient.finds(US, "login", "failure");
    assert!(row.value.contains("no login within"), "{row:?}");
    patient.0.cluster().thaw(US).unwrap();
    patient.0.cluster().stop(US, StopMode::Fast).unwrap();
    patient.finds(US, "login", "failure");
    patient.0.cluster().start_node(US).unwrap();
    patient.finds_no_more(US, "login");
    patient.0.cluster().stop(EU, StopMode::Fast).unwrap();
    let rows = check_cluster(&patient.0);
    let none = rows.iter().find(|row| row.check == "primary").unwrap();
    assert_eq!(
        (none.node.as_str(), none.value.as_str(), none.fix.as_str()),
        ("", "none", "SELECT pg_promote(); -- on us, which has received most")
    );
    patient.sql(US, &none.fix);
    patient.finds_no_more(US, "streaming");
    // the old one comes back as it was
    patient.0.cluster().start_node(EU).unwrap();
    let row = patient.finds(EU, "primary", "failure");
    assert!(row.fix.starts_with("pg_ctl stop -m fast -D "), "{row:?}");
}

#[test]
fn a_wrong_password_and_a_wrong_configuration_are_told_apart() {
    let herd = Setup::shared().set("cluster.0.monitor.secret", "wrong").start_without_service();
    let (code, out, err) = doctor(&herd, &[]);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert!(out.contains("\\password \"pgherd\""), "{out}");
    let (code, out, _) = doctor(&herd, &["--json"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("\"verdict\":\"failure\""), "{out}");
    let (code, out, err) = run(&["doctor", "-c", "/nonexistent"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("/nonexistent"), "{err}");
}

//! Settings that would break a failover are named, and the printed fix mends them.

use e2e::{Setup, eventually};

use super::{PATIENCE, patient::Patient};

const EU: usize = 0;
const US: usize = 1;

#[test]
fn what_a_reload_mends_is_told_with_the_statement_that_does() {
    let patient = Patient::healthy(Setup::own(2));
    for (node, name, value, verdict) in [
        (EU, "full_page_writes", "off", "failure"),
        (EU, "synchronous_commit", "off", "warning"),
        (EU, "default_transaction_read_only", "on", "warning"),
        (EU, "wal_sender_timeout", "0", "warning"),
        (EU, "max_slot_wal_keep_size", "-1", "warning"),
        (EU, "password_encryption", "md5", "warning"),
        (US, "recovery_min_apply_delay", "1min", "warning"),
        (US, "max_standby_streaming_delay", "-1", "warning"),
    ] {
        patient.set(node, name, value);
        patient.is_told_and_mended(node, name, verdict);
    }

    patient.set(EU, "max_locks_per_transaction", "70");
    let row = patient.finds(EU, "restart pending", "warning");
    assert_eq!(row.value, "max_locks_per_transaction");
    patient.sql(EU, "alter system reset max_locks_per_transaction");
    patient.restart(EU);
    patient.finds_no_more(EU, "restart pending");
    patient.wait_until_all_stream();

    // nobody is called so: commits would wait for ever
    patient.set(EU, "synchronous_standby_names", "ANY 1 (nobody)");
    let row = patient.is_told_and_mended(EU, "synchronous_standby_names", "failure");
    assert!(row.fix.contains("ANY 1 (\"") && row.fix.contains("\"us\""), "{row:?}");
    // now us would not wait for anybody if it were promoted
    let row = patient.is_told_and_mended(US, "synchronous_standby_names", "warning");
    assert_eq!(row.value, "empty");
    patient.set(EU, "synchronous_standby_names", "ANY 1 (us, nobody)");
    let row = patient.is_told_and_mended(EU, "synchronous_standby_names", "warning");
    assert!(row.why.contains("no node calls itself nobody"), "{row:?}");
    patient.set(US, "synchronous_standby_names", "2 (eu, ap, us)");
    patient.finds_no_more(US, "synchronous_standby_names");
    patient.set(US, "synchronous_standby_names", "2 (eu, us)");
    patient.is_told_and_mended(US, "synchronous_standby_names", "warning");
}

#[test]
fn what_takes_a_restart_is_told_with_the_statement_that_mends_it() {
    let patient = Patient::healthy(Setup::own(2));
    for (node, name, value, verdict) in [
        (EU, "wal_log_hints", "off", "warning"),
        (EU, "hot_standby", "off", "failure"),
        (US, "recovery_target_timeline", "current", "failure"),
        (US, "shared_preload_libraries", "pg_stat_statements", "warning"),
    ] {
        // collections that carry little more than the server lack the library, and may have checksums
        let lib = patient.0.cluster().binaries().directory().join("../lib/pg_stat_statements.so");
        if name == "shared_preload_libraries" && !lib.is_file()
            || name == "wal_log_hints" && has_checksums(&patient)
        {
            continue;
        }
        patient.set_and_restart(node, name, value);
        let row = patient.finds(node, name, verdict);
        assert!(row.fix.contains("-- then restart the server"), "{row:?}");
        patient.is_told_and_mended(node, name, verdict);
    }

    // a standby whose primary has more of this stops to replay
    patient.set_and_restart(EU, "max_connections", "400");
    let row = patient.finds(US, "max_connections", "failure");
    assert_eq!(row.value, "300, on eu 400");
    patient.finds(US, "replay", "failure");
    patient.is_told_and_mended(US, "max_connections", "failure");
    patient.finds_no_more(US, "replay");

    patient.sql(EU, "alter system set archive_mode = on");
    patient.restart(EU);
    patient.finds(EU, "archive_command", "failure");
    patient.set(EU, "archive_command", "false");
    patient.sql(EU, "select pg_switch_wal()");
    eventually("archiving fails", PATIENCE, || {
        patient.trouble(EU, "archive_command").filter(|row| row.value.contains("fails with 0000"))
    });
    patient.set(EU, "archive_command", "true");
    patient.finds_no_more(EU, "archive_command");
}

fn has_checksums(patient: &Patient) -> bool {
    patient.0.cluster().psql(0, "show data_checksums").unwrap() == "on"
}

#[test]
fn a_server_from_which_no_standby_can_be_made_is_told() {
    let patient = Patient(Setup::own(0).start());
    patient.sql(EU, "alter system set max_wal_senders = 0");
    patient.set_and_restart(EU, "wal_level", "minimal");
    patient.is_told_and_mended(EU, "wal_level", "failure");
    patient.is_told_and_mended(EU, "max_wal_senders", "warning");
    let rows = super::check_cluster(&patient.0);
    let alone = rows.iter().find(|row| row.check == "nodes").unwrap();
    assert_eq!((alone.value.as_str(), alone.verdict.as_str()), ("1", "warning"));
}

#[test]
fn what_pgherd_is_configured_to_do_is_held_against_what_the_servers_have() {
    let herd = Setup::own(1)
        .set("cluster.0.max_server_connections", 1000)
        .set("cluster.0.nodes.1.region", "eu")
        .start();
    let patient = Patient(herd);
    let row = patient.finds(EU, "max_connections", "warning");
    let line = row.fix.lines().nth(1).unwrap().to_owned();
    let most: i64 = line.strip_prefix("max_server_connections = ").unwrap().parse().unwrap();
    let of_cluster = |check: &str| {
        let row = super::check_cluster(&patient.0)
            .into_iter()
            .find(|row| row.check == check && row.node.is_empty());
        row.unwrap().verdict
    };
    assert_eq!(
        (of_cluster("regions"), of_cluster("state_dir")),
        ("warning".to_owned(), "warning".to_owned())
    );
    let folder = patient.0.cluster().directory().join("state");
    std::fs::create_dir(&folder).unwrap();
    patient.0.proxy(0).write_configuration(|configuration| {
        configuration.set("cluster.0.max_server_connections", most);
        configuration.set("cluster.0.nodes.1.region", "us");
        configuration.set("proxy.state_dir", folder.to_str().unwrap());
    });
    // from the file, without the proxy that still runs with what it has
    let (code, out, _) = super::doctor(&patient.0, &["--all"]);
    assert!(out.contains("ok       regions: eu, us"), "{code:?} {out}");
    assert!(out.contains("ok       state_dir: set"), "{out}");
    assert!(out.contains(&format!("of which the pools may take {most}")), "{out}");
}

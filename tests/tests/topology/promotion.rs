//! A standby is promoted by somebody else, under load.

use std::process::Stdio;

use e2e::{Herd, Setup};
use lab::StopMode;

use super::{bytes_in, events, wait_for_event};
use crate::load::Load;

/// Fills pgbench's tables and waits for the standbys.
fn prepare_pgbench(herd: &Herd) {
    herd.run("pgbench", &["-i", "-q"]).unwrap();
    herd.cluster().wait_for_all().unwrap();
}

/// Starts pgbench through the proxy.
fn start_pgbench(herd: &Herd, arguments: &[&str]) -> std::process::Child {
    let mut command = herd.program("pgbench", herd.proxy(0).port());
    command.args(["-n"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for pgbench; no client of its may have failed.
fn finish_pgbench(what: &str, pgbench: std::process::Child) {
    let output = pgbench.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}{errors}");
    assert!(report.contains("number of failed transactions: 0 "), "{report}{errors}");
    let told = ["number of transactions actually processed", "number of transactions retried", "tps"];
    let figures: Vec<_> =
        report.lines().filter(|line| told.iter().any(|start| line.starts_with(start))).collect();
    println!("{what}: {}", figures.join(", "));
}

#[test]
fn a_promotion_beside_a_living_primary_is_no_error_for_autocommit_clients() {
    let herd = Setup::own(2).start();
    prepare_pgbench(&herd);
    let load = Load::start(&herd, 6, 2);
    let pgbench = start_pgbench(&herd, &["-S", "-c", "4", "-T", "5"]);
    load.wait_for_writes(200);
    herd.cluster().promote(1).unwrap();
    let promoted = wait_for_event(&herd, "promoted");
    load.wait_for_writes(300);
    finish_pgbench("pgbench -S through a promotion", pgbench);
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, 1);
    ledger.report("promotion beside a living primary", missing);
    println!("the event: {promoted}");
    ledger.assert_no_errors();
    // What the old primary acknowledged after the fork is lost, and pgherd has seen how much that was.
    let counted = wait_for_event(&herd, "tail_counted");
    println!("the cost: {counted}");
    let lost = counted.split("; ").nth(1).and_then(bytes_in).unwrap();
    assert!(missing == 0 || lost > 0, "{missing} rows are lost: {:?}", events(&herd));
}

#[test]
fn nothing_is_lost_when_the_old_primary_was_stopped_cleanly_first() {
    let herd = Setup::own(1).start();
    let load = Load::start(&herd, 6, 2);
    herd.cluster().stop(0, StopMode::Fast).unwrap();
    herd.cluster().promote(1).unwrap();
    load.wait_for_writes(300);
    let promoted = wait_for_event(&herd, "promoted");
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, 1);
    ledger.report("promotion after a clean stop", missing);
    println!("the event: {promoted}");
    ledger.assert_no_errors();
    assert_eq!(missing, 0);
}

#[test]
fn transactions_that_retry_get_through_promotions() {
    let herd = Setup::own(1).start();
    prepare_pgbench(&herd);
    let arguments = ["-c", "6", "-T", "6", "--max-tries", "100"];
    let pgbench = start_pgbench(&herd, &arguments);
    let has_history = || {
        let count = herd.psql_directly("select count(*) from pgbench_history").ok()?;
        (count.parse::<u64>().ok()? > 100).then_some(())
    };
    e2e::eventually("pgbench is under way", super::PATIENCE, has_history);
    herd.cluster().promote(1).unwrap();
    finish_pgbench("pgbench TPC-B through a promotion", pgbench);
    let sums = "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
                       (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)";
    assert_eq!(herd.psql_directly(sums).unwrap(), "t|t");
    // Back again, with a clean stop.
    herd.cluster().rejoin(0).unwrap();
    herd.cluster().wait_for_all().unwrap();
    let pgbench = start_pgbench(&herd, &arguments);
    let before: u64 = herd.psql_directly("select count(*) from pgbench_history").unwrap().parse().unwrap();
    e2e::eventually("pgbench is under way again", super::PATIENCE, || {
        let count = herd.psql_directly("select count(*) from pgbench_history").ok()?;
        (count.parse::<u64>().ok()? > before + 100).then_some(())
    });
    herd.cluster().switchover(0).unwrap();
    finish_pgbench("pgbench TPC-B through a switchover", pgbench);
    assert_eq!(herd.psql_directly(sums).unwrap(), "t|t");
}

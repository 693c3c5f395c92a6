//! PostgreSQL's regression suite over the wire: pg_regress, its psql and its scripts as they are.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Mutex, PoisonError},
};

use super::{
    corpus::Corpus,
    differences::is_expected,
    suite::{self, Outcome, Way},
};

/// A schedule for a short run: what transaction pooling is most likely to disturb, after what it builds on. `sequence` is
/// alone: beside others, on a busy machine, `currval` finds that others have written through its connection (README, "Limits
/// of today").
const SHORT: &str = "test: test_setup
test: copy create_misc
test: transactions portals prepare plancache temp guc namespace
test: async advisory_lock psql_crosstab
test: sequence
";

#[test]
fn the_short_suite_gives_the_same_in_transaction_pooling() {
    compare("transaction", "short", Some(SHORT));
}

#[test]
#[ignore = "takes minutes; run by make test-regress"]
fn the_whole_suite_gives_the_same_in_session_pooling() {
    compare("session", "whole", None);
}

#[test]
#[ignore = "takes minutes; run by make test-regress"]
fn the_whole_suite_gives_the_same_in_transaction_pooling() {
    compare("transaction", "whole", None);
}

fn compare(mode: &'static str, name: &str, schedule: Option<&str>) {
    let Some(corpus) = Corpus::get() else { return };
    if !suite::is_installed() {
        println!("skipped: there is no pg_regress beside the server's programs");
        return;
    }
    let whole = || fs::read_to_string(corpus.regress().join("parallel_schedule")).unwrap();
    let schedule = schedule.map_or_else(whole, str::to_owned);
    // One at a time: together they only wait for each other.
    static RUNNING: Mutex<()> = Mutex::new(());
    let _guard = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let direct = suite::run(&corpus, Way::Direct, &schedule, name);
    let through = suite::run(&corpus, Way::Through(mode), &schedule, name);
    println!(
        "{mode} pooling: {} tests; {} not as expected in a direct run, {} through the proxy",
        through.tests.len(),
        direct.failed.len(),
        through.failed.len()
    );
    assert_eq!(direct.tests, through.tests);
    let mut unexpected = unexpected(&through, &direct, mode);
    if !unexpected.is_empty() {
        // On a busy machine a few plans depend on what VACUUM and ANALYZE came upon, in direct runs too; a difference
        // that is the proxy's shows again.
        let again = suite::run(&corpus, Way::Through(mode), &schedule, &format!("{name}-again"));
        let shown_again = self::unexpected(&again, &direct, mode);
        unexpected.retain(|test| shown_again.contains(test));
    }
    assert!(unexpected.is_empty(), "these tests differ in another way than is expected: {unexpected:?}");
}

/// The tests that differ from a direct run in another way than is listed.
fn unexpected(through: &Outcome, direct: &Outcome, mode: &str) -> BTreeSet<String> {
    let mut tests = through.tests.clone();
    tests.retain(|test| {
        let difference = through.difference(direct, test).unwrap_or_default();
        let is_listed = is_expected(test, mode, &difference);
        if !is_listed {
            println!("== {test}\n{difference}");
        }
        !is_listed
    });
    tests
}

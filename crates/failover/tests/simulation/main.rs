//! A seeded simulation of the failover manager: a true cluster that crashes, freezes, splits and heals, one pgherd after
//! the other that sees it through late and lost probes and moves it by orders that are late, lost or done twice, clients
//! that write through it and past it, operators. After every step the invariants of [`watch`] are checked; after the
//! faults everything must come into order again.
//!
//! `FAILOVER_SEED=n cargo test -p failover --test simulation one_seed -- --nocapture` tells one schedule as a story;
//! `FAILOVER_SCHEDULES=n` sets how many the long form runs.

mod dice;
mod faults;
mod herd;
mod orders;
mod synchronous;
mod tally;
mod truth;
mod watch;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tally::Tally;
use world::World;

/// How many are run without further wishes.
const SCHEDULES: u64 = 2_000;

/// Where the schedules must have been.
const PLACES: &[&str] = &[
    "automatic done",
    "automatic rolled back: no standby could be cut off",
    "automatic rolled back: the primary is back",
    "automatic rolled back: the record could not be stored",
    "automatic rolled back: commits waited for standbys (synchronous_standby_names =",
    "caught up",
    "command: Failover ok",
    "command: MaintenanceOn ok",
    "command: Restart ok",
    "command: RestartAll Halfway",
    "command: RestartAll ok",
    "command: Restore Unfit",
    "command: Restore ok",
    "command: Switchover ok",
    "command: Switchover RolledBack",
    "detached",
    "end: commits may be on nobody who is there",
    "event: spare_called",
    "event: spare_rests",
    "event: spare_serves",
    "executed late",
    "failback done",
    "fault: promoted by hand",
    "fault: reload",
    "killed: in a run",
    "note: rejoined",
    "promoted with all that standbys had confirmed",
    "order: DropSlots",
    "restart rolled back: the primary was lost",
    "start: Fencing",
    "start: Halting",
    "start: Promoting",
    "start: Serving",
    "switchover rolled back: the primary could not be stopped",
    "switchover rolled back: the primary was lost",
    "taken up done",
    "taken up rolled back: pgherd was restarted in the middle",
];

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Runs the schedules of all seeds from `first`, on all cores; fails with the seeds that failed.
fn simulate(first: u64, count: u64) -> Tally {
    let next = AtomicU64::new(first);
    let (tally, failed) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count
                        || failed.lock().expect("nobody panics while holding it").len() >= 20
                    {
                        break;
                    }
                    match catch_unwind(AssertUnwindSafe(|| World::new(seed, false).run())) {
                        Ok(tally) => mine.merge(tally),
                        Err(panic) => {
                            let why = panic
                                .downcast_ref::<String>()
                                .cloned()
                                .or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
                            eprintln!("FAILOVER_SEED={seed} fails");
                            failed
                                .lock()
                                .expect("nobody panics while holding it")
                                .push((seed, why.unwrap_or_default()));
                        }
                    }
                }
                tally.lock().expect("nobody panics while holding it").merge(mine);
            });
        }
    });
    let mut failed = failed.into_inner().expect("nobody panics while holding it");
    failed.sort();
    let tally = tally.into_inner().expect("nobody panics while holding it");
    for (what, (count, seed)) in &tally.counts {
        println!("{count:>12} {what} (seed {seed})");
    }
    let seeds: Vec<String> = failed
        .iter()
        .map(|(seed, why)| format!("\nFAILOVER_SEED={seed}: {}", why.chars().take(300).collect::<String>()))
        .collect();
    assert!(failed.is_empty(), "schedules fail: {}", seeds.concat());
    tally
}

#[test]
fn one_seed() {
    if let Some(seed) = from_environment("FAILOVER_SEED") {
        World::new(seed, true).run();
    }
}

#[test]
fn invariants_hold_through_thousands_of_fault_schedules() {
    if from_environment("FAILOVER_SEED").is_none() {
        let count = from_environment("FAILOVER_SCHEDULES").unwrap_or(SCHEDULES);
        let tally = simulate(0, count);
        // The walk must have been everywhere, or the invariants were not tried.
        for what in PLACES.iter().filter(|_| count >= SCHEDULES) {
            assert!(tally.of(what) > 0, "{what}: never happened");
        }
    }
}

#[test]
#[ignore = "takes an hour or two: a million schedules"]
fn invariants_hold_through_a_million_fault_schedules() {
    let first = from_environment("FAILOVER_FIRST").unwrap_or(1_000_000);
    simulate(first, from_environment("FAILOVER_SCHEDULES").unwrap_or(1_000_000));
}

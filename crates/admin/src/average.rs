//! What `SHOW STATS` shows: totals since the start, and averages over the last one to two minutes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use session::{StatsReport, WorkerReport};

/// Time between two samples, PgBouncer's default `stats_period`.
pub(crate) const PERIOD: Duration = Duration::from_secs(60);

/// How many counters there are.
pub(crate) const COUNTERS: usize = 11;

const ASSIGNMENTS: usize = 0;
const TRANSACTIONS: usize = 1;
const QUERIES: usize = 2;
const TRANSACTION_TIME: usize = 5;
const QUERY_TIME: usize = 6;
const WAIT_TIME: usize = 7;

/// The counters in PgBouncer's order: server assignments, transactions, queries, bytes received and sent, times in
/// transactions, queries and waiting (microseconds), Parses of clients and to servers, Binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals(pub(crate) [u64; COUNTERS]);

impl Totals {
    fn of(stats: &StatsReport) -> Self {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self([
            stats.server_assignments,
            stats.transactions,
            stats.queries,
            stats.received,
            stats.sent,
            micros(stats.transaction_time),
            micros(stats.query_time),
            micros(stats.wait_time),
            stats.client_parses,
            stats.server_parses,
            stats.binds,
        ])
    }

    /// The sum.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_add(other.0[at])))
    }

    /// What happened since `older`, per second; times per transaction, query and assignment.
    fn averages_since(self, older: Self, elapsed: Duration) -> Self {
        let new: [u64; COUNTERS] = std::array::from_fn(|at| self.0[at].saturating_sub(older.0[at]));
        let per = |amount: u64, count: u64| amount.checked_div(count).unwrap_or(0);
        let per_second = |amount: u64| {
            let average = (u128::from(amount) * 1_000_000).checked_div(elapsed.as_micros()).unwrap_or(0);
            u64::try_from(average).unwrap_or(u64::MAX)
        };
        Self(std::array::from_fn(|at| match at {
            TRANSACTION_TIME => per(new[at], new[TRANSACTIONS]),
            QUERY_TIME => per(new[at], new[QUERIES]),
            WAIT_TIME => per(new[at], new[ASSIGNMENTS]),
            _ => per_second(new[at]),
        }))
    }
}

/// The counters of each database, over all users and workers.
pub(crate) fn by_database(reports: &[WorkerReport]) -> BTreeMap<Box<str>, Totals> {
    let mut databases = BTreeMap::<Box<str>, Totals>::new();
    for stats in reports.iter().flat_map(|report| &report.stats) {
        let totals = databases.entry(stats.database.clone()).or_default();
        *totals = totals.plus(Totals::of(stats));
    }
    databases
}

/// The last two samples. Averages reach back to the older one, so they always cover a whole period.
#[derive(Debug, Clone)]
pub(crate) struct Averages {
    older: Sample,
    newer: Sample,
}

#[derive(Debug, Clone)]
struct Sample {
    at: Instant,
    databases: BTreeMap<Box<str>, Totals>,
}

impl Averages {
    /// Nothing has happened before `now`.
    pub(crate) fn new(now: Instant) -> Self {
        let nothing = Sample { at: now, databases: BTreeMap::new() };
        Self { older: nothing.clone(), newer: nothing }
    }

    /// Takes a sample, once a period.
    pub(crate) fn sample(&mut self, now: Instant, databases: BTreeMap<Box<str>, Totals>) {
        self.older = std::mem::replace(&mut self.newer, Sample { at: now, databases });
    }

    /// The averages of a database whose counters are `totals` at `now`.
    pub(crate) fn of(&self, database: &str, totals: Totals, now: Instant) -> Totals {
        let older = self.older.databases.get(database).copied().unwrap_or_default();
        totals.averages_since(older, now.saturating_duration_since(self.older.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary beginning; no time passes in this test")]
    fn averages_cover_one_to_two_periods_and_times_are_per_event() {
        let start = Instant::now();
        let mut averages = Averages::new(start);
        let totals = |n: u64| Totals([n, 2 * n, 4 * n, 8 * n, n, 100 * n, 100 * n, 100 * n, 0, 0, n]);
        let sample = |n| BTreeMap::from([("shop".into(), totals(n))]);
        averages.sample(start + PERIOD, sample(60));
        averages.sample(start + PERIOD * 2, sample(180));
        let now = start + PERIOD * 3;
        assert_eq!(
            averages.of("shop", totals(300), now),
            Totals([2, 4, 8, 16, 2, 50, 25, 100, 0, 0, 2]),
            "240 assignments in the 120 s since the older sample"
        );
        assert_eq!(averages.of("new", totals(0), now), Totals::default());
        assert_eq!(Averages::new(now).of("shop", totals(5), now).0[QUERIES], 0, "no time has passed");
    }
}

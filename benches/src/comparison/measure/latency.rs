//! How long transactions took, as their clients saw it.

use serde::Serialize;

/// The mean and the 99th percentile in µs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    /// The mean.
    pub(crate) mean_us: f64,
    /// What 99 of 100 stay below.
    pub(crate) p99_us: Option<f64>,
}

impl Latency {
    /// Of each one's time in µs; `None` without any.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run of some seconds")]
    pub(crate) fn of(mut times: Vec<u64>) -> Option<Self> {
        times.sort_unstable();
        let highest = times.len().checked_sub(1)?;
        let p99 = times.get((times.len() * 99 / 100).min(highest))?;
        let mean_us = times.iter().sum::<u64>() as f64 / times.len() as f64;
        Some(Self { mean_us, p99_us: Some(*p99 as f64) })
    }

    /// Each one's time in µs, from pgbench's log (manual, "Per-Transaction Logging"): the third field.
    pub(crate) fn read_log(log: &str) -> Vec<u64> {
        log.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_may_take_longer() {
        assert_eq!(Latency::of(vec![]), None);
        let hundred = Latency::of((1..=100).collect());
        assert_eq!(hundred, Some(Latency { mean_us: 50.5, p99_us: Some(100.0) }));
        let one = Latency::of(vec![7]);
        assert_eq!(one, Some(Latency { mean_us: 7.0, p99_us: Some(7.0) }));
        let two_hundred = Latency::of((1..=200).collect()).and_then(|latency| latency.p99_us);
        assert_eq!(two_hundred, Some(199.0));
    }

    #[test]
    fn pgbench_logs_a_line_for_each_transaction() {
        let log = "0 199 2241 0 1175850568 995598\n0 200 2465 0 1175850568 998079\n1 3 skipped 0 1 2\n";
        assert_eq!(Latency::read_log(log), [2241, 2465]);
    }
}

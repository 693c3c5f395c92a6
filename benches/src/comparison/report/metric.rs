//! What of a run is compared.

use super::Measurement;
use crate::comparison::workload::find;

/// A figure of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// Transactions, results or connections per second.
    PerSecond,
    /// The proxy's processor time for each, in µs.
    Cpu,
    /// The proxy's processor time in µs for each MB (10^6 bytes) of rows.
    CpuPerMegabyte,
    /// MB of rows per second.
    Megabytes,
    /// The client's mean latency in µs.
    Mean,
    /// What 99 of 100 transactions stay below, in µs.
    P99,
    /// The proxy's context switches for each.
    Switches,
}

impl Metric {
    /// Its value in a run, if there is one.
    pub(super) fn of(self, run: &Measurement) -> Option<f64> {
        let figures = &run.figures;
        match self {
            Self::PerSecond => Some(figures.per_second),
            Self::Cpu => figures.cpu_us,
            Self::CpuPerMegabyte => Some(figures.cpu_us? / megabytes(run)?),
            Self::Megabytes => Some(figures.per_second * megabytes(run)?),
            Self::Mean => figures.latency.map(|latency| latency.mean_us),
            Self::P99 => figures.latency.and_then(|latency| latency.p99_us),
            Self::Switches => figures.switches,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "some 10 MB")]
fn megabytes(run: &Measurement) -> Option<f64> {
    let bytes = find(run.workload).ok()?.bytes()?;
    Some(bytes as f64 / 1e6)
}

//! Medians and Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{
    client_memory::ClientMemory,
    load::{Load, Measurement},
    through::Through,
};

/// Under what conditions the figures came about.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    /// PostgreSQL's major version.
    pub(crate) postgresql: u32,
    /// The proxies' versions.
    pub(crate) versions: Vec<(Through, String)>,
    /// Processor cores that everything shares.
    pub(crate) cores: usize,
    /// Clients of the load.
    pub(crate) clients: u16,
    /// Most server connections of a pool.
    pub(crate) pool_size: u16,
    /// pgbench's scale.
    pub(crate) scale: u16,
    /// How many times everything was run.
    pub(crate) rounds: u16,
    /// For how long each.
    pub(crate) seconds: u16,
}

/// All figures.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// How they came about.
    pub(crate) conditions: Conditions,
    /// Each run.
    pub(crate) measurements: Vec<Measurement>,
    /// Idle clients.
    pub(crate) memory: Vec<ClientMemory>,
}

impl Report {
    /// Without figures.
    pub(crate) fn new(conditions: Conditions) -> Self {
        Self { conditions, measurements: Vec::new(), memory: Vec::new() }
    }

    /// The tables.
    pub(crate) fn to_markdown(&self) -> String {
        [self.heading(), self.throughput(), self.latency(), self.idle(), self.problems()].concat()
    }

    fn heading(&self) -> String {
        let Conditions { postgresql, versions, cores, pool_size, scale, rounds, seconds, .. } =
            &self.conditions;
        let versions: Vec<_> =
            versions.iter().map(|(through, version)| format!("{} {version}", through.name())).collect();
        format!(
            "PostgreSQL {postgresql}, {}; pgbench, scale {scale}; pools of {pool_size} in transaction mode; {cores} cores shared \
             by clients, proxies and server; medians of {rounds} interleaved rounds of {seconds} s (lowest–highest).\n\n",
            versions.join(", "),
        )
    }

    fn throughput(&self) -> String {
        let mut out = format!(
            "| {} clients | through | tps | / direct | / PgBouncer | proxy CPU, µs per transaction | / PgBouncer | failed |\n\
             |---|---|---|---|---|---|---|---|\n",
            self.conditions.clients,
        );
        for load in Load::ALL {
            for through in Through::ALL {
                let series = self.series(load, self.conditions.clients, through);
                let Some(tps) = Spread::of(series.values(|m| Some(m.tps))) else { continue };
                let against = |other| {
                    let other = self.series(load, self.conditions.clients, other);
                    (ratio(&series, &other, |m| Some(m.tps)), ratio(&series, &other, |m| m.cpu_us))
                };
                let ((to_direct, _), (to_pgbouncer, cpu_to_pgbouncer)) =
                    (against(Through::Direct), against(Through::PgBouncer));
                let cpu = Spread::of(series.values(|m| m.cpu_us));
                let failed: u64 = series.0.iter().map(|m| m.failed).sum();
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} | {} | {} | {failed} |",
                    load.name(),
                    through.name(),
                    tps.show(0),
                    show_ratio(to_direct),
                    show_ratio(to_pgbouncer),
                    cpu.map_or_else(|| NOTHING.to_owned(), |cpu| cpu.show(1)),
                    show_ratio(cpu_to_pgbouncer),
                );
            }
        }
        out + "\n"
    }

    fn latency(&self) -> String {
        let mut out =
            "| 1 client: average latency in µs | through | µs | added to direct | proxy CPU, µs |\n\
                       |---|---|---|---|---|\n"
                .to_owned();
        for load in Load::SELECTS {
            let direct =
                Spread::of(self.series(load, 1, Through::Direct).values(|m| Some(m.latency_ms * 1e3)));
            for through in Through::ALL {
                let series = self.series(load, 1, through);
                let Some(latency) = Spread::of(series.values(|m| Some(m.latency_ms * 1e3))) else { continue };
                let added = direct
                    .filter(|_| through != Through::Direct)
                    .map(|direct| latency.median - direct.median);
                let cpu = Spread::of(series.values(|m| m.cpu_us));
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} |",
                    load.name(),
                    through.name(),
                    latency.show(0),
                    added.map_or_else(|| NOTHING.to_owned(), |added| format!("{added:.0}")),
                    cpu.map_or_else(|| NOTHING.to_owned(), |cpu| cpu.show(1)),
                );
            }
        }
        out + "\n"
    }

    fn idle(&self) -> String {
        let mut out = "| idle clients without TLS | clients | KiB per client |\n|---|---|---|\n".to_owned();
        for ClientMemory { through, clients, kib_per_client } in &self.memory {
            let _ = writeln!(out, "| {} | {clients} | {kib_per_client:.2} |", through.name());
        }
        out + "\n"
    }

    /// What a reader of the tables has to know.
    fn problems(&self) -> String {
        let mut out = String::new();
        let expected = self.conditions.versions.iter().map(|(through, _)| *through);
        for through in expected {
            if self.series(Load::Prepared, self.conditions.clients, through).0.is_empty() {
                let _ = writeln!(
                    out,
                    "- {} of this version has no prepared statements in transaction mode; not run.",
                    through.name()
                );
            }
        }
        for measurement in &self.measurements {
            if let Some(error) = &measurement.error {
                let Measurement { load, through, round, .. } = measurement;
                let _ = writeln!(out, "- {}, {}, round {}: {error}", load.name(), through.name(), round + 1);
            }
        }
        out
    }

    fn series(&self, load: Load, clients: u16, through: Through) -> Series<'_> {
        let same = |m: &&Measurement| m.load == load && m.clients == clients && m.through == through;
        Series(self.measurements.iter().filter(same).collect())
    }
}

const NOTHING: &str = "–";

/// The runs of one load through one way.
struct Series<'a>(Vec<&'a Measurement>);

impl Series<'_> {
    fn values(&self, value: impl Fn(&Measurement) -> Option<f64>) -> Vec<f64> {
        self.0.iter().filter_map(|measurement| value(measurement)).collect()
    }
}

/// The median of the ratios within each round, so that what slows a whole round down cancels out.
fn ratio(series: &Series<'_>, to: &Series<'_>, value: impl Fn(&Measurement) -> Option<f64>) -> Option<f64> {
    let ratios = series.0.iter().filter_map(|mine| {
        let theirs = to.0.iter().find(|theirs| theirs.round == mine.round)?;
        Some(value(mine)? / value(theirs)?).filter(|ratio| ratio.is_finite())
    });
    Spread::of(ratios.collect()).map(|spread| spread.median)
}

fn show_ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| NOTHING.to_owned(), |ratio| format!("{ratio:.2}"))
}

/// A median and how far the values lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    lowest: f64,
    median: f64,
    highest: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) { *values.get(middle.checked_sub(1)?)? } else { upper };
        Some(Self { lowest: *values.first()?, median: f64::midpoint(lower, upper), highest: *values.last()? })
    }

    fn show(&self, decimals: usize) -> String {
        let Self { lowest, median, highest } = self;
        format!("{median:.decimals$} ({lowest:.decimals$}–{highest:.decimals$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(through: Through, round: u16, tps: f64) -> Measurement {
        Measurement {
            load: Load::Simple,
            clients: 16,
            through,
            round,
            tps,
            latency_ms: 1.0,
            cpu_us: None,
            failed: 0,
            error: None,
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { lowest: 1.0, median: 2.0, highest: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let (slow, fast) = (measurement(Through::Pgherd, 0, 50.0), measurement(Through::Pgherd, 1, 90.0));
        let (slow_base, fast_base) =
            (measurement(Through::Direct, 0, 100.0), measurement(Through::Direct, 1, 180.0));
        let ratio =
            ratio(&Series(vec![&slow, &fast]), &Series(vec![&fast_base, &slow_base]), |m| Some(m.tps));
        assert_eq!(ratio, Some(0.5));
    }
}

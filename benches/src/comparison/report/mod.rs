//! All figures, medians of them, tables, and whether pgherd's goals are met.

mod goals;
mod metric;
mod spread;
mod tables;

pub(crate) use goals::compare;
use serde::Serialize;

use super::{
    measure::Placement,
    target::{Kind, Target},
    workload::{ClientMemory, Figures, Workload},
};
use spread::Spread;

/// Under what conditions the figures came about.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    /// PostgreSQL's major version.
    pub(crate) postgresql: u32,
    /// The proxies' names and versions.
    pub(crate) versions: Vec<(String, String)>,
    /// Processor cores that everything shares when it is not pinned.
    pub(crate) cores: usize,
    /// Most server connections of a pool, where a workload does not say otherwise.
    pub(crate) pool_size: u16,
    /// pgbench's scale.
    pub(crate) scale: u16,
    /// How many times everything was run.
    pub(crate) rounds: u16,
    /// For how long each.
    pub(crate) seconds: u16,
    /// pgherd's worker threads as configured.
    pub(crate) workers: String,
    /// What counted system calls.
    pub(crate) tracer: Option<&'static str>,
}

impl Conditions {
    /// Remembers the versions.
    pub(crate) fn note_versions(&mut self, targets: &[Target]) {
        let proxies = targets.iter().filter(|target| target.kind != Kind::Direct);
        self.versions = proxies.map(|target| (target.name.clone(), target.version.clone())).collect();
    }
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measurement {
    /// On which cores.
    pub(crate) placement: Placement,
    /// The workload's name.
    pub(crate) workload: &'static str,
    /// The name of the way.
    pub(crate) target: String,
    /// Counted from 0.
    pub(crate) round: u16,
    /// What came of it.
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// A proxy's system calls for each transaction.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SystemCalls {
    /// The workload's name.
    pub(crate) workload: &'static str,
    /// The proxy's name.
    pub(crate) target: String,
    /// How many.
    pub(crate) each: f64,
}

/// What a reader of the tables has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    /// About which workload and way; empty: about all.
    pub(crate) about: String,
    /// What.
    pub(crate) text: String,
}

impl Note {
    /// About one workload by one way.
    pub(crate) fn new(workload: &Workload, target: &Target, text: String) -> Self {
        Self { about: format!("{}, {}", workload.name, target.name), text }
    }

    /// About everything.
    pub(crate) fn general(text: String) -> Self {
        Self { about: String::new(), text }
    }
}

/// All figures.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// How they came about.
    pub(crate) conditions: Conditions,
    /// Each run.
    pub(crate) measurements: Vec<Measurement>,
    /// System calls, counted once.
    pub(crate) system_calls: Vec<SystemCalls>,
    /// Idle clients, measured once.
    pub(crate) memory: Vec<ClientMemory>,
    /// What went wrong or was left out.
    pub(crate) notes: Vec<Note>,
}

impl Report {
    /// Without figures.
    pub(crate) fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            measurements: Vec::new(),
            system_calls: Vec::new(),
            memory: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Notes something once, however often it happens.
    pub(crate) fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Notes once that a way cannot do what a workload needs.
    pub(crate) fn note_lack(&mut self, workload: &Workload, target: &Target, lacks: &str) {
        if target.kind != Kind::Direct {
            self.note(Note::new(workload, target, format!("not run: {lacks}")));
        }
    }

    /// The tables.
    pub(crate) fn to_markdown(&self) -> String {
        [self.heading(), self.goals(), self.tables(), self.memory(), self.problems()].concat()
    }

    /// The runs of one workload by one way.
    fn series(&self, placement: Placement, workload: &str, target: &str) -> Vec<&Measurement> {
        let same =
            |m: &&Measurement| m.placement == placement && m.workload == workload && m.target == target;
        self.measurements.iter().filter(same).collect()
    }

    /// System calls for each transaction.
    fn system_calls(&self, workload: &str, target: &str) -> Option<f64> {
        let calls = self.system_calls.iter();
        calls
            .filter(|calls| calls.workload == workload && calls.target == target)
            .map(|calls| calls.each)
            .next()
    }
}

/// A list of figures, one of which may be missing.
fn spread(runs: &[&Measurement], value: impl Fn(&Measurement) -> Option<f64>) -> Option<Spread> {
    Spread::of(runs.iter().filter_map(|run| value(run)).collect())
}

/// The median of the ratios within each round, so that what slows a whole round down cancels out.
fn ratio(
    runs: &[&Measurement],
    to: &[&Measurement],
    value: impl Fn(&Measurement) -> Option<f64>,
) -> Option<f64> {
    let ratios = runs.iter().filter_map(|mine| {
        let theirs = to.iter().find(|theirs| theirs.round == mine.round)?;
        Some(value(mine)? / value(theirs)?).filter(|ratio| ratio.is_finite())
    });
    Spread::of(ratios.collect()).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of `simple-16` on one core.
    pub(super) fn run(target: Kind, round: u16, per_second: f64) -> Measurement {
        let figures = Figures {
            per_second,
            cpu_us: Some(1e6 / per_second),
            switches: None,
            latency: None,
            failed: 0,
            error: None,
        };
        let target = target.name().to_owned();
        Measurement { placement: Placement::OneCpu, workload: "simple-16", target, round, figures }
    }

    pub(super) fn report(measurements: Vec<Measurement>) -> Report {
        let conditions = Conditions {
            postgresql: 15,
            versions: vec![("PgBouncer".to_owned(), "1.24.1".to_owned())],
            cores: 2,
            pool_size: 20,
            scale: 10,
            rounds: 2,
            seconds: 1,
            workers: "auto".to_owned(),
            tracer: Some("perf"),
        };
        Report { measurements, ..Report::new(conditions) }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let (slow, fast) = (run(Kind::Pgherd, 0, 50.0), run(Kind::Pgherd, 1, 90.0));
        let (slow_base, fast_base) = (run(Kind::Direct, 0, 100.0), run(Kind::Direct, 1, 180.0));
        let ratio = ratio(&[&slow, &fast], &[&fast_base, &slow_base], |m| Some(m.figures.per_second));
        assert_eq!(ratio, Some(0.5));
    }
}

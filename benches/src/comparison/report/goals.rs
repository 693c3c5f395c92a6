//! What pgherd wants to reach, as ratios in the same run.

use std::fmt::Write as _;

use super::{Report, metric::Metric, ratio, spread::Spread};
use crate::comparison::{
    measure::Placement::{self, OneCpu, Unpinned},
    target::Kind,
    workload::{Encryption, Held},
};

/// A figure and what it should be.
#[derive(Debug)]
struct Goal {
    what: &'static str,
    value: Value,
    wanted: Wanted,
}

#[derive(Debug, Clone, Copy)]
enum Wanted {
    AtMost(f64),
    AtLeast(f64),
    Exactly(f64),
}

#[derive(Debug, Clone, Copy)]
enum Value {
    /// pgherd's figure over another's in the same workload.
    Ratio(Metric, Placement, &'static str, Kind),
    /// pgherd's figure in the first workload over its own in the second.
    Growth(Metric, &'static str, &'static str),
    /// pgherd's own figure.
    Figure(Metric, &'static str),
    /// What pgherd adds to the mean latency of a direct connection, over what the other adds.
    AddedLatency(&'static str, Kind),
    /// System calls for each transaction.
    SystemCalls(&'static str),
    /// KiB of each idle client, over PgBouncer's.
    MemoryRatio(Encryption, u16),
    /// KiB of each idle client.
    Memory(Encryption, u16),
    /// KiB of each client for whom it holds this.
    Holds(Held),
}

const fn goal(what: &'static str, value: Value, wanted: Wanted) -> Goal {
    Goal { what, value, wanted }
}

use Kind::{Direct, HaProxy, PgBouncer};
use Metric::{Cpu, CpuPerMegabyte, PerSecond};
use Value::{AddedLatency, Figure, Growth, Holds, Memory, MemoryRatio, Ratio, SystemCalls};
use Wanted::{AtLeast, AtMost, Exactly};

#[rustfmt::skip]
const GOALS: &[Goal] = &[
    goal("CPU per simple select, 16 clients, pool 8 / PgBouncer", Ratio(Cpu, OneCpu, "simple-16-pool8", PgBouncer), AtMost(0.80)),
    goal("the same, pool 20 / PgBouncer", Ratio(Cpu, OneCpu, "simple-16", PgBouncer), AtMost(0.90)),
    goal("the same, pool 8 / HAProxy", Ratio(Cpu, OneCpu, "simple-16-pool8", HaProxy), AtMost(0.95)),
    goal("CPU per prepared select, 16 clients, pool 8 / PgBouncer", Ratio(Cpu, OneCpu, "prepared-16-pool8", PgBouncer), AtMost(0.75)),
    goal("the same / HAProxy", Ratio(Cpu, OneCpu, "prepared-16-pool8", HaProxy), AtMost(1.00)),
    goal("system calls per transaction, 1 client", SystemCalls("simple-1"), Exactly(6.0)),
    goal("added latency, 1 client / PgBouncer", AddedLatency("simple-1", PgBouncer), AtMost(0.8)),
    goal("unnamed Parse: tps / direct", Ratio(PerSecond, OneCpu, "extended-16", Direct), AtLeast(1.10)),
    goal("TPC-B: tps / PgBouncer", Ratio(PerSecond, OneCpu, "tpcb-16", PgBouncer), AtLeast(1.15)),
    goal("CPU per select, 64 clients / 16", Growth(Cpu, "simple-64", "simple-16"), AtMost(1.1)),
    goal("CPU per select, 200 clients / 16", Growth(Cpu, "simple-200", "simple-16"), AtMost(1.1)),
    goal("unpinned, simple: tps / PgBouncer", Ratio(PerSecond, Unpinned, "simple-16", PgBouncer), AtLeast(1.27)),
    goal("unpinned, prepared: tps / PgBouncer", Ratio(PerSecond, Unpinned, "prepared-16", PgBouncer), AtLeast(1.45)),
    goal("memory of 5,000 idle clients / PgBouncer", MemoryRatio(Encryption::Plain, 5000), AtMost(0.85)),
    goal("KiB per idle TLS client, 5,000", Memory(Encryption::Tls, 5000), AtMost(9.0)),
    goal("KiB per client after a message of 64 MiB", Holds(Held::Burst), AtMost(64.0)),
    goal("KiB per client who does not read", Holds(Held::Unread), AtMost(64.0)),
    goal("CPU per select, 8 clients, beside 5,000 idle / alone", Growth(Cpu, "busy-8-idle-5000", "busy-8"), AtMost(1.05)),
    goal("CPU per MB, rows of 1 KiB / PgBouncer", Ratio(CpuPerMegabyte, OneCpu, "rows-1kib", PgBouncer), AtMost(0.4)),
    goal("the same / HAProxy", Ratio(CpuPerMegabyte, OneCpu, "rows-1kib", HaProxy), AtMost(1.0)),
    goal("CPU per MB, rows of 27 bytes / PgBouncer", Ratio(CpuPerMegabyte, OneCpu, "rows-27b", PgBouncer), AtMost(0.4)),
    goal("the same / HAProxy", Ratio(CpuPerMegabyte, OneCpu, "rows-27b", HaProxy), AtMost(1.0)),
    goal("connections per second, SCRAM / PgBouncer", Ratio(PerSecond, OneCpu, "logins-scram", PgBouncer), AtLeast(1.1)),
    goal("connections per second, trust / PgBouncer", Ratio(PerSecond, OneCpu, "logins-trust", PgBouncer), AtLeast(1.1)),
    goal("TLS logins per second", Figure(PerSecond, "logins-tls"), AtLeast(713.0)),
    goal("CPU per select over TLS / PgBouncer", Ratio(Cpu, OneCpu, "tls-16", PgBouncer), AtMost(0.80)),
];

/// Whether some goal compares what goes this way in this workload; `None`: whatever the placement.
pub(crate) fn compare(workload: &str, placement: Option<Placement>, kind: Kind) -> bool {
    let here =
        |at: Placement, name: &str| name == workload && placement.is_none_or(|placement| placement == at);
    let ours = kind == Kind::Pgherd;
    GOALS.iter().any(|goal| match goal.value {
        Ratio(_, at, name, to) => here(at, name) && (ours || kind == to),
        Growth(_, name, from) => (here(OneCpu, name) || here(OneCpu, from)) && ours,
        Figure(_, name) | SystemCalls(name) => here(OneCpu, name) && ours,
        AddedLatency(name, to) => here(OneCpu, name) && (ours || kind == to || kind == Direct),
        MemoryRatio(..) | Memory(..) | Holds(_) => false,
    })
}

impl Wanted {
    fn is_met(self, value: f64) -> bool {
        match self {
            AtMost(limit) => value <= limit,
            AtLeast(limit) => value >= limit,
            // Probes and timers make some calls of their own.
            Exactly(limit) => (value - limit).abs() < 0.05,
        }
    }

    fn show(self) -> String {
        match self {
            AtMost(limit) => format!("≤ {limit}"),
            AtLeast(limit) => format!("≥ {limit}"),
            Exactly(limit) => format!("{limit}"),
        }
    }
}

impl Report {
    /// The table of goals, of those that were measured.
    pub(super) fn goals(&self) -> String {
        let rows: Vec<_> = GOALS.iter().filter_map(|goal| Some((goal, self.value(goal.value)?))).collect();
        if rows.is_empty() {
            return String::new();
        }
        let mut out = "| goal | measured | wanted | met |\n|---|---|---|---|\n".to_owned();
        for (Goal { what, wanted, .. }, value) in rows {
            let met = if wanted.is_met(value) { "yes" } else { "**no**" };
            let _ = writeln!(out, "| {what} | {value:.2} | {} | {met} |", wanted.show());
        }
        out + "\n"
    }

    fn value(&self, value: Value) -> Option<f64> {
        let pgherd = Kind::Pgherd.name();
        let ours = |placement, workload| self.series(placement, workload, pgherd);
        match value {
            Ratio(metric, placement, workload, to) => {
                let to = self.series(placement, workload, to.name());
                ratio(&ours(placement, workload), &to, |run| metric.of(run))
            }
            Growth(metric, workload, from) => {
                ratio(&ours(OneCpu, workload), &ours(OneCpu, from), |run| metric.of(run))
            }
            Figure(metric, workload) => {
                super::spread(&ours(OneCpu, workload), |run| metric.of(run)).map(|spread| spread.median)
            }
            AddedLatency(workload, to) => self.added_latency(workload, to),
            SystemCalls(workload) => self.system_calls(workload, pgherd),
            MemoryRatio(encryption, clients) => {
                let theirs = self.pss(encryption, clients, PgBouncer)?;
                Some(self.pss(encryption, clients, Kind::Pgherd)? / theirs)
            }
            Memory(encryption, clients) => self.pss(encryption, clients, Kind::Pgherd),
            Holds(held) => {
                let found = self.memory.iter().find(|memory| memory.held == held && memory.target == pgherd);
                found.map(|memory| memory.rss_kib)
            }
        }
    }

    /// Of medians: within a single round the difference of two latencies is mostly noise.
    fn added_latency(&self, workload: &str, to: Kind) -> Option<f64> {
        let median = |kind: Kind| {
            let runs = self.series(OneCpu, workload, kind.name());
            super::spread(&runs, |run| Metric::Mean.of(run)).map(|Spread { median, .. }| median)
        };
        let direct = median(Direct)?;
        Some((median(Kind::Pgherd)? - direct) / (median(to)? - direct))
    }

    fn pss(&self, encryption: Encryption, clients: u16, kind: Kind) -> Option<f64> {
        let found = self.memory.iter().find(|memory| {
            let which = (memory.held, memory.encryption, memory.clients);
            which == (Held::Idle, encryption, clients) && memory.target == kind.name()
        });
        found.map(|memory| memory.pss_kib)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests, *};
    use crate::comparison::workload;

    #[test]
    fn every_goal_is_about_workloads_that_a_quick_run_has() {
        use clap::Parser;
        let options = crate::comparison::Options::parse_from(["load", "--quick"]);
        for Goal { what, value, .. } in GOALS {
            let names = match value {
                Ratio(_, placement, name, _) => vec![(*placement, *name)],
                Growth(_, name, from) => vec![(OneCpu, *name), (OneCpu, *from)],
                Figure(_, name) | AddedLatency(name, _) | SystemCalls(name) => vec![(OneCpu, *name)],
                MemoryRatio(..) | Memory(..) | Holds(_) => Vec::new(),
            };
            for (placement, name) in names {
                let quick = crate::comparison::plan::loads(&options, placement);
                let found = workload::find(name).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(quick.contains(&found) || name == "logins-trust", "{what}: {name}");
            }
        }
    }

    #[test]
    fn a_way_is_compared_where_a_goal_says_so() {
        assert!(compare("simple-1", Some(OneCpu), Direct) && compare("simple-1", None, PgBouncer));
        assert!(!compare("simple-1", None, HaProxy) && !compare("tpcb-16", None, Direct));
        assert!(
            compare("simple-16", Some(Unpinned), PgBouncer) && !compare("tpcb-16", Some(Unpinned), PgBouncer)
        );
        assert!(compare("busy-8", None, Kind::Pgherd) && !compare("busy-8", None, PgBouncer));
    }

    #[test]
    fn goals_are_met_or_not() {
        let report = tests::report(vec![
            tests::run(PgBouncer, 0, 100.0),
            tests::run(PgBouncer, 1, 200.0),
            tests::run(Kind::Pgherd, 0, 105.0),
            tests::run(Kind::Pgherd, 1, 210.0),
        ]);
        let goals = report.goals();
        assert!(goals.contains("| the same, pool 20 / PgBouncer | 0.95 | ≤ 0.9 | **no** |"), "{goals}");
        assert_eq!(goals.lines().count(), 4, "those that were not measured are not shown\n{goals}");
        assert!(AtLeast(1.0).is_met(1.0) && AtMost(1.0).is_met(1.0) && !AtLeast(1.0).is_met(0.9));
        assert!(Exactly(6.0).is_met(6.02) && !Exactly(6.0).is_met(6.1));
    }
}

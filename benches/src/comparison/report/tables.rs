//! Markdown.

use std::fmt::Write as _;

use super::{Conditions, Measurement, Report, metric::Metric, ratio, spread};
use crate::comparison::{
    measure::Placement,
    target::Kind,
    workload::{ALL, ClientMemory, Encryption, Job, Workload},
};

const NOTHING: &str = "–";

/// A table: which workloads it holds, and its columns.
struct Table {
    title: &'static str,
    holds: fn(&Workload) -> bool,
    columns: &'static [Column],
}

enum Column {
    /// A figure with that many decimals.
    Figure(&'static str, Metric, usize),
    /// Its median ratio to that of another way.
    Ratio(&'static str, Metric, Kind),
    /// System calls for each transaction, which were counted once.
    SystemCalls(&'static str),
    /// How many failed in all rounds.
    Failed(&'static str),
}

use Column::{Failed, Figure, Ratio, SystemCalls};

const TABLES: [Table; 3] = [
    Table {
        title: "transactions",
        holds: |workload| matches!(workload.job, Job::Pgbench(_)) && workload.bytes().is_none(),
        columns: &[
            Figure("tps", Metric::PerSecond, 0),
            Ratio("/ direct", Metric::PerSecond, Kind::Direct),
            Ratio("/ PgBouncer", Metric::PerSecond, Kind::PgBouncer),
            Figure("CPU µs", Metric::Cpu, 1),
            Ratio("/ PgBouncer", Metric::Cpu, Kind::PgBouncer),
            Ratio("/ HAProxy", Metric::Cpu, Kind::HaProxy),
            Figure("mean µs", Metric::Mean, 0),
            Figure("p99 µs", Metric::P99, 0),
            SystemCalls("system calls"),
            Figure("switches", Metric::Switches, 2),
            Failed("failed"),
        ],
    },
    Table {
        title: "bulk",
        holds: |workload| workload.bytes().is_some(),
        columns: &[
            Figure("MB/s", Metric::Megabytes, 0),
            Figure("CPU µs per MB", Metric::CpuPerMegabyte, 0),
            Ratio("/ PgBouncer", Metric::CpuPerMegabyte, Kind::PgBouncer),
            Ratio("/ HAProxy", Metric::CpuPerMegabyte, Kind::HaProxy),
            Failed("failed"),
        ],
    },
    Table {
        title: "connections",
        holds: |workload| matches!(workload.job, Job::Logins(_)),
        columns: &[
            Figure("per second", Metric::PerSecond, 0),
            Ratio("/ PgBouncer", Metric::PerSecond, Kind::PgBouncer),
            Figure("CPU µs", Metric::Cpu, 0),
            Ratio("/ PgBouncer", Metric::Cpu, Kind::PgBouncer),
            Figure("mean µs", Metric::Mean, 0),
            Figure("p99 µs", Metric::P99, 0),
            Figure("switches", Metric::Switches, 1),
        ],
    },
];

impl Column {
    fn title(&self) -> &'static str {
        match self {
            Figure(title, ..) | Ratio(title, ..) | SystemCalls(title) | Failed(title) => title,
        }
    }
}

impl Report {
    pub(super) fn heading(&self) -> String {
        let Conditions { postgresql, versions, cores, pool_size, scale, rounds, seconds, workers, tracer } =
            &self.conditions;
        let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!(
            "PostgreSQL {postgresql}, {}; pgbench, scale {scale}; pools of {pool_size} in transaction mode, or as the name \
             says; pgherd's workers: {workers}; {cores} cores shared by clients, proxies and server when not on one; \
             medians of {rounds} interleaved rounds of {seconds} s (lowest–highest). CPU, system calls (by {}) and \
             context switches are the proxy's, for each transaction.\n\n",
            versions.join(", "),
            tracer.unwrap_or("nothing"),
        )
    }

    pub(super) fn tables(&self) -> String {
        let mut out = String::new();
        for table in &TABLES {
            for placement in Placement::ALL {
                self.table(&mut out, table, placement);
            }
        }
        out
    }

    fn table(&self, out: &mut String, table: &Table, placement: Placement) {
        let mut rows = String::new();
        for workload in ALL.iter().filter(|workload| (table.holds)(workload)) {
            for name in self.names(placement, workload) {
                let _ = write!(rows, "| {} | {name} |", workload.name);
                for column in table.columns {
                    let _ = write!(rows, " {} |", self.cell(column, placement, workload, name));
                }
                rows.push('\n');
            }
        }
        if rows.is_empty() {
            return;
        }
        let titles: Vec<_> = table.columns.iter().map(Column::title).collect();
        let _ = writeln!(out, "| {}, {} | through | {} |", table.title, placement.name(), titles.join(" | "));
        let _ = writeln!(out, "|---|---|{}", "---|".repeat(titles.len()));
        out.push_str(&rows);
        out.push('\n');
    }

    fn cell(&self, column: &Column, placement: Placement, workload: &Workload, name: &str) -> String {
        let runs = self.series(placement, workload.name, name);
        let nothing = || NOTHING.to_owned();
        match column {
            Figure(_, metric, decimals) => {
                spread(&runs, |run| metric.of(run)).map_or_else(nothing, |spread| spread.show(*decimals))
            }
            Ratio(_, metric, to) => {
                let to = self.series(placement, workload.name, to.name());
                ratio(&runs, &to, |run| metric.of(run)).map_or_else(nothing, |ratio| format!("{ratio:.2}"))
            }
            SystemCalls(_) => {
                let calls = self.system_calls(workload.name, name);
                calls.map_or_else(nothing, |calls| format!("{calls:.2}"))
            }
            Failed(_) => runs.iter().map(|run| run.figures.failed).sum::<u64>().to_string(),
        }
    }

    /// The ways that did a workload, in the order in which they first did.
    fn names(&self, placement: Placement, workload: &Workload) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let did = |run: &&Measurement| run.placement == placement && run.workload == workload.name;
        for run in self.measurements.iter().filter(did) {
            if !names.contains(&run.target.as_str()) {
                names.push(&run.target);
            }
        }
        names
    }

    pub(super) fn memory(&self) -> String {
        if self.memory.is_empty() {
            return String::new();
        }
        let mut out =
            "| memory | through | clients | RSS, KiB each | PSS, KiB each |\n|---|---|---|---|---|\n"
                .to_owned();
        for ClientMemory { target, held, encryption, clients, rss_kib, pss_kib } in &self.memory {
            let encryption = match encryption {
                Encryption::Plain => "plain",
                Encryption::Tls => "TLS",
            };
            let _ = writeln!(
                out,
                "| {}, {encryption} | {target} | {clients} | {rss_kib:.2} | {pss_kib:.2} |",
                held.name()
            );
        }
        out + "\n"
    }

    /// What a reader of the tables has to know.
    pub(super) fn problems(&self) -> String {
        let mut out = String::new();
        for note in &self.notes {
            let colon = if note.about.is_empty() { "" } else { ": " };
            let _ = writeln!(out, "- {}{colon}{}", note.about, note.text);
        }
        for run in &self.measurements {
            if let Some(error) = &run.figures.error {
                let Measurement { placement, workload, target, round, .. } = run;
                let placement = placement.name();
                let _ = writeln!(out, "- {workload}, {target}, {placement}, round {}: {error}", round + 1);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests, *};

    #[test]
    fn a_table_has_a_row_for_each_way() {
        let report =
            tests::report(vec![tests::run(Kind::Direct, 0, 200.0), tests::run(Kind::Pgherd, 0, 100.0)]);
        let tables = report.tables();
        let row = "| simple-16 | pgherd | 100 | 0.50 | – | 10000.0 | – | – | – | – | – | – | 0 |";
        assert!(tables.contains(row), "{tables}");
        assert_eq!(tables.lines().filter(|line| line.starts_with("| simple-16")).count(), 2);
        assert_eq!(
            tables.lines().filter(|line| line.starts_with("|---")).count(),
            1,
            "no table without rows\n{tables}"
        );
    }
}

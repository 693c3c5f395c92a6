//! One run of pgbench.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use lab::Cluster;
use serde::Serialize;

use crate::{
    process_usage::processor_time,
    proxy::Open,
    through::{Prepared, Through},
};

/// What pgbench does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Load {
    /// `-S -M simple`
    Simple,
    /// `-S -M extended`
    Extended,
    /// `-S -M prepared`
    Prepared,
    /// The TPC-B-like transaction of 7 statements, `-M simple`.
    TpcB,
}

impl Load {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 4] = [Self::Simple, Self::Extended, Self::Prepared, Self::TpcB];

    /// Those of one select a transaction.
    pub(crate) const SELECTS: [Self; 3] = [Self::Simple, Self::Extended, Self::Prepared];

    /// The name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "select, simple",
            Self::Extended => "select, extended",
            Self::Prepared => "select, prepared",
            Self::TpcB => "TPC-B, simple",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Simple => &["-S", "-M", "simple"],
            Self::Extended => &["-S", "-M", "extended"],
            Self::Prepared => &["-S", "-M", "prepared"],
            Self::TpcB => &["-M", "simple"],
        }
    }

    /// Whether it can run through this.
    pub(crate) fn suits(self, open: &Open) -> bool {
        self != Self::Prepared || open.prepared == Prepared::Works
    }
}

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measurement {
    /// What pgbench did.
    pub(crate) load: Load,
    /// How many clients did it.
    pub(crate) clients: u16,
    /// Through what.
    pub(crate) through: Through,
    /// Counted from 0.
    pub(crate) round: u16,
    /// Transactions per second, connecting not counted.
    pub(crate) tps: f64,
    /// Average latency in ms.
    pub(crate) latency_ms: f64,
    /// The proxy's processor time for each transaction in µs.
    pub(crate) cpu_us: Option<f64>,
    /// Transactions that failed.
    pub(crate) failed: u64,
    /// Why pgbench gave up, if it did: then some clients ended early.
    pub(crate) error: Option<String>,
}

/// Fills pgbench's tables.
///
/// # Errors
/// When pgbench fails.
pub(crate) fn initialise(cluster: &Cluster, scale: u16) -> Result<()> {
    let mut command = pgbench(cluster, cluster.node(0).port());
    let output =
        command.args(["-i", "-q", "-s", &scale.to_string()]).output().context("could not start pgbench")?;
    if !output.status.success() {
        bail!("pgbench -i failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    cluster.psql(0, "checkpoint")?;
    Ok(())
}

/// Runs one load and measures the proxy meanwhile.
///
/// # Errors
/// When pgbench does not start or its output is not understood, or the proxy is gone.
pub(crate) fn measure(
    cluster: &Cluster,
    open: &Open,
    load: Load,
    clients: u16,
    seconds: u16,
    round: u16,
) -> Result<Measurement> {
    let used = || open.pid().map(processor_time).transpose();
    let mut command = pgbench(cluster, open.port);
    command
        .args(["-n", "-j", "1", "-c", &clients.to_string(), "-T", &seconds.to_string()])
        .args(load.arguments());
    let before = used()?;
    let output = command.output().context("could not start pgbench")?;
    let after = used()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let summary = Summary::read(&text)
        .with_context(|| format!("pgbench through {}: {errors}{text}", open.through.name()))?;
    let cpu = after.zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(Measurement {
        load,
        clients,
        through: open.through,
        round,
        tps: summary.tps,
        latency_ms: summary.latency_ms,
        cpu_us: cpu.map(|cpu| per_transaction(cpu, summary.transactions)),
        failed: summary.failed,
        error: (!output.status.success()).then(|| errors.lines().last().unwrap_or_default().to_owned()),
    })
}

#[expect(clippy::cast_precision_loss, reason = "transactions of some seconds")]
fn per_transaction(cpu: Duration, transactions: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / transactions.max(1) as f64
}

fn pgbench(cluster: &Cluster, port: u16) -> Command {
    let login = cluster.application();
    let mut command = Command::new(cluster.binaries().program("pgbench"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(variable);
        }
    }
    command
        .env("LC_ALL", "C")
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port.to_string())
        .env("PGUSER", &login.user)
        .env("PGPASSWORD", &login.password)
        .env("PGDATABASE", cluster.database())
        .env("PGSSLMODE", "disable")
        .stdin(Stdio::null());
    command
}

/// What pgbench reports at its end.
#[derive(Debug, PartialEq)]
struct Summary {
    transactions: u64,
    failed: u64,
    latency_ms: f64,
    tps: f64,
}

impl Summary {
    fn read(text: &str) -> Option<Self> {
        let after = |label: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(label))?;
            line.split([' ', '/']).find(|word| !word.is_empty())
        };
        Some(Self {
            transactions: after("number of transactions actually processed:")?.parse().ok()?,
            // Before PostgreSQL 15 there was no such line: a failure ended the client.
            failed: after("number of failed transactions:").map_or(Some(0), |word| word.parse().ok())?,
            latency_ms: after("latency average =")?.parse().ok()?,
            tps: after("tps =")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_pgbench_is_read() {
        let text = "number of clients: 16\nnumber of transactions actually processed: 90017\n\
                    number of failed transactions: 2 (0.002%)\nlatency average = 0.888 ms\n\
                    initial connection time = 62.518 ms\ntps = 18018.250183 (without initial connection time)\n";
        let expected = Summary { transactions: 90_017, failed: 2, latency_ms: 0.888, tps: 18_018.250_183 };
        assert_eq!(Summary::read(text), Some(expected));
        let old = text.replace("number of failed", "x").replace(": 90017", ": 90017/90020");
        assert_eq!(
            Summary::read(&old).map(|summary| (summary.transactions, summary.failed)),
            Some((90_017, 0))
        );
        assert_eq!(Summary::read("pgbench: error"), None);
    }
}

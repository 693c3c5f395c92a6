//! One run of pgbench.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use lab::Cluster;
use tokio::time::Instant;

use super::{Encryption, Figures, Job, Overhead, Workload, tables::ROWS_27B};
use crate::comparison::{
    measure::{Latency, Meter},
    target::Target,
};

/// What share of transactions is logged with its time.
const SAMPLED: &str = "0.2";

/// What pgbench does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    /// `-S -M simple`
    Simple,
    /// `-S -M extended`
    Extended,
    /// `-S -M prepared`
    Prepared,
    /// The TPC-B-like transaction of 7 statements, `-M simple`.
    TpcB,
    /// `SET application_name` to the client's own name, which every pooler tracks, and a select.
    Set,
    /// Nine selects to one update of an account.
    Split,
    /// A result of 10 MB in rows of 27 bytes.
    Rows27B,
    /// In rows of 1 KiB.
    Rows1Kib,
    /// In rows of 1 MiB.
    Rows1Mib,
}

/// Bytes of a DataRow besides its value: tag, length, number of columns, length of the value (manual, "Message Formats").
const ROW_HEAD: u64 = 11;

impl Script {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Simple => &["-S", "-M", "simple"],
            Self::Extended => &["-S", "-M", "extended"],
            Self::Prepared => &["-S", "-M", "prepared"],
            Self::TpcB => &["-M", "simple"],
            Self::Split => &["-b", "select-only@9", "-b", "simple-update@1", "-M", "simple"],
            Self::Set | Self::Rows27B | Self::Rows1Kib | Self::Rows1Mib => &["-M", "simple", "-f"],
        }
    }

    /// The script's text, where pgbench has none of its own.
    fn text(self) -> Option<String> {
        let long_rows = |rows: u64, bytes: u64| {
            format!("select repeat('x', {}) from generate_series(1, {rows});\n", bytes - ROW_HEAD)
        };
        match self {
            Self::Set => Some(
                "\\set aid random(1, 100000 * :scale)\nset application_name to client:client_id;\n\
                 select abalance from pgbench_accounts where aid = :aid;\n"
                    .to_owned(),
            ),
            Self::Rows27B => Some("select v from bench_rows;\n".to_owned()),
            Self::Rows1Kib => Some(long_rows(10_000, 1 << 10)),
            Self::Rows1Mib => Some(long_rows(10, 1 << 20)),
            Self::Simple | Self::Extended | Self::Prepared | Self::TpcB | Self::Split => None,
        }
    }

    /// Bytes of rows in each result, where results are long.
    pub(crate) fn bytes(self) -> Option<u64> {
        match self {
            Self::Rows27B => Some(ROWS_27B * 27),
            Self::Rows1Kib => Some(10_000 << 10),
            Self::Rows1Mib => Some(10 << 20),
            _ => None,
        }
    }
}

/// Runs pgbench for so many seconds and measures the proxy meanwhile.
///
/// # Errors
/// When pgbench does not start or its output is not understood, or the proxy is gone.
pub(super) fn run(
    cluster: &Cluster,
    target: &Target,
    workload: &Workload,
    seconds: u16,
    overhead: &Overhead,
) -> Result<Figures> {
    let logs = cluster.directory().join("latencies");
    let _ = fs::remove_dir_all(&logs);
    fs::create_dir(&logs).with_context(|| format!("could not make {}", logs.display()))?;
    let mut command = command(cluster, target, workload)?;
    // pgbench's clock runs while clients log in one after the other, which takes PostgreSQL some milliseconds each.
    let duration = u64::from(seconds) + (overhead.took + Duration::from_millis(500)).as_secs();
    command.args(["-T", &duration.to_string(), "-l", "--log-prefix"]).arg(logs.join("log"));
    if workload.clients > 1 {
        command.args(["--sampling-rate", SAMPLED]);
    }
    let meter = Meter::start(target)?;
    let output = command.output().context("could not start pgbench")?;
    let used = meter.stop()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let Some(summary) = Summary::read(&text) else {
        let errors: Vec<_> = errors.lines().filter(|line| line.contains("error")).collect();
        bail!(
            "pgbench did no transaction in {duration} s: {}",
            errors.first().unwrap_or(&"it does not say why")
        );
    };
    let mut figures = Figures::new(summary.transactions, 1.0, used, overhead);
    figures.per_second = summary.tps;
    figures.failed = summary.failed;
    figures.error = (!output.status.success()).then(|| errors.lines().last().unwrap_or_default().to_owned());
    figures.latency = Some(Latency {
        mean_us: summary.latency_ms * 1e3,
        p99_us: Latency::of(read_logs(&logs)?).and_then(|latency| latency.p99_us),
    });
    Ok(figures)
}

/// Has each client of a workload do so many transactions; gives what the proxy used for that and how many there were.
///
/// # Errors
/// When pgbench fails, or the proxy is gone.
pub(crate) fn transactions(
    cluster: &Cluster,
    target: &Target,
    workload: &Workload,
    of_each: u64,
) -> Result<Overhead> {
    let meter = Meter::start(target)?;
    let begun = Instant::now();
    let mut command = command(cluster, target, workload)?;
    let output = command.args(["-t", &of_each.to_string()]).output().context("could not start pgbench")?;
    if !output.status.success() {
        bail!("pgbench through {}: {}", target.name, String::from_utf8_lossy(&output.stderr).trim());
    }
    let units = of_each * u64::from(workload.clients);
    Ok(Overhead { used: meter.stop()?, units, took: begun.elapsed() })
}

fn read_logs(folder: &Path) -> Result<Vec<u64>> {
    let mut times = Vec::new();
    for file in fs::read_dir(folder)?.flatten() {
        times.extend(Latency::read_log(&fs::read_to_string(file.path())?));
    }
    Ok(times)
}

/// pgbench with all but its duration.
fn command(cluster: &Cluster, target: &Target, workload: &Workload) -> Result<Command> {
    let Job::Pgbench(script) = workload.job else { bail!("{} is not for pgbench", workload.name) };
    let database = target.database(workload.pool, workload.entry());
    let mut command = pgbench(cluster, &target.host, target.port, &database);
    if workload.encryption == Encryption::Tls {
        command.env("PGSSLMODE", "require");
    }
    command.args(["-n", "-j", "1", "-c", &workload.clients.to_string()]).args(script.arguments());
    if let Some(text) = script.text() {
        command.arg(script_file(cluster, workload.name, &text)?);
    }
    Ok(command)
}

fn script_file(cluster: &Cluster, name: &str, text: &str) -> Result<PathBuf> {
    let path = cluster.directory().join(format!("{name}.sql"));
    fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}

/// pgbench with nothing but where to.
pub(super) fn pgbench(cluster: &Cluster, host: &str, port: u16, database: &str) -> Command {
    let login = cluster.application();
    let mut command = Command::new(cluster.binaries().program("pgbench"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(variable);
        }
    }
    command
        .env("LC_ALL", "C")
        .env("PGHOST", host)
        .env("PGPORT", port.to_string())
        .env("PGUSER", &login.user)
        .env("PGPASSWORD", &login.password)
        .env("PGDATABASE", database)
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

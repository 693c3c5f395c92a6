//! CHECK CLUSTER, CHECK REPLICATION, and `pgherd doctor`, which is the same without a running proxy.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use admin::Checked;
use anyhow::Context;
use config::{ClusterSettings, Settings};
use conn::TlsFileError;
use doctor::{
    Extent, Finding, Lookup, Memory, Mode, Purpose, Replicated, Style, Verdict, report, report_replication,
};
use serde_json::{Value, json};

use crate::arguments::{DoctorArguments, environment};

/// Examines all clusters, one after the other. `mode` goes above what is configured.
///
/// # Errors
/// [`TlsFileError`] if a certificate file cannot be used.
pub(crate) async fn examine(
    settings: &Settings,
    mode: Option<Mode>,
) -> Result<Vec<Checked<Finding>>, TlsFileError> {
    let mut checked = Vec::new();
    for (at, cluster) in settings.clusters.iter().enumerate() {
        let purpose = purpose(settings, at, cluster, mode);
        let findings = health::examine(&cluster.health, &cluster.topology, purpose).await?;
        checked.push((cluster.topology.cluster.as_str().into(), findings));
    }
    Ok(checked)
}

/// Writes and follows a marker in all clusters, one after the other.
///
/// # Errors
/// As [`examine`].
pub(crate) async fn check_replication(
    settings: &Settings,
    wait: Duration,
) -> Result<Vec<Checked<Replicated>>, TlsFileError> {
    let mut checked = Vec::new();
    for cluster in &settings.clusters {
        let rows = health::check_replication(&cluster.health, &cluster.topology, wait).await?;
        checked.push((Arc::from(cluster.topology.cluster.as_str()), rows));
    }
    Ok(checked)
}

fn purpose(settings: &Settings, at: usize, cluster: &ClusterSettings, mode: Option<Mode>) -> Purpose {
    // roles are looked up in the first cluster
    let query = settings.auth.query.as_ref().filter(|_| at == 0);
    let lookup = query.map(|query| Lookup {
        sql: query.sql.clone(),
        database: query.database.clone(),
        optional: query.optional,
    });
    Purpose {
        user: cluster.health.user.clone(),
        database: cluster.health.database.clone(),
        mode: mode.unwrap_or_else(|| configured_mode(cluster)),
        lookup,
        memory: if cluster.health.state_file.is_some() { Memory::Kept } else { Memory::Lost },
        demand: demand(settings, at, cluster),
    }
}

/// What the configuration says about a primary that is lost.
pub(crate) fn configured_mode(cluster: &ClusterSettings) -> Mode {
    if cluster.failover.is_some() { Mode::Manage } else { Mode::Follow }
}

/// The most connections that all pools may make to one node: what is bounded, or else the sum of their sizes if all of
/// them are known.
fn demand(settings: &Settings, at: usize, cluster: &ClusterSettings) -> Option<u64> {
    let users = settings.auth.users.len() as u64;
    let databases = settings.databases.iter().filter(|database| database.cluster == at);
    let all_known = settings.auth.query.is_none() && databases.clone().all(|database| database.name != "*");
    let sum = all_known.then(|| {
        let of_pools = |database: &session::DatabaseSettings| {
            let pool = &database.pool;
            let pools = (u64::from(pool.size) + u64::from(pool.reserve_size)).saturating_mul(users);
            database.max_server_connections.map_or(pools, |most| pools.min(most.into()))
        };
        databases.map(of_pools).sum::<u64>()
    });
    let bounds = [cluster.max_server_connections, settings.proxy.max_server_connections];
    bounds.into_iter().flatten().map(u64::from).chain(sum).min()
}

/// Runs `pgherd doctor`.
///
/// # Errors
/// When a certificate cannot be used, or standard output not be written to.
pub(crate) fn run(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let settings = match arguments.configured.source().load(environment()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let mode = arguments.manage.then_some(Mode::Manage);
    let (text, worst) = match arguments.replication {
        None => {
            let checked = runtime.block_on(examine(&settings, mode))?;
            let verdicts = checked.iter().flat_map(|(_, findings)| findings).map(|finding| finding.verdict);
            (findings_text(&checked, arguments), verdicts.max())
        }
        Some(seconds) => {
            let wait = Duration::from_secs(seconds);
            let checked = runtime.block_on(check_replication(&settings, wait))?;
            let verdicts = checked.iter().flat_map(|(_, rows)| rows).map(|row| row.verdict);
            (rows_text(&checked, arguments), verdicts.max())
        }
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if worst == Some(Verdict::Failure) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Colours are for people who have not said that they do not want any (no-color.org).
fn style() -> Style {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !unwanted { Style::Coloured } else { Style::Plain }
}

fn findings_text(checked: &[Checked<Finding>], arguments: &DoctorArguments) -> String {
    if arguments.json {
        return objects(checked, |finding| {
            json!({
                "node": finding.node,
                "check": finding.check,
                "value": finding.value,
                "verdict": finding.verdict.as_str(),
                "why": finding.why,
                "fix": finding.fix,
            })
        });
    }
    let extent = if arguments.all { Extent::Everything } else { Extent::Trouble };
    let reports = checked.iter().map(|(cluster, findings)| report(cluster, findings, extent, style()));
    reports.collect::<Vec<_>>().join("\n")
}

fn rows_text(checked: &[Checked<Replicated>], arguments: &DoctorArguments) -> String {
    if arguments.json {
        return objects(checked, |row| {
            json!({
                "node": row.node,
                "state": row.state,
                "replayed_ms": row.after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
                "lag_bytes": row.lag_bytes,
                "verdict": row.verdict.as_str(),
                "why": row.why,
                "fix": row.fix,
            })
        });
    }
    let reports = checked.iter().map(|(cluster, rows)| report_replication(cluster, rows, style()));
    reports.collect::<Vec<_>>().join("\n")
}

/// `{"clusters": [{"cluster", "rows": […]}]}`
fn objects<T>(checked: &[Checked<T>], row: impl Fn(&T) -> Value) -> String {
    let cluster = |(name, rows): &Checked<T>| json!({ "cluster": **name, "rows": rows.iter().map(&row).collect::<Vec<_>>() });
    let clusters: Vec<Value> = checked.iter().map(cluster).collect();
    format!("{}\n", json!({ "clusters": clusters }))
}

//! The tables that clients read and write.

use anyhow::{Context, Result, bail};
use lab::Cluster;

use super::pgbench::pgbench;

/// Rows of `bench_rows`, each a DataRow of 27 bytes.
pub(super) const ROWS_27B: u64 = 400_000;

/// Fills pgbench's tables and ours. There may be some from another run.
///
/// # Errors
/// When pgbench or the server fails.
pub(crate) fn initialise(cluster: &Cluster, scale: u16) -> Result<()> {
    let mut command = pgbench(cluster, "127.0.0.1", cluster.node(0).port(), cluster.database());
    let output =
        command.args(["-i", "-q", "-s", &scale.to_string()]).output().context("could not start pgbench")?;
    if !output.status.success() {
        bail!("pgbench -i failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let sql = format!(
        "drop table if exists bench_rows, bench_copy;\n\
         create table bench_rows as select repeat('x', 16) as v from generate_series(1, {ROWS_27B});\n\
         create table bench_copy (v text);\n"
    );
    cluster.psql_as(0, cluster.application(), cluster.database(), &sql)?;
    // Whoever reads first would otherwise set the hint bits for all that come later.
    cluster.psql_as(0, cluster.superuser(), cluster.database(), "vacuum bench_rows")?;
    cluster.psql(0, "checkpoint")?;
    Ok(())
}

//! What every contender can do.

use anyhow::{Result, ensure};

use super::{access::Access, process::wait_for};
use std::time::Duration;

/// Nodes of a cluster.
pub(crate) const NODES: usize = 3;

/// PostgreSQL's settings that all clusters have besides those of the lab, which the clusters of others are given too.
pub(crate) const MAX_CONNECTIONS: u32 = 200;

/// A running contender: a proxy, whatever decides, and a primary with two standbys. It ends when it is dropped.
pub(crate) trait Stack {
    /// Names and versions of its programs.
    fn versions(&self) -> String;

    /// What it was given that is not its default, and what it does not do itself.
    fn remarks(&self) -> Vec<String>;

    /// How the application logs in through the proxy.
    fn application(&self) -> Access;

    /// How the superuser logs in to each node, around the proxy, in the application's database.
    fn nodes(&self) -> &[Access];

    /// Kills the postmaster of a node, and what looks after it if `companion`.
    ///
    /// # Errors
    /// When it does not run.
    fn kill(&mut self, node: usize, companion: bool) -> Result<()>;

    /// Does what an operator or an init system would for a node that was killed.
    ///
    /// # Errors
    /// When that fails.
    fn bring_back(&mut self, node: usize) -> Result<()>;

    /// Has the contender move the primary away from this node, and waits for its answer.
    ///
    /// # Errors
    /// When it refuses.
    fn switch_over(&mut self, from: usize) -> Result<()>;

    /// Whether the contender itself finds all well.
    ///
    /// # Errors
    /// When it does not, with what it says.
    fn check(&mut self) -> Result<()>;

    /// The end of what its programs have logged.
    fn logs(&self) -> String;
}

/// The one primary, by what the nodes say: all others follow it, and the contender finds all well.
///
/// # Errors
/// When that is not so.
pub(crate) fn check_settled(stack: &mut dyn Stack) -> Result<usize> {
    let primaries = primaries(stack.nodes());
    ensure!(primaries.len() == 1, "there are {} primaries", primaries.len());
    let sql = "select count(*) from pg_stat_replication where state = 'streaming'";
    let streaming = stack.nodes()[primaries[0]].value(sql)?;
    ensure!(streaming == (NODES - 1).to_string(), "{streaming} standbys stream");
    stack.check()?;
    Ok(primaries[0])
}

/// Waits for that.
///
/// # Errors
/// When it does not come about in time.
pub(crate) fn wait_until_settled(stack: &mut dyn Stack, patience: Duration) -> Result<usize> {
    wait_for("a cluster that is whole", patience, || check_settled(stack))
}

/// The nodes that answer and are not in recovery.
pub(crate) fn primaries(nodes: &[Access]) -> Vec<usize> {
    let is_primary =
        |node: &Access| node.value("select pg_is_in_recovery()").is_ok_and(|answer| answer == "f");
    (0..nodes.len()).filter(|at| is_primary(&nodes[*at])).collect()
}

/// What happened to the primary has happened: another node is one.
///
/// # Errors
/// When none is.
pub(crate) fn check_moved(nodes: &[Access], old: usize) -> Result<usize> {
    let new = primaries(nodes).into_iter().find(|at| *at != old);
    new.ok_or_else(|| anyhow::anyhow!("no other node is the primary"))
}

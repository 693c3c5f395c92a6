use std::sync::mpsc::{Receiver, SyncSender};

use anyhow::{Context, Result, bail};
use lab::Cluster;

use crate::{command::Command, events::Event};

/// Does what is asked, one thing after another, until nobody can ask any more.
pub(crate) fn serve(cluster: &Cluster, requests: &Receiver<Command>, events: &SyncSender<Event>) {
    for command in requests {
        let outcome = perform(cluster, command).unwrap_or_else(|error| format!("failed: {error:#}"));
        if events.send(Event::Done(outcome)).is_err() {
            return;
        }
    }
}

/// What is being done, for the time it takes; `None` for commands that are not about the cluster.
pub(crate) fn announce(command: Command) -> Option<String> {
    Some(match command {
        Command::Kill => "killing the primary".to_owned(),
        Command::Promote(node) => format!("promoting node {node}"),
        Command::Switchover(node) => format!("switching over to node {node}"),
        Command::Back(node) => format!("bringing node {node} back"),
        Command::Status | Command::Help | Command::Quit => return None,
    })
}

fn perform(cluster: &Cluster, command: Command) -> Result<String> {
    match command {
        Command::Kill => {
            let primary = cluster.primary()?;
            cluster.kill(primary)?;
            Ok(format!("{}, the primary, was killed; p N promotes another node", name(cluster, primary)))
        }
        Command::Promote(node) => {
            let index = index(cluster, node)?;
            if !cluster.node(index).is_running() {
                bail!("{} does not run; b {node} brings it back", name(cluster, index));
            }
            if !cluster.is_standby(index)? {
                bail!("{} is a primary already", name(cluster, index));
            }
            cluster.promote(index)?;
            let followers = follow(cluster, index)?;
            Ok(format!("{} was promoted{followers}", name(cluster, index)))
        }
        Command::Switchover(node) => {
            let index = index(cluster, node)?;
            cluster.switchover(index)?;
            Ok(format!("{} is the primary now, the others follow it", name(cluster, index)))
        }
        Command::Back(node) => {
            let index = index(cluster, node)?;
            // Without a primary to follow, a node can only go on as what it was: a crashed primary recovers.
            if cluster.primary().is_err() && !cluster.node(index).is_running() {
                cluster.start_node(index)?;
                return Ok(format!("{} runs again, as what it was", name(cluster, index)));
            }
            cluster.rejoin(index)?;
            Ok(format!("{} is a standby of {}", name(cluster, index), name(cluster, cluster.primary()?)))
        }
        Command::Status | Command::Help | Command::Quit => Ok(String::new()),
    }
}

/// Makes the other standbys follow a promoted node; tells which do. Old primaries are left alone.
fn follow(cluster: &Cluster, promoted: usize) -> Result<String> {
    let mut followers = Vec::new();
    for index in (0..cluster.nodes().len()).filter(|&index| index != promoted) {
        if cluster.node(index).is_running() && cluster.is_standby(index)? {
            cluster.rejoin(index)?;
            followers.push(name(cluster, index));
        }
    }
    Ok(if followers.is_empty() { String::new() } else { format!(", {} follows it", followers.join(" and ")) })
}

fn index(cluster: &Cluster, node: usize) -> Result<usize> {
    let count = cluster.nodes().len();
    let index = node.checked_sub(1).filter(|&index| index < count);
    index.with_context(|| format!("there is no node {node}; they are numbered from 1 to {count}"))
}

fn name(cluster: &Cluster, index: usize) -> String {
    format!("node {} ({})", index + 1, cluster.node(index).name())
}

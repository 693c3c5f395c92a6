use std::collections::BTreeMap;

use topology::{Duty, Health, NodeId, NodeView, Reads, Role, Snapshot, SyncState, Writable};

use super::{
    View,
    stats::{millis, precise_millis},
};
use crate::table::{Cell, Column, Table, columns};

pub(super) const NODES: &[Column] = columns![
    name Text, cluster Text, host Text, port Int4, region Text, zone Text, role Text, health Text, timeline Int8,
    wal_lsn Text, replay_lsn Text, lag_bytes Int8, lag_ms Int8, rtt_ms Numeric, sampled_ms_ago Int8,
    server_version Text, active Int4, idle Int4, reads Int8, writes Int8, sync_state Text, standing Text,
];

pub(super) const REGIONS: &[Column] =
    columns![region Text, nodes Int4, primary Text, replicas_up Int4, here Bool];

pub(super) const TOPOLOGY: &[Column] = columns![
    topology Text, role Text, health Text, region Text, timeline Int8, lag_bytes Int8, lag_ms Int8,
];

/// What the workers do with a node.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    active: u32,
    idle: u32,
    reads: u64,
    others: u64,
}

pub(super) fn nodes(view: &View<'_>, table: &mut Table) {
    let loads = loads(view);
    for (cluster, name, snapshot) in view.clusters() {
        for node in &snapshot.nodes {
            let load = loads.get(&(cluster, node.id)).copied().unwrap_or_default();
            let sampled = node.sampled_at.map(|at| view.instant.saturating_duration_since(at));
            table.push([
                Cell::from(&node.name),
                name.into(),
                (&node.host).into(),
                node.port.into(),
                (&node.region).into(),
                node.zone.as_ref().into(),
                role(node, &snapshot).into(),
                node.health.as_str().into(),
                timeline(node),
                lsn(node, node.wal_lsn),
                lsn(node, node.replay_lsn),
                node.lag_bytes.into(),
                node.lag.map(millis).into(),
                node.rtt.map_or(Cell::Null, precise_millis),
                sampled.map(millis).into(),
                version(node.server_version),
                load.active.into(),
                load.idle.into(),
                load.reads.into(),
                load.others.into(),
                node.sync_state.map(SyncState::as_str).into(),
                standing(node, &snapshot).into(),
            ]);
        }
    }
}

/// Whether it is used, and what for if it is a spare.
fn standing(node: &NodeView, snapshot: &Snapshot) -> String {
    let in_place_of = |verb: &str, id: NodeId| match snapshot.node(id) {
        Some(lost) => format!("{verb} for {}", lost.name),
        None => verb.to_owned(),
    };
    match (node.reads, node.duty) {
        (Reads::Resting | Reads::Detached, _) | (_, Duty::Member) => node.reads.as_str().to_owned(),
        (Reads::Offered | Reads::Withheld, Duty::Spare) => "spare".to_owned(),
        (Reads::Offered | Reads::Withheld, Duty::Called(id)) => in_place_of("called", id),
        (Reads::Offered | Reads::Withheld, Duty::StandingIn(id)) => in_place_of("standing in", id),
    }
}

fn loads(view: &View<'_>) -> BTreeMap<(usize, NodeId), Load> {
    let mut loads = BTreeMap::<_, Load>::new();
    for report in &view.reports {
        for pool in &report.pools {
            let load = loads.entry((pool.cluster, pool.node)).or_default();
            load.idle += pool.counts.idle;
            load.active += pool.counts.live.saturating_sub(pool.counts.idle + pool.counts.dialing);
        }
        for stats in &report.stats {
            for (node, reads, others) in &stats.routed {
                let load = loads.entry((stats.settings.cluster, *node)).or_default();
                load.reads += reads;
                load.others += others;
            }
        }
    }
    loads
}

/// A row for each region that has a node, and for the one that the proxy stands in.
pub(super) fn regions(view: &View<'_>, table: &mut Table) {
    let mut regions = BTreeMap::<String, (u32, Vec<String>, u32)>::new();
    let here = &view.world.routing.region;
    if !here.is_empty() {
        regions.entry(here.clone()).or_default();
    }
    for (_, _, snapshot) in view.clusters() {
        for node in &snapshot.nodes {
            let (nodes, primaries, replicas_up) = regions.entry(node.region.to_string()).or_default();
            *nodes += 1;
            if snapshot.writable == Writable::Primary(node.id) {
                primaries.push(node.name.to_string());
            } else if node.role == Role::Standby && node.health == Health::Up {
                *replicas_up += 1;
            }
        }
    }
    for (region, (nodes, primaries, replicas_up)) in regions {
        let is_here = region == *here;
        let primary = if primaries.is_empty() { Cell::Null } else { primaries.join(",").into() };
        table.push([region.into(), nodes.into(), primary, replicas_up.into(), is_here.into()]);
    }
}

/// Each cluster with its primary, the standbys below it, and below the cluster whatever follows nobody.
pub(super) fn topology(view: &View<'_>, table: &mut Table) {
    for (cluster, name, snapshot) in view.clusters() {
        let state = match snapshot.writable {
            Writable::Primary(_) => "writable",
            Writable::None { reason, .. } => reason.as_str(),
        };
        let manager = manager(view, cluster);
        let line = format!("{name} (epoch {}, {state}{manager})", snapshot.epoch);
        let timeline = snapshot.timeline.map(|timeline| timeline.0);
        table.push([
            line.into(),
            Cell::Null,
            Cell::Null,
            Cell::Null,
            timeline.into(),
            Cell::Null,
            Cell::Null,
        ]);
        let primary = snapshot.primary();
        let follows = |node: &&NodeView| {
            primary.is_some() && node.role == Role::Standby && Some(node.timeline) == snapshot.timeline
        };
        let is_primary = |node: &NodeView| primary.is_some_and(|primary| primary.id == node.id);
        let standbys: Vec<_> = snapshot.nodes.iter().filter(follows).collect();
        let others: Vec<_> =
            snapshot.nodes.iter().filter(|node| !is_primary(node) && !follows(node)).collect();
        if let Some(primary) = primary {
            let (branch, stem) = if others.is_empty() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            table.push(branch_row(branch.to_owned(), primary, &snapshot));
            push_branches(stem, &standbys, &snapshot, table);
        }
        push_branches("", &others, &snapshot, table);
    }
}

/// What there is to be said of who manages a cluster.
fn manager(view: &View<'_>, cluster: usize) -> String {
    let Some(state) = view.control.management(cluster) else { return String::new() };
    match &state.hindrance {
        Some(why) => format!("; there is no failover: {why}"),
        None if state.is_maintenance => "; MAINTENANCE is on".to_owned(),
        None => String::new(),
    }
}

fn push_branches(stem: &str, nodes: &[&NodeView], snapshot: &Snapshot, table: &mut Table) {
    for (at, node) in nodes.iter().enumerate() {
        let branch = if at + 1 == nodes.len() { "└─ " } else { "├─ " };
        table.push(branch_row(format!("{stem}{branch}"), node, snapshot));
    }
}

fn branch_row(branch: String, node: &NodeView, snapshot: &Snapshot) -> [Cell; 7] {
    [
        format!("{branch}{}", node.name).into(),
        role(node, snapshot).into(),
        health(node, snapshot).into(),
        (&node.region).into(),
        timeline(node),
        node.lag_bytes.into(),
        node.lag.map(millis).into(),
    ]
}

/// What a node says it is; of those that claim to be primary only the accepted one is called so.
fn role(node: &NodeView, snapshot: &Snapshot) -> &'static str {
    match node.role {
        Role::Primary if snapshot.writable != Writable::Primary(node.id) => "claims primary",
        role => role.as_str(),
    }
}

/// With whether it is set aside, or a spare.
fn health(node: &NodeView, snapshot: &Snapshot) -> String {
    let health = node.health.as_str();
    match (node.reads, node.duty) {
        (Reads::Offered, Duty::Member) => health.to_owned(),
        (Reads::Offered | Reads::Withheld | Reads::Resting | Reads::Detached, _) => {
            format!("{health}, {}", standing(node, snapshot))
        }
    }
}

/// NULL before it said.
fn timeline(node: &NodeView) -> Cell {
    if node.timeline.0 == 0 { Cell::Null } else { node.timeline.0.into() }
}

fn lsn(node: &NodeView, lsn: wire::Lsn) -> Cell {
    if node.sampled_at.is_none() { Cell::Null } else { lsn.to_string().into() }
}

/// 150020 is 15.20; up to PostgreSQL 9.6 there were three parts, and those are not served.
fn version(number: u32) -> Cell {
    if number == 0 { Cell::Null } else { format!("{}.{}", number / 10_000, number % 10_000).into() }
}

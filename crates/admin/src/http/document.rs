//! JSON of the form that Patroni's REST API gives ("Monitoring endpoint", "Cluster status endpoints"), as far as it can be
//! told from outside of a node.

use serde_json::{Map, Value, json};
use topology::{DownReason, Health, NodeView, Reads, Role, Snapshot, SyncState, Writable};

use super::{
    Readiness,
    check::{STREAMING, Scene},
    question::Mode,
};

/// This program's.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A node, as `GET /patroni` of Patroni tells of its own.
pub(super) fn node(cluster: &str, node: &NodeView, snapshot: &Snapshot) -> Value {
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| drop(document.insert(key.to_owned(), value));
    put("state", state(node).into());
    put("role", role(node, snapshot).into());
    if node.server_version > 0 {
        put("server_version", node.server_version.into());
    }
    if node.timeline.0 > 0 {
        put("timeline", node.timeline.0.into());
        put(
            "xlog",
            match node.role {
                Role::Primary => json!({ "location": node.wal_lsn.0 }),
                Role::Standby | Role::Unknown => {
                    json!({ "received_location": node.wal_lsn.0, "replayed_location": node.replay_lsn.0 })
                }
            },
        );
    }
    if node.role == Role::Standby && node.streaming {
        put("replication_state", STREAMING.into());
    }
    match node.sync_state {
        Some(SyncState::Sync) => put("sync_standby", true.into()),
        Some(SyncState::Quorum) => put("quorum_standby", true.into()),
        Some(SyncState::Async | SyncState::Potential) | None => {}
    }
    if snapshot.primary().is_none() {
        put("cluster_unlocked", true.into());
    }
    put("tags", tags(node));
    put("patroni", json!({ "scope": cluster, "name": *node.name }));
    put("pgherd", json!({ "version": VERSION, "epoch": snapshot.epoch.0, "health": node.health.as_str() }));
    document.into()
}

/// A cluster, as `GET /cluster` of Patroni tells of it.
pub(super) fn cluster(name: &str, scene: &Scene<'_>) -> Value {
    let members: Vec<Value> = (scene.snapshot.nodes.iter())
        .map(|node| {
            let mut member = json!({
                "name": *node.name,
                "role": member_role(node, scene.snapshot),
                "state": if node.streaming { STREAMING } else { state(node) },
                "host": *node.host,
                "port": node.port,
                "timeline": node.timeline.0,
                "tags": tags(node),
            });
            if scene.snapshot.writable != Writable::Primary(node.id) {
                member["lag"] = scene.lag(node, Mode::Apply).map_or_else(|| "unknown".into(), Value::from);
            }
            member
        })
        .collect();
    json!({ "members": members, "scope": name })
}

/// The proxy itself.
pub(super) fn proxy<'a>(
    readiness: Readiness,
    clusters: impl Iterator<Item = (&'a str, Scene<'a>)>,
    failure: Option<String>,
) -> Value {
    let clusters: Vec<Value> = clusters.map(|(name, scene)| of_cluster(name, scene.snapshot)).collect();
    let mut document =
        json!({ "state": readiness.as_str(), "pgherd": { "version": VERSION }, "clusters": clusters });
    if let Some(failure) = failure {
        document["failure"] = failure.into();
    }
    document
}

fn of_cluster(name: &str, snapshot: &Snapshot) -> Value {
    let mut document = json!({
        "name": name,
        "epoch": snapshot.epoch.0,
        "primary": snapshot.primary().map(|node| node.name.to_string()),
    });
    if let Writable::None { reason, .. } = snapshot.writable {
        document["no_primary"] = reason.as_str().into();
    }
    document
}

fn tags(node: &NodeView) -> Value {
    let mut tags = Map::from_iter([("region".to_owned(), node.region.to_string().into())]);
    if let Some(zone) = &node.zone {
        tags.insert("zone".to_owned(), zone.to_string().into());
    }
    if node.reads == Reads::Withheld {
        tags.insert("noloadbalance".to_owned(), true.into());
    }
    tags.into()
}

fn state(node: &NodeView) -> &'static str {
    match (node.health, node.down) {
        (Health::Up | Health::Suspect | Health::Stale | Health::Foreign, _) => "running",
        (Health::Recovering, _) => "starting",
        (Health::Down, Some(DownReason::Refused)) => "stopped",
        (Health::Down | Health::Unknown, _) => "unknown",
    }
}

fn role(node: &NodeView, snapshot: &Snapshot) -> &'static str {
    match node.role {
        Role::Primary if snapshot.writable == Writable::Primary(node.id) => "primary",
        Role::Primary => "demoted",
        Role::Standby => "replica",
        Role::Unknown => "uninitialized",
    }
}

fn member_role(node: &NodeView, snapshot: &Snapshot) -> &'static str {
    match (role(node, snapshot), node.sync_state) {
        ("primary", _) => "leader",
        ("replica", Some(SyncState::Sync)) => "sync_standby",
        ("replica", Some(SyncState::Quorum)) => "quorum_standby",
        (role, _) => role,
    }
}

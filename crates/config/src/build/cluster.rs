//! Clusters: their nodes, and how they are watched.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use topology::Service;

use super::{
    access::{self, Secrets},
    cap, hands, patroni,
};
use crate::{
    file::Content,
    mistake::Mistake,
    raw::{ClusterNode, ClusterTls, Monitor, WholeCluster},
    section::Context,
    settings::{ClusterSettings, Manage},
    value::Value,
};

/// Builds all clusters.
pub(super) fn build(
    clusters: &[WholeCluster],
    state_dir: Option<&Path>,
    drain_timeout: Duration,
    secrets: &mut Secrets,
    context: &mut Context<'_>,
) -> Vec<ClusterSettings> {
    if clusters.is_empty() && context.mistakes.is_empty() {
        context.mistakes.push(Mistake {
            origin: context.source.clone(),
            key: "cluster".to_owned(),
            problem:
                "there is no [[cluster]] with its nodes = [{ address = \"10.0.1.1:5432\", region = \"eu\" }]"
                    .to_owned(),
            suggestion: None,
        });
    }
    let mut all = Vec::new();
    for (position, cluster) in clusters.iter().enumerate() {
        let name = &cluster.keys.name;
        if clusters[..position].iter().any(|earlier| earlier.keys.name.value == name.value) {
            context.mistakes.push(name.mistake(format!("{:?} is listed twice", name.value.0)));
        }
        let nodes = nodes(cluster, context);
        all.push(ClusterSettings {
            hands: hands::build(cluster, &nodes, context),
            topology: topology::Settings {
                cluster: name.value.0.clone(),
                nodes,
                down_after_probes: cluster.keys.down_after_probes.value.0,
                crash_grace: cluster.keys.crash_grace.value.0,
                spares: topology::SpareSettings {
                    after: cluster.failover.spare_after.value.0,
                    regions: cluster.failover.regions.value.0.iter().map(|region| region.0.clone()).collect(),
                },
            },
            failover: failover(cluster, state_dir, drain_timeout, context),
            health: health(cluster, state_dir, secrets, context),
            max_server_connections: cap(&cluster.keys.max_server_connections),
            max_logins: cluster.keys.max_logins.value.0,
        });
    }
    all
}

fn nodes(cluster: &WholeCluster, context: &mut Context<'_>) -> Vec<topology::NodeSettings> {
    let mut nodes: Vec<topology::NodeSettings> = Vec::new();
    for node in &cluster.nodes {
        let address = &node.address.value;
        let name = node.name.value.as_ref().map_or_else(|| address.show(), |name| name.0.clone());
        if nodes.iter().any(|earlier| earlier.host == address.host && earlier.port == address.port) {
            context.mistakes.push(node.address.mistake(format!("{} is listed twice", address.show())));
        } else if nodes.iter().any(|earlier| earlier.name == name) {
            context.mistakes.push(node.name.mistake(format!("{name:?} is the name of two nodes")));
        }
        nodes.push(topology::NodeSettings {
            name,
            host: address.host.clone(),
            port: address.port,
            region: node.region.value.0.clone(),
            zone: node.zone.value.clone().map(|zone| zone.0),
            priority: u16::try_from(node.priority.value.0).unwrap_or(u16::MAX),
            service: service(cluster, node),
        });
    }
    if let [spare, ..] = cluster.nodes.as_slice()
        && nodes.iter().all(|node| node.service.is_spare())
    {
        let problem = "all nodes are spares, so there is none that one could stand in for";
        context.mistakes.push(spare.spare.mistake(problem));
    }
    if nodes.is_empty() && context.mistakes.is_empty() {
        context.mistakes.push(cluster.keys.name.mistake("the cluster has no nodes"));
    }
    nodes
}

/// When a node serves, and whether somebody can make it serve.
fn service(cluster: &WholeCluster, node: &ClusterNode) -> Service {
    let can_act = node.agent.value.is_some() || cluster.hooks.rejoin_command.value.is_some();
    match (node.spare.value, cluster.keys.manage.value.0) {
        (false, _) => Service::Always,
        (true, Manage::Single) if can_act => Service::Buildable,
        (true, Manage::Single | Manage::Off) => Service::Spare,
    }
}

fn failover(
    cluster: &WholeCluster,
    state_dir: Option<&Path>,
    drain_timeout: Duration,
    context: &mut Context<'_>,
) -> Option<(failover::Settings, PathBuf)> {
    if cluster.keys.manage.value.0 == Manage::Off {
        return None;
    }
    if cluster.patroni.is_some() {
        let problem = "there is a [cluster.patroni]: two managers would fight over the primary";
        context.mistakes.push(cluster.keys.manage.mistake(problem));
        return None;
    }
    let Some(state_dir) = state_dir else {
        let problem = "needs [proxy] state_dir: what was decided must survive a restart";
        context.mistakes.push(cluster.keys.manage.mistake(problem));
        return None;
    };
    let keys = &cluster.failover;
    let settings = failover::Settings {
        regions: keys.regions.value.0.iter().map(|region| region.0.as_str().into()).collect(),
        max_lost_bytes: keys.max_lost_bytes.value.0,
        damping: keys.damping.value.0,
        recruit_timeout: keys.recruit_timeout.value.0,
        drain_timeout,
        failback: keys.failback.value.0,
    };
    Some((settings, state_dir.join(format!("{}.failover", cluster.keys.name.value.0))))
}

fn health(
    cluster: &WholeCluster,
    state_dir: Option<&Path>,
    secrets: &mut Secrets,
    context: &mut Context<'_>,
) -> health::Settings {
    let Monitor { user, secret, database, interval, timeout } = &cluster.monitor;
    let found = secret.value.as_ref().and_then(|source| access::resolve(source, secret, secrets, context));
    if found.as_ref().is_some_and(|found| !found.opens_servers()) {
        context
            .mistakes
            .push(secret.mistake("a SCRAM verifier does not log in to servers; the password is needed"));
    }
    health::Settings {
        user: user.value.0.clone(),
        secret: found,
        database: database.value.0.clone(),
        interval: interval.value.0,
        timeout: timeout.value.0,
        tls: server_tls(&cluster.tls, context),
        // who runs it says what it manages with
        management: None,
        patroni: patroni::build(cluster, secrets, context),
        planned: None,
        state_file: state_dir.map(|folder| folder.join(format!("{}.state", cluster.keys.name.value.0))),
    }
}

fn server_tls(tls: &ClusterTls, context: &mut Context<'_>) -> conn::ServerTls {
    let root_certificate = context.check_file(&tls.root_certificate, Content::Public);
    conn::ServerTls { mode: tls.mode.value.0, root_certificate }
}

use std::{path::PathBuf, sync::Arc};

use topology::{NodeId, NodeSettings, Report, Snapshot, Writable};
use wire::SqlState;

use crate::{
    Health, LookupError, Reload, StartError,
    testing::{FakeNode, Mode, primary, settings, soon, standby},
};

fn topology(nodes: &[&FakeNode]) -> topology::Settings {
    let node = |node: &&FakeNode| NodeSettings {
        name: format!("node {}", node.port),
        host: "127.0.0.1".into(),
        port: node.port,
        region: "eu".into(),
        zone: None,
        priority: 100,
        service: topology::Service::Always,
    };
    topology::Settings {
        cluster: "main".into(),
        nodes: nodes.iter().map(node).collect(),
        down_after_probes: 3,
        crash_grace: std::time::Duration::from_secs(5),
        spares: topology::SpareSettings::default(),
    }
}

/// Waits for a snapshot of this kind.
async fn until(health: &Health, is: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut changes = health.changes();
    soon(async {
        loop {
            let snapshot = health.snapshots().load_full();
            if is(&snapshot) {
                return snapshot;
            }
            changes.changed().await.unwrap();
        }
    })
    .await
}

fn written_to(node: u16) -> impl Fn(&Snapshot) -> bool {
    move |snapshot| snapshot.writable == Writable::Primary(NodeId(node))
}

#[tokio::test]
async fn a_promotion_is_followed_when_traffic_reports_it() {
    let (a, b) = (FakeNode::start(primary(1)).await, FakeNode::start(standby(1)).await);
    let health = Health::start(settings(), topology(&[&a, &b])).unwrap();
    let first = until(&health, written_to(0)).await;
    until(&health, |snapshot| snapshot.nodes[1].sampled_at.is_some()).await;
    a.set(standby(1));
    b.set(primary(2));
    health.reports().try_send((NodeId(0), Report::ReadOnly)).unwrap();
    let second = until(&health, written_to(1)).await;
    assert!(second.epoch > first.epoch);
    let names: Vec<_> = health.events().iter().map(|record| record.event.name()).collect();
    assert!(names.contains(&"primary_found") && names.contains(&"promoted"), "{names:?}");
    assert!(health.server_parameters().is_some());
    health.stop().await;
}

#[tokio::test]
async fn a_lost_primary_is_looked_for_until_it_is_back() {
    let a = FakeNode::start(primary(1)).await;
    let health = Health::start(settings(), topology(&[&a])).unwrap();
    let first = until(&health, written_to(0)).await;
    a.set(Mode::Fatal(SqlState::CANNOT_CONNECT_NOW));
    a.end_connections(SqlState::CRASH_SHUTDOWN);
    until(&health, |snapshot| snapshot.primary().is_none()).await;
    a.set(primary(1));
    let back = until(&health, written_to(0)).await;
    assert_eq!(back.epoch, first.epoch, "a crash restart is no failover");
    health.stop().await;
}

#[tokio::test]
async fn a_reload_brings_and_takes_nodes_and_a_broken_one_changes_nothing() {
    let (a, b) = (FakeNode::start(primary(1)).await, FakeNode::start(standby(1)).await);
    let health = Health::start(settings(), topology(&[&a])).unwrap();
    until(&health, written_to(0)).await;
    let prepared = |nodes: &[&FakeNode]| Reload::prepare(settings(), topology(nodes)).unwrap();
    health.reload(prepared(&[&b, &a])).await.unwrap();
    let both = until(&health, |snapshot| snapshot.nodes.iter().all(|node| node.sampled_at.is_some())).await;
    assert_eq!(
        both.nodes.iter().map(|node| (node.id, node.port)).collect::<Vec<_>>(),
        [(NodeId(1), b.port), (NodeId(0), a.port),]
    );
    let mut broken = settings();
    broken.tls.mode = conn::ServerTlsMode::VerifyFull;
    broken.tls.root_certificate = Some("/nonexistent/root.crt".into());
    let error = Reload::prepare(broken, topology(&[&a])).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/root.crt"));
    assert_eq!(health.snapshots().load().nodes.len(), 2);
    health.stop().await;
    assert!(health.reload(prepared(&[&a])).await.is_err());
}

#[tokio::test]
async fn the_highest_timeline_outlives_a_restart() {
    let file: PathBuf = std::env::temp_dir().join(format!("pgherd-health-{}.state", std::process::id()));
    let with_file = || crate::Settings { state_file: Some(file.clone()), ..settings() };
    let (new, old) = (FakeNode::start(primary(2)).await, FakeNode::start(primary(1)).await);
    let health = Health::start(with_file(), topology(&[&new])).unwrap();
    until(&health, written_to(0)).await;
    health.stop().await;
    drop(health);
    let health = Health::start(with_file(), topology(&[&old])).unwrap();
    let stale = until(&health, |snapshot| snapshot.nodes[0].health == topology::Health::Stale).await;
    assert_eq!(stale.primary().map(|node| node.port), None);
    health.stop().await;
    std::fs::write(&file, "junk").unwrap();
    assert!(matches!(Health::start(with_file(), topology(&[&old])), Err(StartError::Memory(_))));
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn look_ups_share_a_connection_and_outlive_its_end() {
    let node = FakeNode::start(primary(1)).await;
    let health = Health::start(settings(), topology(&[&node])).unwrap();
    assert!(matches!(health.query("shop", "select", &[]).await, Err(LookupError::NoNode)));
    until(&health, written_to(0)).await;
    let before = *node.accepted.borrow();
    node.set(Mode::Row("secret".into()));
    let ask = || health.query("shop", "select secret from users where name = $1", &[Some("app")]);
    for _ in 0..2 {
        assert_eq!(ask().await.unwrap(), [vec![Some("secret".to_owned())]]);
    }
    assert_eq!(*node.accepted.borrow(), before + 1);
    node.end_connections(SqlState::IDLE_SESSION_TIMEOUT);
    assert_eq!(ask().await.unwrap().len(), 1);
    node.set(Mode::Error);
    assert_eq!(ask().await.unwrap_err().sqlstate(), Some(SqlState::INSUFFICIENT_PRIVILEGE));
    node.set(Mode::Fatal(SqlState::INVALID_CATALOG_NAME));
    let refused = health.query("nowhere", "select", &[]).await.unwrap_err();
    assert_eq!(refused.sqlstate(), Some(SqlState::INVALID_CATALOG_NAME));
    health.stop().await;
}

#[tokio::test]
async fn reports_beyond_the_limit_are_dropped_and_never_waited_for() {
    let node = FakeNode::start(primary(1)).await;
    let health = Health::start(settings(), topology(&[&node])).unwrap();
    let reports = health.reports();
    let taken = (0..5000).filter(|_| reports.try_send((NodeId(0), Report::ReadOnly)).is_ok()).count();
    assert_eq!(taken, 1024);
    until(&health, written_to(0)).await;
    health.stop().await;
}

//! The data plane without a process of its own: one worker, logins, and a cluster of one node that never changes.

use std::{fmt, sync::Arc, thread, time::Duration};

use arc_swap::ArcSwap;
use auth::Secret;
use conn::{ClientTls, ClientTlsConfig, ServerTlsConfig, Socket};
use routing::{Policy, ReadOnlyFallback, ReadYourWrites};
use session::{
    Arrival, CancelKeys, ClusterHandle, DatabaseSettings, FunctionSource, FunctionsNow, Greeter, Lookup,
    Users, Via, WorkerId, World, spawn_worker,
};
use testkit::ConnectionParameters;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use topology::{Epoch, Health, NodeId, NodeView, PrimaryWal, Role, Snapshot, Writable};
use wire::{Lsn, TimelineId, message::startup::PROTOCOL_3_0};

/// Starts a worker and its logins in front of the server at a port of 127.0.0.1; gives how to connect.
pub(crate) fn start(port: u16, pool: pool::Settings, timeouts: session::Timeouts) -> ConnectionParameters {
    let world = Arc::new(world(port, pool, timeouts));
    let keys = Arc::new(CancelKeys::default());
    let worker = spawn_worker(WorkerId(0), Arc::clone(&world), Arc::clone(&keys)).unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let tls = Arc::new(ArcSwap::from_pointee(ClientTlsConfig::load(&ClientTls::Off).unwrap()));
        let users = Arc::new(OnePassword(Arc::new(Secret::parse("password").unwrap())));
        let greeter = Greeter::new(tls, Arc::new(ArcSwap::new(world)), users, vec![worker], keys);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let arrival = Arrival { policy: Policy::Smart, address: None, via: Via::Direct };
                greeter.greet(Socket::tcp(stream).unwrap(), arrival).await;
            }
        });
    });
    ConnectionParameters {
        address,
        user: "app".into(),
        password: "password".into(),
        database: "shop".into(),
        more: Vec::new(),
        version: PROTOCOL_3_0,
    }
}

fn only_node(port: u16, now: std::time::Instant) -> NodeView {
    NodeView {
        id: NodeId(0),
        name: "only".into(),
        host: "127.0.0.1".into(),
        port,
        region: "eu".into(),
        zone: None,
        role: Role::Primary,
        health: Health::Up,
        down: None,
        priority: 100,
        timeline: TimelineId(1),
        wal_lsn: Lsn(1),
        replay_lsn: Lsn(1),
        lag_bytes: Some(0),
        lag: Some(Duration::ZERO),
        rtt: Some(Duration::from_millis(1)),
        sampled_at: Some(now),
        streaming: false,
        upstream_silence: None,
        sync_state: None,
        server_version: 160_000,
        reads: topology::Reads::Offered,
        duty: topology::Duty::Member,
    }
}

/// A cluster of one node, which is the primary.
fn world(port: u16, pool: pool::Settings, timeouts: session::Timeouts) -> World {
    let now = Instant::now().into_std();
    let snapshot = Snapshot {
        epoch: Epoch(1),
        writable: Writable::Primary(NodeId(0)),
        timeline: Some(TimelineId(1)),
        nodes: [only_node(port, now)].into(),
        fork: None,
        written: None,
        primary_wal: PrimaryWal::default(),
        synchrony: None,
        draining: false,
        built_at: now,
    };
    let cluster = ClusterHandle {
        name: "main".into(),
        snapshots: Arc::new(ArcSwap::from_pointee(snapshot)),
        changes: watch::channel(0).1,
        reports: mpsc::channel(100).0,
        questions: mpsc::channel(1).0,
        tolls: mpsc::channel(1).0,
        tls: Arc::new(ServerTlsConfig::disabled()),
        functions: Arc::new(NoCatalog(Arc::new(sql::NoFunctions))),
        max_server_connections: None,
        max_logins: 16,
    };
    World {
        session: session::Settings::default(),
        routing: routing::Settings {
            region: "eu".into(),
            zone: None,
            max_lag_bytes: 1 << 24,
            max_lag: Duration::from_secs(10),
            max_sample_age: Duration::from_secs(3),
            read_your_writes: ReadYourWrites::Session,
            read_only_fallback: ReadOnlyFallback::Primary,
        },
        databases: vec![DatabaseSettings {
            name: "*".into(),
            server_name: None,
            cluster: 0,
            policy: None,
            pool,
            timeouts,
            max_server_connections: None,
            users: Arc::default(),
        }],
        clusters: vec![cluster],
        users: Vec::new(),
        max_server_connections: None,
        disabled: Arc::default(),
        quota: Arc::default(),
    }
}

/// Everybody has the same password.
struct OnePassword(Arc<Secret>);

impl Users for OnePassword {
    fn secret<'a>(&'a self, _: &'a str, _: bool) -> Lookup<'a> {
        let secret = Arc::clone(&self.0);
        Box::pin(async move { Ok(Some(secret)) })
    }
}

/// Nothing is known about functions.
struct NoCatalog(Arc<sql::NoFunctions>);

impl fmt::Debug for NoCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoCatalog")
    }
}

impl FunctionSource for NoCatalog {
    fn functions(&self, _: &str) -> FunctionsNow {
        (1, Arc::clone(&self.0) as _)
    }
}

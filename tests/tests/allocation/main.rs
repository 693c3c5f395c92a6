//! No allocation per message in steady state: a worker serves a client in front of a server, and everything that the
//! process allocates meanwhile is counted. Client and server here allocate nothing once they run, so whatever is
//! counted is the worker's. It looks after its pools ten times a second and may allocate then, which is no matter of
//! messages: at most so many of the many small batches of requests see any allocation.

#![expect(clippy::unwrap_used, reason = "a test panics where it cannot go on")]

mod server;

use std::{
    alloc::System,
    fmt,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use auth::Secret;
use conn::{ClientTls, ClientTlsConfig, ServerTlsConfig, Socket};
use routing::{Policy, ReadOnlyFallback, ReadYourWrites};
use session::{
    Arrival, CancelKeys, ClusterHandle, DatabaseSettings, FunctionSource, FunctionsNow, Greeter, Lookup,
    Users, Via, WorkerId, World, spawn_worker,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use testkit::{Batch, ConnectionParameters};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use topology::{Epoch, Health, NodeId, NodeView, PrimaryWal, Role, Snapshot, Writable};
use wire::{Lsn, TimelineId, message::startup::PROTOCOL_3_0};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before anything is counted: buffers grow to their size, pools and caches fill.
const WARM_UP: usize = 1000;
/// Batches that are counted one by one, and requests in each.
const BATCHES: usize = 1000;
const REQUESTS: usize = 10;
/// The worker's periodic work.
const TICK: Duration = Duration::from_millis(100);

#[test]
fn messages_cost_no_allocation_in_steady_state() {
    let parameters = start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(async {
        let mut client = parameters.connect().await.unwrap();
        let prepare = Batch::new().parse("named", "select name from things where id = $1").sync();
        assert_eq!(client.run(&prepare).await.len(), 2);
        client.into_blocking().unwrap()
    });
    let call = |batch: Batch| batch.bind("", "named", &[Some("17")]).execute("", 0);
    let scripts = [
        ("a simple query", Batch::new().query("select 1"), 1),
        ("a prepared statement", call(Batch::new()).sync(), 1),
        (
            "a described portal",
            Batch::new().bind("", "named", &[Some("1")]).describe_portal("").execute("", 0).sync(),
            1,
        ),
        (
            "an unnamed statement",
            Batch::new().parse("", "select 2").bind("", "", &[]).execute("", 0).sync(),
            1,
        ),
        ("a pipeline", call(call(call(Batch::new()).sync()).sync()).sync(), 3),
        ("a transaction", Batch::new().query("begin").query("update t set a = 1").query("commit"), 3),
        ("many rows", Batch::new().query("many"), 1),
    ];
    let mut client = Requester { stream: client, buffer: vec![0; 256 * 1024] };
    for (name, batch, ready) in &scripts {
        client.check(name, batch, *ready);
    }
}

/// Sends requests and counts ReadyForQuery, without allocating.
struct Requester {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Requester {
    #[track_caller]
    fn check(&mut self, name: &str, batch: &Batch, ready: usize) {
        for _ in 0..WARM_UP {
            self.request(batch, ready);
        }
        let began = Instant::now();
        let mut touched = 0_u32;
        let mut allocations = 0;
        for _ in 0..BATCHES {
            let region = Region::new(ALLOCATOR);
            for _ in 0..REQUESTS {
                self.request(batch, ready);
            }
            let change = region.change();
            let here = change.allocations + change.reallocations;
            allocations += here;
            touched += u32::from(here > 0);
        }
        let elapsed = began.elapsed();
        // One tick can touch the end of a batch and the beginning of the next.
        let ticks = 2 * (u32::try_from(elapsed.as_millis() / TICK.as_millis()).unwrap() + 1);
        println!(
            "{name}: {} requests in {elapsed:.1?}, {allocations} allocations in {touched} of {BATCHES} batches, at most {ticks} by ticks",
            BATCHES * REQUESTS,
        );
        assert!(touched <= ticks, "{name}: {touched} of {BATCHES} batches allocated, {ticks} by ticks");
    }

    fn request(&mut self, batch: &Batch, mut ready: usize) {
        self.stream.write_all(batch.bytes()).unwrap();
        let mut filled = 0;
        while ready > 0 {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert!(read > 0, "the proxy hung up");
            filled += read;
            let mut at = 0;
            while let Some(&[tag, a, b, c, d]) = self.buffer[at..filled].first_chunk() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
                if filled - at < length {
                    break;
                }
                assert_ne!(tag, b'E', "{}", self.buffer[at..filled].escape_ascii());
                ready -= usize::from(tag == b'Z');
                at += length;
            }
            self.buffer.copy_within(at..filled, 0);
            filled -= at;
        }
    }
}

/// Starts server, worker and login; gives how to connect.
fn start() -> ConnectionParameters {
    let world = Arc::new(world(server::start()));
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

/// A cluster of one node, which is the primary.
fn world(port: u16) -> World {
    let now = Instant::now().into_std();
    let node = NodeView {
        id: NodeId(0),
        name: "only".into(),
        host: "127.0.0.1".into(),
        port,
        region: "eu".into(),
        zone: None,
        role: Role::Primary,
        health: Health::Up,
        timeline: TimelineId(1),
        wal_lsn: Lsn(1),
        replay_lsn: Lsn(1),
        lag_bytes: Some(0),
        lag: Some(Duration::ZERO),
        rtt: Some(Duration::from_millis(1)),
        sampled_at: Some(now),
        streaming: false,
        server_version: 160_000,
    };
    let snapshot = Snapshot {
        epoch: Epoch(1),
        writable: Writable::Primary(NodeId(0)),
        timeline: Some(TimelineId(1)),
        nodes: [node].into(),
        primary_wal: PrimaryWal::default(),
        built_at: now,
    };
    let cluster = ClusterHandle {
        name: "main".into(),
        snapshots: Arc::new(ArcSwap::from_pointee(snapshot)),
        changes: watch::channel(0).1,
        reports: mpsc::channel(100).0,
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
            pool: pool::Settings::default(),
            timeouts: session::Timeouts::default(),
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

//! A cluster of three nodes in three regions, two databases, some clients; and a console over it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use doctor::{Finding, Replicated, Verdict};
use pool::{Counts, PoolState};
use routing::{ReadOnlyFallback, ReadYourWrites};
use session::{
    ClientId, ClientReport, ClientState, ClusterHandle, DatabaseSettings, FunctionSource, FunctionsNow,
    HoldReport, ListenerReport, PoolReport, Purpose, ServerReport, ServerRole, StatementReport, StatsReport,
    WorkerId, WorkerReport, World,
};
use sql::NoFunctions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use topology::{Epoch, Event, Health, Named, NodeId, NodeView, PrimaryWal, Role, Snapshot, Writable};
use wire::{
    Lsn, TimelineId,
    frame::{Direction, MESSAGE_LIMIT, Peek, peek},
    message::{
        backend::read_data_row,
        error::ErrorView,
        frontend::{header, query},
    },
};

use crate::{
    AgentState, BoxFuture, CannotCheck, Checked, Console, ConsoleClient, ConsoleRole, Control, DropError,
    Endpoint, LoggedEvent, NewNode, ReloadRefused, Setting, ShutdownMode, serve,
};

/// The rest of the proxy.
pub(crate) struct Fake {
    pub(crate) world: Arc<World>,
    pub(crate) reload: Result<Vec<String>, ReloadRefused>,
    pub(crate) shut_down: Mutex<Option<ShutdownMode>>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let reload = Ok(vec!["pool.size: 20 -> 30".to_owned()]);
        Self { world: Arc::new(world()), reload, shut_down: Mutex::default() }
    }
}

impl Control for Fake {
    fn failovers(&self, _cluster: usize) -> Vec<::health::FailoverRecord> {
        vec![a_failover()]
    }

    fn management(&self, _cluster: usize) -> Option<Arc<::health::ManagementState>> {
        None
    }

    fn manage(
        &self,
        _cluster: usize,
        _command: failover::Command,
    ) -> BoxFuture<'_, Result<(), ::health::ManageError>> {
        Box::pin(async { Err(::health::ManageError::NotManaged) })
    }

    fn detach(
        &self,
        _cluster: usize,
        _node: NodeId,
    ) -> BoxFuture<'_, Result<::health::Detached, ::health::AttachError>> {
        Box::pin(async { Ok(::health::Detached { is_news: false, is_stored: false, busy: 2 }) })
    }

    fn add_node<'a>(
        &'a self,
        _cluster: usize,
        _node: &'a NewNode,
    ) -> BoxFuture<'a, Result<Vec<String>, ReloadRefused>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn drop_node(&self, _cluster: usize, _node: NodeId) -> BoxFuture<'_, Result<Vec<String>, DropError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn attach(&self, _cluster: usize, _node: NodeId) -> BoxFuture<'_, Result<bool, ::health::AttachError>> {
        Box::pin(async { Ok(false) })
    }

    fn world(&self) -> Arc<World> {
        Arc::clone(&self.world)
    }

    fn settings(&self) -> Vec<Setting> {
        let [key, value, default] = ["pool.size", "30", "20"].map(str::to_owned);
        vec![Setting { key, value, default, changeable: true }]
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        use routing::Policy;
        [(6432, Policy::Smart), (6433, Policy::ReadWrite), (6434, Policy::ReadOnly), (6435, Policy::Sync)]
            .map(|(port, policy)| Endpoint { address: format!("0.0.0.0:{port}"), policy })
            .to_vec()
    }

    fn users(&self) -> Vec<Box<str>> {
        vec!["app".into(), "idler".into()]
    }

    fn patroni(&self, _cluster: usize) -> Option<Arc<health::PatroniReport>> {
        Some(Arc::new(health::PatroniReport {
            sources: vec![health::PatroniSource {
                source: patroni::Source::Rest,
                endpoint: "http://10.0.1.1:8008".parse().unwrap(),
                said: Some((tokio::time::Instant::now().into_std(), Arc::new(patroni_view()))),
                trouble: None,
            }],
        }))
    }

    fn agents(&self) -> BoxFuture<'_, Vec<AgentState>> {
        Box::pin(async { some_agents() })
    }

    fn events(&self, _cluster: usize) -> Vec<LoggedEvent> {
        let node = |id: u16, name: &str| Named { id: NodeId(id), name: name.into() };
        let found = Event::PrimaryFound { node: node(1, "us-1"), timeline: TimelineId(2), epoch: Epoch(1) };
        let promoted = Event::Promoted {
            node: node(0, "eu-1"),
            from: Some(node(1, "us-1")),
            timeline: TimelineId(3),
            epoch: Epoch(3),
            switch_lsn: None,
            lost_bytes: None,
            gap: Duration::from_millis(1500),
        };
        let up = Event::NodeUp { node: node(2, "ap-1"), role: Role::Standby };
        [found, up, promoted]
            .into_iter()
            .zip(0..)
            .map(|(event, at)| LoggedEvent { at: UNIX_EPOCH + Duration::from_secs(at), event })
            .collect()
    }

    fn reload(&self) -> BoxFuture<'_, Result<Vec<String>, ReloadRefused>> {
        Box::pin(async { self.reload.clone() })
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<Vec<String>, ReloadRefused>> {
        Box::pin(async move {
            match value {
                "many" => Err(ReloadRefused { mistakes: vec!["expected a whole number".to_owned()] }),
                value => Ok(vec![format!("{key} -> {value}")]),
            }
        })
    }

    fn examine(&self) -> BoxFuture<'_, Result<Vec<Checked<Finding>>, CannotCheck>> {
        Box::pin(async {
            let finding = Finding {
                node: Some("us-1".to_owned()),
                check: "replay",
                value: "paused".to_owned(),
                verdict: Verdict::Failure,
                why: "reads are old".to_owned(),
                fix: "SELECT pg_wal_replay_resume();".to_owned(),
            };
            Ok(vec![("main".into(), vec![finding])])
        })
    }

    fn check_replication(
        &self,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Vec<Checked<Replicated>>, CannotCheck>> {
        Box::pin(async move {
            let row = Replicated {
                node: "us-1".to_owned(),
                state: "paused",
                after: None,
                lag_bytes: Some(wait.as_secs()),
                verdict: Verdict::Failure,
                why: String::new(),
                fix: String::new(),
            };
            Ok(vec![("main".into(), vec![row])])
        })
    }

    fn shutdown(&self, mode: ShutdownMode) {
        *self.shut_down.lock().unwrap() = Some(mode);
    }
}

/// Patroni knows eu-1 by its address, ap-1 by its name, and somebody whom the proxy does not know.
fn patroni_view() -> patroni::View {
    let said = r#"{"members": [
        {"name": "pg0", "role": "leader", "state": "running", "host": "10.0.0.1", "port": 5432, "timeline": 3},
        {"name": "ap-1", "role": "sync_standby", "state": "streaming", "host": "pg2", "timeline": 3, "lag": 7,
         "tags": {"noloadbalance": true, "failover_priority": 2}},
        {"name": "stranger", "role": "replica", "state": "stopped", "host": "10.0.9.1", "lag": "unknown"}],
        "pause": true, "scheduled_switchover": {"at": "2030-01-01T00:00:00+00:00", "from": "pg0"}}"#;
    patroni::View::of_cluster(said.as_bytes()).unwrap()
}

#[derive(Debug)]
struct NoCatalog;

impl FunctionSource for NoCatalog {
    fn functions(&self, _database: &str) -> FunctionsNow {
        (1, Arc::new(NoFunctions))
    }
}

fn node(id: u16, name: &str, role: Role, now: Instant) -> NodeView {
    NodeView {
        id: NodeId(id),
        name: name.into(),
        host: format!("10.0.{id}.1").into(),
        port: 5432,
        region: name.split('-').next().unwrap().into(),
        zone: None,
        role,
        health: Health::Up,
        down: None,
        priority: 100,
        timeline: TimelineId(3),
        wal_lsn: Lsn(0x2_0000_0060),
        replay_lsn: Lsn(0x2_0000_0060 - u64::from(id)),
        lag_bytes: Some(u64::from(id)),
        lag: Some(Duration::from_millis(u64::from(id) * 10)),
        rtt: Some(Duration::from_micros(250 + u64::from(id) * 80_000)),
        sampled_at: Some(now),
        streaming: role == Role::Standby,
        upstream_silence: None,
        sync_state: [None, Some(topology::SyncState::Sync), Some(topology::SyncState::Async)]
            [usize::from(id)],
        server_version: 150_020,
        reads: topology::Reads::Offered,
        duty: topology::Duty::Member,
    }
}

/// eu-1 is the primary, us-1 and ap-1 follow it. The proxy stands in us.
#[expect(clippy::disallowed_methods, reason = "an arbitrary beginning; no time passes in these tests")]
pub(crate) fn world() -> World {
    let now = Instant::now();
    let nodes = [
        node(0, "eu-1", Role::Primary, now),
        node(1, "us-1", Role::Standby, now),
        node(2, "ap-1", Role::Standby, now),
    ];
    let snapshot = Snapshot {
        epoch: Epoch(3),
        writable: Writable::Primary(NodeId(0)),
        timeline: Some(TimelineId(3)),
        nodes: nodes.into(),
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
        reports: mpsc::channel(1).0,
        questions: mpsc::channel(1).0,
        tolls: mpsc::channel(1).0,
        tls: Arc::new(conn::ServerTlsConfig::disabled()),
        functions: Arc::new(NoCatalog),
        max_server_connections: None,
        max_logins: 16,
    };
    let database = |name: &str, server_name: Option<&str>| DatabaseSettings {
        name: name.to_owned(),
        server_name: server_name.map(str::to_owned),
        cluster: 0,
        policy: None,
        pool: pool::Settings::default(),
        timeouts: session::Timeouts::default(),
        max_server_connections: None,
        users: Arc::default(),
    };
    World {
        session: session::Settings::default(),
        routing: routing::Settings {
            region: "us".to_owned(),
            zone: None,
            max_lag_bytes: 1000,
            max_lag: Duration::from_secs(60),
            max_sample_age: Duration::from_secs(600),
            read_your_writes: ReadYourWrites::Session,
            read_only_fallback: ReadOnlyFallback::Primary,
        },
        databases: vec![database("shop", Some("shop_v2")), database("*", None)],
        clusters: vec![cluster],
        users: Vec::new(),
        max_server_connections: None,
        disabled: Arc::default(),
        quota: Arc::default(),
    }
}

/// Two workers with the same counters: two clients of `shop` each, one of them active on us-1, and one of a
/// database that is configured by `*`, held.
pub(crate) fn reports() -> Vec<WorkerReport> {
    (0..2).map(report).collect()
}

fn hold() -> HoldReport {
    let waited = Duration::from_millis(1500);
    HoldReport { cluster: 0, why: "the primary is down".into(), waited, ahead: 4 }
}

fn report(worker: usize) -> WorkerReport {
    let id = |n: u64| ClientId(worker as u64 * 10 + n);
    let client = |n: u64, database: &str, state, node: Option<u16>| ClientReport {
        id: id(n),
        database: database.into(),
        user: "app".into(),
        address: Some("192.0.2.7:4000".parse().unwrap()),
        state,
        connected_for: Duration::from_secs(60),
        requested_ago: Duration::from_micros(3_000_250),
        node: node.map(NodeId),
        server_process: 4711,
        hold: (state == ClientState::Held).then(hold),
        purpose: Purpose::Session,
        pinned: node.map(|_| ("temporary table".to_owned(), Duration::from_secs(90))),
        tls: true,
        statements: 2,
    };
    let pool = |node: u16, counts| PoolReport {
        database: "shop".into(),
        user: "app".into(),
        node: NodeId(node),
        cluster: 0,
        counts,
        longest_wait: Duration::from_micros(1_000_500 * (worker as u64 + 1)),
        state: PoolState::Open,
    };
    let server = |node: u16, client: Option<ClientId>| ServerReport {
        database: "shop".into(),
        user: "app".into(),
        node: NodeId(node),
        cluster: 0,
        process: 4711 + u32::from(node),
        client,
        role: ServerRole::Pooled,
        purpose: Purpose::Session,
        connected_for: Duration::from_secs(9),
        used_ago: Duration::from_secs(1),
        tls: false,
        statements: 1,
    };
    WorkerReport {
        worker: WorkerId(worker),
        clients: vec![
            client(1, "shop", ClientState::Active, Some(1)),
            client(2, "shop", ClientState::Idle, None),
            client(3, "lab", ClientState::Held, None),
        ],
        servers: vec![server(1, Some(id(1))), server(0, None)],
        pools: vec![
            pool(0, Counts { live: 2, idle: 1, dialing: 1, listening: 0, waiting: 0, stale: 0, pinned: 1 }),
            pool(1, Counts { live: 1, idle: 0, dialing: 0, listening: 0, waiting: 1, stale: 0, pinned: 0 }),
        ],
        listeners: vec![listener("news", Some(Duration::from_secs(5))), listener("alarms", None)],
        stats: vec![stats("shop", 2), stats("lab", 1)],
        statements: vec![StatementReport {
            database: "shop".into(),
            user: "app".into(),
            server_name: "pgherd_7".into(),
            shape: 0x2a,
            text: "select $1".into(),
            settings: "timezone".into(),
            parameters: 1,
            names: 2,
            servers: 1,
        }],
    }
}

fn listener(channel: &str, heard_for: Option<Duration>) -> ListenerReport {
    ListenerReport {
        database: "shop".into(),
        user: "app".into(),
        cluster: 0,
        channel: channel.to_owned(),
        clients: 2,
        server: heard_for.map(|_| (NodeId(0), 4712)),
        heard_for,
        received: 3,
        delivered: 5,
        dropped: 1,
    }
}

fn stats(database: &str, clients: u32) -> StatsReport {
    StatsReport {
        database: database.into(),
        user: "app".into(),
        settings: DatabaseSettings {
            name: database.to_owned(),
            server_name: None,
            cluster: 0,
            policy: None,
            pool: pool::Settings::default(),
            timeouts: session::Timeouts::default(),
            max_server_connections: None,
            users: Arc::default(),
        },
        clients,
        server_assignments: 10,
        transactions: 20,
        queries: 30,
        received: 40,
        sent: 50,
        transaction_time: Duration::from_millis(60),
        query_time: Duration::from_millis(70),
        wait_time: Duration::from_millis(80),
        client_parses: 90,
        server_parses: 100,
        binds: 110,
        logins: 120,
        reruns: 130,
        held: 140,
        commits_in_doubt: [150, 160, 170],
        routed: vec![(NodeId(0), 1, 2), (NodeId(1), 30, 0)],
        statement_bytes: 4096,
    }
}

/// A client of a console over the scene.
pub(super) struct Client {
    stream: DuplexStream,
    input: Vec<u8>,
    served: JoinHandle<()>,
}

impl Client {
    pub(super) fn new(role: ConsoleRole, console: Arc<Console>) -> Self {
        let (stream, far) = tokio::io::duplex(1 << 16);
        let client = ConsoleClient { id: 7, user: "root".into(), role };
        let served = tokio::spawn(serve(far, client, console));
        Self { stream, input: Vec::new(), served }
    }

    /// One that has been welcomed.
    pub(super) async fn welcomed(role: ConsoleRole, console: Arc<Console>) -> Self {
        let mut client = Self::new(role, console);
        client.answers().await;
        client
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Says goodbye and waits until it was heard.
    pub(super) async fn leave(mut self) {
        self.send(&message(b'X', b"")).await;
        self.served.await.unwrap();
    }

    /// What a Query is answered with, up to ReadyForQuery.
    pub(super) async fn query(&mut self, text: &str) -> Vec<String> {
        let mut bytes = Vec::new();
        query(text.as_bytes(), &mut bytes);
        self.send(&bytes).await;
        self.answers().await
    }

    /// What messages are answered with, up to ReadyForQuery: their tags and what stands in them.
    pub(super) async fn answers(&mut self) -> Vec<String> {
        let mut answers = Vec::new();
        loop {
            while let Peek::Whole { header, body } =
                peek(&self.input, Direction::Backend, MESSAGE_LIMIT).unwrap()
            {
                answers.push(tell(header.tag, body));
                let ready = header.tag == b'Z';
                self.input.drain(..header.total_len());
                if ready {
                    return answers;
                }
            }
            if self.stream.read_buf(&mut self.input).await.unwrap() == 0 {
                answers.push("closed".to_owned());
                return answers;
            }
        }
    }
}

/// A message by its tag and a body.
pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    header(tag, body.len(), &mut out);
    out.extend_from_slice(body);
    out
}

fn tell(tag: u8, body: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', " ").trim_end().to_owned();
    match tag {
        b'D' => {
            let values = read_data_row(body).unwrap();
            let values: Vec<_> = values.iter().map(|value| value.map_or("NULL".to_owned(), text)).collect();
            format!("D {}", values.join("|"))
        }
        b'E' | b'N' => {
            let view = ErrorView::read(body);
            format!("{} {} {}", char::from(tag), view.code.unwrap(), text(view.message))
        }
        b'T' => format!("T {}", u16::from_be_bytes([body[0], body[1]])),
        b'R' | b't' | b'K' => char::from(tag).to_string(),
        _ => format!("{} {}", char::from(tag), text(body)).trim_end().to_owned(),
    }
}

/// One agent that answers, and one that does not.
pub(crate) fn some_agents() -> Vec<AgentState> {
    let text = |text: &str| Some(text.to_owned());
    let named = |node: &str, agent: &str| AgentState {
        cluster: "main".to_owned(),
        node: node.to_owned(),
        agent: agent.to_owned(),
        ..AgentState::default()
    };
    vec![
        AgentState {
            server: text("running"),
            role: text("standby"),
            fenced: Some(false),
            activity: text("reinit: copying"),
            last: text("stop"),
            timeline: Some(3),
            version: text("15.14"),
            ..named("eu-1", "10.0.0.1:8432")
        },
        AgentState {
            error: text("cannot connect to the agent at 10.0.1.1:8432"),
            ..named("us-1", "10.0.1.1:8432")
        },
    ]
}

fn a_failover() -> ::health::FailoverRecord {
    ::health::FailoverRecord {
        number: 1,
        kind: Some(failover::Kind::Automatic),
        epoch: Epoch(2),
        from: Some("eu".into()),
        to: Some("us".into()),
        began: std::time::SystemTime::UNIX_EPOCH,
        gap: Some(Duration::from_millis(480)),
        lost_bytes: Some(0),
        first_write: Some(Duration::from_millis(510)),
        toll: topology::Toll {
            held: 3,
            longest_hold: Duration::from_millis(470),
            failed: vec![
                (wire::SqlState::ADMIN_SHUTDOWN, 1),
                (wire::SqlState::TRANSACTION_RESOLUTION_UNKNOWN, 1),
                (wire::SqlState::SERIALIZATION_FAILURE, 2),
            ],
            ..topology::Toll::default()
        },
        outcome: Some("done".to_owned()),
        steps: vec![::health::FailoverStep {
            after: Duration::from_micros(150_250),
            node: Some("eu".into()),
            what: "automatic begins".to_owned(),
        }],
        started: tokio::time::Instant::now().into_std(),
    }
}

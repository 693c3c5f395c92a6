//! How a worker's clients, servers and pools are, for the console and the metrics. Plain values that cross threads.

use std::{collections::HashMap, net::SocketAddr, rc::Rc, time::Duration};

use pool::{Counts, PoolState, Waiter};
use tokio::time::Instant;
use topology::NodeId;

use super::{StatementReport, Worker};
use crate::{
    ClientId, ClientState, DatabaseSettings, Purpose, WorkerId,
    handle::{Handle, Hold},
    pool_set::PoolSet,
};

/// All of it.
#[derive(Debug, Clone)]
pub struct WorkerReport {
    /// Whose it is.
    pub worker: WorkerId,
    /// Its clients.
    pub clients: Vec<ClientReport>,
    /// Its server connections. Those in use are told of with their clients' ids.
    pub servers: Vec<ServerReport>,
    /// Its pools.
    pub pools: Vec<PoolReport>,
    /// Channels that clients listen to over a shared connection.
    pub listeners: Vec<ListenerReport>,
    /// Counters by database and user.
    pub stats: Vec<StatsReport>,
    /// Prepared statements, if they were asked for.
    pub statements: Vec<StatementReport>,
}

/// A client.
#[derive(Debug, Clone)]
pub struct ClientReport {
    /// Its id.
    pub id: ClientId,
    /// The database as it calls it.
    pub database: Box<str>,
    /// Its role.
    pub user: Box<str>,
    /// Where it comes from.
    pub address: Option<SocketAddr>,
    /// What it is doing.
    pub state: ClientState,
    /// How long it has been connected.
    pub connected_for: Duration,
    /// How long ago its last request began.
    pub requested_ago: Duration,
    /// The node of its server connection, if it has one.
    pub node: Option<NodeId>,
    /// The server process of that connection.
    pub server_process: u32,
    /// What it is held for, if it is.
    pub hold: Option<HoldReport>,
    /// What it came for.
    pub purpose: Purpose,
    /// Why it keeps that connection after a transaction, and for how long it has done so.
    pub pinned: Option<(String, Duration)>,
    /// It speaks TLS.
    pub tls: bool,
    /// Its named prepared statements.
    pub statements: u32,
}

/// A client that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldReport {
    /// The cluster: an index into the configured ones.
    pub cluster: usize,
    /// What for.
    pub why: Box<str>,
    /// How long it has waited.
    pub waited: Duration,
    /// How many of its worker's clients are held for longer.
    pub ahead: usize,
}

/// Whom a server connection serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerRole {
    /// One client at a time, or none.
    Pooled,
    /// All clients that listen.
    Listens,
}

/// A server connection.
#[derive(Debug, Clone)]
pub struct ServerReport {
    /// The database as clients call it.
    pub database: Box<str>,
    /// The role.
    pub user: Box<str>,
    /// The node.
    pub node: NodeId,
    /// The cluster: an index into the configured ones.
    pub cluster: usize,
    /// The server process.
    pub process: u32,
    /// The client that uses it; `None`: it is idle, or listens for several.
    pub client: Option<ClientId>,
    /// Whom it serves.
    pub role: ServerRole,
    /// What its client came for.
    pub purpose: Purpose,
    /// How long it has existed.
    pub connected_for: Duration,
    /// How long ago it was last checked out.
    pub used_ago: Duration,
    /// It speaks TLS.
    pub tls: bool,
    /// Statements prepared on it.
    pub statements: u32,
}

/// A pool.
#[derive(Debug, Clone)]
pub struct PoolReport {
    /// The database as clients call it.
    pub database: Box<str>,
    /// The role.
    pub user: Box<str>,
    /// The node.
    pub node: NodeId,
    /// The cluster: an index into the configured ones.
    pub cluster: usize,
    /// Its connections and waiting clients.
    pub counts: Counts,
    /// How long its first client has waited.
    pub longest_wait: Duration,
    /// Whether it is paused.
    pub state: PoolState,
}

/// A channel that clients of one database and user listen to over a connection that they share.
#[derive(Debug, Clone)]
pub struct ListenerReport {
    /// The database as clients call it.
    pub database: Box<str>,
    /// The role.
    pub user: Box<str>,
    /// The cluster: an index into the configured ones.
    pub cluster: usize,
    /// The channel's name; bytes that are no UTF-8 are replaced.
    pub channel: String,
    /// Clients that listen.
    pub clients: usize,
    /// Node and server process of the shared connection, if there is one.
    pub server: Option<(NodeId, u32)>,
    /// How long the shared connection has listened; `None`: it does not at present.
    pub heard_for: Option<Duration>,
    /// Notifications that came.
    pub received: u64,
    /// Notifications sent to clients.
    pub delivered: u64,
    /// Notifications that clients did not get because they did not read.
    pub dropped: u64,
}

/// Counters of one database and user, in PgBouncer's terms.
#[derive(Debug, Clone)]
pub struct StatsReport {
    /// The database as clients call it.
    pub database: Box<str>,
    /// The role.
    pub user: Box<str>,
    /// Its settings.
    pub settings: DatabaseSettings,
    /// Clients at present.
    pub clients: u32,
    /// Server connections handed to clients.
    pub server_assignments: u64,
    /// Transactions ended.
    pub transactions: u64,
    /// Queries and executions.
    pub queries: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// Time in transactions.
    pub transaction_time: Duration,
    /// Time in queries.
    pub query_time: Duration,
    /// Time that clients waited for a server connection.
    pub wait_time: Duration,
    /// Parse messages from clients.
    pub client_parses: u64,
    /// Parse messages to servers.
    pub server_parses: u64,
    /// Bind messages.
    pub binds: u64,
    /// Logins.
    pub logins: u64,
    /// Requests that were run again on another node before their clients noticed.
    pub reruns: u64,
    /// Requests that had to wait for a primary.
    pub held: u64,
    /// Commits whose server was lost before it answered: found committed, found aborted, and unknown.
    pub commits_in_doubt: [u64; 3],
    /// Requests of each node: reads, others.
    pub routed: Vec<(NodeId, u64, u64)>,
    /// Bytes of prepared statements kept.
    pub statement_bytes: u64,
}

impl Worker {
    pub(super) fn tell_all(&self) -> WorkerReport {
        let now = Instant::now();
        let mut report = WorkerReport {
            worker: self.id,
            clients: self.clients(now),
            servers: Vec::new(),
            pools: Vec::new(),
            listeners: Vec::new(),
            stats: Vec::new(),
            statements: Vec::new(),
        };
        for set in self.sets.borrow().values() {
            report.stats.push(stats(set));
            let cluster = set.settings.borrow().cluster;
            set.for_each_pool(|node, pool| {
                report.pools.push(PoolReport {
                    database: set.database.clone(),
                    user: set.user.clone(),
                    node,
                    cluster,
                    counts: pool.counts(),
                    longest_wait: pool.longest_wait(now),
                    state: pool.state(),
                });
                pool.for_each_idle(|server| {
                    report.servers.push(ServerReport {
                        database: set.database.clone(),
                        user: set.user.clone(),
                        node,
                        cluster,
                        process: server.process_id(),
                        client: None,
                        role: ServerRole::Pooled,
                        purpose: Purpose::Session,
                        connected_for: now.duration_since(server.activity.connected_at),
                        used_ago: now.duration_since(server.activity.last_checkout),
                        tls: server.stream.is_tls(),
                        statements: u32::try_from(server.prepared.len()).unwrap_or(u32::MAX),
                    });
                });
            });
        }
        self.add_active_servers(&mut report);
        self.add_listeners(&mut report, now);
        report
    }

    fn add_listeners(&self, report: &mut WorkerReport, now: Instant) {
        for set in self.sets.borrow().values() {
            let cluster = set.settings.borrow().cluster;
            let (database, user) = (&set.database, &set.user);
            set.for_each_hub(|hub| {
                let line = hub.line();
                hub.for_each_channel(|channel| {
                    report.listeners.push(ListenerReport {
                        database: database.clone(),
                        user: user.clone(),
                        cluster,
                        channel: String::from_utf8_lossy(&channel.name).into_owned(),
                        clients: channel.clients(),
                        server: line.map(|line| (line.node, line.process)),
                        heard_for: channel.heard_since.get().map(|since| now.duration_since(since)),
                        received: channel.received.get(),
                        delivered: channel.delivered.get(),
                        dropped: channel.dropped.get(),
                    });
                });
                report.servers.extend(line.map(|line| ServerReport {
                    database: database.clone(),
                    user: user.clone(),
                    node: line.node,
                    cluster,
                    process: line.process,
                    client: None,
                    role: ServerRole::Listens,
                    purpose: Purpose::Session,
                    connected_for: now.duration_since(line.connected_at),
                    used_ago: now.duration_since(line.connected_at),
                    tls: line.tls,
                    statements: 0,
                }));
            });
        }
    }

    fn clients(&self, now: Instant) -> Vec<ClientReport> {
        let held = self.held.borrow();
        let places: HashMap<*const Waiter, usize> = held.iter().map(Rc::as_ptr).zip(0..).collect();
        let hold_of = |handle: &Handle, set: &PoolSet| {
            let hold = handle.hold.borrow();
            let Hold { waiter, why, .. } = hold.as_ref()?;
            let ahead = *places.get(&Rc::as_ptr(waiter))?;
            let waited = now.duration_since(waiter.since());
            Some(HoldReport { cluster: set.settings.borrow().cluster, why: why.clone(), waited, ahead })
        };
        let handles = self.handles.borrow();
        handles
            .values()
            .map(|(handle, set)| ClientReport {
                id: handle.id,
                database: set.database.clone(),
                user: set.user.clone(),
                address: handle.address,
                state: handle.state.get(),
                connected_for: now.duration_since(handle.connected_at),
                requested_ago: now.duration_since(handle.request_at.get()),
                node: handle.node.get(),
                server_process: handle.server_process.get(),
                pinned: Some(handle.pinned.get())
                    .filter(|pins| !pins.is_empty())
                    .map(|pins| (pins.to_string(), now.duration_since(handle.pinned_since.get()))),
                hold: hold_of(handle, set),
                purpose: handle.purpose,
                tls: handle.tls,
                statements: handle.statements.get(),
            })
            .collect()
    }

    /// Connections in use belong to sessions; what sessions show of them is enough for the console.
    fn add_active_servers(&self, report: &mut WorkerReport) {
        for client in &report.clients {
            let Some(node) = client.node else { continue };
            let cluster =
                self.handles.borrow().get(&client.id).map_or(0, |(_, set)| set.settings.borrow().cluster);
            report.servers.push(ServerReport {
                database: client.database.clone(),
                user: client.user.clone(),
                node,
                cluster,
                process: client.server_process,
                client: Some(client.id),
                role: ServerRole::Pooled,
                purpose: client.purpose,
                connected_for: client.requested_ago,
                used_ago: client.requested_ago,
                tls: false,
                statements: 0,
            });
        }
    }
}

fn stats(set: &PoolSet) -> StatsReport {
    let stats = &set.stats;
    StatsReport {
        database: set.database.clone(),
        user: set.user.clone(),
        settings: set.settings.borrow().clone(),
        clients: set.clients.get(),
        server_assignments: stats.server_assignments.get(),
        transactions: stats.transactions.get(),
        queries: stats.queries.get(),
        received: stats.received.get(),
        sent: stats.sent.get(),
        transaction_time: stats.transaction_time.get(),
        query_time: stats.query_time.get(),
        wait_time: stats.wait_time.get(),
        client_parses: stats.client_parses.get(),
        server_parses: stats.server_parses.get(),
        binds: stats.binds.get(),
        logins: stats.logins.get(),
        reruns: stats.reads_rerun.get(),
        held: stats.held.get(),
        commits_in_doubt: [&stats.commits_committed, &stats.commits_aborted, &stats.commits_unknown]
            .map(std::cell::Cell::get),
        routed: stats.routed.borrow().clone(),
        statement_bytes: set.statement_bytes() as u64,
    }
}

use std::time::Duration;

use session::{ClientReport, ClientState, ServerReport, ServerRole};
use topology::Role;

use super::View;
use crate::{
    clock::seconds_text,
    table::{Cell, Column, Table, columns},
};

/// Of SHOW CLIENTS and SHOW SERVERS, as PgBouncer 1.25.
pub(super) const COLUMNS: &[Column] = columns![
    type Text, user Text, database Text, replication Text, state Text, addr Text, port Int4, local_addr Text,
    local_port Int4, connect_time Text, request_time Text, wait Int4, wait_us Int4, close_needed Int4, ptr Text,
    link Text, remote_pid Int4, tls Text, application_name Text, prepared_statements Int4, id Int4,
];

/// Behind them in SHOW EXTENDED CLIENTS.
pub(super) const MORE_OF_CLIENTS: &[Column] =
    columns![worker Int4, activity Text, node Text, server_pid Int4, pinned Text];

/// Of SHOW PINNED.
pub(super) const PINNED: &[Column] = columns![
    database Text, user Text, client_id Int4, addr Text, node Text, server_pid Int4, reason Text, since Text,
    age_seconds Int4,
];

/// Behind them in SHOW EXTENDED SERVERS.
pub(super) const MORE_OF_SERVERS: &[Column] = columns![worker Int4, cluster Text, node Text, client_id Int4];

pub(super) fn clients(view: &View<'_>, extended: bool, table: &mut Table) {
    for report in &view.reports {
        for client in &report.clients {
            let mut row = client_row(view, client);
            if extended {
                let cluster = view.cluster_of(&client.database);
                row.extend([
                    report.worker.0.into(),
                    client.state.as_str().into(),
                    client.node.map(|node| view.node_name(cluster, node)).into(),
                    client.node.map(|_| client.server_process).into(),
                    client.pinned.as_ref().map(|(reasons, _)| reasons.clone()).into(),
                ]);
            }
            table.push(row);
        }
    }
}

/// A row for each client that keeps its server connection after the end of a transaction.
pub(super) fn pinned(view: &View<'_>, table: &mut Table) {
    for client in view.reports.iter().flat_map(|report| &report.clients) {
        let Some((reasons, age)) = &client.pinned else { continue };
        let cluster = view.cluster_of(&client.database);
        table.push([
            client.database.to_string().into(),
            client.user.to_string().into(),
            client.id.0.into(),
            address(client).into(),
            client.node.map(|node| view.node_name(cluster, node)).into(),
            client.node.map(|_| client.server_process).into(),
            reasons.clone().into(),
            time(view, *age).into(),
            age.as_secs().into(),
        ]);
    }
}

fn address(client: &ClientReport) -> String {
    client.address.map_or_else(|| "unix".to_owned(), |address| address.ip().to_string())
}

fn client_row(view: &View<'_>, client: &ClientReport) -> Vec<Cell> {
    let (state, waits) = match client.state {
        ClientState::Login => ("login", false),
        ClientState::Idle => ("idle", false),
        ClientState::Active => ("active", false),
        ClientState::Waiting | ClientState::Held => ("waiting", true),
    };
    let link = client.node.map(|_| server_pointer(client.server_process)).unwrap_or_default();
    row(Connection {
        kind: "C",
        user: &client.user,
        database: &client.database,
        replication: client.purpose.as_str(),
        state,
        address: address(client),
        port: client.address.map_or(0, |address| address.port()),
        connect_time: time(view, client.connected_for),
        request_time: time(view, client.requested_ago),
        wait: if waits { client.requested_ago } else { Duration::ZERO },
        close_needed: false,
        pointer: client_pointer(client.id.0),
        link,
        remote_pid: 0,
        tls: client.tls,
        statements: client.statements,
        id: client.id.0,
    })
}

pub(super) fn servers(view: &View<'_>, extended: bool, table: &mut Table) {
    for report in &view.reports {
        for server in &report.servers {
            let mut row = server_row(view, server);
            if extended {
                row.extend([
                    report.worker.0.into(),
                    view.world.clusters.get(server.cluster).map(|cluster| &cluster.name).into(),
                    view.node_name(server.cluster, server.node).into(),
                    server.client.map(|client| client.0).into(),
                ]);
            }
            table.push(row);
        }
    }
}

fn server_row(view: &View<'_>, server: &ServerReport) -> Vec<Cell> {
    let snapshot = view.snapshot(server.cluster);
    let node = snapshot.as_ref().and_then(|snapshot| snapshot.node(server.node));
    row(Connection {
        kind: "S",
        user: &server.user,
        database: &server.database,
        replication: server.purpose.as_str(),
        state: match (server.client, server.role) {
            (Some(_), _) | (None, ServerRole::Listens) => "active",
            (None, ServerRole::Pooled) => "idle",
        },
        address: node.map(|node| node.host.to_string()).unwrap_or_default(),
        port: node.map_or(0, |node| node.port),
        connect_time: time(view, server.connected_for),
        request_time: time(view, server.used_ago),
        wait: Duration::ZERO,
        close_needed: node.is_some_and(|node| node.role == Role::Standby && node.reads.is_over()),
        pointer: server_pointer(server.process),
        link: server.client.map(|client| client_pointer(client.0)).unwrap_or_default(),
        remote_pid: server.process,
        tls: server.tls,
        statements: server.statements,
        id: u64::from(server.process),
    })
}

/// What PgBouncer's columns are made of.
struct Connection<'a> {
    kind: &'static str,
    user: &'a str,
    database: &'a str,
    replication: &'static str,
    state: &'static str,
    address: String,
    port: u16,
    connect_time: String,
    request_time: String,
    wait: Duration,
    close_needed: bool,
    pointer: String,
    link: String,
    remote_pid: u32,
    tls: bool,
    statements: u32,
    id: u64,
}

fn row(connection: Connection<'_>) -> Vec<Cell> {
    vec![
        connection.kind.into(),
        connection.user.to_owned().into(),
        connection.database.to_owned().into(),
        connection.replication.into(),
        connection.state.into(),
        connection.address.into(),
        connection.port.into(),
        "".into(), // of this end's address the workers do not tell
        Cell::Int(0),
        connection.connect_time.into(),
        connection.request_time.into(),
        connection.wait.as_secs().into(),
        connection.wait.subsec_micros().into(),
        Cell::Int(u64::from(connection.close_needed)),
        connection.pointer.into(),
        connection.link.into(),
        connection.remote_pid.into(),
        (if connection.tls { "TLS" } else { "" }).into(),
        "".into(),
        connection.statements.into(),
        connection.id.into(),
    ]
}

/// PgBouncer shows addresses of its structures, by which CLIENTS and SERVERS can be joined; these join too.
fn client_pointer(id: u64) -> String {
    format!("0xc{id:011x}")
}

fn server_pointer(process: u32) -> String {
    format!("0x5{process:011x}")
}

fn time(view: &View<'_>, ago: Duration) -> String {
    seconds_text(view.now.checked_sub(ago).unwrap_or(view.now))
}

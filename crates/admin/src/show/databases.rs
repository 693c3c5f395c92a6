use std::collections::{BTreeMap, BTreeSet};

use session::{ClientState, DatabaseSettings};

use super::View;
use crate::table::{Cell, Column, Table, columns};

/// As PgBouncer 1.25.
pub(super) const DATABASES: &[Column] = columns![
    name Text, host Text, port Int4, database Text, force_user Text, pool_size Int4, min_pool_size Int4,
    reserve_pool_size Int4, server_lifetime Int4, pool_mode Text, load_balance_hosts Text, max_connections Int4,
    current_connections Int4, max_client_connections Int4, current_client_connections Int4, paused Int4,
    disabled Int4,
];

/// As PgBouncer 1.25.
pub(super) const USERS: &[Column] = columns![
    name Text, pool_size Text, reserve_pool_size Text, pool_mode Text, max_user_connections Int4,
    current_connections Int4, max_user_client_connections Int4, current_client_connections Int4,
];

/// As PgBouncer 1.25.
pub(super) const LISTS: &[Column] = columns![list Text, items Int4];

/// Connections to servers and from clients.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    servers: u32,
    clients: u32,
}

/// The configured databases, and those in use that an entry for any name covers; that entry itself is no database.
pub(super) fn databases(view: &View<'_>, table: &mut Table) {
    let mut used = BTreeMap::<&str, Used>::new();
    for database in &view.world.databases {
        if database.name != "*" {
            used.entry(&database.name).or_default();
        }
    }
    for report in &view.reports {
        for pool in &report.pools {
            used.entry(&pool.database).or_default().servers += pool.counts.live;
        }
        for stats in &report.stats {
            used.entry(&stats.database).or_default().clients += stats.clients;
        }
    }
    for (name, used) in used {
        if let Some(settings) = view.world.database(name) {
            table.push(database_row(view, name, settings, used));
        }
    }
}

fn database_row(view: &View<'_>, name: &str, settings: &DatabaseSettings, used: Used) -> Vec<Cell> {
    let snapshot = view.snapshot(settings.cluster);
    let nodes = snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.nodes);
    // All nodes, as PgBouncer shows several hosts: the primary's alone would change its value with each promotion.
    let hosts: Vec<&str> = nodes.iter().map(|node| &*node.host).collect();
    vec![
        name.to_owned().into(),
        if hosts.is_empty() { Cell::Null } else { hosts.join(",").into() },
        nodes.first().map_or(0, |node| node.port).into(),
        settings.server_name.as_deref().unwrap_or(name).to_owned().into(),
        Cell::Null,
        settings.pool.size.into(),
        settings.pool.min_size.into(),
        settings.pool.reserve_size.into(),
        settings.pool.server_lifetime.as_secs().into(),
        settings.pool.mode.as_str().into(),
        Cell::Null,
        settings.max_server_connections.unwrap_or(0).into(),
        used.servers.into(),
        Cell::Int(0),
        used.clients.into(),
        u32::from(view.paused.covers(name)).into(),
        u32::from(view.world.disabled.contains(name)).into(),
    ]
}

/// The configured roles, and those that are logged in.
pub(super) fn users(view: &View<'_>, table: &mut Table) {
    for (name, used) in used_by_user(view) {
        let user = view.world.user(&name);
        let cap = user.and_then(|user| user.max_server_connections);
        let number = |value: Option<u32>| Cell::from(value.map(|value| value.to_string()));
        table.push([
            name.into(),
            number(user.and_then(|user| user.size)),
            number(user.and_then(|user| user.reserve_size)),
            user.and_then(|user| user.mode).map(pool::PoolMode::as_str).into(),
            cap.unwrap_or(0).into(),
            used.servers.into(),
            Cell::Int(0),
            used.clients.into(),
        ]);
    }
}

fn used_by_user(view: &View<'_>) -> BTreeMap<String, Used> {
    let mut users: BTreeMap<String, Used> =
        view.control.users().into_iter().map(|name| (name.into(), Used::default())).collect();
    for report in &view.reports {
        for pool in &report.pools {
            users.entry(pool.user.to_string()).or_default().servers += pool.counts.live;
        }
        for stats in &report.stats {
            users.entry(stats.user.to_string()).or_default().clients += stats.clients;
        }
    }
    users
}

/// `free_*` count memory that PgBouncer keeps for later; there is none here. Nor are there peers, and names are
/// looked up by the system.
pub(super) fn lists(view: &View<'_>, table: &mut Table) {
    let mut databases = Table::new(DATABASES);
    self::databases(view, &mut databases);
    let reports = &view.reports;
    let pools: BTreeSet<_> =
        reports.iter().flat_map(|report| &report.stats).map(|stats| (&stats.database, &stats.user)).collect();
    let clients = || reports.iter().flat_map(|report| &report.clients);
    let login = clients().filter(|client| client.state == ClientState::Login).count();
    let servers: u32 = reports.iter().flat_map(|report| &report.pools).map(|pool| pool.counts.live).sum();
    for (list, items) in [
        ("databases", databases.rows.len().into()),
        ("users", used_by_user(view).len().into()),
        ("peers", Cell::Int(0)),
        ("pools", pools.len().into()),
        ("peer_pools", Cell::Int(0)),
        ("free_clients", Cell::Int(0)),
        ("used_clients", clients().count().into()),
        ("login_clients", login.into()),
        ("free_servers", Cell::Int(0)),
        ("used_servers", servers.into()),
        ("dns_names", Cell::Int(0)),
        ("dns_zones", Cell::Int(0)),
        ("dns_queries", Cell::Int(0)),
        ("dns_pending", Cell::Int(0)),
    ] {
        table.push([list.into(), items]);
    }
}

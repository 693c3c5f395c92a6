use std::{collections::BTreeMap, time::Duration};

use pool::PoolState;
use session::{ClientReport, ClientState};
use topology::NodeId;

use super::View;
use crate::table::{Cell, Column, Table, columns};

/// As PgBouncer 1.25.
pub(super) const COLUMNS: &[Column] = columns![
    database Text, user Text, cl_active Int4, cl_waiting Int4, cl_active_cancel_req Int4,
    cl_waiting_cancel_req Int4, sv_active Int4, sv_active_cancel Int4, sv_being_canceled Int4, sv_idle Int4,
    sv_used Int4, sv_tested Int4, sv_login Int4, maxwait Int4, maxwait_us Int4, pool_mode Text,
    load_balance_hosts Text,
];

/// `SHOW EXTENDED POOLS` has a row for each node.
pub(super) const MORE: &[Column] = columns![cluster Text, node Text, paused Bool, pinned Int4];

/// What a row counts.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    clients_active: u32,
    clients_waiting: u32,
    servers_active: u32,
    servers_idle: u32,
    servers_login: u32,
    longest_wait: Duration,
    paused: bool,
    pinned: u32,
}

/// A row for each database and user, over all nodes and workers.
pub(super) fn pools(view: &View<'_>, table: &mut Table) {
    let mut pools = BTreeMap::<(&str, &str), Counted>::new();
    for report in &view.reports {
        for stats in &report.stats {
            pools.entry((&stats.database, &stats.user)).or_default();
        }
        for pool in &report.pools {
            pools.entry((&pool.database, &pool.user)).or_default().add_servers(pool);
        }
        for client in &report.clients {
            pools.entry((&client.database, &client.user)).or_default().add_client(client);
        }
    }
    for ((database, user), counted) in pools {
        table.push(counted.row(view, database, user));
    }
}

/// A row for each database, user and node, over all workers. Clients count where they have a server connection;
/// those that wait for a primary wait for no node, and are not here.
pub(super) fn by_node(view: &View<'_>, table: &mut Table) {
    let mut pools = BTreeMap::<(&str, &str, usize, NodeId), Counted>::new();
    for report in &view.reports {
        for pool in &report.pools {
            let counted = pools.entry((&pool.database, &pool.user, pool.cluster, pool.node)).or_default();
            counted.add_servers(pool);
            counted.clients_waiting += pool.counts.waiting;
        }
        for client in &report.clients {
            if let Some(node) = client.node {
                let cluster = view.cluster_of(&client.database);
                pools.entry((&client.database, &client.user, cluster, node)).or_default().clients_active += 1;
            }
        }
    }
    for ((database, user, cluster, node), counted) in pools {
        let mut row = counted.row(view, database, user);
        row.extend([
            view.world.clusters.get(cluster).map(|cluster| &cluster.name).into(),
            view.node_name(cluster, node).into(),
            counted.paused.into(),
            counted.pinned.into(),
        ]);
        table.push(row);
    }
}

impl Counted {
    fn add_servers(&mut self, pool: &session::PoolReport) {
        let counts = pool.counts;
        self.servers_idle += counts.idle;
        self.servers_login += counts.dialing;
        self.servers_active += counts.live.saturating_sub(counts.idle + counts.dialing);
        self.longest_wait = self.longest_wait.max(pool.longest_wait);
        self.pinned += counts.pinned;
        self.paused |= pool.state == PoolState::Paused;
    }

    fn add_client(&mut self, client: &ClientReport) {
        match client.state {
            ClientState::Idle | ClientState::Active => self.clients_active += 1,
            ClientState::Waiting => self.clients_waiting += 1,
            ClientState::Held => {
                self.clients_waiting += 1;
                // it waits in no pool's queue, so no pool tells of it
                self.longest_wait = self.longest_wait.max(client.requested_ago);
            }
            ClientState::Login => {}
        }
    }

    fn row(&self, view: &View<'_>, database: &str, user: &str) -> Vec<Cell> {
        let mode = view.world.database(database).map(|database| database.for_user(user).pool.mode.as_str());
        vec![
            database.to_owned().into(),
            user.to_owned().into(),
            self.clients_active.into(),
            self.clients_waiting.into(),
            Cell::Int(0),
            Cell::Int(0),
            self.servers_active.into(),
            Cell::Int(0),
            Cell::Int(0),
            self.servers_idle.into(),
            Cell::Int(0),
            Cell::Int(0),
            self.servers_login.into(),
            self.longest_wait.as_secs().into(),
            self.longest_wait.subsec_micros().into(),
            mode.into(),
            Cell::Null,
        ]
    }
}

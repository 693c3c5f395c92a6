use std::sync::Arc;

use pool::{Scope, Usage};
use session::ClientState;

use super::View;
use crate::table::{Cell, Column, Table, columns};

/// What is bounded, how far the bound is used, and which setting it is.
pub(super) const LIMITS: &[Column] =
    columns![what Text, database Text, user Text, node Text, used Int4, limit Int4, setting Text];

/// The bounds of the proxy, of each worker, then those of each pool.
pub(super) fn limits(view: &View<'_>, table: &mut Table) {
    let session = &view.world.session;
    let clients = view.reports.iter().map(|report| report.clients.len()).sum::<usize>();
    let whole = |what: &'static str, used: Cell, limit: u32, setting: &'static str| {
        [what.into(), Cell::Null, Cell::Null, Cell::Null, used, limit.into(), setting.into()]
    };
    table.push(whole("clients", clients.into(), session.max_clients, "session.max_clients"));
    // each worker has a queue of its own for those who wait for a primary: the fullest counts
    let held = view
        .reports
        .iter()
        .map(|report| report.clients.iter().filter(|client| client.state == ClientState::Held).count());
    let fullest = held.max().unwrap_or_default();
    table.push(whole("held clients of a worker", fullest.into(), session.max_held, "session.max_held"));
    wider_than_pools(view, table);
    for report in &view.reports {
        for pool in &report.pools {
            let Some(database) = view.world.database(&pool.database) else { continue };
            let settings = database.for_user(&pool.user).pool;
            let size = settings.size.saturating_add(settings.reserve_size);
            for (what, used, limit, setting) in [
                ("server connections", pool.counts.live, size, "pool.size + pool.reserve_size"),
                ("waiting clients", pool.counts.waiting, settings.max_waiting, "pool.max_waiting"),
            ] {
                table.push([
                    what.into(),
                    pool.database.to_string().into(),
                    pool.user.to_string().into(),
                    view.node_name(pool.cluster, pool.node).into(),
                    used.into(),
                    limit.into(),
                    setting.into(),
                ]);
            }
        }
    }
}

/// The bounds on server connections that several pools share in; those that are set.
fn wider_than_pools(view: &View<'_>, table: &mut Table) {
    let mut usage = view.world.quota.usage();
    usage.sort_by_key(|usage| view.order_of(&usage.scope));
    for Usage { scope, used, cap } in usage {
        let text = |name: Arc<str>| Cell::from(name.to_string());
        let node = |cluster, node| Cell::from(view.node_name(cluster, node));
        let none = || Cell::Null;
        let (what, database, user, node, setting) = match scope {
            Scope::Total => ("server connections", none(), none(), none(), "proxy.max_server_connections"),
            Scope::Node(cluster, id) => {
                ("server connections", none(), none(), node(cluster, id), "cluster.max_server_connections")
            }
            Scope::Database(name) => {
                ("server connections", text(name), none(), none(), "database.max_server_connections")
            }
            Scope::User(name) => {
                ("server connections", none(), text(name), none(), "user.max_server_connections")
            }
            Scope::DatabaseUser(database, user) => {
                let setting = "database.user.max_server_connections";
                ("server connections", text(database), text(user), none(), setting)
            }
            Scope::Logins(cluster, id) => {
                ("server logins", none(), none(), node(cluster, id), "cluster.max_logins")
            }
        };
        table.push([what.into(), database, user, node, used.into(), cap.into(), setting.into()]);
    }
}

impl View<'_> {
    /// From wide to narrow, then by name.
    fn order_of(&self, scope: &Scope) -> (u8, String, String) {
        match scope {
            Scope::Total => (0, String::new(), String::new()),
            Scope::Node(cluster, node) => (1, self.node_name(*cluster, *node), String::new()),
            Scope::Logins(cluster, node) => (2, self.node_name(*cluster, *node), String::new()),
            Scope::Database(name) => (3, name.to_string(), String::new()),
            Scope::User(name) => (4, name.to_string(), String::new()),
            Scope::DatabaseUser(database, user) => (5, database.to_string(), user.to_string()),
        }
    }
}

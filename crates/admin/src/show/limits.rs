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
    for report in &view.reports {
        for pool in &report.pools {
            let Some(settings) = view.world.database(&pool.database).map(|database| &database.pool) else {
                continue;
            };
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

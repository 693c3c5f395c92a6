use super::View;
use crate::{
    clock::seconds_text,
    table::{Cell, Column, Table, columns},
};

/// Channels that clients listen to over a connection that they share, and how it stands with each.
pub(super) const LISTENERS: &[Column] = columns![
    database Text, user Text, channel Text, state Text, clients Int4, node Text, server_pid Int4, received Int8,
    delivered Int8, dropped Int8, since Text,
];

/// `received` counts notifications, `delivered` and `dropped` each client's; `since` is when the present connection
/// began to listen.
pub(super) fn listeners(view: &View<'_>, table: &mut Table) {
    let listeners = view.reports.iter().flat_map(|report| &report.listeners);
    let mut listeners: Vec<_> = listeners.collect();
    listeners.sort_by(|a, b| (&a.database, &a.user, &a.channel).cmp(&(&b.database, &b.user, &b.channel)));
    for listener in listeners {
        let since = listener.heard_for.map(|ago| view.now.checked_sub(ago).unwrap_or(view.now));
        table.push([
            listener.database.to_string().into(),
            listener.user.to_string().into(),
            listener.channel.clone().into(),
            (if since.is_some() { "listening" } else { "waiting" }).into(),
            listener.clients.into(),
            listener.server.map(|(node, _)| view.node_name(listener.cluster, node)).into(),
            listener.server.map(|(_, process)| process).into(),
            listener.received.into(),
            listener.delivered.into(),
            listener.dropped.into(),
            since.map(seconds_text).map_or(Cell::Null, Cell::from),
        ]);
    }
}

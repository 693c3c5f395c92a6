use super::View;
use crate::table::{Column, Table, columns};

/// Of SHOW PREPARED. `hash` is the same for texts that differ in literals alone; `names` is how many clients' names
/// stand for the statement, `idle_servers` how many idle server connections have it.
pub(super) const PREPARED: &[Column] = columns![
    database Text, user Text, worker Int4, server_name Text, hash Text, parameters Int4, settings Text, names Int4,
    idle_servers Int4, text Text,
];

/// A row for each prepared statement that a client which sends the same would share.
pub(super) fn prepared(view: &View<'_>, table: &mut Table) {
    for report in &view.reports {
        for statement in &report.statements {
            table.push([
                statement.database.to_string().into(),
                statement.user.to_string().into(),
                report.worker.0.into(),
                statement.server_name.clone().into(),
                format!("{:016x}", statement.shape).into(),
                u32::from(statement.parameters).into(),
                statement.settings.clone().into(),
                statement.names.into(),
                statement.servers.into(),
                statement.text.clone().into(),
            ]);
        }
    }
}

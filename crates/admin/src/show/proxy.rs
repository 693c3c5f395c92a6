use wire::message::error::ErrorMessage;

use super::View;
use crate::{
    Setting,
    command::{Noun, Parameter},
    table::{Column, Table, columns},
};

/// What SHOW VERSION says. Tools look for three numbers in it.
pub(crate) const VERSION: &str = concat!("pgherd ", env!("CARGO_PKG_VERSION"));

pub(super) const VERSION_COLUMNS: &[Column] = columns![version Text];

/// As PgBouncer 1.25.
pub(super) const CONFIG: &[Column] = columns![key Text, value Text, default Text, changeable Text];

/// As PgBouncer 1.25.
pub(super) const STATE: &[Column] = columns![key Text, value Text];

/// Every setting under its own name, and under PgBouncer's those that exporters look for.
pub(super) fn config(view: &View<'_>, table: &mut Table) {
    let session = &view.world.session;
    let max_clients = session.max_clients.to_string();
    let names_of_pgbouncer =
        [("max_client_conn", max_clients.as_str(), "10000"), ("max_user_connections", "0", "0")];
    for (key, value, default) in names_of_pgbouncer {
        let (key, value, default) = (key.to_owned(), value.to_owned(), default.to_owned());
        push(Setting { changeable: key == "max_client_conn", key, value, default }, table);
    }
    view.control.settings().into_iter().for_each(|setting| push(setting, table));
}

fn push(setting: Setting, table: &mut Table) {
    table.push([
        setting.key.into(),
        setting.value.into(),
        setting.default.into(),
        yes(setting.changeable).into(),
    ]);
}

pub(super) fn state(view: &View<'_>, table: &mut Table) {
    let (paused, suspended) = (view.paused.all, view.paused.suspended);
    for (key, value) in [("active", !paused && !suspended), ("paused", paused), ("suspended", suspended)] {
        table.push([key.into(), yes(value).into()]);
    }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// `SHOW server_version` and its like.
pub(crate) fn parameter(parameter: &'static Parameter) -> Table {
    let mut table = Table::new(&parameter.column[..]);
    table.push([parameter.value.into()]);
    table
}

/// What `SHOW HELP` says, as a NOTICE, as in PgBouncer.
pub(crate) fn help() -> ErrorMessage {
    let nouns: Vec<_> = Noun::ALL.iter().map(|noun| noun.word()).collect();
    let mut lines = String::new();
    for nouns in nouns.chunks(6) {
        lines.push_str(&format!("\n\tSHOW {}", nouns.join("|")));
    }
    ErrorMessage::notice("Console usage").with_detail(format!(
        "{lines}\n\tSHOW EXTENDED CLIENTS|POOLS|SERVERS|STATS\n\tEXPLAIN ROUTE [FOR <db>] <sql>\
         \n\tCHECK CLUSTER\n\tCHECK REPLICATION [<seconds>]\n\tRELOAD\
         \n\tPAUSE [<db>]\n\tRESUME [<db>]\n\tRECONNECT [<db>]\n\tKILL [<db>]\n\tKILL_CLIENT <client_id>\
         \n\tDISABLE <db>\n\tENABLE <db>\n\tSUSPEND\n\tWAIT_CLOSE [<db>]\
         \n\tSWITCHOVER [TO <node>]\n\tFAILOVER TO <node> [FORCE]\n\tRESTART NODE <node>\n\tRESTART NODES [<cluster>]\
         \n\tRESTORE TOPOLOGY [<cluster>]\n\tMAINTENANCE ON|OFF\
         \n\tDETACH NODE <node>\n\tATTACH NODE <node>\
         \n\tADD NODE <node> <host> <port> [CLUSTER|REGION|ZONE|PRIORITY|AGENT|DATA_DIRECTORY <value>] ...\
         \n\tDROP NODE <node>\
         \n\tSET <key> = <value>\n\tSHUTDOWN\n\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS"
    ))
}

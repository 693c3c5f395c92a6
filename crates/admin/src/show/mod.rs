//! What SHOW shows: one file for each family of nouns.

mod agents;
mod connections;
mod databases;
mod endpoints;
mod failovers;
mod history;
mod limits;
mod listeners;
mod nodes;
mod patroni;
mod pools;
mod prepared;
mod proxy;
mod route;
mod stats;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Instant, SystemTime},
};

use session::{WorkerReport, World};
use topology::{NodeId, Snapshot};
use wire::message::{backend::ColumnType, error::ErrorMessage};

pub(crate) use proxy::{VERSION, help, parameter};

use crate::{
    AgentState, Control,
    average::Averages,
    check,
    command::{Command, Constant, Noun},
    stop::Paused,
    table::{Column, Table},
};

/// Everything there is to show, at one instant.
pub(crate) struct View<'a> {
    pub(crate) world: Arc<World>,
    pub(crate) reports: Vec<WorkerReport>,
    /// Of SHOW AGENTS alone: they have to be asked.
    pub(crate) agents: Vec<AgentState>,
    pub(crate) control: &'a dyn Control,
    pub(crate) averages: Averages,
    pub(crate) paused: Paused,
    pub(crate) now: SystemTime,
    pub(crate) instant: Instant,
}

/// The columns of a command's result; `None`: it has none.
pub(crate) fn columns(command: &Command) -> Option<Cow<'static, [Column]>> {
    Some(Cow::Borrowed(match command {
        Command::Show(noun) => noun_columns(*noun),
        Command::ShowExtended(noun) => return Some(extended_columns(*noun)),
        Command::ShowParameter(parameter) => &parameter.column,
        Command::Select(constant) => constant_columns(constant),
        Command::ExplainRoute { .. } => route::COLUMNS,
        Command::CheckCluster => check::CLUSTER,
        Command::CheckReplication(_) => check::REPLICATION,
        Command::Help
        | Command::Ignore(_)
        | Command::Set { .. }
        | Command::Begin
        | Command::EndTransaction(_)
        | Command::Reload
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Reconnect(_)
        | Command::Kill(_)
        | Command::KillClient(_)
        | Command::Disable(_)
        | Command::Enable(_)
        | Command::Suspend
        | Command::WaitClose(_)
        | Command::Switchover(_)
        | Command::Failover { .. }
        | Command::Nodes(_)
        | Command::Maintenance(_)
        | Command::Shutdown(_) => return None,
    }))
}

fn noun_columns(noun: Noun) -> &'static [Column] {
    match noun {
        Noun::Agents => agents::AGENTS,
        Noun::Clients | Noun::Servers => connections::COLUMNS,
        Noun::Config => proxy::CONFIG,
        Noun::Databases => databases::DATABASES,
        Noun::Endpoints => endpoints::ENDPOINTS,
        Noun::Epochs => history::EPOCHS,
        Noun::Events => history::EVENTS,
        Noun::FailoverSteps => failovers::STEPS,
        Noun::Failovers => failovers::FAILOVERS,
        Noun::Holds => endpoints::HOLDS,
        Noun::Limits => limits::LIMITS,
        Noun::Listeners => listeners::LISTENERS,
        Noun::Lists => databases::LISTS,
        Noun::Nodes => nodes::NODES,
        Noun::Patroni => patroni::PATRONI,
        Noun::Pinned => connections::PINNED,
        Noun::Pools => pools::COLUMNS,
        Noun::Prepared => prepared::PREPARED,
        Noun::Regions => nodes::REGIONS,
        Noun::State => proxy::STATE,
        Noun::Stats => stats::STATS,
        Noun::StatsAverages => stats::AVERAGES,
        Noun::StatsTotals => stats::TOTALS,
        Noun::Topology => nodes::TOPOLOGY,
        Noun::Totals => stats::SUMS,
        Noun::Users => databases::USERS,
        Noun::Version => proxy::VERSION_COLUMNS,
    }
}

/// The columns of PgBouncer, and more behind them.
fn extended_columns(noun: Noun) -> Cow<'static, [Column]> {
    let more = match noun {
        Noun::Clients => connections::MORE_OF_CLIENTS,
        Noun::Servers => connections::MORE_OF_SERVERS,
        Noun::Pools => pools::MORE,
        Noun::Stats => stats::MORE,
        Noun::Agents
        | Noun::Config
        | Noun::Databases
        | Noun::Endpoints
        | Noun::Epochs
        | Noun::Events
        | Noun::FailoverSteps
        | Noun::Failovers
        | Noun::Holds
        | Noun::Limits
        | Noun::Listeners
        | Noun::Lists
        | Noun::Nodes
        | Noun::Patroni
        | Noun::Pinned
        | Noun::Prepared
        | Noun::Regions
        | Noun::State
        | Noun::StatsAverages
        | Noun::StatsTotals
        | Noun::Topology
        | Noun::Totals
        | Noun::Users
        | Noun::Version => return Cow::Borrowed(noun_columns(noun)),
    };
    Cow::Owned([noun_columns(noun), more].concat())
}

/// The column that a constant comes in, named as PostgreSQL names it.
pub(crate) fn constant_columns(constant: &Constant) -> &'static [Column] {
    match constant {
        Constant::Int(_) => &[("?column?", ColumnType::Int4)],
        Constant::Text(_) => &[("?column?", ColumnType::Text)],
        Constant::Version => &[("version", ColumnType::Text)],
        Constant::Database => &[("current_database", ColumnType::Text)],
        Constant::User => &[("current_user", ColumnType::Text)],
        Constant::InRecovery => &[("pg_is_in_recovery", ColumnType::Bool)],
    }
}

/// The result of a SHOW or EXPLAIN.
///
/// # Errors
/// 3D000 when EXPLAIN ROUTE names a database that is not there.
pub(crate) fn table(command: &Command, view: &View<'_>) -> Result<Table, ErrorMessage> {
    let mut table = Table::new(columns(command).unwrap_or_default());
    match command {
        Command::ExplainRoute { database, sql } => {
            route::explain(view, database.as_deref(), sql, &mut table)?
        }
        Command::Show(noun) => fill(*noun, false, view, &mut table),
        Command::ShowExtended(noun) => fill(*noun, true, view, &mut table),
        _ => {}
    }
    Ok(table)
}

fn fill(noun: Noun, extended: bool, view: &View<'_>, table: &mut Table) {
    match noun {
        Noun::Agents => agents::agents(view, table),
        Noun::Clients => connections::clients(view, extended, table),
        Noun::Config => proxy::config(view, table),
        Noun::Databases => databases::databases(view, table),
        Noun::Endpoints => endpoints::endpoints(view, table),
        Noun::Epochs => history::epochs(view, table),
        Noun::Events => history::events(view, table),
        Noun::FailoverSteps => failovers::steps(view, table),
        Noun::Failovers => failovers::failovers(view, table),
        Noun::Holds => endpoints::holds(view, table),
        Noun::Limits => limits::limits(view, table),
        Noun::Listeners => listeners::listeners(view, table),
        Noun::Lists => databases::lists(view, table),
        Noun::Nodes => nodes::nodes(view, table),
        Noun::Patroni => patroni::patroni(view, table),
        Noun::Pinned => connections::pinned(view, table),
        Noun::Pools if extended => pools::by_node(view, table),
        Noun::Pools => pools::pools(view, table),
        Noun::Prepared => prepared::prepared(view, table),
        Noun::Regions => nodes::regions(view, table),
        Noun::Servers => connections::servers(view, extended, table),
        Noun::State => proxy::state(view, table),
        Noun::Stats => stats::stats(view, extended, table),
        Noun::StatsAverages => stats::averages(view, table),
        Noun::StatsTotals => stats::totals(view, table),
        Noun::Topology => nodes::topology(view, table),
        Noun::Totals => stats::sums(view, table),
        Noun::Users => databases::users(view, table),
        Noun::Version => table.push([VERSION.into()]),
    }
}

impl View<'_> {
    /// The state of a cluster; `None` if a report is of a cluster that is no longer configured.
    fn snapshot(&self, cluster: usize) -> Option<Arc<Snapshot>> {
        self.world.clusters.get(cluster).map(|cluster| cluster.snapshots.load_full())
    }

    /// Names, states and snapshots of all clusters.
    fn clusters(&self) -> impl Iterator<Item = (usize, &Arc<str>, Arc<Snapshot>)> {
        let clusters = self.world.clusters.iter().enumerate();
        clusters.map(|(at, cluster)| (at, &cluster.name, cluster.snapshots.load_full()))
    }

    /// The cluster that a database lives in.
    fn cluster_of(&self, database: &str) -> usize {
        self.world.database(database).map_or(0, |database| database.cluster)
    }

    /// A node's name for people.
    fn node_name(&self, cluster: usize, node: NodeId) -> String {
        let snapshot = self.snapshot(cluster);
        let view = snapshot.as_ref().and_then(|snapshot| snapshot.node(node));
        view.map_or_else(|| format!("node {node}"), |view| view.name.to_string())
    }
}

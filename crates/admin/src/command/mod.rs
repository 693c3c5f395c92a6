//! Console text to [`Command`].

mod lex;
mod nearest;
mod nodes;
mod noun;
mod parameter;
mod parse;
#[cfg(test)]
mod tests;

pub(crate) use lex::next_statement;
pub(crate) use nodes::NodesCommand;
pub(crate) use noun::Noun;
pub(crate) use parameter::{PARAMETERS, Parameter};
pub(crate) use parse::parse;

use std::time::Duration;

use session::{ClientId, PauseScope};

use crate::ShutdownMode;

/// What one statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `SHOW HELP`
    Help,
    /// `SHOW <noun>`
    Show(Noun),
    /// `SHOW EXTENDED <noun>`
    ShowExtended(Noun),
    /// `SHOW server_version` and what else drivers ask for while they set up.
    ShowParameter(&'static Parameter),
    /// `SELECT` of one constant.
    Select(Constant),
    /// Set-up noise that is accepted and does nothing; the tag to answer.
    Ignore(&'static str),
    /// `SET name = value`
    Set {
        /// In lower case.
        name: String,
        /// `None` if it is not a single word, number or string.
        value: Option<String>,
    },
    /// `BEGIN`, `START TRANSACTION`
    Begin,
    /// `COMMIT`, `END`, `ROLLBACK`, `ABORT`; the tag to answer.
    EndTransaction(&'static str),
    /// `RELOAD`
    Reload,
    /// `PAUSE [db]`
    Pause(PauseScope),
    /// `RESUME [db]`
    Resume(PauseScope),
    /// `RECONNECT [db]`
    Reconnect(PauseScope),
    /// `KILL [db]`
    Kill(PauseScope),
    /// `DISABLE db`
    Disable(String),
    /// `ENABLE db`
    Enable(String),
    /// `SUSPEND`
    Suspend,
    /// `WAIT_CLOSE [db]`
    WaitClose(PauseScope),
    /// `KILL_CLIENT id`
    KillClient(ClientId),
    /// `SHUTDOWN [WAIT_FOR_CLIENTS | WAIT_FOR_SERVERS]`
    Shutdown(ShutdownMode),
    /// `SWITCHOVER [TO node]`
    Switchover(Option<String>),
    /// `FAILOVER TO node [FORCE]`
    Failover {
        /// Its name.
        to: String,
        /// Even if acknowledged writes are lost by it.
        force: bool,
    },
    /// Something about nodes.
    Nodes(NodesCommand),
    /// `MAINTENANCE ON`, `MAINTENANCE OFF`
    Maintenance(bool),
    /// `CHECK CLUSTER`
    CheckCluster,
    /// `CHECK REPLICATION [seconds]`: how long to wait.
    CheckReplication(Duration),
    /// `EXPLAIN ROUTE [FOR db] sql`
    ExplainRoute {
        /// The database as clients call it.
        database: Option<String>,
        /// Everything behind it, several statements included.
        sql: String,
    },
}

/// A value that `SELECT` can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Constant {
    /// A number.
    Int(u64),
    /// A string.
    Text(String),
    /// `version()`
    Version,
    /// `current_database()`
    Database,
    /// `current_user`, `session_user`
    User,
    /// `pg_is_in_recovery()`: no; libpq asks it of hosts that must be writable.
    InRecovery,
}

impl Command {
    /// Whether a client that may only look may say it.
    pub(crate) fn only_looks(&self) -> bool {
        match self {
            Self::Help
            | Self::Show(_)
            | Self::ShowExtended(_)
            | Self::ShowParameter(_)
            | Self::Select(_)
            | Self::Ignore(_)
            | Self::Set { .. }
            | Self::Begin
            | Self::EndTransaction(_)
            | Self::CheckCluster => true,
            Self::Reload
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Reconnect(_)
            | Self::Kill(_)
            | Self::KillClient(_)
            | Self::Disable(_)
            | Self::Enable(_)
            | Self::Suspend
            | Self::WaitClose(_)
            | Self::Shutdown(_)
            | Self::Switchover(_)
            | Self::Failover { .. }
            | Self::Nodes(_)
            | Self::Maintenance(_)
            | Self::CheckReplication(_)
            | Self::ExplainRoute { .. } => false,
        }
    }

    /// Its first word, which is the command tag too.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Help | Self::Show(_) | Self::ShowExtended(_) | Self::ShowParameter(_) => "SHOW",
            Self::Select(_) => "SELECT 1",
            Self::Ignore(tag) | Self::EndTransaction(tag) => tag,
            Self::Set { .. } => "SET",
            Self::Begin => "BEGIN",
            Self::Reload => "RELOAD",
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Reconnect(_) => "RECONNECT",
            Self::Kill(_) => "KILL",
            Self::KillClient(_) => "KILL_CLIENT",
            Self::Disable(_) => "DISABLE",
            Self::Enable(_) => "ENABLE",
            Self::Suspend => "SUSPEND",
            Self::WaitClose(_) => "WAIT_CLOSE",
            Self::Shutdown(_) => "SHUTDOWN",
            Self::Switchover(_) => "SWITCHOVER",
            Self::Failover { .. } => "FAILOVER",
            Self::Nodes(command) => command.name(),
            Self::Maintenance(_) => "MAINTENANCE",
            Self::CheckCluster | Self::CheckReplication(_) => "CHECK",
            Self::ExplainRoute { .. } => "EXPLAIN",
        }
    }
}

//! A primary and its standbys.

mod create;
mod files;
mod lifecycle;
mod record;
mod roles;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    account::Account,
    binaries::Binaries,
    command::{connect_to, program, run_with_input},
    node::Node,
    options::{Login, Options},
    warden::Warden,
};

/// A running cluster. Nodes are numbered from 0 in the order of the options; node 0 is the first primary.
///
/// All operations take `&self`, so that one thread may kill what another puts under load. Dropping it stops the
/// servers and removes the directory, unless it is kept.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    account: Account,
    directory: PathBuf,
    options: Options,
    accounts: Accounts,
    nodes: Vec<Node>,
    warden: Warden,
}

/// The roles that every cluster has.
#[derive(Debug)]
struct Accounts {
    superuser: Login,
    application: Login,
    monitor: Login,
}

impl Cluster {
    /// One of its nodes.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// All of its nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The programs it runs.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Where its files are. Others may put theirs beside them; a file `*.pid` there names a process that works in
    /// this directory and shall not outlive the cluster's owner.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The superuser `postgres`.
    #[must_use]
    pub fn superuser(&self) -> &Login {
        &self.accounts.superuser
    }

    /// The ordinary role, owner of [`Cluster::database`].
    #[must_use]
    pub fn application(&self) -> &Login {
        &self.accounts.application
    }

    /// The role `pgherd`: REPLICATION, member of pg_monitor, and may read pg_hba_file_rules. The standbys stream with it too.
    #[must_use]
    pub fn monitor(&self) -> &Login {
        &self.accounts.monitor
    }

    /// The ordinary role's database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.options.database
    }

    /// A connection URL for one node, around any proxy.
    #[must_use]
    pub fn url(&self, node: usize, login: &Login, database: &str) -> String {
        let port = self.node(node).port();
        format!("postgres://{}:{}@127.0.0.1:{port}/{database}", login.user, login.password)
    }

    /// Runs SQL on a node as superuser in the database `postgres` and yields the rows: a line each, columns
    /// separated by `|`, no heading.
    ///
    /// # Errors
    /// When the node is not reached or a statement fails; the statements after it are not run.
    pub fn psql(&self, node: usize, sql: &str) -> Result<String> {
        self.psql_as(node, self.superuser(), "postgres", sql)
    }

    /// The same as any role in any database.
    ///
    /// # Errors
    /// As for [`Cluster::psql`].
    pub fn psql_as(&self, node: usize, login: &Login, database: &str, sql: &str) -> Result<String> {
        self.psql_at(self.node(node).port(), login, database, sql)
    }

    /// The same through any port of 127.0.0.1, a proxy's for example.
    ///
    /// # Errors
    /// As for [`Cluster::psql`].
    pub fn psql_at(&self, port: u16, login: &Login, database: &str, sql: &str) -> Result<String> {
        let mut command = self.psql_command(port, login, database);
        command.args(["-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let output = run_with_input(&mut command, sql)?;
        Ok(output.trim_end_matches('\n').to_owned())
    }

    /// A psql that connects to any port of 127.0.0.1, ready to be given more arguments and be started. It heeds no
    /// startup file, prints no more than it must, and works in the cluster's directory.
    #[must_use]
    pub fn psql_command(&self, port: u16, login: &Login, database: &str) -> Command {
        let mut command = program(&self.binaries, "psql", &self.account, &self.directory);
        connect_to(&mut command, port, login, database);
        command.args(["-X", "-q", "-w"]);
        command
    }

    /// One of PostgreSQL's programs, to be given arguments and be started as the user whom the servers run as. It works in
    /// the cluster's directory, free of the caller's `PG…` variables.
    #[must_use]
    pub fn server_program(&self, name: &str) -> Command {
        program(&self.binaries, name, &self.account, &self.directory)
    }

    /// Makes a program run as the servers do: as their user, in the cluster's directory.
    pub fn run_as_server(&self, command: &mut Command) {
        self.account.apply(command);
        command.current_dir(&self.directory);
    }

    /// Makes the servers' user the owner of a file or folder.
    ///
    /// # Errors
    /// When it is not there.
    pub fn give_to_server(&self, path: &Path) -> Result<()> {
        self.account.give(path)
    }

    /// From now on, leave the directory behind.
    ///
    /// # Errors
    /// When the warden process is gone.
    pub fn keep(&mut self) -> Result<()> {
        self.options.keep = true;
        self.warden.tell_keep(true)
    }
}

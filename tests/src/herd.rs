use std::{
    ffi::OsStr,
    ops::Deref,
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    thread,
};

use anyhow::{Context, Result, bail};
use lab::{Cluster, Login};
use testkit::{Client, ConnectionParameters};

use crate::{Configuration, Proxy, Setup, proxy::parameters, shared};

/// A cluster, proxies in front of it, and a database. Proxies end when it is dropped.
#[derive(Debug)]
pub struct Herd {
    // Before the cluster: they end first.
    proxies: Vec<Proxy>,
    cluster: Arc<Cluster>,
    database: String,
}

impl Herd {
    pub(crate) fn start(
        cluster: Arc<Cluster>,
        admin: Login,
        configuration: &Configuration,
        regions: &[String],
        policies: &[String],
        environment: &[(String, String)],
    ) -> Self {
        let database = format!("e2e_{}", shared::next_number());
        let primary = cluster.primary().expect("the cluster has a primary");
        let owner = &cluster.application().user;
        cluster
            .psql(primary, &format!("create database {database} owner {owner}"))
            .expect("the superuser may create a database");
        cluster.wait_for_all().expect("standbys follow");
        let proxies = regions
            .iter()
            .map(|region| {
                Proxy::start(
                    &cluster,
                    &database,
                    &admin,
                    region,
                    policies,
                    configuration.clone(),
                    environment,
                )
            })
            .collect();
        let herd = Self { proxies, cluster, database };
        herd.proxies.iter().for_each(Proxy::wait_until_listening);
        herd
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// One of the proxies, in the order of their regions.
    ///
    /// # Panics
    /// When there is no such proxy.
    #[must_use]
    pub fn proxy(&self, index: usize) -> &Proxy {
        &self.proxies[index]
    }

    /// All proxies.
    #[must_use]
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// The herd's own database, which belongs to the role `app`.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// How the role `app` connects to the herd's database through the first proxy.
    #[must_use]
    pub fn app(&self) -> ConnectionParameters {
        self.proxy(0).app()
    }

    /// The role `app` in the herd's database through the first proxy.
    pub async fn connect(&self) -> Client {
        self.proxy(0).connect().await
    }

    /// The role `app` in the herd's database on a node, around the proxies.
    pub async fn connect_directly(&self, node: usize) -> Client {
        let port = self.cluster.node(node).port();
        let login = self.cluster.application();
        parameters(port, login, &self.database)
            .connect()
            .await
            .unwrap_or_else(|error| panic!("node {node}: {error}"))
    }

    /// Runs SQL with psql through the first proxy as `app`; gives the rows, columns separated by `|`.
    ///
    /// # Errors
    /// What psql complains about.
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.cluster.psql_at(self.proxy(0).port(), self.cluster.application(), &self.database, sql)
    }

    /// Runs SQL as superuser in the herd's database on the primary, around the proxies.
    ///
    /// # Errors
    /// What psql complains about.
    pub fn psql_directly(&self, sql: &str) -> Result<String> {
        let primary = self.cluster.primary()?;
        self.cluster.psql_as(primary, self.cluster.superuser(), &self.database, sql)
    }

    /// Runs one of PostgreSQL's programs against any port of 127.0.0.1 as `app` in the herd's database.
    #[must_use]
    pub fn program(&self, name: &str, port: u16) -> Command {
        let mut command = self.program_at(self.cluster.binaries().program(name), port);
        command.env("PGSSLMODE", "disable");
        command
    }

    /// Runs a program that connects to where the usual variables lead: to any port of 127.0.0.1, as `app`, in the
    /// herd's database.
    #[must_use]
    pub fn program_at(&self, path: impl AsRef<OsStr>, port: u16) -> Command {
        let mut command = Command::new(path);
        let login = self.cluster.application();
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PGUSER", &login.user)
            .env("PGPASSWORD", &login.password)
            .env("PGDATABASE", &self.database)
            .env("LC_ALL", "C")
            .current_dir(self.cluster.directory())
            .stdin(Stdio::null());
        command
    }

    /// Runs one of PostgreSQL's programs through the first proxy to its end; gives what it printed on both outputs.
    ///
    /// # Errors
    /// When it fails; the text holds what it printed.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<String> {
        self.run_at(self.proxy(0).port(), name, arguments)
    }

    /// The same against any port of 127.0.0.1.
    ///
    /// # Errors
    /// As for [`Herd::run`].
    pub fn run_at(&self, port: u16, name: &str, arguments: &[&str]) -> Result<String> {
        output(self.program(name, port).args(arguments))
    }
}

/// The herd that all tests of this process share which want nothing special: one proxy in `eu` with the defaults, in
/// front of the shared cluster. They take care not to use the same names for tables.
#[derive(Debug)]
pub struct Common(&'static Herd);

impl Herd {
    /// See [`Common`].
    #[must_use]
    pub fn common() -> Common {
        static HERD: OnceLock<Herd> = OnceLock::new();
        Common(HERD.get_or_init(|| Setup::shared().start()))
    }
}

impl Deref for Common {
    type Target = Herd;

    fn deref(&self) -> &Herd {
        self.0
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.proxies.iter().for_each(Proxy::show_log);
        }
    }
}

/// Runs a program to its end; gives what it printed on both outputs.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{command:?} ended with {}: {text}", output.status);
    }
    Ok(text)
}

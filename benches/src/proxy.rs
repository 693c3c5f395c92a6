//! One proxy process.

use std::{
    fs::{self, File},
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use lab::{Cluster, free_port};
use tokio::time::Instant;

use crate::{
    configuration::{self, Route},
    options::Options,
    program::{installed, version},
    through::{Prepared, Through, pgbouncer_prepared},
};

/// How long a proxy may take to serve its first client.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How often it is tried.
const POLL: Duration = Duration::from_millis(50);

/// A way to PostgreSQL that is open. The proxy's process is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    /// Which one.
    pub(crate) through: Through,
    /// The port for clients on 127.0.0.1.
    pub(crate) port: u16,
    /// The proxy's version; empty where there is none.
    pub(crate) version: String,
    /// Whether prepared statements work.
    pub(crate) prepared: Prepared,
    process: Option<Child>,
}

impl Open {
    /// Starts the proxy, if there is one, and waits until a client is served.
    ///
    /// # Errors
    /// When it is not installed or does not serve.
    pub(crate) fn start(through: Through, cluster: &Cluster, options: &Options) -> Result<Self> {
        let server_port = cluster.node(0).port();
        let mut open = Self {
            through,
            port: server_port,
            version: String::new(),
            prepared: Prepared::Works,
            process: None,
        };
        if through == Through::Direct {
            return Ok(open);
        }
        open.port = free_port()?;
        let user_list = user_list(cluster)?;
        let monitor = cluster.monitor();
        let route = Route {
            port: open.port,
            server_port,
            database: cluster.database(),
            user_list: &user_list,
            monitor: (&monitor.user, &monitor.password),
        };
        let file = |name: &str, text: &str| private_file(cluster, name, text);
        let mut command = match through {
            Through::Direct => return Ok(open),
            Through::PgBouncer => {
                let program = installed("pgbouncer")?;
                open.version = version(&program, "--version")?;
                open.prepared = pgbouncer_prepared(&open.version);
                let mut command = Command::new(program);
                command.arg(file("pgbouncer.ini", &configuration::pgbouncer(&route, open.prepared))?);
                command
            }
            Through::HaProxy => {
                let program = installed("haproxy")?;
                open.version = version(&program, "-v")?;
                let mut command = Command::new(program);
                command.arg("-db").arg("-f").arg(file("haproxy.cfg", &configuration::haproxy(&route))?);
                command
            }
            Through::Pgherd => {
                let program = options.pgherd()?;
                open.version = version(&program, "--version")?;
                let mut command = Command::new(program);
                command.arg("run").arg("-c").arg(file("pgherd.toml", &configuration::pgherd(&route))?);
                command
            }
        };
        open.process = Some(spawn(&mut command, through, cluster)?);
        open.wait_until_it_serves(cluster)?;
        Ok(open)
    }

    /// The proxy's process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    fn wait_until_it_serves(&mut self, cluster: &Cluster) -> Result<()> {
        let name = self.through.name();
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let answer = cluster.psql_at(self.port, cluster.application(), cluster.database(), "select 1");
            let ended = self.process.as_mut().map(Child::try_wait).transpose()?.flatten();
            match answer {
                Ok(_) => return Ok(()),
                Err(_) if ended.is_none() && Instant::now() < deadline => thread::sleep(POLL),
                Err(error) => {
                    let log = fs::read_to_string(log_file(self.through, cluster)).unwrap_or_default();
                    let log: Vec<_> = log.lines().rev().take(10).collect();
                    let log: Vec<_> = log.into_iter().rev().collect();
                    bail!("{name} does not serve: {error:#}\n{}", log.join("\n"));
                }
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Starts a proxy in the cluster's folder and as the user whom PostgreSQL runs as, since PgBouncer refuses to be root.
fn spawn(command: &mut Command, through: Through, cluster: &Cluster) -> Result<Child> {
    let log = log_file(through, cluster);
    let output = File::create(&log).with_context(|| format!("could not make {}", log.display()))?;
    let errors = output.try_clone().context("no file descriptor is left")?;
    let owner = cluster.node(0).data().metadata().context("the cluster has no data directory")?;
    if owner.uid() != cluster.directory().metadata().context("the cluster has no directory")?.uid() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.current_dir(cluster.directory()).stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut child =
        command.spawn().with_context(|| format!("could not start {}", command.get_program().display()))?;
    // The cluster's warden ends what this file names if we are killed.
    let pid_file = log.with_extension("pid");
    if let Err(error) = fs::write(&pid_file, format!("{}\n", child.id())) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error).with_context(|| format!("could not write {}", pid_file.display()));
    }
    Ok(child)
}

fn log_file(through: Through, cluster: &Cluster) -> std::path::PathBuf {
    let name = match through {
        Through::Direct => "direct",
        Through::PgBouncer => "pgbouncer",
        Through::HaProxy => "haproxy",
        Through::Pgherd => "pgherd",
    };
    cluster.directory().join(format!("{name}.log"))
}

/// Writes the list of users with the verifier as PostgreSQL keeps it, and gives its path.
fn user_list(cluster: &Cluster) -> Result<String> {
    let user = &cluster.application().user;
    let verifier = cluster.psql(0, &format!("select rolpassword from pg_authid where rolname = '{user}'"))?;
    private_file(cluster, "userlist.txt", &format!("\"{user}\" \"{verifier}\"\n"))
}

/// Writes a file for the proxies' user alone and gives its path.
fn private_file(cluster: &Cluster, name: &str, text: &str) -> Result<String> {
    let path = cluster.directory().join(name);
    write_private(&path, cluster, text).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path.display().to_string())
}

fn write_private(path: &Path, cluster: &Cluster, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    let owner = cluster.node(0).data().metadata()?;
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

//! Opens a way to PostgreSQL and waits until a client is served.

use std::{
    fs::{self, File},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use lab::{Cluster, free_port};
use tokio::time::Instant;

use super::{
    Certificate, Kind, Outsider, Prepared, Target,
    configuration::{self, Route},
    files::{private_file, user_list},
};
use crate::{
    comparison::options::Options,
    program::{installed, version},
};

/// How long a proxy may take to serve its first client.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How often it is tried.
const POLL: Duration = Duration::from_millis(50);

/// Opens one of the ways that we know.
///
/// # Errors
/// When a proxy is not installed or does not serve.
pub(crate) fn start(
    kind: Kind,
    cluster: &Cluster,
    certificate: &Certificate,
    options: &Options,
) -> Result<Target> {
    let mut target = Target {
        kind,
        name: kind.name().to_owned(),
        host: "127.0.0.1".to_owned(),
        port: cluster.node(0).port(),
        version: String::new(),
        database: cluster.database().to_owned(),
        prepared: Prepared::Works,
        pid: None,
        process: None,
    };
    if matches!(kind, Kind::Direct | Kind::Outsider) {
        return Ok(target);
    }
    target.port = free_port()?;
    let user_list = user_list(cluster)?;
    let route = Route {
        port: target.port,
        server_ports: cluster.nodes().iter().map(lab::Node::port).collect(),
        database: cluster.database(),
        application: cluster.application(),
        user_list: &user_list,
        certificate,
        monitor: cluster.monitor(),
        workers: &options.workers,
    };
    let mut command = command(&mut target, &route, cluster, options)?;
    let process = spawn(&mut command, kind, cluster)?;
    target.pid = Some(process.id());
    target.process = Some(process);
    wait_until_it_serves(&mut target, cluster)?;
    Ok(target)
}

/// Finds a proxy that somebody else started.
///
/// # Errors
/// When it does not serve.
pub(crate) fn start_outsider(outsider: &Outsider, cluster: &Cluster) -> Result<Target> {
    let mut target = Target {
        kind: Kind::Outsider,
        name: outsider.name.clone(),
        host: outsider.host.clone(),
        port: outsider.port,
        version: String::new(),
        database: cluster.database().to_owned(),
        prepared: Prepared::Works,
        pid: outsider.pid,
        process: None,
    };
    wait_until_it_serves(&mut target, cluster)?;
    Ok(target)
}

/// The proxy's program with its files.
fn command(target: &mut Target, route: &Route<'_>, cluster: &Cluster, options: &Options) -> Result<Command> {
    let file = |name: &str, text: &str| private_file(cluster, name, text);
    let (program, arguments) = match target.kind {
        Kind::Direct | Kind::Outsider => bail!("there is nothing to start"),
        Kind::PgBouncer => {
            let program = options.pgbouncer()?;
            target.version = version(&program, "--version")?;
            target.prepared = pgbouncer_prepared(&target.version);
            let hba = file("pgbouncer.hba", &configuration::pgbouncer_hba(route))?;
            let ini = file("pgbouncer.ini", &configuration::pgbouncer(route, target.prepared, &hba))?;
            (program, vec![ini])
        }
        Kind::HaProxy => {
            let program = installed("haproxy")?;
            target.version = version(&program, "-v")?;
            let configuration = file("haproxy.cfg", &configuration::haproxy(route))?;
            (program, vec!["-db".to_owned(), "-f".to_owned(), configuration])
        }
        Kind::Pgherd => {
            let program = options.pgherd()?;
            target.version = version(&program, "--version")?;
            let configuration = file("pgherd.toml", &configuration::pgherd(route))?;
            (program, vec!["run".to_owned(), "-c".to_owned(), configuration])
        }
    };
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// Whether PgBouncer of this version keeps prepared statements in transaction mode: from 1.21 on.
fn pgbouncer_prepared(version: &str) -> Prepared {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= (1, 21) { Prepared::Works } else { Prepared::Unsupported }
}

fn wait_until_it_serves(target: &mut Target, cluster: &Cluster) -> Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let mut psql = cluster.psql_command(target.port, cluster.application(), cluster.database());
        psql.env("PGHOST", &target.host).args(["-XAtqc", "select 1"]).stdin(Stdio::null());
        let answer = psql.output().context("could not start psql")?;
        if answer.status.success() {
            return Ok(());
        }
        let ended = target.process.as_mut().map(Child::try_wait).transpose()?.flatten();
        if ended.is_some() || Instant::now() > deadline {
            let error = String::from_utf8_lossy(&answer.stderr).into_owned();
            let log = fs::read_to_string(log_file(target.kind, cluster)).unwrap_or_default();
            let log: Vec<_> = log.lines().rev().take(10).collect();
            let log: Vec<_> = log.into_iter().rev().collect();
            bail!("{} does not serve: {}\n{}", target.name, error.trim(), log.join("\n"));
        }
        thread::sleep(POLL);
    }
}

/// Starts a proxy in the cluster's folder and as the user whom PostgreSQL runs as, since PgBouncer refuses to be root.
fn spawn(command: &mut Command, kind: Kind, cluster: &Cluster) -> Result<Child> {
    let log = log_file(kind, cluster);
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

fn log_file(kind: Kind, cluster: &Cluster) -> PathBuf {
    let name = kind.name().to_ascii_lowercase().replace(' ', "-");
    cluster.directory().join(format!("{name}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_statements_came_to_pgbouncer_with_1_21() {
        assert_eq!(pgbouncer_prepared("1.18.0"), Prepared::Unsupported);
        assert_eq!(pgbouncer_prepared("1.21.0"), Prepared::Works);
        assert_eq!(pgbouncer_prepared("1.100"), Prepared::Works);
        assert_eq!(pgbouncer_prepared(""), Prepared::Unsupported);
    }
}

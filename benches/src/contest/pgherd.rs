//! pgherd: one process before the cluster, which it manages, and an agent beside each node.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lab::{Cluster, Login, Signal, random_password};
use tokio::runtime::Handle;

use super::{
    access::Access,
    load::LEDGER,
    process::{Process, run, tail, wait_for},
    stack::{MAX_CONNECTIONS, NODES, Stack},
};
use crate::program::version;

/// How long it may take to start, and a switchover.
const PATIENCE: Duration = Duration::from_secs(60);

/// The contender.
pub(crate) struct Pgherd {
    // the processes end before the cluster
    _proxy: Process,
    agents: Vec<Option<Process>>,
    application: Access,
    console: Access,
    nodes: Vec<Access>,
    binary: PathBuf,
    version: String,
    cluster: Cluster,
}

impl Pgherd {
    /// Starts everything.
    ///
    /// # Errors
    /// When something does not start.
    pub(crate) fn start(runtime: &Handle, program: &Path) -> Result<Self> {
        let cluster = start_cluster()?;
        // where it was built may be closed to the servers' user
        let binary = cluster.directory().join("pgherd");
        fs::copy(program, &binary).with_context(|| format!("could not copy {}", program.display()))?;
        make_keys(&cluster, &binary)?;
        let place = |name: &str, text: &str| write(&cluster, name, text);
        place("monitor.password", &format!("{}\n", cluster.monitor().password))?;
        let ports: Vec<u16> = (0..NODES).map(|_| lab::free_port()).collect::<Result<_>>()?;
        for (node, port) in cluster.nodes().iter().zip(&ports) {
            place(
                &format!("agent-{}.toml", node.name()),
                &super::pgherd_configuration::agent(&cluster, node, *port),
            )?;
            // the agent starts the server with the same log as the lab
            cluster.give_to_server(&node.log())?;
        }
        let admin = Login { user: "admin".to_owned(), password: random_password()? };
        let port = lab::free_port()?;
        let file = place("pgherd.toml", &super::pgherd_configuration::proxy(&cluster, &admin, port, &ports))?;
        let mut command = as_server(&cluster, &binary);
        let script = command.args(["init-sql", "--manage", "--agent-user", &cluster.monitor().user, "-c"]);
        cluster.psql(0, &run(script.arg(&file))?).context("the script of `pgherd init-sql`")?;
        cluster.wait_for_all()?;
        let agents = (0..NODES).map(|at| start_agent(&cluster, &binary, at).map(Some));
        let agents = agents.collect::<Result<_>>()?;
        let mut command = as_server(&cluster, &binary);
        command.args(["run", "-c"]).arg(&file);
        let proxy = Process::start(cluster.directory(), "proxy", &mut command, Signal::SIGTERM)?;
        let user = |login: &Login, port: u16, database: &str| {
            Access::new(runtime, port, (&login.user, &login.password), database)
        };
        let mut pgherd = Self {
            _proxy: proxy,
            agents,
            application: user(cluster.application(), port, cluster.database()),
            console: user(&admin, port, "pgherd"),
            nodes: super_accesses(runtime, &cluster),
            version: version(program, "--version")?,
            binary,
            cluster,
        };
        let ready = || {
            pgherd.check()?;
            pgherd.application.look("select 1").map(drop)
        };
        wait_for("pgherd is ready", PATIENCE, ready).with_context(|| pgherd.logs())?;
        Ok(pgherd)
    }
}

impl Stack for Pgherd {
    fn versions(&self) -> String {
        format!("pgherd {}", self.version)
    }

    fn remarks(&self) -> Vec<String> {
        vec![
            "pgherd: one process that manages the cluster (`manage = \"single\"`), its defaults throughout; a killed \
             node's agent is started again as an init system would, and pgherd brings the node back through it."
                .to_owned(),
        ]
    }

    fn application(&self) -> Access {
        self.application.clone()
    }

    fn nodes(&self) -> &[Access] {
        &self.nodes
    }

    fn kill(&mut self, node: usize, companion: bool) -> Result<()> {
        if companion && let Some(agent) = self.agents[node].take() {
            agent.kill();
        }
        kill_postmaster(&self.cluster, node)
    }

    fn bring_back(&mut self, node: usize) -> Result<()> {
        self.agents[node] = Some(start_agent(&self.cluster, &self.binary, node)?);
        Ok(())
    }

    fn switch_over(&mut self, _: usize) -> Result<()> {
        self.console.ask("SWITCHOVER", PATIENCE).map(drop)
    }

    fn check(&mut self) -> Result<()> {
        let nodes = self.console.look("SHOW NODES")?;
        let up = nodes.iter().filter(|row| row.iter().any(|value| value == "up")).count();
        ensure!(up == NODES, "SHOW NODES says: {nodes:?}");
        let failovers = self.console.look("SHOW FAILOVERS")?;
        let is_done = !failovers.iter().flatten().any(|value| value == "under way");
        ensure!(is_done, "a failover is under way");
        Ok(())
    }

    fn logs(&self) -> String {
        logs_of(&self.cluster, ["proxy"].into_iter())
    }
}

/// The ends of the logs of these programs and of all servers.
pub(super) fn logs_of<'a>(cluster: &'a Cluster, programs: impl Iterator<Item = &'a str>) -> String {
    let names = programs.chain(cluster.nodes().iter().map(lab::Node::name));
    let logs = names.map(|name| format!("--- {name}:\n{}", tail(cluster.directory(), name)));
    logs.collect::<Vec<_>>().join("\n")
}

/// A primary and two standbys that anybody's tools may look after.
///
/// # Errors
/// When they do not start.
pub(super) fn start_cluster() -> Result<Cluster> {
    let cluster = Cluster::start(lab::Options {
        standbys: NODES - 1,
        max_connections: MAX_CONNECTIONS,
        ..lab::Options::default()
    })?;
    cluster.give_to_server(cluster.directory())?;
    cluster.psql_as(0, cluster.application(), cluster.database(), LEDGER)?;
    cluster.wait_for_all()?;
    Ok(cluster)
}

/// The superuser's way to each node.
pub(super) fn super_accesses(runtime: &Handle, cluster: &Cluster) -> Vec<Access> {
    let login = cluster.superuser();
    let of_node = |node: &lab::Node| {
        Access::new(runtime, node.port(), (&login.user, &login.password), cluster.database())
    };
    cluster.nodes().iter().map(of_node).collect()
}

/// Writes a file for the servers' user alone.
///
/// # Errors
/// When that fails.
pub(super) fn write(cluster: &Cluster, name: &str, text: &str) -> Result<PathBuf> {
    let path = cluster.directory().join(name);
    lab::write_private(&path, text)?;
    cluster.give_to_server(&path)?;
    Ok(path)
}

/// SIGKILL for the postmaster; its children notice and end.
///
/// # Errors
/// When it does not run.
pub(super) fn kill_postmaster(cluster: &Cluster, node: usize) -> Result<()> {
    let pid = cluster.node(node).pid().context("it does not run")?;
    lab::signal(pid, Signal::SIGKILL)
}

/// A program as the servers' user.
pub(super) fn as_server(cluster: &Cluster, program: &Path) -> Command {
    let mut command = Command::new(program);
    cluster.run_as_server(&mut command);
    command
}

fn make_keys(cluster: &Cluster, binary: &Path) -> Result<()> {
    let mut command = as_server(cluster, binary);
    command.args(["keygen", "--dir", "keys"]);
    for node in cluster.nodes() {
        command.arg("--agent").arg(format!("{}=127.0.0.1,localhost", node.name()));
    }
    run(&mut command).map(drop)
}

fn start_agent(cluster: &Cluster, binary: &Path, node: usize) -> Result<Process> {
    let name = format!("agent-{}", cluster.node(node).name());
    let mut command = as_server(cluster, binary);
    command.args(["agent", "-c"]).arg(cluster.directory().join(format!("{name}.toml")));
    Process::start(cluster.directory(), &name, &mut command, Signal::SIGTERM)
}

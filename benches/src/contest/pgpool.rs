//! Pgpool-II before the cluster, with scripts after the example of its documentation.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::{Cluster, Signal, random_password};
use tokio::runtime::Handle;

use super::{
    access::Access,
    pgherd::{as_server, kill_postmaster, logs_of, start_cluster, super_accesses, write},
    pgpool_configuration::{self as configuration, OPERATOR, Ports},
    process::{Process, run, wait_for},
    stack::{NODES, Stack},
};
use crate::program::{installed, version};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// The contender.
pub(crate) struct Pgpool {
    // the process ends before the cluster
    _process: Process,
    application: Access,
    nodes: Vec<Access>,
    commands: PathBuf,
    ports: Ports,
    version: String,
    cluster: Cluster,
}

impl Pgpool {
    /// Starts everything.
    ///
    /// # Errors
    /// When it is not installed, or something does not start.
    pub(crate) fn start(runtime: &Handle) -> Result<Self> {
        let program = installed("pgpool")?;
        let cluster = start_cluster()?;
        let ports = Ports { clients: lab::free_port()?, commands: lab::free_port()? };
        let operator = random_password()?;
        let digest = run(Command::new(installed("pg_md5")?).arg(&operator))?;
        let main = write(&cluster, "pgpool.conf", &configuration::main(&cluster, ports))?;
        let hba = write(&cluster, "pool_hba.conf", configuration::HBA)?;
        write(&cluster, "pool_passwd", &configuration::passwords(&cluster))?;
        let pcp = write(&cluster, "pcp.conf", &format!("{OPERATOR}:{}\n", digest.trim()))?;
        write(&cluster, "pcppass", &format!("*:*:{OPERATOR}:{operator}\n"))?;
        let scripts = [
            ("failover.sh", configuration::failover(&cluster)),
            ("follow.sh", configuration::follow(&cluster, ports)),
        ];
        for (name, text) in scripts {
            let path = write(&cluster, name, &text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        }
        for node in cluster.nodes() {
            // a script starts the server with the same log as the lab
            cluster.give_to_server(&node.log())?;
        }
        let mut command = as_server(&cluster, &program);
        // in the foreground, without what an earlier one knew
        command.args(["-n", "-D", "-f"]).arg(main).arg("-a").arg(hba).arg("-F").arg(pcp);
        let process = Process::start(cluster.directory(), "pgpool", &mut command, Signal::SIGINT)?;
        let login = cluster.application();
        let login = (login.user.as_str(), login.password.as_str());
        let mut pgpool = Self {
            _process: process,
            application: Access::new(runtime, ports.clients, login, cluster.database()),
            nodes: super_accesses(runtime, &cluster),
            commands: program.with_file_name(""),
            ports,
            version: version(&program, "--version")?,
            cluster,
        };
        wait_for("Pgpool-II is ready", PATIENCE, || pgpool.check()).with_context(|| pgpool.logs())?;
        Ok(pgpool)
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let port = self.ports.commands.to_string();
        let mut command = as_server(&self.cluster, &self.commands.join(name));
        command.env("PCPPASSFILE", self.cluster.directory().join("pcppass"));
        run(command.args(["-w", "-h", "127.0.0.1", "-p", &port, "-U", OPERATOR]).args(arguments))
    }
}

impl Stack for Pgpool {
    fn versions(&self) -> String {
        format!("Pgpool-II {}", self.version)
    }

    fn remarks(&self) -> Vec<String> {
        vec![
            "Pgpool-II: health checks, which are off by default, every second with a timeout of 2 s and one retry; \
             sr_check_period 1 instead of 10 s; failover and follow_primary scripts after the example of its \
             documentation; `pcp_promote_node --switchover` for switchovers. Pgpool's scripts promote, and rewind and \
             attach nodes that run; a killed node was brought back by the benchmark (pg_rewind or a new copy, then \
             pcp_attach_node)."
                .to_owned(),
        ]
    }

    fn application(&self) -> Access {
        self.application.clone()
    }

    fn nodes(&self) -> &[Access] {
        &self.nodes
    }

    fn kill(&mut self, node: usize, _: bool) -> Result<()> {
        kill_postmaster(&self.cluster, node)
    }

    fn bring_back(&mut self, node: usize) -> Result<()> {
        self.cluster.rejoin(node)?;
        self.command("pcp_attach_node", &[&node.to_string()]).map(drop)
    }

    fn switch_over(&mut self, from: usize) -> Result<()> {
        let to = ((from + 1) % NODES).to_string();
        self.command("pcp_promote_node", &["--switchover", &to]).map(drop)
    }

    fn check(&mut self) -> Result<()> {
        let nodes = self.application.look("show pool_nodes")?;
        let is_up = |row: &Vec<String>| row.get(3).is_some_and(|status| status == "up");
        ensure!(nodes.iter().filter(|row| is_up(row)).count() == NODES, "show pool_nodes: {nodes:?}");
        Ok(())
    }

    fn logs(&self) -> String {
        logs_of(&self.cluster, ["pgpool"].into_iter())
    }
}

//! Pgpool-II before the cluster, with scripts after the example of its documentation.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::{Cluster, Signal, random_password};
use tokio::{runtime::Handle, time::Instant};

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

/// How long Pgpool's own scripts have for a node that runs, before it is attached by hand.
const ATTACH_PAUSE: Duration = Duration::from_secs(8);

/// The contender.
pub(crate) struct Pgpool {
    // the process ends before the cluster
    _process: Process,
    application: Access,
    nodes: Vec<Access>,
    commands: PathBuf,
    ports: Ports,
    version: String,
    /// When a node was last attached, or Pgpool was last asked for what ends with that.
    attached: Option<Instant>,
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
            attached: None,
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
             pcp_attach_node), which also attached what ran and Pgpool had left detached for 8 s."
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
        self.command("pcp_attach_node", &[&node.to_string()])?;
        self.attached = Some(Instant::now());
        Ok(())
    }

    fn switch_over(&mut self, from: usize) -> Result<()> {
        let to = ((from + 1) % NODES).to_string();
        self.command("pcp_promote_node", &["--switchover", &to])?;
        self.attached = Some(Instant::now());
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        let nodes = self.application.look("show pool_nodes")?;
        // the fourth column is what Pgpool thinks of a node, the fifth what PostgreSQL is
        let said = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let away: Vec<&Vec<String>> = nodes.iter().filter(|row| said(row, 3) != "up").collect();
        let is_time = self.attached.is_none_or(|last| last.elapsed() > ATTACH_PAUSE);
        if let Some(row) = away.iter().find(|row| said(row, 4) == "up").filter(|_| is_time) {
            self.attached = Some(Instant::now());
            self.command("pcp_attach_node", &[&said(row, 0)])?;
        }
        ensure!(nodes.len() == NODES && away.is_empty(), "show pool_nodes: {nodes:?}");
        Ok(())
    }

    fn logs(&self) -> String {
        logs_of(&self.cluster, ["pgpool"].into_iter())
    }
}

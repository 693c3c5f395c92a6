use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use lab::{Cluster, Node, Reservation};

use crate::{configuration, process::Process, program::Program};

/// What goes from the keys' folder to each agent, and how it is called there.
const KEY_FILES: [(&str, &str); 3] = [("ca.crt", "ca.crt"), ("{}.crt", "agent.crt"), ("{}.key", "agent.key")];

/// The agent beside one node.
pub(crate) struct Agent {
    port: u16,
    process: Process,
}

/// Makes the keys of all agents and of those who call them, and gives their folder. What a kept demo has stays.
///
/// # Errors
/// When they cannot be made.
pub(crate) fn make_keys(program: &Program, cluster: &Cluster) -> Result<PathBuf> {
    let folder = cluster.directory().join("keys");
    let place = folder.to_string_lossy().into_owned();
    let agents: Vec<String> =
        cluster.nodes().iter().map(|node| format!("{}=127.0.0.1,localhost", node.name())).collect();
    let mut arguments = vec!["keygen", "--dir", &place];
    arguments.extend(agents.iter().flat_map(|agent| ["--agent", agent]));
    program.run(&arguments).context("could not make the agents' keys")?;
    Ok(folder)
}

impl Agent {
    /// Starts the agent of a node, as the user whom the servers run as.
    ///
    /// # Errors
    /// When a file cannot be written, or the process does not start.
    pub(crate) fn start(
        program: &Program,
        cluster: &Arc<Cluster>,
        node: &Node,
        keys: &Path,
        port: Reservation,
    ) -> Result<Self> {
        let folder = cluster.directory().join(format!("agent-{}", node.name()));
        let unmade = || format!("could not make {}", folder.display());
        fs::create_dir_all(&folder).with_context(unmade)?;
        cluster.give_to_server(&folder)?;
        let give = |name: &str, content: &str| -> Result<()> {
            let path = folder.join(name);
            lab::write_private(&path, content)?;
            cluster.give_to_server(&path)
        };
        for (from, to) in KEY_FILES {
            let from = keys.join(from.replace("{}", node.name()));
            let key = fs::read_to_string(&from);
            give(to, &key.with_context(|| format!("could not read {}", from.display()))?)?;
        }
        give("password", &format!("{}\n", cluster.monitor().password))?;
        give("agent.toml", &configuration::agent(cluster, node, port.port()))?;
        // The agent starts the server with the same log as the lab does.
        cluster.give_to_server(&node.log())?;
        let port = port.release();
        let file = folder.join("agent.toml");
        let (program, server) = (program.clone(), Arc::clone(cluster));
        let title = format!("agent {}", node.name());
        let process = Process::start(title, cluster.directory(), move || {
            let mut command = program.as_server(&server);
            command.args(["agent", "-c"]).arg(&file);
            command
        })?;
        Ok(Self { port, process })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender},
};

use anyhow::{Context, Result, anyhow, bail};
use lab::{Cluster, Login};

use crate::{command::Command, configuration::proxy_file, events::Event, program::Program};

/// Does to the cluster what is asked for at the keyboard: breaks it by its own means, and mends it by pgherd's.
pub(crate) struct Operator {
    cluster: Arc<Cluster>,
    program: Program,
    admin: Login,
    /// The configuration file of the proxy that manages.
    file: String,
    /// Its port.
    port: u16,
    /// Its region.
    region: String,
}

/// What is being done, for the time it takes; `None` for commands that are not about the cluster.
pub(crate) fn announce(command: Command) -> Option<String> {
    Some(match command {
        Command::Kill => "killing the primary".to_owned(),
        Command::Switchover(node) => format!("switching over to node {node}"),
        Command::Promote(node) => format!("promoting node {node} by hand"),
        Command::Back(node) => format!("bringing node {node} back"),
        Command::Status | Command::Help | Command::Quit => return None,
    })
}

impl Operator {
    /// `region` and `port` are those of the proxy that manages.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        program: Program,
        admin: Login,
        region: &str,
        port: u16,
    ) -> Self {
        let file = proxy_file(cluster.directory(), region).to_string_lossy().into_owned();
        Self { cluster, program, admin, file, port, region: region.to_owned() }
    }

    /// Does one thing after another, until nobody can ask any more.
    pub(crate) fn serve(&self, requests: &Receiver<Command>, events: &SyncSender<Event>) {
        for command in requests {
            let outcome = self.perform(command).unwrap_or_else(|error| format!("failed: {error:#}"));
            if events.send(Event::Done(outcome)).is_err() {
                return;
            }
        }
    }

    fn perform(&self, command: Command) -> Result<String> {
        match command {
            Command::Kill => {
                let primary = self.cluster.primary()?;
                self.cluster.kill(primary)?;
                Ok(format!("{}, the primary, was killed", self.name(primary)))
            }
            Command::Switchover(node) => {
                let index = self.index(node)?;
                let sql = format!("SWITCHOVER TO {}", self.cluster.node(index).name());
                let done = self.cluster.psql_at(self.port, &self.admin, "pgherd", &sql);
                done.map_err(|error| anyhow!("proxy {}: {}", self.region, refusal(&format!("{error:#}"))))?;
                Ok(format!("{} is the primary now", self.name(index)))
            }
            Command::Promote(node) => self.promote(self.index(node)?),
            Command::Back(node) => self.bring_back(self.index(node)?),
            Command::Status | Command::Help | Command::Quit => Ok(String::new()),
        }
    }

    fn promote(&self, index: usize) -> Result<String> {
        if !self.cluster.node(index).is_running() {
            bail!("{} does not run; b {} brings it back", self.name(index), index + 1);
        }
        if !self.cluster.is_standby(index)? {
            bail!("{} is a primary already", self.name(index));
        }
        self.cluster.promote(index)?;
        Ok(format!("{} was promoted by hand", self.name(index)))
    }

    fn bring_back(&self, index: usize) -> Result<String> {
        let name = self.cluster.node(index).name();
        match self.cluster.primary() {
            Ok(primary) if primary == index => bail!("{} is the primary", self.name(index)),
            Ok(primary) => {
                let source = self.cluster.node(primary).name();
                self.program.run(&["node", "rejoin", name, "--source", source, "-c", &self.file])?;
                Ok(format!("{} is a standby of {}", self.name(index), self.name(primary)))
            }
            // Without a primary to follow, a node can only go on as what it was: a crashed primary recovers.
            Err(_) => {
                self.program.run(&["node", "start", name, "-c", &self.file])?;
                Ok(format!("{} runs again, as what it was", self.name(index)))
            }
        }
    }

    fn index(&self, node: usize) -> Result<usize> {
        let count = self.cluster.nodes().len();
        let index = node.checked_sub(1).filter(|&index| index < count);
        index.with_context(|| format!("there is no node {node}; they are numbered from 1 to {count}"))
    }

    fn name(&self, index: usize) -> String {
        format!("node {} ({})", index + 1, self.cluster.node(index).name())
    }
}

/// What the console refused something with, of all that psql says about it.
fn refusal(words: &str) -> &str {
    let from = words.find("ERROR:").unwrap_or_default();
    words[from..].lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_error_its_message_is_told() {
        let words = "psql ended with exit status: 3: psql:<stdin>:1: ERROR:  us cannot\nHINT:  x";
        assert_eq!(refusal(words), "ERROR:  us cannot");
        assert_eq!(refusal("no psql\nx"), "no psql");
        assert_eq!(refusal(""), "");
    }
}

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::Cluster;
use crate::{
    command::program,
    node::Process,
    postmaster::{Postmaster, StopMode},
};

impl Cluster {
    /// Starts a node with the files it has and waits until it accepts connections. One that runs is left alone.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_node(&self, index: usize) -> Result<()> {
        let node = self.node(index);
        let mut process = node.process();
        match *process {
            Process::Running(_) => return Ok(()),
            Process::Stopped => {}
            Process::Closed => bail!("the cluster is being shut down"),
        }
        let mut command = program(&self.binaries, "postgres", &self.account, node.data());
        command.arg("-D").arg(node.data());
        let started = Postmaster::start(&mut command, node.data(), &node.log());
        *process = Process::Running(started.with_context(|| format!("could not start {}", node.name()))?);
        Ok(())
    }

    /// Stops a node. One that does not run is left alone.
    ///
    /// # Errors
    /// When it does not stop within a minute (it is killed then).
    pub fn stop(&self, index: usize, mode: StopMode) -> Result<()> {
        self.node(index).take_process(Process::Stopped).map_or(Ok(()), |postmaster| postmaster.stop(mode))
    }

    /// Ends all processes of a node at once, as if its machine had lost power. One that does not run is left alone.
    ///
    /// # Errors
    /// When its processes do not disappear.
    pub fn kill(&self, index: usize) -> Result<()> {
        self.node(index).take_process(Process::Stopped).map_or(Ok(()), |postmaster| postmaster.kill())
    }

    /// Stops and starts a node.
    ///
    /// # Errors
    /// Those of [`Cluster::stop`] and [`Cluster::start_node`].
    pub fn restart(&self, index: usize, mode: StopMode) -> Result<()> {
        self.stop(index, mode)?;
        self.start_node(index)
    }

    /// Freezes all processes of a node (SIGSTOP): connections stay open and nothing answers, as behind a network
    /// that drops packets.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self, index: usize) -> Result<()> {
        self.send_all(index, Signal::SIGSTOP)
    }

    /// Lets a frozen node go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self, index: usize) -> Result<()> {
        self.send_all(index, Signal::SIGCONT)
    }

    /// Makes a node read its configuration files again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self, index: usize) -> Result<()> {
        let Some(pid) = self.node(index).pid() else { bail!("{} does not run", self.node(index).name()) };
        crate::signal(pid, Signal::SIGHUP)
    }

    fn send_all(&self, index: usize, signal: Signal) -> Result<()> {
        match &*self.node(index).process() {
            Process::Running(postmaster) => postmaster.send_all(signal),
            Process::Stopped | Process::Closed => bail!("{} does not run", self.node(index).name()),
        }
    }

    /// Stops all nodes for good, cleanly when the files are kept, else quickly. Operations that other threads are in
    /// the middle of fail. Dropping the cluster does the same and removes the files.
    pub fn shut_down(&self) {
        // The primary comes first: its clean end waits until connected standbys have received everything.
        let primary = if self.options.keep { self.primary().ok() } else { None };
        let order = primary.into_iter().chain((0..self.nodes.len()).filter(|&index| Some(index) != primary));
        // Not even a quick end is a kill, after which the kernel would hold the server's shared memory forever.
        let mode = if self.options.keep { StopMode::Fast } else { StopMode::Immediate };
        let postmasters: Vec<_> =
            order.filter_map(|index| self.node(index).take_process(Process::Closed)).collect();
        for postmaster in postmasters {
            // There is nobody left to tell; the warden tries once more.
            let _ = postmaster.stop(mode);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shut_down();
    }
}

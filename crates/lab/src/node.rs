use std::{
    mem,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::postmaster::Postmaster;

/// One PostgreSQL server of a cluster, running or not.
#[derive(Debug)]
pub struct Node {
    name: String,
    region: String,
    port: u16,
    data: PathBuf,
    process: Mutex<Process>,
}

/// What there is of a node besides its files.
#[derive(Debug)]
pub(crate) enum Process {
    /// Nothing.
    Stopped,
    /// A server.
    Running(Postmaster),
    /// Nothing, and nothing may be started any more: the cluster is being shut down.
    Closed,
}

impl Node {
    pub(crate) fn new(name: String, region: String, port: u16, directory: &Path) -> Self {
        let data = directory.join(&name);
        Self { name, region, port, data, process: Mutex::new(Process::Stopped) }
    }

    /// Unique in its cluster: the region, numbered from the second node of a region on (`eu`, `eu2`). Also its
    /// `application_name` as a standby and its `cluster_name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it pretends to stand.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Its TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The file that its server writes its log to.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// The process id of its postmaster while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &mut *self.process() {
            Process::Running(postmaster) => Some(postmaster.pid()),
            Process::Stopped | Process::Closed => None,
        }
    }

    /// Whether its server runs (a frozen one does).
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// The physical replication slot that it streams from when it is a standby.
    #[must_use]
    pub fn slot(&self) -> String {
        format!("lab_{}", self.name)
    }

    /// Its server, locked, as it is at this moment: one operation at a time changes it, but it may have ended by
    /// itself, and others may have started it.
    pub(crate) fn process(&self) -> MutexGuard<'_, Process> {
        // A panic elsewhere does not make the process less real, and it has to be stopped in the end.
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let is_gone = match &mut *process {
            Process::Running(postmaster) => !postmaster.is_running(),
            Process::Stopped => true,
            Process::Closed => false,
        };
        if is_gone {
            *process = Postmaster::find(&self.data).map_or(Process::Stopped, Process::Running);
        }
        process
    }

    /// Takes the server out, for ending it without holding the lock, and leaves `instead`.
    pub(crate) fn take_process(&self, instead: Process) -> Option<Postmaster> {
        match mem::replace(&mut *self.process(), instead) {
            Process::Running(postmaster) => Some(postmaster),
            Process::Stopped | Process::Closed => None,
        }
    }
}

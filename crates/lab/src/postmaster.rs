use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::processes::{children, is_alive, is_zombie, signal, wait_for, works_in};

/// How long a server may take to accept connections: crash recovery on a slow, busy disk included.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long a stop may take before the server is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// How long killed processes may take to disappear.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How a server is stopped (manual, "Shutting Down the Server").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Waits until all clients have left.
    Smart,
    /// Disconnects clients, then shuts down cleanly.
    Fast,
    /// Ends at once; the next start recovers.
    Immediate,
}

impl StopMode {
    fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::SIGTERM,
            Self::Fast => Signal::SIGINT,
            Self::Immediate => Signal::SIGQUIT,
        }
    }
}

/// A running server: the process that forks one more for each connection.
#[derive(Debug)]
pub(crate) enum Postmaster {
    /// Started here, so it is waited for as a child.
    Own(Child),
    /// Started by somebody else in the same data directory, by `pg_ctl start` for example.
    Foreign(u32),
}

impl Postmaster {
    /// Starts `command` and waits until it accepts connections; `log` receives what it prints.
    ///
    /// # Errors
    /// When it ends instead (with the end of its log) or takes too long (it is killed then).
    pub(crate) fn start(command: &mut Command, data: &Path, log: &Path) -> Result<Self> {
        forget_zombie(data);
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| format!("could not open {}", log.display()))?;
        let errors = output.try_clone().context("could not duplicate the log's descriptor")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .context("could not start postgres")?;
        let pid = child.id();
        let mut postmaster = Self::Own(child);
        let waited = wait_for("postgres did not become ready", START_PATIENCE, || {
            if !postmaster.is_running() {
                bail!("postgres ended at once; its log ends with:\n{}", tail(log));
            }
            Ok(is_ready(data, pid).then_some(()))
        });
        if let Err(error) = waited {
            postmaster.kill()?;
            return Err(error);
        }
        Ok(postmaster)
    }

    /// The server that somebody else runs in `data`, if there is one. The process id in its file may be a leftover
    /// that belongs to another process now; a server works in its data directory.
    pub(crate) fn find(data: &Path) -> Option<Self> {
        let content = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid = content.lines().next()?.trim().parse().ok()?;
        (is_alive(pid) && works_in(pid, data)).then_some(Self::Foreign(pid))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Own(child) => child.id(),
            Self::Foreign(pid) => *pid,
        }
    }

    /// Whether it is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        match self {
            Self::Own(child) => matches!(child.try_wait(), Ok(None)),
            Self::Foreign(pid) => is_alive(*pid),
        }
    }

    /// Stops it; kills it when it does not heed.
    ///
    /// # Errors
    /// When it could not be signalled, or had to be killed.
    pub(crate) fn stop(mut self, mode: StopMode) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        signal(self.pid(), mode.signal())?;
        // A frozen server hears nothing but SIGKILL until it is thawed.
        self.send_all(Signal::SIGCONT)?;
        let stopped = self.wait_for_end("postgres did not stop", STOP_PATIENCE);
        if stopped.is_err() {
            self.kill()?;
        }
        stopped
    }

    /// Ends it and all its children as a crash of the machine would: none of them can do anything more.
    ///
    /// # Errors
    /// When a process could not be signalled or does not disappear.
    pub(crate) fn kill(mut self) -> Result<()> {
        let parent = self.pid();
        if !self.is_running() {
            return Ok(());
        }
        // Frozen, it can fork no child that the list would miss.
        signal(parent, Signal::SIGSTOP)?;
        let children = children(parent);
        for &child in &children {
            signal(child, Signal::SIGKILL)?;
        }
        signal(parent, Signal::SIGKILL)?;
        self.wait_for_end("the killed postgres", KILL_PATIENCE)?;
        // The shared memory stays in use, and a restart would be refused, until the last child is gone.
        wait_for("the killed server processes", KILL_PATIENCE, || {
            Ok((!children.iter().any(|&child| is_alive(child))).then_some(()))
        })
    }

    fn wait_for_end(&mut self, what: &str, patience: Duration) -> Result<()> {
        wait_for(what, patience, || Ok((!self.is_running()).then_some(())))
    }

    /// Sends a signal to it and all its children.
    ///
    /// # Errors
    /// When a process could not be signalled.
    pub(crate) fn send_all(&self, what: Signal) -> Result<()> {
        signal(self.pid(), what)?;
        for child in children(self.pid()) {
            signal(child, what)?;
        }
        Ok(())
    }
}

/// Whether the server says so itself in the last line of postmaster.pid, which pg_ctl waits for too; the first line
/// tells a leftover of an earlier run apart.
fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(content) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let mut lines = content.lines();
    let is_own = lines.next().is_some_and(|line| line.trim() == pid.to_string());
    is_own && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

/// Removes the lock files of a server that was killed and that nobody has waited for yet: one that somebody else started
/// is the child of the system's first process, which may take its time, and a new server would take it for a living one.
fn forget_zombie(data: &Path) {
    let file = data.join("postmaster.pid");
    let content = fs::read_to_string(&file).unwrap_or_default();
    let lines: Vec<&str> = content.lines().map(str::trim).collect();
    let [pid, _, _, port, sockets, ..] = lines[..] else { return };
    if pid.parse().is_ok_and(is_zombie) {
        let _ = fs::remove_file(Path::new(sockets).join(format!(".s.PGSQL.{port}.lock")));
        let _ = fs::remove_file(file);
    }
}

/// The last lines of a log, for an error message.
fn tail(log: &Path) -> String {
    const BYTES: u64 = 2_000;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).trim().to_owned()
}

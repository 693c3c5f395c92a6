//! One process of a contender.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use lab::Signal;
use tokio::time::Instant;

/// How long a process may take to end when asked to.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// How often something that has no event is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// A process. It is ended when this is dropped, or by the warden of its folder, should we be killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    farewell: Signal,
}

impl Process {
    /// Starts it with its output in `name.log` of `folder`, which is its working directory. `farewell` is the signal that
    /// it is asked to end by.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(folder: &Path, name: &str, command: &mut Command, farewell: Signal) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let path = folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("could not open {}", path.display()))?;
        let errors = log.try_clone().context("no file descriptor is left")?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = command.spawn();
        let child = child.with_context(|| format!("{} does not start", command.get_program().display()))?;
        let process = Self { child, farewell };
        fs::write(folder.join(format!("{name}.pid")), format!("{}\n", process.child.id()))?;
        Ok(process)
    }

    /// Kills it at once.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended and was waited for may be somebody else by now.
        if let Ok(None) = self.child.try_wait() {
            let _ = lab::signal(self.child.id(), self.farewell);
            let deadline = Instant::now() + END_PATIENCE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(POLL);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a program to its end and gives what it prints.
///
/// # Errors
/// When it fails, with what it says about that.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("could not start {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until something is so.
///
/// # Errors
/// When it is not in time; the text says what was waited for, and the last reason why it was not so.
pub(crate) fn wait_for<T>(what: &str, patience: Duration, mut ready: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match ready() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("{what}: not within {patience:?}")));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// The end of a log, for an error message.
pub(crate) fn tail(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

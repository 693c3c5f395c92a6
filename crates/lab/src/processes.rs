use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::Instant;

/// How often a state that has no event is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Waits until `ready` yields a value.
///
/// # Errors
/// The one of `ready`; a timeout, which names what was awaited.
pub(crate) fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("{what}: nothing after {patience:?}");
        }
        thread::sleep(POLL);
    }
}

/// Sends `signal` to one process; one that is gone already is no error.
///
/// # Errors
/// When the process belongs to somebody else.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(i32::try_from(pid)?), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("could not send {signal} to process {pid}")),
    }
}

/// Whether a process runs: it exists and is no zombie.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    status(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Whether a process has ended, and nobody has waited for it.
pub(crate) fn is_zombie(pid: u32) -> bool {
    status(pid).is_some_and(|(state, _)| state == 'Z')
}

/// The direct children of a process. PostgreSQL's do not share their parent's process group (each calls setsid), so
/// they can only be found by their parent.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| status(pid).is_some_and(|(_, its_parent)| its_parent == parent)).collect()
}

/// Whether a process has `directory` as its working directory.
pub(crate) fn works_in(pid: u32, directory: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|its| its == directory)
}

/// State letter and parent of a process (manual page proc(5), `/proc/pid/stat`).
fn status(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};

    use super::*;

    #[test]
    fn a_child_is_found_by_its_parent_and_is_gone_after_its_end() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children(id()).contains(&child.id()));
        assert!(is_alive(child.id()));
        signal(child.id(), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(!is_alive(child.id()) && !is_zombie(child.id()));
        signal(child.id(), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_wait_ends_with_a_word_about_what_it_waited_for() {
        let error = wait_for("the moon", Duration::ZERO, || Ok(None::<()>)).unwrap_err();
        assert!(error.to_string().contains("the moon"), "{error}");
    }
}

//! Running programs to their end, bounded in time and in what is kept of their output.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

/// Most bytes that are kept of each output of a program: its last ones.
const KEPT_MAX: usize = 16 * 1024;
/// How long a program that is told to end may take before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// How long is read on after a program has ended: what it left running may hold its outputs open for ever.
const READ_ON: Duration = Duration::from_millis(500);

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// What it said last, for an error message.
    pub(crate) fn last_words(&self) -> String {
        const LINES: usize = 6;
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// Why a program did not come to its own end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("could not start {0}")]
    Spawn(String, #[source] std::io::Error),
    #[error("could not wait for the program")]
    Wait(#[source] std::io::Error),
    #[error("it took longer than {0:?}")]
    Timeout(Duration),
    #[error("it was told to end")]
    Stopped,
}

/// Runs `command` in a process group of its own, without input. It is ended when `limit` has passed, or when `stop`
/// completes.
///
/// # Errors
/// [`ProgramError`]. That it fails by its own account is none: see [`Finished::status`].
///
/// # Cancel safety
/// A dropped future kills the program, but not what that has started.
pub(crate) async fn run(
    mut command: Command,
    limit: Duration,
    stop: impl Future<Output = ()>,
) -> Result<Finished, ProgramError> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| ProgramError::Spawn(name, source))?;
    let stdout = Tail::follow(child.stdout.take());
    let stderr = Tail::follow(child.stderr.take());
    let ended = tokio::select! {
        ended = timeout(limit, child.wait()) => ended.map_err(|_| ProgramError::Timeout(limit)),
        () = stop => Err(ProgramError::Stopped),
    };
    match ended {
        Ok(status) => {
            let status = status.map_err(ProgramError::Wait)?;
            let (stdout, stderr) = tokio::join!(stdout.finish(), stderr.finish());
            Ok(Finished { status, stdout, stderr })
        }
        Err(error) => {
            end(&mut child).await;
            Err(error)
        }
    }
}

/// Ends a program and what it has started in its process group: politely, then not.
async fn end(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else { return };
    // gone meanwhile is as good
    let _ = killpg(group, Signal::SIGTERM);
    if timeout(END_PATIENCE, child.wait()).await.is_err() {
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.wait().await;
    } else {
        // whatever did not heed
        let _ = killpg(group, Signal::SIGKILL);
    }
}

/// The end of what a program prints.
struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Tail {
    fn follow(output: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&kept);
        let reading = tokio::spawn(async move {
            let Some(mut output) = output else { return };
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut piece).await {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&piece[..count]);
                let surplus = kept.len().saturating_sub(KEPT_MAX);
                kept.drain(..surplus);
            }
        });
        Self { kept, reading }
    }

    async fn finish(mut self) -> String {
        let _ = timeout(READ_ON, &mut self.reading).await;
        self.reading.abort();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn status_and_both_outputs_are_told() {
        let finished = run(shell("echo out; echo err >&2; exit 3"), LONG, pending()).await.unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(finished.last_words(), "err");
    }

    #[tokio::test]
    async fn only_the_end_of_a_long_output_is_kept() {
        let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done";
        let finished = run(shell(script), LONG, pending()).await.unwrap();
        assert!(finished.stdout.len() <= KEPT_MAX);
        assert!(finished.stdout.ends_with("line 4999\n"));
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_ended_with_what_it_started() {
        let error = run(shell("sleep 1000 & sleep 1000"), Duration::from_millis(50), pending()).await;
        assert!(matches!(error, Err(ProgramError::Timeout(_))), "{error:?}");
        let error = run(shell("sleep 1000"), LONG, std::future::ready(())).await;
        assert!(matches!(error, Err(ProgramError::Stopped)), "{error:?}");
    }

    #[tokio::test]
    async fn what_a_program_leaves_running_does_not_keep_us_waiting() {
        let script = "sleep 1000 & echo $!";
        let finished = run(shell(script), LONG, pending()).await.unwrap();
        let left: i32 = finished.stdout.trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = run(Command::new("/nonexistent/pg_ctl"), LONG, pending()).await.unwrap_err();
        assert!(error.to_string().contains("pg_ctl"), "{error}");
    }
}

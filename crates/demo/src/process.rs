use std::{
    fs::{self, File},
    mem,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use lab::Signal;
use tokio::time::Instant;

/// A process that ended by itself is started again after this time, in which people can see that it is gone.
const RESTART_DELAY: Duration = Duration::from_secs(3);

/// Makes the command that a process runs.
type Make = Box<dyn Fn() -> Command + Send>;

/// A pgherd process that is started again when it ends by itself.
pub(crate) struct Process {
    /// What it is called in words: "proxy eu".
    title: String,
    directory: PathBuf,
    make: Make,
    state: State,
}

enum State {
    Running(Child),
    /// Ended by itself.
    Gone {
        since: Instant,
    },
}

impl Process {
    /// Starts a process; `make` gives the command each time. Its files in `directory` are called after its title.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(
        title: String,
        directory: &Path,
        make: impl Fn() -> Command + Send + 'static,
    ) -> Result<Self> {
        let state = State::Gone { since: Instant::now() };
        let mut process = Self { title, directory: directory.to_owned(), make: Box::new(make), state };
        process.spawn()?;
        Ok(process)
    }

    fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.file("log"));
        let log = log.with_context(|| format!("could not open the log of {}", self.title))?;
        let errors = log.try_clone().context("could not duplicate the log's descriptor")?;
        let child = (self.make)()
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A Ctrl-C in the terminal is for the demo, which stops its processes in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {}", self.title))?;
        // The lab's warden ends what these files name if the demo is killed.
        fs::write(self.file("pid"), format!("{}\n", child.id()))
            .with_context(|| format!("could not write the pid file of {}", self.title))?;
        self.state = State::Running(child);
        Ok(())
    }

    /// `proxy-eu.log` and the like.
    fn file(&self, extension: &str) -> PathBuf {
        self.directory.join(format!("{}.{extension}", self.title.replace(' ', "-")))
    }

    /// Its process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Running(child) => Some(child.id()),
            State::Gone { .. } => None,
        }
    }

    /// Notices that it has ended, and starts it again after a while; tells what happened.
    pub(crate) fn supervise(&mut self) -> Option<String> {
        let ended = match &mut self.state {
            State::Running(child) => child.try_wait().ok().flatten(),
            State::Gone { since } if since.elapsed() < RESTART_DELAY => None,
            State::Gone { .. } => {
                return Some(match self.spawn() {
                    Ok(()) => format!("{} runs again", self.title),
                    Err(error) => {
                        self.state = State::Gone { since: Instant::now() };
                        format!("{error:#}")
                    }
                });
            }
        }?;
        self.state = State::Gone { since: Instant::now() };
        Some(format!("{} {}; see {}", self.title, describe(ended), self.file("log").display()))
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(code)) => format!("ended with status {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Stops processes: all are asked at once, and those that do not heed in time are killed.
pub(crate) fn stop_all<'a>(processes: impl Iterator<Item = &'a mut Process>, patience: Duration) {
    let processes: Vec<&mut Process> = processes.collect();
    for pid in processes.iter().filter_map(|process| process.pid()) {
        let _ = lab::signal(pid, Signal::SIGTERM);
    }
    let deadline = Instant::now() + patience;
    for process in processes {
        let former = mem::replace(&mut process.state, State::Gone { since: Instant::now() });
        let State::Running(mut child) = former else { continue };
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_file(process.file("pid"));
    }
}

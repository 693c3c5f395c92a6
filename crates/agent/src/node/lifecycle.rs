//! Starting and stopping.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Node, POLL, Ticket, machine,
    processes::{self, Leftover, Postmaster, Says},
};
use crate::{
    api::{Kind, Refusal, StopMode},
    program::{self, ProgramError},
    settings::OldFolder,
};

/// How long the children of a postmaster that is gone may take to notice.
const LEFTOVERS: Duration = Duration::from_secs(10);
/// How long a server may take to write its file after the command that starts it has returned.
const SEEN: Duration = Duration::from_secs(5);

impl Ticket {
    /// Starts the server and waits until it accepts connections. One that still recovers when the time is over goes on.
    pub(super) async fn start(&mut self, limit: Duration) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        let _server = node.server.lock().await;
        node.refuse_start()?;
        self.begin("starting PostgreSQL");
        if node.launch(limit).await? == Launch::RanAlready {
            self.did("PostgreSQL runs already");
            return Ok(());
        }
        match Postmaster::find(&node.places.data).map(|postmaster| postmaster.says) {
            Some(Says::Ready | Says::Standby) => {
                self.did("started PostgreSQL");
                self.forget_old_folder();
            }
            Some(Says::Starting | Says::Stopping) => {
                self.did(format!("started PostgreSQL, which still recovers after {limit:?}"));
            }
            None => return Err(node.not_started("it ended at once")),
        }
        Ok(())
    }

    /// Stops the server and waits until it is gone.
    pub(super) async fn stop(&mut self, mode: StopMode, limit: Duration) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        let _server = node.server.lock().await;
        self.stop_server(mode, limit).await
    }

    /// The same for whoever holds the server already.
    pub(super) async fn stop_server(&mut self, mode: StopMode, limit: Duration) -> Result<(), Refusal> {
        self.begin("stopping PostgreSQL");
        match self.node.clone().halt(mode, limit).await? {
            Halt::WasStopped => self.did("PostgreSQL was stopped already"),
            Halt::Stopped => self.did(format!("stopped PostgreSQL ({mode})")),
        }
        Ok(())
    }

    /// The copy that took the old data's place works.
    fn forget_old_folder(&mut self) {
        let places = &self.node.places;
        if self.node.settings.source.old_folder == OldFolder::Keep || !places.before_reinit().exists() {
            return;
        }
        match places.discard(&places.before_reinit()) {
            Ok(()) => self.did("removed the data of before the copy"),
            Err(error) => tracing::warn!(%error, "could not remove the data of before the copy"),
        }
        self.node.sweep();
    }
}

/// What became of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    WasStopped,
    Stopped,
}

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Launch {
    RanAlready,
    Launched,
}

impl Node {
    /// Why it may not be started.
    pub(super) fn refuse_start(&self) -> Result<(), Refusal> {
        if *self.fenced.borrow() {
            Err(Refusal::new(Kind::Fenced, "the node is fenced; unfence it first"))
        } else if self.places.own().exists() {
            let message =
                "a rewind was interrupted and left data that must not be started; rewind again or reinit";
            Err(Refusal::new(Kind::Unfinished, message))
        } else if !self.places.has_data() {
            Err(Refusal::new(Kind::NoData, format!("there are no data in {}", self.places.data.display())))
        } else {
            Ok(())
        }
    }

    async fn launch(&self, limit: Duration) -> Result<Launch, Refusal> {
        let deadline = Instant::now() + limit;
        match Postmaster::find(&self.places.data).map(|postmaster| postmaster.says) {
            Some(Says::Ready | Says::Standby) => return Ok(Launch::RanAlready),
            Some(Says::Stopping) => {
                self.wait_until_gone(limit).await?;
            }
            Some(Says::Starting) => {
                self.wait_until_ready(deadline).await?;
                return Ok(Launch::Launched);
            }
            None => self.wait_for_leftovers().await?,
        }
        let finished = program::run(self.start_command(limit), limit + POLL, self.until_fenced()).await;
        let runs = || Postmaster::find(&self.places.data).is_some();
        match finished {
            Ok(finished) if finished.status.success() => {
                self.wait_until_seen(deadline).await;
                self.wait_until_ready(deadline).await?;
            }
            Ok(_) if runs() => self.wait_until_ready(deadline).await?,
            Ok(finished) => return Err(self.not_started(&finished.last_words())),
            Err(ProgramError::Timeout(_)) if runs() => {}
            Err(ProgramError::Stopped) => {
                return Err(Refusal::new(Kind::Fenced, "the node was fenced while it was being started"));
            }
            Err(error @ (ProgramError::Timeout(_) | ProgramError::Spawn(..) | ProgramError::Wait(_))) => {
                return Err(super::programs::refused(error));
            }
        }
        Ok(Launch::Launched)
    }

    fn start_command(&self, limit: Duration) -> tokio::process::Command {
        let postgres = &self.settings.postgres;
        if let Some(script) = &postgres.start_command {
            return self.shell(script);
        }
        let mut command = self.command("pg_ctl");
        // the server's messages are in the language of its own configuration
        command.env_remove("LC_ALL").arg("-D").arg(&self.places.data);
        command.arg("-l").arg(self.log_file()).args(["-w", "-t", &limit.as_secs().max(1).to_string()]);
        if let Some(path) = &postgres.config_file {
            // pg_ctl hands this to a shell
            let path = path.to_string_lossy().replace('\'', r"'\''");
            command.arg("-o").arg(format!("-c config_file='{path}'"));
        }
        command.arg("start");
        command
    }

    fn log_file(&self) -> PathBuf {
        self.settings.postgres.log_file.clone().unwrap_or_else(|| self.places.log())
    }

    fn not_started(&self, words: &str) -> Refusal {
        let mut message = format!("PostgreSQL did not start: {words}");
        let tail = tail(&self.log_file());
        if self.settings.postgres.start_command.is_none() && !tail.is_empty() {
            message.push_str(&format!("\nits log ends with:\n{tail}"));
        }
        Refusal::new(Kind::StartFailed, message)
    }

    /// An operator's command may return before the server has written its file.
    async fn wait_until_seen(&self, deadline: Instant) {
        let patience = deadline.min(Instant::now() + SEEN);
        while Postmaster::find(&self.places.data).is_none() && Instant::now() < patience {
            sleep(POLL).await;
        }
    }

    /// Until it is ready, gone, fenced, or the deadline: the caller looks which.
    async fn wait_until_ready(&self, deadline: Instant) -> Result<(), Refusal> {
        let ready = async {
            let is_underway = || {
                Postmaster::find(&self.places.data)
                    .is_some_and(|postmaster| postmaster.says == Says::Starting)
            };
            while is_underway() {
                sleep(POLL).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout_at(deadline, ready) => Ok(()),
            () = self.until_fenced() => {
                Err(Refusal::new(Kind::Fenced, "the node was fenced while it was being started"))
            }
        }
    }

    /// Stops the server; nothing of it is left when that succeeds.
    pub(super) async fn halt(&self, mode: StopMode, limit: Duration) -> Result<Halt, Refusal> {
        let Some(postmaster) = Postmaster::find(&self.places.data) else {
            self.wait_for_leftovers().await?;
            return Ok(Halt::WasStopped);
        };
        if let Some(script) = &self.settings.postgres.stop_command {
            let mut command = self.shell(script);
            command.env("PGHERD_STOP_MODE", mode.to_string());
            let finished = program::run(command, limit, self.until_the_end()).await;
            let finished = finished.map_err(super::programs::refused)?;
            if !finished.status.success() {
                let message = format!("stop_command failed: {}", finished.last_words());
                return Err(Refusal::new(Kind::StopFailed, message));
            }
        } else {
            let signal = match mode {
                StopMode::Fast => Signal::SIGINT,
                StopMode::Immediate => Signal::SIGQUIT,
            };
            processes::signal(postmaster.pid, signal)
                .map_err(|error| Refusal::new(Kind::StopFailed, format!("could not signal it: {error}")))?;
            self.wake();
        }
        self.wait_until_gone(limit).await?;
        Ok(Halt::Stopped)
    }

    /// A frozen process hears nothing but SIGKILL until it is thawed.
    fn wake(&self) {
        for pid in processes::servers_in(&self.places.data) {
            let _ = processes::signal(pid, Signal::SIGCONT);
        }
    }

    async fn wait_until_gone(&self, limit: Duration) -> Result<(), Refusal> {
        let gone = async {
            while Postmaster::find(&self.places.data).is_some() {
                sleep(POLL).await;
            }
            while !processes::servers_in(&self.places.data).is_empty() {
                sleep(POLL).await;
            }
        };
        let message =
            || Refusal::new(Kind::Timeout, format!("PostgreSQL is still shutting down after {limit:?}"));
        timeout(limit, gone).await.map_err(|_| message())
    }

    /// Children of a postmaster that was killed; while they live, its shared memory is in use.
    pub(super) async fn wait_for_leftovers(&self) -> Result<(), Refusal> {
        if !processes::servers_in(&self.places.data).is_empty() {
            self.wake();
            self.wait_until_gone(LEFTOVERS).await.map_err(|_| {
                Refusal::new(Kind::StopFailed, "processes of a server that is gone do not end")
            })?;
        }
        let deadline = Instant::now() + SEEN;
        while processes::leftover(&self.places.data) == Leftover::Exiting && Instant::now() < deadline {
            sleep(POLL).await;
        }
        if processes::leftover(&self.places.data) == Leftover::Zombie {
            tracing::warn!("removing the lock files of a server that has ended and was not waited for");
            for lock in processes::locks(&self.places.data) {
                fs::remove_file(&lock)
                    .map_err(|error| machine(&format!("could not remove {}", lock.display()), &error))?;
            }
        }
        Ok(())
    }

    /// Kills whatever is left of it.
    pub(super) async fn kill(&self) -> Result<(), Refusal> {
        for pid in processes::servers_in(&self.places.data) {
            processes::signal(pid, Signal::SIGKILL)
                .map_err(|error| machine("could not kill PostgreSQL", &error))?;
        }
        self.wait_until_gone(LEFTOVERS).await
    }

    /// Removes what was discarded, in its own time.
    pub(super) fn sweep(&self) {
        let places = self.places.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = places.sweep() {
                tracing::warn!(%error, "could not remove {}", places.removing().display());
            }
        });
    }
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    const BYTES: u64 = 1500;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let start = file.metadata()?.len().saturating_sub(BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).trim().to_owned()
}

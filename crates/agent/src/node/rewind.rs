//! `rewind`: back to where the history of another server was left.

use std::{fs, future::pending, sync::Arc};

use tokio::time::Instant;

use super::{Node, Ticket, limit, machine, own::Own, programs::refused};
use crate::{
    api::{Kind, Refusal, SourceRequest, StopMode},
    program::{self, Finished},
};

/// States of a control file after which there is nothing to recover (`pg_controldata`).
const CLEAN: [&str; 2] = ["shut down", "shut down in recovery"];

impl Ticket {
    /// Stops the server, recovers it where it crashed, rewinds it and makes it a standby of the source. What can be
    /// known beforehand is found out by a dry run, which changes nothing.
    pub(super) async fn rewind(&mut self, request: &SourceRequest) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        let deadline = Instant::now() + limit(request.timeout_ms, node.settings.source.copy_timeout);
        if !node.places.has_data() {
            return Err(Refusal::new(Kind::NoData, "there are no data to rewind"));
        }
        let password = node.password()?;
        let replication = node.replication().await;
        let facts = self.wait_for_checkpoint(request, password.as_deref()).await?;
        self.check_system(Some(&node.control().await?.system_identifier), &facts)?;
        let _server = node.server.lock().await;
        self.stop_server(StopMode::Fast, node.settings.postgres.stop_timeout).await?;
        self.recover(deadline).await?;
        self.begin("finding out whether a rewind is possible");
        let dry = node.pg_rewind(request, password.as_deref(), Rewind::Dry, deadline).await?;
        if !dry.status.success() {
            return Err(refusal(&dry));
        }
        if says_no_need(&dry) && !node.is_kept(request, password.as_deref()).await? {
            let message = format!(
                "{}:{} does not have the WAL any more that the node would ask it for",
                request.host, request.port
            );
            return Err(Refusal::new(Kind::WalGone, message));
        }
        node.put_own_aside(&replication)?;
        if says_no_need(&dry) {
            self.did("no rewind is needed: the histories did not part");
        } else {
            self.begin("rewinding");
            let real = node.pg_rewind(request, password.as_deref(), Rewind::Real, deadline).await?;
            if !real.status.success() {
                let message = format!("pg_rewind failed half-way: {}", real.last_words());
                return Err(Refusal::new(Kind::RewindFailed, message));
            }
            self.did(format!("rewound to {}:{}", request.host, request.port));
        }
        node.make_standby(&node.places.data, Own::Aside, request, &replication, password.as_deref())?;
        self.ensure_slot(request, &replication, password.as_deref()).await;
        self.did(format!("made it a standby of {}:{}", request.host, request.port));
        node.own_is_back()
    }

    /// Brings a crashed server to a clean end without letting anybody in, as `pg_rewind` wants it. Its own way of doing
    /// so fails for a standby, and recycles WAL that it then misses.
    async fn recover(&mut self, deadline: Instant) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        let control = node.control().await?;
        if CLEAN.contains(&control.state.as_str()) {
            return Ok(());
        }
        self.begin("recovering from a crash");
        let signal = node.places.data.join("standby.signal");
        let aside = node.places.standby_aside();
        let is_standby = signal.exists();
        // A single-user server does not run as a standby.
        if is_standby {
            fs::rename(&signal, &aside).map_err(|error| machine("could not move standby.signal", &error))?;
        }
        let mut command = node.command("postgres");
        command.arg("--single").arg("-D").arg(&node.places.data);
        if let Some(path) = &node.settings.postgres.config_file {
            command.arg("-c").arg(format!("config_file={}", path.display()));
        }
        // What the rewind has to read must not be recycled by the checkpoint at the end, nor a history that nobody
        // followed be archived.
        command.args([
            "-c",
            "wal_keep_size=1TB",
            "-c",
            "max_slot_wal_keep_size=-1",
            "-c",
            "archive_command=false",
        ]);
        command.arg("template1");
        let finished = node.run_long(command, deadline.saturating_duration_since(Instant::now())).await;
        if is_standby {
            fs::rename(&aside, &signal)
                .map_err(|error| machine("could not put standby.signal back", &error))?;
        }
        let finished = finished?;
        if !finished.status.success() {
            let message = format!("the crashed server does not recover: {}", finished.last_words());
            return Err(Refusal::new(Kind::RewindFailed, message));
        }
        self.did("recovered from a crash");
        Ok(())
    }
}

/// Whether a rewind changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewind {
    Dry,
    Real,
}

impl Node {
    async fn pg_rewind(
        &self,
        source: &SourceRequest,
        password: Option<&str>,
        rewind: Rewind,
        deadline: Instant,
    ) -> Result<Finished, Refusal> {
        let mut command = self.client("pg_rewind", source, password);
        command.arg("--target-pgdata").arg(&self.places.data);
        // an empty one would do, all being in the environment, but says nothing to a reader of `ps`
        command.args(["--source-server", "application_name=pgherd_rewind"]);
        if rewind == Rewind::Dry {
            command.arg("--dry-run");
        }
        if self.configured("restore_command").await.is_ok_and(|command| !command.is_empty()) {
            command.arg("--restore-target-wal");
            if let Some(path) =
                self.settings.postgres.config_file.as_ref().filter(|_| self.has_config_option())
            {
                command.arg("--config-file").arg(path);
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match rewind {
            Rewind::Dry => self.run_long(command, left).await,
            // cut short it would leave data that cannot be used, so an agent that is told to end waits for it
            Rewind::Real => program::run(command, left, pending()).await.map_err(refused),
        }
    }

    /// `pg_rewind --config-file` came with PostgreSQL 15.
    fn has_config_option(&self) -> bool {
        self.places.major_version().is_some_and(|major| major >= 15)
    }
}

fn says_no_need(finished: &Finished) -> bool {
    [&finished.stdout, &finished.stderr].iter().any(|text| text.contains("no rewind required"))
}

/// What `pg_rewind` means, by its words in the C locale (src/bin/pg_rewind: pg_rewind.c, parsexlog.c).
fn refusal(finished: &Finished) -> Refusal {
    let text = format!("{}\n{}", finished.stdout, finished.stderr);
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    let kind = if says(&["different systems", "not compatible with this version"]) {
        Kind::OtherSystem
    } else if says(&["wal_log_hints"]) {
        Kind::NoHints
    } else if says(&["could not find common ancestor"]) {
        Kind::NoCommonHistory
    } else if says(&["permission denied", "must be superuser"]) {
        Kind::NotPermitted
    } else if says(&["could not find previous WAL record", "could not read WAL record", "pg_wal/"]) {
        Kind::WalGone
    } else if says(&["connection to server", "could not connect", "could not translate host name"]) {
        Kind::SourceUnreachable
    } else {
        Kind::RewindFailed
    };
    Refusal::new(kind, format!("pg_rewind cannot: {}", finished.last_words()))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

    use super::*;

    #[track_caller]
    fn check(stderr: &str, expected: Kind) {
        let finished =
            Finished { status: ExitStatus::from_raw(256), stdout: String::new(), stderr: stderr.to_owned() };
        assert_eq!(refusal(&finished).kind, expected, "{stderr}");
    }

    #[test]
    fn the_words_of_pg_rewind_are_understood() {
        check("pg_rewind: error: source and target clusters are from different systems", Kind::OtherSystem);
        check(
            "pg_rewind: error: target server needs to use either data checksums or \"wal_log_hints = on\"",
            Kind::NoHints,
        );
        check("pg_rewind: error: could not find previous WAL record at 0/3000028", Kind::WalGone);
        check(
            "pg_rewind: error: could not open file \"/d/pg_wal/000000010000000000000003\": No such file or directory",
            Kind::WalGone,
        );
        check(
            "pg_rewind: error: could not find common ancestor of the source and target cluster's timelines",
            Kind::NoCommonHistory,
        );
        check(
            "pg_rewind: error: connection to server at \"127.0.0.1\", port 1 failed: Connection refused",
            Kind::SourceUnreachable,
        );
        check("ERROR:  permission denied for function pg_read_binary_file", Kind::NotPermitted);
        check("pg_rewind: error: the moon is full", Kind::RewindFailed);
    }
}

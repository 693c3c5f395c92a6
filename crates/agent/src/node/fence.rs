//! The fence: a node that must not take writes, not even from clients that know no proxy.

use std::{fs, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Node, POLL, Ticket, machine, places, processes::Postmaster};
use crate::api::{Kind, Refusal, StopMode, Verb};

/// How long an immediate stop may take; PostgreSQL itself kills its children after five seconds of it.
const IMMEDIATE: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody else has started a fenced server.
const WATCH: Duration = Duration::from_millis(500);

const MARKER: &str = "\
This node is fenced: its PostgreSQL must not run until `unfence` is asked of the agent (`pgherd node unfence`).
";

impl Ticket {
    /// Puts the marker up, which survives restarts of everything, and ends the server by whatever it takes.
    pub(super) async fn fence(&mut self) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        // before all else: from here on nothing starts
        places::write_whole(&node.places.fence(), MARKER.as_bytes())
            .map_err(|error| machine("could not write the fence's marker", &error))?;
        node.fenced.send_replace(true);
        self.did("put the fence up");
        loop {
            if let Ok(_server) = node.server.try_lock() {
                self.did(node.put_down().await?);
                return Ok(());
            }
            // a rewind and a copy stop the server, and never start it
            let ends_stopped = node
                .turn()
                .busy
                .as_ref()
                .is_some_and(|busy| matches!(busy.verb, Verb::Rewind | Verb::Reinit));
            if ends_stopped && Postmaster::find(&node.places.data).is_none() {
                self.did("PostgreSQL was stopped already");
                return Ok(());
            }
            sleep(POLL).await;
        }
    }

    /// Takes the marker away. Starts nothing.
    pub(super) async fn unfence(&mut self) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        let _server = node.server.lock().await;
        match fs::remove_file(node.places.fence()) {
            Ok(()) => self.did("took the fence away"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.did("there was no fence"),
            Err(error) => return Err(machine("could not remove the fence's marker", &error)),
        }
        places::sync(node.places.parent()).map_err(|error| machine("could not make it last", &error))?;
        node.fenced.send_replace(false);
        Ok(())
    }
}

impl Node {
    /// Fast, else immediate, else killed.
    async fn put_down(&self) -> Result<&'static str, Refusal> {
        let was_running = Postmaster::find(&self.places.data).is_some();
        if self.halt(StopMode::Fast, self.settings.postgres.fence_timeout).await.is_ok() {
            return Ok(if was_running {
                "stopped PostgreSQL (fast)"
            } else {
                "PostgreSQL was stopped already"
            });
        }
        if self.halt(StopMode::Immediate, IMMEDIATE).await.is_ok() {
            return Ok("stopped PostgreSQL (immediate)");
        }
        self.kill().await.map_err(|error| Refusal::new(Kind::StopFailed, error.message))?;
        Ok("killed PostgreSQL")
    }

    /// Stops a fenced server that somebody else has started. Never completes.
    pub(crate) async fn guard(&self) {
        loop {
            sleep(WATCH).await;
            if !*self.fenced.borrow() || Postmaster::find(&self.places.data).is_none() {
                continue;
            }
            let Ok(_server) = self.server.try_lock() else { continue };
            tracing::warn!("somebody started a fenced server; it is stopped again");
            match self.put_down().await {
                Ok(how) => tracing::info!("{how}"),
                Err(error) => tracing::error!("the fenced server still runs: {error}"),
            }
        }
    }
}

//! `reinit`: the data of another server in the place of the node's own.

use std::{fs, io, path::Path, sync::Arc};

use tokio::time::Instant;

use super::{Node, Ticket, control, limit, machine, own::Own, places, processes::Postmaster, source::Facts};
use crate::{
    api::{Kind, Refusal, SourceRequest, StopMode},
    settings::CopyCheck,
};

impl Ticket {
    /// Copies beside the data folder, checks the copy, and swaps the two. Until the swap nothing has changed, and after
    /// it all has. The server, if it runs, goes on until then, unless the copy needs the slot that it streams from;
    /// should the copy fail, it is started again.
    pub(super) async fn reinit(&mut self, request: &SourceRequest) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        node.places.settle().map_err(|error| machine("the folders are in disorder", &error))?;
        node.sweep();
        let ran = Postmaster::find(&node.places.data).is_some();
        let done = self.copy_and_swap(request).await;
        if done.is_err() {
            let _ = node.places.discard(&node.places.copying());
            node.sweep();
            if ran && Postmaster::find(&node.places.data).is_none() && node.refuse_start().is_ok() {
                let again = self.start(node.settings.postgres.start_timeout).await;
                let _ = again.inspect_err(|error| tracing::warn!("PostgreSQL is not back: {error}"));
            }
        }
        done
    }

    async fn copy_and_swap(&mut self, request: &SourceRequest) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        let deadline = Instant::now() + limit(request.timeout_ms, node.settings.source.copy_timeout);
        let password = node.password()?;
        let facts = node.facts(request, password.as_deref()).await?;
        let own_system = node.control().await.ok().map(|control| control.system_identifier);
        self.check_system(own_system.as_deref(), &facts)?;
        node.check_layout(&facts)?;
        let replication = node.replication().await;
        let stop_timeout = node.settings.postgres.stop_timeout;
        if request.slot.is_some() && Postmaster::find(&node.places.data).is_some() {
            self.stop(StopMode::Fast, stop_timeout).await?;
        }
        self.copy(request, password.as_deref(), &facts, deadline).await?;
        let own = if node.places.own().exists() {
            Own::Aside
        } else if node.places.has_data() {
            Own::InPlace
        } else {
            Own::Nothing
        };
        node.make_standby(&node.places.copying(), own, request, &replication, password.as_deref())?;
        self.ensure_slot(request, &replication, password.as_deref()).await;

        let _server = node.server.lock().await;
        self.stop_server(StopMode::Fast, stop_timeout).await?;
        self.begin("swapping the copy in");
        node.swap().map_err(|error| machine("could not swap the copy in", &error))?;
        self.did(format!("took the place of the old data as a standby of {}:{}", request.host, request.port));
        if node.places.own().exists() {
            node.own_is_back()?;
        }
        Ok(())
    }

    async fn copy(
        &mut self,
        request: &SourceRequest,
        password: Option<&str>,
        facts: &Facts,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        let place = node.places.copying();
        self.begin("copying");
        let mut command = node.client("pg_basebackup", request, password);
        // a physical replication connection belongs to no database
        command.env_remove("PGDATABASE").arg("-D").arg(&place);
        command.args(["--wal-method=stream", "--checkpoint=fast", "--no-password", "--label=pgherd"]);
        if let Some(slot) = &request.slot {
            command.args(["--slot", slot]);
        }
        let left = || deadline.saturating_duration_since(Instant::now());
        let finished = node.run_long(command, left()).await?;
        if !finished.status.success() {
            return Err(Refusal::new(
                Kind::CopyFailed,
                format!("pg_basebackup failed: {}", finished.last_words()),
            ));
        }
        self.did(format!("copied {}:{}", request.host, request.port));
        self.begin("checking the copy");
        let text = {
            let mut command = node.command("pg_controldata");
            command.arg("-D").arg(&place);
            node.run_long(command, left()).await?.stdout
        };
        let system = control::parse(&text).map(|control| control.system_identifier);
        if system.as_deref() != Some(&facts.system_identifier) {
            return Err(Refusal::new(Kind::CopyFailed, "the copy is not of the system that was asked for"));
        }
        self.verify(&place, left()).await
    }

    /// Compares the copy with its manifest.
    async fn verify(&mut self, place: &Path, limit: std::time::Duration) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        let program = node.program_path("pg_verifybackup");
        if program.is_absolute() && !program.is_file() {
            tracing::warn!(
                "there is no pg_verifybackup; the copy's files are not compared with its manifest"
            );
            return Ok(());
        }
        let mut command = node.command("pg_verifybackup");
        command.arg("--quiet").arg("--exit-on-error");
        if node.settings.source.check == CopyCheck::Files {
            command.arg("--skip-checksums");
        }
        command.arg(place);
        let finished = node.run_long(command, limit).await?;
        if !finished.status.success() {
            return Err(Refusal::new(
                Kind::CopyFailed,
                format!("the copy is not whole: {}", finished.last_words()),
            ));
        }
        self.did("checked the copy");
        Ok(())
    }
}

impl Node {
    /// That a copy could take the place of the data.
    fn check_layout(&self, facts: &Facts) -> Result<(), Refusal> {
        let data = self.places.data.display();
        let has_links = |folder: &str| {
            let entries = fs::read_dir(self.places.data.join(folder)).into_iter().flatten().flatten();
            entries.count() > 0
        };
        let wal = self.places.data.join("pg_wal");
        let message = if self.places.is_mount_point() {
            format!("{data} is a mount point and cannot be renamed; put the data one folder further down")
        } else if facts.tablespaces > 0 || has_links("pg_tblspc") {
            "there are tablespaces, whose folders cannot be swapped together with the data; copy this node by hand".to_owned()
        } else if fs::symlink_metadata(&wal).is_ok_and(|metadata| metadata.is_symlink()) {
            format!(
                "{} is a symbolic link, which a copy would not keep; copy this node by hand",
                wal.display()
            )
        } else {
            return Ok(());
        };
        Err(Refusal::new(Kind::Layout, message))
    }

    /// The copy takes the data folder's name. Wherever this is interrupted, [`places::Places::settle`] finds either the
    /// old data or the new ones as a whole.
    fn swap(&self) -> io::Result<()> {
        let places = &self.places;
        // pg_basebackup has seen to the rest
        places::sync(&places.copying())?;
        places.discard(&places.before_reinit())?;
        fs::rename(places.copying(), places.copied())?;
        places::sync(places.parent())?;
        if places.data.exists() {
            fs::rename(&places.data, places.before_reinit())?;
        }
        fs::rename(places.copied(), &places.data)?;
        places::sync(places.parent())?;
        self.sweep();
        Ok(())
    }
}

//! The server that a node copies from.

use std::{fs, time::Duration};

use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{Node, Ticket, machine, own::Replication};
use crate::{
    api::{Kind, Refusal, SourceRequest},
    program::{self, Finished},
};

/// How long a question may take.
const ASK: Duration = Duration::from_secs(15);
/// How long a promoted server may take to write a checkpoint on its new timeline.
const CHECKPOINT: Duration = Duration::from_secs(60);
/// How often it is asked meanwhile.
const CHECKPOINT_POLL: Duration = Duration::from_millis(250);

/// What a source says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) system_identifier: String,
    /// Of its last checkpoint, which is what `pg_rewind` reads.
    pub(super) timeline: u32,
    /// That it writes on; 0 for a standby.
    pub(super) written_timeline: u32,
    /// How many tablespaces it has besides the two that every server has.
    pub(super) tablespaces: u32,
}

impl Node {
    /// The password to log in to a source with, read anew, so that it can be changed at any time.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn password(&self) -> Result<Option<String>, Refusal> {
        let Some(path) = &self.settings.source.password_file else { return Ok(None) };
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => Err(machine(&format!("could not read {}", path.display()), &error)),
        }
    }

    /// A program that connects to the source. What it needs to log in is in its environment, which only its own user
    /// can read, not among its arguments.
    pub(super) fn client(&self, name: &str, source: &SourceRequest, password: Option<&str>) -> Command {
        let settings = &self.settings.source;
        let mut command = self.command(name);
        command
            .env("PGHOST", &source.host)
            .env("PGPORT", source.port.to_string())
            .env("PGUSER", &settings.user)
            .env("PGDATABASE", &settings.database)
            .env("PGSSLMODE", &settings.ssl_mode)
            .env("PGCONNECT_TIMEOUT", "10")
            .env("PGAPPNAME", "pgherd agent");
        if let Some(path) = &settings.root_certificate {
            command.env("PGSSLROOTCERT", path);
        }
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        command
    }

    async fn ask(
        &self,
        source: &SourceRequest,
        password: Option<&str>,
        sql: &str,
    ) -> Result<Finished, Refusal> {
        let mut command = self.client("psql", source, password);
        command.args(["-X", "-q", "-w", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        program::run(command, ASK, self.until_the_end()).await.map_err(super::programs::refused)
    }

    /// Asks the source about itself.
    ///
    /// # Errors
    /// [`Kind::SourceUnreachable`], mostly.
    pub(super) async fn facts(
        &self,
        source: &SourceRequest,
        password: Option<&str>,
    ) -> Result<Facts, Refusal> {
        // the first eight digits of a segment's name are its timeline
        const SQL: &str = "select system_identifier, timeline_id, \
            case when pg_is_in_recovery() then 0 \
            else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end, \
            (select count(*) from pg_tablespace where spcname not in ('pg_default', 'pg_global')) \
            from pg_control_system(), pg_control_checkpoint()";
        let finished = self.ask(source, password, SQL).await?;
        if !finished.status.success() {
            let message = format!("could not ask {}:{}: {}", source.host, source.port, finished.last_words());
            return Err(Refusal::new(Kind::SourceUnreachable, message));
        }
        let parse = || {
            let mut columns = finished.stdout.trim().split('|');
            Some(Facts {
                system_identifier: columns.next()?.to_owned(),
                timeline: columns.next()?.parse().ok()?,
                written_timeline: columns.next()?.parse().ok()?,
                tablespaces: columns.next()?.parse().ok()?,
            })
        };
        parse().ok_or_else(|| Refusal::new(Kind::Machine, "the source did not say what it was asked"))
    }
}

impl Node {
    /// Whether the source has the WAL that the node's stopped server would ask it for as its standby. A server that was away
    /// for long needs no rewind, and could not follow all the same. What may come from an archive, or may not be seen, is
    /// taken to be there.
    pub(super) async fn is_kept(
        &self,
        source: &SourceRequest,
        password: Option<&str>,
    ) -> Result<bool, Refusal> {
        if self.configured("restore_command").await.is_ok_and(|command| !command.is_empty()) {
            return Ok(true);
        }
        let control = self.control().await?;
        let ends = [&control.checkpoint_lsn, &control.min_recovery_lsn];
        if ends.iter().any(|lsn| !lsn.chars().all(|c| c.is_ascii_hexdigit() || c == '/')) {
            return Ok(true);
        }
        // a segment's name is its timeline, and its number in two parts
        let sql = format!(
            "with needed as (select bytes, div(greatest('{}'::pg_lsn, '{}'::pg_lsn) - '0/0'::pg_lsn, bytes) as number \
             from (select pg_size_bytes(current_setting('wal_segment_size'))::numeric as bytes) as size), \
             named as (select lpad(upper(to_hex(div(number, div(4294967296, bytes))::bigint)), 8, '0') \
             || lpad(upper(to_hex(mod(number, div(4294967296, bytes))::bigint)), 8, '0') as name from needed) \
             select exists (select from pg_ls_waldir() as file, named where file.name ~ '^[0-9A-F]{{24}}$' \
             and substr(file.name, 9) collate \"C\" <= named.name)",
            ends[0], ends[1]
        );
        let finished = self.ask(source, password, &sql).await?;
        Ok(!finished.status.success() || finished.stdout.trim() != "f")
    }
}

impl Ticket {
    /// Waits until the source's control file is on the timeline that it writes on, or is said to be on. After a promotion that takes
    /// a checkpoint, and before it `pg_rewind` would find nothing to do.
    pub(super) async fn wait_for_checkpoint(
        &self,
        source: &SourceRequest,
        password: Option<&str>,
    ) -> Result<Facts, Refusal> {
        let node = &self.node;
        let mut facts = node.facts(source, password).await?;
        let wanted = source.timeline.unwrap_or(0).max(facts.written_timeline);
        if facts.timeline >= wanted {
            return Ok(facts);
        }
        self.begin("waiting for a checkpoint of the new primary");
        // not every role may; then the one that comes by itself is waited for
        let _ = node.ask(source, password, "checkpoint").await;
        let deadline = Instant::now() + CHECKPOINT;
        loop {
            facts = node.facts(source, password).await?;
            if facts.timeline >= wanted {
                return Ok(facts);
            }
            if Instant::now() > deadline {
                let message = format!(
                    "{}:{} is on timeline {} by its last checkpoint, not {wanted}; run CHECKPOINT there, or grant \
                     pg_checkpoint to {}",
                    source.host, source.port, facts.timeline, node.settings.source.user
                );
                return Err(Refusal::new(Kind::SourceBehind, message));
            }
            sleep(CHECKPOINT_POLL).await;
        }
    }

    /// Has the source keep what the standby will ask for. A standby that was rewound while others wrote is asked nothing
    /// before it has streamed, so that nobody could learn from it later which slot that takes. Without the right to make
    /// one the standby may still find its slot.
    pub(super) async fn ensure_slot(
        &mut self,
        source: &SourceRequest,
        replication: &Replication,
        password: Option<&str>,
    ) {
        let slot = source.slot.as_deref().unwrap_or(&replication.primary_slot_name);
        if slot.is_empty() {
            return;
        }
        let name = slot.replace('\'', "''");
        let sql = format!(
            "select pg_create_physical_replication_slot('{name}', true) \
             where not exists (select from pg_replication_slots where slot_name = '{name}')"
        );
        let problem = match self.node.ask(source, password, &sql).await {
            Ok(finished) if finished.status.success() => return,
            Ok(finished) => finished.last_words(),
            Err(refusal) => refusal.to_string(),
        };
        self.did(format!("could not make the slot {slot}: {problem}"));
    }

    /// That the node's data are a copy of the same system: rewinding or replacing others would be a disaster.
    pub(super) fn check_system(&self, own: Option<&str>, facts: &Facts) -> Result<(), Refusal> {
        match own.filter(|own| *own != facts.system_identifier) {
            None => Ok(()),
            Some(own) => {
                let message = format!(
                    "the node's data are of system {own}, the source's of system {}; remove the data folder by hand if \
                     they may be replaced",
                    facts.system_identifier
                );
                Err(Refusal::new(Kind::OtherSystem, message))
            }
        }
    }
}

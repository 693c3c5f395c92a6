use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Cluster;
use crate::{
    command::{program, run},
    postmaster::StopMode,
    processes::wait_for,
};

/// How long a standby may take to find its primary.
const STREAMING_PATIENCE: Duration = Duration::from_secs(20);
/// How long a standby may take to replay what its primary has written.
const REPLAY_PATIENCE: Duration = Duration::from_secs(60);

impl Cluster {
    /// The node that is not in recovery; of several the one on the highest timeline, which was promoted last.
    ///
    /// # Errors
    /// When no node that answers is a primary.
    pub fn primary(&self) -> Result<usize> {
        let timeline = |index: &usize| -> Option<String> {
            let sql =
                "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) where not pg_is_in_recovery()";
            let timeline = self.node(*index).is_running().then(|| self.psql(*index, sql).ok())??;
            // Eight hexadecimal digits, so the order of the texts is that of the numbers.
            (!timeline.is_empty()).then_some(timeline)
        };
        let primaries = (0..self.nodes.len()).filter_map(|index| Some((timeline(&index)?, index)));
        // Reversed, so that the first of equals wins.
        let latest = primaries.collect::<Vec<_>>().into_iter().rev().max_by(|a, b| a.0.cmp(&b.0));
        latest.map(|(_, index)| index).context("the cluster has no primary")
    }

    /// Whether a node is in recovery, which is to say a standby.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn is_standby(&self, index: usize) -> Result<bool> {
        Ok(self.psql(index, "select pg_is_in_recovery()")? == "t")
    }

    /// Promotes a standby as `pg_promote` does and waits until it accepts writes. The other nodes are not told: an
    /// old primary goes on, and other standbys follow it, until [`Cluster::follow`] or [`Cluster::rejoin`].
    ///
    /// # Errors
    /// When it is no standby or does not become a primary within a minute.
    pub fn promote(&self, index: usize) -> Result<()> {
        match self.psql(index, "select pg_promote(true, 60)")?.as_str() {
            "t" => Ok(()),
            _ => bail!("{} was not promoted within a minute", self.node(index).name()),
        }
    }

    /// Moves the primary to a standby without losing anything: the old primary stops cleanly, the standby has
    /// everything then, is promoted, and all others follow it.
    ///
    /// # Errors
    /// When the node is no caught-up standby (nothing has changed then), or something does not start again.
    pub fn switchover(&self, to: usize) -> Result<()> {
        let old = self.primary()?;
        if old == to {
            bail!("{} is the primary already", self.node(to).name());
        }
        self.wait_for_streaming(to, old)?;
        self.psql(old, "checkpoint")?;
        self.wait_for_replay(to)?;
        self.stop(old, StopMode::Fast)?;
        self.promote(to)?;
        for index in (0..self.nodes.len()).filter(|&index| index != to) {
            if index == old || self.node(index).is_running() {
                self.rejoin(index)?;
            }
        }
        Ok(())
    }

    /// Makes a running standby stream from the present primary.
    ///
    /// # Errors
    /// When there is no primary, or the standby does not stream from it within 20 s: it may have replayed more than
    /// the new primary ever had, and only [`Cluster::rejoin`] helps then.
    pub fn follow(&self, index: usize) -> Result<()> {
        let primary = self.primary()?;
        if primary == index {
            bail!("{} is the primary", self.node(index).name());
        }
        self.ensure_slot(index, primary)?;
        self.write_lab_conf(self.node(index), Some(self.node(primary)))?;
        self.reload(index)?;
        self.wait_for_streaming(index, primary)?;
        self.drop_leftover_slots(index)
    }

    /// Brings a node back as a standby of the present primary, whatever became of it: a standby follows, an old
    /// primary is stopped and rewound, and what cannot be rewound is copied anew.
    ///
    /// # Errors
    /// When there is no other primary, or even the copy does not stream.
    pub fn rejoin(&self, index: usize) -> Result<()> {
        let primary = self.primary()?;
        if primary == index {
            bail!("{} is the primary", self.node(index).name());
        }
        let node = self.node(index);
        if node.data().join("standby.signal").exists() && self.start_and_follow(index, primary).is_ok() {
            return Ok(());
        }
        self.stop(index, StopMode::Fast)?;
        if self.rewind(index, primary).is_ok() && self.start_and_follow(index, primary).is_ok() {
            return Ok(());
        }
        self.stop(index, StopMode::Immediate)?;
        self.copy_from(index, primary)?;
        self.start_and_follow(index, primary)
    }

    /// Starts a node that has the files of a standby, unless it runs, and makes it follow.
    fn start_and_follow(&self, index: usize, primary: usize) -> Result<()> {
        self.ensure_slot(index, primary)?;
        self.write_lab_conf(self.node(index), Some(self.node(primary)))?;
        self.start_node(index)?;
        self.reload(index)?;
        self.wait_for_streaming(index, primary)?;
        self.drop_leftover_slots(index)
    }

    /// Rewinds a stopped node to where its history left the primary's.
    fn rewind(&self, index: usize, primary: usize) -> Result<()> {
        // pg_rewind reads the timeline from the control file, which a fresh primary only writes at a checkpoint.
        self.psql(primary, "checkpoint")?;
        let (node, login) = (self.node(index), self.superuser());
        let mut command = program(&self.binaries, "pg_rewind", &self.account, &self.directory);
        let source = format!(
            "host=127.0.0.1 port={} user={} dbname=postgres sslmode=disable",
            self.node(primary).port(),
            login.user,
        );
        command.env("PGPASSWORD", &login.password);
        command.arg("--target-pgdata").arg(node.data()).args(["--source-server", &source]);
        if !self.options.fsync {
            command.arg("--no-sync");
        }
        run(&mut command)?;
        self.write_standby_signal(node)
    }

    /// Makes sure that the primary keeps what a standby has not received yet.
    pub(super) fn ensure_slot(&self, index: usize, primary: usize) -> Result<()> {
        let slot = self.node(index).slot();
        let sql = format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
             where slot_name = '{slot}' and wal_status = 'lost' and not active;\n\
             select pg_create_physical_replication_slot('{slot}', true) \
             where not exists (select from pg_replication_slots where slot_name = '{slot}');"
        );
        self.psql(primary, &sql).map(drop)
    }

    /// Drops the slots that a node had for its standbys when it was the primary: unused, they would hold its WAL
    /// back forever.
    fn drop_leftover_slots(&self, index: usize) -> Result<()> {
        let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
                   where starts_with(slot_name, 'lab_') and not active";
        self.psql(index, sql).map(drop)
    }

    /// Waits until a standby streams from the primary, on the primary's timeline: one that has gone past the point
    /// where the primary left their common timeline streams too, for a moment, and never gets any further.
    pub(super) fn wait_for_streaming(&self, index: usize, primary: usize) -> Result<()> {
        let node = self.node(index);
        let timeline = self.psql(
            primary,
            "select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int",
        )?;
        let sql = format!(
            "select 1 from pg_stat_wal_receiver \
             where status = 'streaming' and sender_port = {} and received_tli = {timeline}",
            self.node(primary).port(),
        );
        let what = format!("{} does not stream from {}", node.name(), self.node(primary).name());
        wait_for(&what, STREAMING_PATIENCE, || {
            if !node.is_running() {
                bail!("{} does not run", node.name());
            }
            Ok((self.psql(index, &sql)? == "1").then_some(()))
        })
    }

    /// Waits until a standby has replayed everything that the primary has flushed until now, so all that it has
    /// acknowledged (with `synchronous_commit = off` not quite).
    ///
    /// # Errors
    /// When there is no primary, or the standby has not done so after a minute.
    pub fn wait_for_replay(&self, index: usize) -> Result<()> {
        let written = self.psql(self.primary()?, "select pg_current_wal_flush_lsn()")?;
        let sql = format!("select pg_last_wal_replay_lsn() >= '{written}'");
        let what = format!("{} has not replayed up to {written}", self.node(index).name());
        wait_for(&what, REPLAY_PATIENCE, || Ok((self.psql(index, &sql)? == "t").then_some(())))
    }

    /// Waits until every running standby has replayed everything that the primary has flushed until now.
    ///
    /// # Errors
    /// As for [`Cluster::wait_for_replay`].
    pub fn wait_for_all(&self) -> Result<()> {
        for index in 0..self.nodes.len() {
            if self.node(index).is_running() && self.is_standby(index)? {
                self.wait_for_replay(index)?;
            }
        }
        Ok(())
    }
}

//! `synchronous_standby_names` of a node: that nobody could satisfy while a primary is halted, and that a new primary
//! waits for as many as the old one did.

use std::time::Duration;

use failover::Failure;
use tokio::time::{Instant, sleep};
use topology::{Fenced, SyncNames};

use super::session::Session;

const SETTING: &str = "synchronous_standby_names";
/// How long a fence that was set just before may take to be seen.
const FENCE_PATIENCE: Duration = Duration::from_millis(200);
/// Time between two looks.
const AGAIN: Duration = Duration::from_millis(2);

impl Session {
    /// Lets no commit succeed from now on.
    pub(super) async fn fence(&mut self) -> Result<(), Failure> {
        let (value, is_here) = self.sync_names().await?;
        let names = SyncNames::parse(&value).ok().flatten();
        let before = match names.as_ref().and_then(SyncNames::fenced) {
            Some(before) => before,
            None if is_here => Fenced::Here(&value),
            None => Fenced::Elsewhere,
        };
        let fence = SyncNames::fence(self.epoch(), before).to_string();
        self.alter_and_see(SETTING, &fence).await
    }

    /// Undoes `fence`, so that all is as it was before.
    pub(super) async fn unfence(&mut self) -> Result<(), Failure> {
        self.ask("SELECT pg_reload_conf()").await?;
        let deadline = Instant::now() + FENCE_PATIENCE;
        loop {
            let (value, _) = self.sync_names().await?;
            let names = SyncNames::parse(&value).ok().flatten();
            match names.as_ref().and_then(SyncNames::fenced) {
                Some(Fenced::Elsewhere) => return self.alter_system(SETTING, None).await,
                Some(Fenced::Here(before)) => return self.alter_system(SETTING, Some(before)).await,
                // it never was, and what an operator has set stays
                None if Instant::now() >= deadline => return Ok(()),
                None => sleep(AGAIN).await,
            }
        }
    }

    /// Has a standby that is about to be promoted wait for these from its first commit on; `None`: as it is set up itself.
    pub(super) async fn will_wait_for(&mut self, names: Option<&str>) -> Result<(), Failure> {
        let (value, _) = self.sync_names().await?;
        let present = SyncNames::parse(&value).ok();
        let is_fenced = present.iter().flatten().any(|names| names.fenced().is_some());
        let Some(names) = names else {
            return if is_fenced { self.unfence().await } else { Ok(()) };
        };
        if present.is_some() && present == SyncNames::parse(names).ok() {
            return Ok(());
        }
        self.alter_and_see(SETTING, names).await
    }

    /// The value that is in force, and whether it is one of `ALTER SYSTEM`. Who may not see where a setting comes from takes
    /// it for one: to set what holds anyway changes nothing.
    async fn sync_names(&mut self) -> Result<(String, bool), Failure> {
        let sql = "SELECT setting, coalesce(sourcefile LIKE '%postgresql.auto.conf', setting <> '') FROM pg_settings \
                   WHERE name = 'synchronous_standby_names'";
        let rows = self.ask(sql).await?;
        match rows.first().map(Vec::as_slice) {
            Some([Some(value), Some(is_here)]) => Ok((value.clone(), is_here == "t")),
            _ => Err(Failure::Failed(format!("it does not tell {SETTING}"))),
        }
    }
}

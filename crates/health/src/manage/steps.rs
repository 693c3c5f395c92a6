//! What is done to a node by SQL, an order each.

use std::time::Duration;

use conn::Target;
use failover::{Answer, Done, Failure};
use tokio::time::{Instant, sleep, timeout};
use topology::Epoch;
use wire::{Lsn, TimelineId, message::backend::timeline_of_wal_file};

use super::{
    conninfo::{ConnInfo, ConnInfoError},
    session::{Kept, Session, ask_once, first, literal},
};
use crate::{dialer::Dialer, history};

/// Time between two looks at whether something has come about.
const AGAIN: Duration = Duration::from_millis(5);
/// How long a standby may take to give up its WAL receiver and to replay what it had received. What is left unreplayed
/// by then is replayed while it is promoted.
const CUT_PATIENCE: Duration = Duration::from_millis(800);
/// How long a standby may take to tell where its timeline began.
const HISTORY_PATIENCE: Duration = Duration::from_millis(300);
/// How long a candidate may take to receive what another standby has.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(20);
/// How long a slot may be in use yet whose standby has gone.
const SLOT_PATIENCE: Duration = Duration::from_millis(200);
/// How long a promotion may take.
const PROMOTION_PATIENCE: Duration = Duration::from_secs(60);
/// How long a checkpoint may take.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(300);
/// How long clients that are sent away from a fenced primary may take to be gone.
const EVICTION_PATIENCE: Duration = Duration::from_secs(3);

/// A node to act on.
#[derive(Debug, Clone, Copy)]
pub(super) struct On<'a> {
    pub(super) dialer: &'a Dialer,
    pub(super) target: &'a Target,
    pub(super) epoch: Epoch,
}

impl On<'_> {
    async fn session<'a>(&self, kept: &'a mut Option<Session>) -> Result<&'a mut Session, Failure> {
        let fits = kept.as_ref().is_some_and(|session| session.epoch() == self.epoch);
        if !fits {
            if let Some(old) = kept.take() {
                old.close().await;
            }
            *kept = Some(Session::open(self.dialer, self.target, self.epoch).await?);
        }
        kept.as_mut().ok_or_else(|| Failure::Failed("there is no session".to_owned()))
    }

    /// [`failover::Task::Recruit`]. `timeline`: what the standby has followed, as far as known.
    pub(super) async fn recruit(self, kept: &Kept, timeline: TimelineId) -> Answer {
        let mut kept = kept.lock().await;
        let session = self.session(&mut kept).await?;
        if !session.is_in_recovery {
            return Err(Failure::Failed("it is no standby any more".to_owned()));
        }
        let conninfo = match ConnInfo::parse(&session.conninfo) {
            // it has no upstream that it could be cut off from
            Err(ConnInfoError::Empty) => ConnInfo::nowhere(self.epoch).to_string(),
            parsed => parsed.map_err(impossible)?.cut_off(self.epoch).to_string(),
        };
        session.lead_to(conninfo).await?;
        let history = timeout(HISTORY_PATIENCE, history::read(self.dialer, self.target, timeline));
        let (received, history) = tokio::join!(wait_until_cut(session), history);
        // who cannot tell it is believed: that there are two timelines of one number is rare
        let began = history.ok().and_then(Result::ok).and_then(|history| history.began(timeline, timeline));
        Ok(Done::Position { timeline, received: received?, began })
    }

    /// [`failover::Task::CatchUp`].
    pub(super) async fn catch_up(
        self,
        kept: &Kept,
        upstream: &Target,
        lsn: Lsn,
        timeline: TimelineId,
    ) -> Answer {
        let made = {
            let mut kept = kept.lock().await;
            let session = self.session(&mut kept).await?;
            let conninfo = ConnInfo::parse(&session.conninfo).map_err(impossible)?;
            let conninfo = conninfo.to(&upstream.host, upstream.port, self.epoch).to_string();
            let slot = session.slot.clone();
            let is_new = !slot.is_empty() && self.ensure_slot(upstream, &slot).await?;
            session.lead_to(conninfo).await?;
            let deadline = Instant::now() + CATCH_UP_PATIENCE;
            while position(session).await?.received < lsn {
                if Instant::now() >= deadline {
                    return Err(Failure::Failed("it did not receive what is missing in time".to_owned()));
                }
                sleep(AGAIN).await;
            }
            Some(slot).filter(|_| is_new)
        };
        let answer = self.recruit(kept, timeline).await;
        if let Some(slot) = made {
            self.drop_unused_slot(upstream, &slot).await;
        }
        answer
    }

    /// Takes back a slot that was made for a moment, and would hold WAL back from now on. One that stays all the same is
    /// told by CHECK CLUSTER.
    async fn drop_unused_slot(&self, node: &Target, slot: &str) {
        let sql = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
             WHERE slot_name = {} AND NOT active",
            literal(slot)
        );
        let deadline = Instant::now() + SLOT_PATIENCE;
        while ask_once(self.dialer, node, &sql, SLOT_PATIENCE).await.is_ok_and(|rows| rows.is_empty()) {
            if Instant::now() >= deadline {
                return;
            }
            sleep(AGAIN).await; // its walsender may not have heard yet that the standby has gone
        }
    }

    /// [`failover::Task::Promote`]. `sync_names`: whom its commits shall wait for; `None`: not known.
    pub(super) async fn promote(self, kept: &Kept, sync_names: Option<&str>) -> Answer {
        let mut kept = kept.lock().await;
        let session = kept.as_mut().filter(|session| session.epoch() == self.epoch);
        // another session than the one that cut it off may have missed that a higher epoch has been there
        let Some(session) = session else {
            return Err(Failure::Failed("the session that cut it off is gone".to_owned()));
        };
        session.will_wait_for(sync_names).await?;
        let sql = format!(
            "SELECT pg_promote(false) WHERE pg_is_in_recovery() AND current_setting('primary_conninfo') = {}",
            literal(&session.conninfo)
        );
        if first(&session.ask(&sql).await?) != Some("t") {
            return Err(Failure::Failed("it is not as it was left, so it was not promoted".to_owned()));
        }
        let deadline = Instant::now() + PROMOTION_PATIENCE;
        let wal_file =
            "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END";
        loop {
            // in the moment of the promotion the functions may refuse
            let rows = match session.ask(wal_file).await {
                Err(Failure::Failed(_)) => Vec::new(),
                answer => answer?,
            };
            if let Some(timeline) = first(&rows).and_then(timeline_of_wal_file) {
                return Ok(Done::Promoted(timeline));
            }
            if Instant::now() >= deadline {
                return Err(Failure::Uncertain("the promotion did not end in time".to_owned()));
            }
            sleep(AGAIN).await;
        }
    }

    /// [`failover::Task::Follow`].
    pub(super) async fn follow(self, kept: &Kept, upstream: &Target) -> Answer {
        let mut kept = kept.lock().await;
        let session = self.session(&mut kept).await?;
        if !session.is_in_recovery {
            return Err(Failure::Failed("it is no standby".to_owned()));
        }
        let conninfo = ConnInfo::parse(&session.conninfo).map_err(impossible)?;
        let conninfo = conninfo.to(&upstream.host, upstream.port, self.epoch).to_string();
        let slot = session.slot.clone();
        if !slot.is_empty() {
            self.ensure_slot(upstream, &slot).await?;
        }
        session.lead_to(conninfo).await?;
        Ok(Done::Done)
    }

    /// Has the upstream keep what a standby will ask for. True: it did not yet.
    async fn ensure_slot(&self, upstream: &Target, slot: &str) -> Result<bool, Failure> {
        let slot = literal(slot);
        let sql = format!(
            "SELECT pg_create_physical_replication_slot({slot}, true) \
             WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {slot})"
        );
        Ok(!ask_once(self.dialer, upstream, &sql, EVICTION_PATIENCE).await?.is_empty())
    }

    /// [`failover::Task::DropSlots`]; the names of those that were dropped. A slot is one of its reign if its upstream has
    /// one of that name, or has used one of that name while it was a standby: whoever needs it finds it there. Others may be
    /// those of standbys of its own or of a backup, and stay.
    pub(super) async fn drop_slots(self, kept: &Kept, upstream: &Target) -> Result<Vec<String>, Failure> {
        let known = "SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical' \
                     UNION SELECT current_setting('primary_slot_name')";
        let known = ask_once(self.dialer, upstream, known, EVICTION_PATIENCE).await?;
        let known: Vec<String> =
            known.iter().filter_map(|row| row.first()?.as_deref()).map(literal).collect();
        let mut kept = kept.lock().await;
        // in the session of this epoch: nobody has promoted it meanwhile
        let session = self.session(&mut kept).await?;
        let slots = format!(
            "SELECT slot_name, pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
             WHERE pg_is_in_recovery() AND slot_type = 'physical' AND NOT active AND slot_name IN ({})",
            known.join(", ")
        );
        let dropped = session.ask(&slots).await?;
        Ok(dropped.into_iter().filter_map(|row| row.into_iter().next()?).collect())
    }

    /// [`failover::Task::Checkpoint`] and the part of [`failover::Task::Settle`] that takes time.
    pub(super) async fn checkpoint(self) -> Answer {
        ask_once(self.dialer, self.target, "CHECKPOINT", CHECKPOINT_LIMIT).await?;
        Ok(Done::Done)
    }

    /// [`failover::Task::Halt`] where nobody can stop the server: no commit succeeds any more, and nobody is connected.
    pub(super) async fn fence(self, kept: &Kept) -> Answer {
        let mut kept = kept.lock().await;
        let session = self.session(&mut kept).await?;
        session.fence().await?;
        let deadline = Instant::now() + EVICTION_PATIENCE;
        // a superuser may only be sent away by another; without commits it does no harm
        let evict = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity JOIN pg_roles ON oid = usesysid \
                     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() \
                     AND NOT (usename = current_user AND application_name LIKE 'pgherd%') \
                     AND (NOT rolsuper OR current_setting('is_superuser') = 'on')";
        while first(&session.ask(evict).await?) != Some("0") {
            if Instant::now() >= deadline {
                return Err(Failure::Uncertain("clients of the primary could not be sent away".to_owned()));
            }
            sleep(AGAIN).await;
        }
        let rows = session.ask("SELECT pg_current_wal_insert_lsn()").await?;
        let lsn = first(&rows).and_then(|lsn| lsn.parse().ok());
        let lsn = lsn.ok_or_else(|| Failure::Uncertain("it did not say where its WAL ends".to_owned()))?;
        Ok(Done::Halted { lsn, is_stopped: false })
    }

    /// Undoes `fence`.
    pub(super) async fn unfence(self, kept: &Kept) -> Answer {
        let mut kept = kept.lock().await;
        self.session(&mut kept).await?.unfence().await?;
        Ok(Done::Done)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    has_receiver: bool,
    received: Lsn,
    replayed: Lsn,
}

async fn position(session: &mut Session) -> Result<Position, Failure> {
    // pg_stat_wal_receiver does not show one that is only just being started
    let sql = "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver'), \
               greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), pg_last_wal_replay_lsn()";
    let rows = session.ask(sql).await?;
    let value = |at: usize| rows.first().and_then(|row| row.get(at)?.as_deref());
    let lsn = |at: usize| value(at).and_then(|text| text.parse().ok());
    let unread = || Failure::Failed("it does not say how far it is".to_owned());
    Ok(Position {
        has_receiver: value(0) != Some("0"),
        received: lsn(1).ok_or_else(unread)?,
        replayed: lsn(2).ok_or_else(unread)?,
    })
}

/// Waits until it receives nothing more, and a little for what it has received to be replayed; how far that is.
async fn wait_until_cut(session: &mut Session) -> Result<Lsn, Failure> {
    let deadline = Instant::now() + CUT_PATIENCE;
    loop {
        let now = position(session).await?;
        let is_late = Instant::now() >= deadline;
        if !now.has_receiver && (now.replayed >= now.received || is_late) {
            return Ok(now.received);
        }
        if is_late {
            return Err(Failure::Failed("its WAL receiver does not end".to_owned()));
        }
        sleep(AGAIN).await;
    }
}

fn impossible(error: ConnInfoError) -> Failure {
    Failure::Impossible(error.to_string())
}

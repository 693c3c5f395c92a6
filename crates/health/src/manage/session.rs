//! The one session through which a manager gives a node orders. While it stands no manager of a lower epoch has one, and
//! none of theirs can come after: what they had sent ends with their sessions.

use std::{sync::Arc, time::Duration};

use conn::{QueryError, Row, ServerConnection, Target};
use failover::Failure;
use tokio::time::{Instant, sleep, timeout};
use topology::Epoch;
use wire::SqlState;

use super::conninfo::ConnInfo;
use crate::dialer::{DialFailure, Dialer, Purpose};

/// How long a login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(2);
/// How long a statement may take that does not wait for anything.
const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
/// How long the sessions of earlier managers may take to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Time between two attempts to take the lock.
const LOCK_AGAIN: Duration = Duration::from_millis(5);
/// How long a server may take to read its configuration again.
const RELOAD_PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks at whether it has.
const RELOAD_AGAIN: Duration = Duration::from_millis(2);
/// The advisory lock of managers: "pgherd" in ASCII.
const LOCK: i64 = 0x0070_6768_6572_6400;

/// What a manager's sessions say they are, before the epoch.
pub(super) const NAME_PREFIX: &str = "pgherd_manager_e";

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    connection: ServerConnection,
    epoch: Epoch,
    /// How the node finds its upstream, or would; empty on one that never had any.
    pub(super) conninfo: String,
    /// The replication slot that it uses on its upstream; empty without.
    pub(super) slot: String,
    pub(super) is_in_recovery: bool,
}

impl Session {
    /// Opens it, ends those of lower epochs, and finds that no higher one has been there.
    pub(super) async fn open(dialer: &Dialer, target: &Target, epoch: Epoch) -> Result<Self, Failure> {
        let name = format!("{NAME_PREFIX}{epoch}");
        let connection = dialer
            .dial(target, Purpose::Manage { application_name: &name }, LOGIN_LIMIT)
            .await
            .map_err(|failure| Failure::Failed(told(&failure)))?;
        let mut session =
            Self { connection, epoch, conninfo: String::new(), slot: String::new(), is_in_recovery: true };
        session.end_others().await?;
        let rows = session
            .ask(
                "SELECT pg_is_in_recovery(), current_setting('primary_conninfo'), current_setting('primary_slot_name')",
            )
            .await?;
        if let [row] = rows.as_slice()
            && let [Some(recovery), Some(conninfo), Some(slot)] = row.as_slice()
        {
            session.is_in_recovery = recovery == "t";
            session.conninfo.clone_from(conninfo);
            session.slot.clone_from(slot);
        }
        match ConnInfo::parse(&session.conninfo).ok().and_then(|conninfo| conninfo.epoch()) {
            Some(higher) if higher > epoch => Err(Failure::Superseded(higher)),
            _ => Ok(session),
        }
    }

    /// Ends the sessions of managers of lower epochs, and waits until nobody else has the lock.
    async fn end_others(&mut self) -> Result<(), Failure> {
        let others = format!(
            "SELECT substr(application_name, {from})::numeric::bigint, pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE usename = current_user AND application_name ~ '^{NAME_PREFIX}[0-9]{{1,18}}$' AND pid <> pg_backend_pid() \
             AND substr(application_name, {from})::numeric < {epoch}",
            from = NAME_PREFIX.len() + 1,
            epoch = self.epoch,
        );
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            self.ask(&others).await?;
            let rows = self.ask(&format!("SELECT pg_try_advisory_lock({LOCK})")).await?;
            if first(&rows) == Some("t") {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::Failed("another manager has a session with the node".to_owned()));
            }
            sleep(LOCK_AGAIN).await;
        }
    }

    /// Runs statements that wait for nothing.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        self.ask_for(sql, STATEMENT_LIMIT).await
    }

    pub(super) async fn ask_for(&mut self, sql: &str, limit: Duration) -> Result<Vec<Row>, Failure> {
        match timeout(limit, self.connection.simple_query(sql)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(query_failed(&error)),
            Err(_) => Err(Failure::Uncertain(format!("no answer within {limit:?}"))),
        }
    }

    /// Sets a parameter for good, or takes away what was set, and has it read.
    pub(super) async fn alter_system(&mut self, name: &str, value: Option<&str>) -> Result<(), Failure> {
        let statement = match value {
            Some(value) => format!("ALTER SYSTEM SET {name} = {}", literal(value)),
            None => format!("ALTER SYSTEM RESET {name}"),
        };
        self.ask(&statement).await?;
        self.ask("SELECT pg_reload_conf()").await?;
        Ok(())
    }

    /// Sets a parameter for good, and waits until it holds here. The server's processes hear of it one after the other,
    /// its backends before the one that asks for WAL and after the one that starts them.
    pub(super) async fn alter_and_see(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        self.alter_system(name, Some(value)).await?;
        let is_read = format!("SELECT current_setting({}) = {}", literal(name), literal(value));
        let deadline = Instant::now() + RELOAD_PATIENCE;
        while first(&self.ask(&is_read).await?) != Some("t") {
            if Instant::now() >= deadline {
                return Err(Failure::Failed("it does not read its configuration again".to_owned()));
            }
            sleep(RELOAD_AGAIN).await;
        }
        Ok(())
    }

    /// Has the node find its upstream like this from now on. It has to be true before anything is concluded from it.
    pub(super) async fn lead_to(&mut self, conninfo: String) -> Result<(), Failure> {
        self.alter_and_see("primary_conninfo", &conninfo).await?;
        self.conninfo = conninfo;
        Ok(())
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) async fn close(self) {
        self.connection.close().await;
    }
}

/// The first value of an answer.
pub(super) fn first(rows: &[Row]) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}

/// A string literal, whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

fn query_failed(error: &QueryError) -> Failure {
    match error {
        QueryError::Server(error) if error.code == SqlState::INSUFFICIENT_PRIVILEGE => Failure::Failed(
            format!("{error}; the monitor's role lacks what `pgherd init-sql --manage single` grants"),
        ),
        QueryError::Server(error) if !error.is_fatal() => Failure::Failed(error.to_string()),
        error => Failure::Uncertain(told(error)),
    }
}

/// An error and all that it comes from.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Dials a node for one statement of the manager that needs no session.
pub(super) async fn ask_once(
    dialer: &Dialer,
    target: &Target,
    sql: &str,
    limit: Duration,
) -> Result<Vec<Row>, Failure> {
    let name = "pgherd_manager";
    let dialed = dialer.dial(target, Purpose::Manage { application_name: name }, LOGIN_LIMIT).await;
    let mut connection = dialed.map_err(|failure: DialFailure| Failure::Failed(told(&failure)))?;
    let answer = timeout(limit, connection.simple_query(sql)).await;
    let rows = match answer {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => return Err(query_failed(&error)),
        Err(_) => return Err(Failure::Uncertain(format!("no answer within {limit:?}"))),
    };
    connection.close().await;
    Ok(rows)
}

/// The sessions of a failover, by node; each is used by one order at a time.
pub(super) type Kept = Arc<tokio::sync::Mutex<Option<Session>>>;

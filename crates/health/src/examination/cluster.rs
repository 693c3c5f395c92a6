//! CHECK CLUSTER: the facts.

use std::{sync::Arc, time::UNIX_EPOCH};

use conn::{ServerConnection, Target, TlsFileError};
use doctor::{Facts, Finding, HbaRule, Lookup, Node, Privilege, Purpose, Readable, Refusal, Subject};
use tokio::{task::JoinSet, time::timeout};
use topology::NodeSettings;

use super::{LIMIT, ask, dial_refusal, query_refusal, target, told};
use crate::{
    Settings,
    dialer::{self, Dialer},
};

/// Asks every node of the cluster, all at a time, and judges what they say; the worst comes first. A node that does not
/// answer within seconds is a finding. Changes nothing.
///
/// # Errors
/// [`TlsFileError`] if a certificate file cannot be used.
///
/// # Cancel safety
/// Its connections are closed.
pub async fn examine(
    settings: &Settings,
    topology: &topology::Settings,
    purpose: Purpose,
) -> Result<Vec<Finding>, TlsFileError> {
    let doctor = Arc::new(Doctor {
        dialer: Dialer::new(settings)?,
        privileges: purpose.privileges(),
        lookup: purpose.lookup.clone(),
        user: settings.user.clone(),
    });
    let mut looking = JoinSet::new();
    for (at, node) in topology.nodes.iter().cloned().enumerate() {
        let doctor = Arc::clone(&doctor);
        looking.spawn(async move { (at, doctor.look_at(node).await) });
    }
    let mut nodes = looking.join_all().await;
    nodes.sort_by_key(|(at, _)| *at);
    let nodes = nodes.into_iter().map(|(_, node)| node).collect();
    Ok(doctor::judge(&Subject { purpose, nodes }))
}

/// Who asks, and what for.
struct Doctor {
    dialer: Dialer,
    privileges: Vec<Privilege>,
    lookup: Option<Lookup>,
    user: String,
}

impl Doctor {
    async fn look_at(&self, settings: NodeSettings) -> Node {
        let target = target(&settings);
        let addresses = async { timeout(LIMIT, conn::addresses(&target)).await.unwrap_or_default() };
        // beside each other: over a long way each login takes a second
        let (addresses, seen, replication, lookup) =
            tokio::join!(addresses, self.facts(&target), self.replicate(&target), self.look_up(&target));
        // of a node that does not answer, once is enough
        let (replication, lookup) = if seen.is_ok() { (Some(replication), lookup) } else { (None, None) };
        let NodeSettings { name, host, port, region, zone: _, priority: _, service } = settings;
        let spare = service.is_spare();
        Node { name, host, port, region, spare, addresses, seen, replication, lookup }
    }

    async fn facts(&self, target: &Target) -> Result<Facts, Refusal> {
        let dialed = self.dialer.dial(target, dialer::Purpose::Probe, LIMIT).await;
        let mut connection = dialed.map_err(|failure| dial_refusal(&failure))?;
        let question = doctor::question(major(&connection), &self.privileges);
        let before = wall_clock();
        let rows = ask(&mut connection, &question.base).await?;
        // the server read its clock somewhere between
        let asked_at = f64::midpoint(before, wall_clock());
        let facts = doctor::read(&rows, &self.privileges, asked_at);
        let mut facts =
            facts.ok_or_else(|| told(None, "it answers like no PostgreSQL from 14 on".to_owned()))?;
        facts.hba = read(ask(&mut connection, &question.hba).await, |row| HbaRule::read(row));
        let name = |row: &conn::Row| row.first().cloned().flatten().unwrap_or_default();
        facts.md5_roles = read(ask(&mut connection, &question.md5_roles).await, name);
        connection.close().await;
        Ok(facts)
    }

    /// Tries whether a replication connection can be had.
    async fn replicate(&self, target: &Target) -> Result<(), Refusal> {
        let dialed = self.dialer.dial(target, dialer::Purpose::Replication, LIMIT).await;
        dialed.map_err(|failure| dial_refusal(&failure))?.close().await;
        Ok(())
    }

    /// Tries the query for secrets, with the monitor's own name; what it finds is dropped.
    async fn look_up(&self, target: &Target) -> Option<Result<(), Refusal>> {
        let query = self.lookup.as_ref()?;
        let purpose = dialer::Purpose::Lookup { database: &query.database };
        let mut connection = match self.dialer.dial(target, purpose, LIMIT).await {
            Ok(connection) => connection,
            Err(failure) => return Some(Err(dial_refusal(&failure))),
        };
        let outcome = match timeout(LIMIT, connection.query(&query.sql, &[Some(&self.user)])).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(query_refusal(&error)),
            Err(_) => Err(told(None, format!("no answer within {LIMIT:?}"))),
        };
        connection.close().await;
        Some(outcome)
    }
}

/// What a role may perhaps not read. `None` if the connection failed over it.
fn read<T>(
    answer: Result<Vec<conn::Row>, Refusal>,
    row: impl Fn(&conn::Row) -> T,
) -> Option<Readable<Vec<T>>> {
    match answer {
        Ok(rows) => Some(Readable::Read(rows.iter().map(row).collect())),
        Err(Refusal { sqlstate: Some(_), .. }) => Some(Readable::Closed),
        Err(Refusal { sqlstate: None, .. }) => None,
    }
}

/// The major version that a server reports: `15.20 (Debian …)`, `18beta1`.
fn major(connection: &ServerConnection) -> u32 {
    let text = String::from_utf8_lossy(connection.parameter("server_version").unwrap_or_default());
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with the servers' clocks, which is what is asked for"
)]
fn wall_clock() -> f64 {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

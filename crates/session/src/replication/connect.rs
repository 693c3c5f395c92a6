//! From a client that asked for a walsender to one on the right node.

use std::{rc::Rc, time::Duration};

use conn::ServerConnection;
use pool::{DialPlan, Place, PoolState};
use routing::{Decision, Request, Wants};
use tokio::time::Instant;
use topology::{NodeId, Stamp};
use wire::{SqlState, message::error::ErrorMessage};

use super::Guest;
use crate::{
    Purpose,
    client::Setting,
    exchange::Side,
    wait::{all_taken, paused},
};

/// Time between two tries while there is no node, or no place for one more connection to it.
const RETRY: Duration = Duration::from_millis(100);

/// A walsender that was dialed for one client.
pub(super) struct Walsender {
    pub(super) connection: ServerConnection,
    pub(super) plan: DialPlan,
    pub(super) stamp: Stamp,
    pub(super) side: Side,
    /// Counted like a pooled connection for as long as it lives.
    pub(super) place: Place,
}

/// Why there is no walsender yet.
enum Failure {
    /// It may come: the client waits.
    Passing(Box<ErrorMessage>),
    /// The client is told.
    Lasting(Box<ErrorMessage>),
}

impl Guest {
    /// Finds the node and logs in there as the client would: the primary, unless the listener or the database is
    /// read-only. Waits for one as long as a statement would, and for a place in its pool.
    ///
    /// # Errors
    /// What the client is told.
    pub(super) async fn connect(&self, settings: &[Setting]) -> Result<Walsender, Box<ErrorMessage>> {
        let parameters = startup_parameters(self.purpose, settings)?;
        let began = Instant::now();
        loop {
            self.handle.rests.set(true); // SUSPEND does not wait for it: it has sent nothing yet
            let error = match self.try_connect(&parameters, began).await {
                Ok(walsender) => return Ok(walsender),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(error)) => error,
            };
            let patience = match error.code {
                SqlState::TOO_MANY_CONNECTIONS => self.pools.settings.borrow().pool.wait_timeout,
                _ => self.worker.settings().session.max_hold,
            };
            if began.elapsed() >= patience {
                return Err(error);
            }
            if let Some(farewell) = self.farewell() {
                return Err(Box::new(farewell));
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn try_connect(&self, parameters: &[(&str, &str)], began: Instant) -> Result<Walsender, Failure> {
        let node = self.choose_node()?;
        let pool = self.worker.pool(&self.pools, node);
        let Some(mut place) = pool.take_place(began) else {
            if pool.state() == PoolState::Paused {
                return Err(Failure::Passing(Box::new(paused(&self.pools.database))));
            }
            let size = pool.settings().size;
            let text = "no server connection became free in time";
            let error = ErrorMessage::fatal(SqlState::TOO_MANY_CONNECTIONS, text);
            let error = match pool.obstacle() {
                Some(usage) => error.with_detail(all_taken(&usage)),
                None => {
                    error.with_detail(format!("All {size} connections of this database and user are in use."))
                }
            }
            .with_hint("A replication connection counts like any other: raise [pool] size or the limit.");
            return Err(Failure::Passing(Box::new(error)));
        };
        let plan = pool.plan();
        let stamp = self.worker.snapshot(&self.pools).stamp(node);
        let dialed = plan.connect(parameters).await;
        place.logged_in();
        match dialed {
            Ok(connection) if self.worker.admits(&self.pools, &stamp) => {
                let is_primary = self.worker.is_primary(&self.pools, node);
                let side = if is_primary { Side::Primary } else { Side::Replica };
                Ok(Walsender { connection, plan, stamp, side, place })
            }
            Ok(_) => Err(Failure::Passing(Box::new(no_node("the topology changed meanwhile")))),
            Err(failure) => {
                tracing::debug!(?plan, error = %failure, "walsender connection failed");
                if let Some(report) = failure.report() {
                    self.worker.report(&self.pools, node, report);
                }
                let error = Box::new(failure.error_message());
                Err(if failure.is_transient() { Failure::Passing(error) } else { Failure::Lasting(error) })
            }
        }
    }

    /// A standby streams and copies as well as a primary; what is decoded there may be written to by SQL, which only
    /// a replica itself refuses.
    fn choose_node(&self) -> Result<NodeId, Failure> {
        let wants = match (self.purpose, self.policy.is_read_only()) {
            (Purpose::PhysicalReplication, true) => Wants::Replica,
            (Purpose::PhysicalReplication | Purpose::LogicalReplication | Purpose::Session, _) => {
                Wants::Primary
            }
        };
        let request = Request { wants, policy: self.policy, written: None, hint: None };
        let (worker, pools) = (Rc::clone(&self.worker), Rc::clone(&self.pools));
        let decision = routing::decide(
            &request,
            &worker.settings().routing,
            &worker.snapshot(&pools),
            Instant::now().into_std(),
            |node| worker.active_on(&pools, node),
            worker.random(),
        );
        match decision {
            Decision::Use { node, .. } => Ok(node),
            Decision::Hold(reason) => Err(Failure::Passing(Box::new(no_node(&reason.to_string())))),
            Decision::Refuse(reason) => Err(Failure::Lasting(Box::new(no_node(&reason.to_string())))),
        }
    }
}

fn no_node(reason: &str) -> ErrorMessage {
    ErrorMessage::fatal(SqlState::CANNOT_CONNECT_NOW, "there is no node to replicate from")
        .with_detail(format!("{reason}."))
        .with_hint("Try again later, or another host.")
}

/// What the client asked for at startup, as the server is asked for it.
fn startup_parameters(
    purpose: Purpose,
    settings: &[Setting],
) -> Result<Vec<(&str, &str)>, Box<ErrorMessage>> {
    let replication = match purpose {
        Purpose::Session => "false",
        Purpose::PhysicalReplication => "true",
        Purpose::LogicalReplication => "database",
    };
    let mut parameters = vec![("replication", replication)];
    for (name, value) in settings {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
            let text = "startup parameters of a replication connection must be UTF-8";
            return Err(Box::new(ErrorMessage::fatal(SqlState::INVALID_PARAMETER_VALUE, text)));
        };
        parameters.push((name, value));
    }
    Ok(parameters)
}

//! Waiting: for a server connection in a pool's queue, or for a primary in the worker's.

use std::{
    fmt::Display,
    rc::Rc,
    task::{Context, Poll},
};

use pool::{Delivery, DialFailure, Pool, PoolState, Scope, Server, Usage};
use topology::NodeId;
use wire::{
    SqlState,
    message::error::{ErrorMessage, Severity},
};

use crate::{
    clock::Timed,
    handle::{Awaits, ClientState, Hold},
    io::{poll_read, send},
    route::LONG_UNIT,
    scan::{Scan, scan},
    serve::Turn,
    session::{End, Phase, Session, Work},
    stats::{add, count},
};

impl Session {
    pub(crate) fn begin_wait(&mut self) {
        self.time(Timed::Nothing);
        if !self.waiting {
            self.waiting = true;
            self.waiter.begin(self.worker.now());
        }
    }

    /// Waits for a primary, or for a replica.
    pub(crate) fn hold(&mut self, reason: &dyn Display, awaits: Awaits) {
        self.begin_wait();
        let max_hold = self.worker.settings().session.max_hold;
        if self.worker.now().duration_since(self.waiting_since()) >= max_hold
            || !self.worker.hold(&self.waiter)
        {
            let waited = self.worker.now() - self.waiting_since();
            let missing = match awaits {
                Awaits::Replica => "there is no replica to run this on",
                Awaits::Primary | Awaits::Room => "there is no primary to run this on",
            };
            if awaits == Awaits::Primary {
                self.worker.charge(&self.pools, |toll| {
                    toll.end_hold(waited);
                    toll.fail(SqlState::CANNOT_CONNECT_NOW, 1);
                });
            }
            let error = ErrorMessage::error(SqlState::CANNOT_CONNECT_NOW, missing)
                .with_detail(format!("Held for {waited:?}: {reason}."))
                .with_hint("Try again later, or another host.");
            self.fail_request(error);
            return;
        }
        if awaits == Awaits::Replica {
            self.worker.note_replica_awaited();
        }
        // whoever is sent back to look again and finds nothing goes on with the same wait
        if self.handle.state.replace(ClientState::Held) != ClientState::Held {
            count(&self.pools.stats.held, 1);
            if awaits == Awaits::Primary {
                self.worker.charge(&self.pools, |toll| toll.held += 1);
            }
        }
        self.note_hold(reason, awaits);
        self.phase = Phase::Held;
    }

    /// Tells the console what it is held for.
    pub(crate) fn note_hold(&self, why: &dyn Display, awaits: Awaits) {
        let (waiter, why) = (Rc::clone(&self.waiter), why.to_string().into());
        *self.handle.hold.borrow_mut() = Some(Hold { waiter, awaits, why });
    }

    /// It is not held any more: it may go on, or is held again.
    fn note_end_of_hold(&self) {
        let hold = self.handle.hold.borrow();
        if matches!(self.phase, Phase::Held)
            && hold.as_ref().is_some_and(|hold| hold.awaits == Awaits::Primary)
        {
            let waited = self.worker.now() - self.waiting_since();
            self.worker.charge(&self.pools, |toll| toll.end_hold(waited));
        }
    }

    /// Leaves whatever queue it stands in.
    pub(crate) fn leave_queue(&mut self) {
        self.awaits_pin = None;
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Waiting(pool) => pool.leave(&self.waiter),
            Phase::Held => self.worker.leave_hold(&self.waiter),
            phase @ (Phase::Idle | Phase::Linked(_) | Phase::InDoubt(_) | Phase::Local(_)) => {
                self.phase = phase;
            }
        }
    }

    pub(crate) fn turn_waiting(
        &mut self,
        cx: &mut Context<'_>,
        read: &mut [u8],
        work: &mut Work,
    ) -> Result<Turn, End> {
        match self.waiter.poll(cx.waker()) {
            Some(Delivery::Server(server)) => {
                self.phase = Phase::Idle;
                add(&self.pools.stats.wait_time, self.worker.now() - self.waiting_since());
                self.use_delivered(cx, server, work)
            }
            Some(Delivery::Again) => {
                self.note_end_of_hold();
                self.phase = Phase::Idle;
                Ok(Turn::Again)
            }
            Some(Delivery::Failed(failure)) => {
                let node = match std::mem::replace(&mut self.phase, Phase::Idle) {
                    Phase::Waiting(pool) => Some(pool.plan().node),
                    _ => None,
                };
                self.dial_failed(&failure, node)
            }
            Some(Delivery::TimedOut) => {
                let error = match std::mem::replace(&mut self.phase, Phase::Idle) {
                    Phase::Waiting(pool) => self.timed_out(&pool),
                    phase => {
                        self.phase = phase; // only pools set a time
                        return Ok(Turn::Again);
                    }
                };
                self.fail_or_refuse(error)
            }
            None => self.keep_waiting(cx, read),
        }
    }

    fn use_delivered(
        &mut self,
        cx: &mut Context<'_>,
        server: Box<Server>,
        work: &mut Work,
    ) -> Result<Turn, End> {
        if !self.worker.admits(&self.pools, &server.stamp()) {
            return Ok(Turn::Again); // the topology changed between delivery and now
        }
        if self.told.is_none() {
            self.link(cx, server, LONG_UNIT, work)?;
            return Ok(Turn::Again);
        }
        let input = std::mem::take(&mut self.input);
        let scanned = scan(&input, &self.names, &self.wanted, &self.pools, &mut work.scanned)
            .map_err(End::bad_frame)?;
        let group = match scanned {
            Scan::Units(group) => group,
            Scan::Incomplete => LONG_UNIT,
        };
        if let Some(pool) = server.pool().filter(|pool| self.must_await_pin(pool, group.seeks)) {
            self.input = input;
            if let Ok(clean) = server.prove_clean() {
                pool.give_back(clean);
            }
            self.await_pin(pool);
            return Ok(Turn::Again);
        }
        self.link(cx, server, group, work)?;
        let consumed = self.forward_linked(cx, &input, work)?;
        self.put_back(input.get(consumed..).unwrap_or_default());
        Ok(Turn::Again)
    }

    fn keep_waiting(&mut self, cx: &mut Context<'_>, read: &mut [u8]) -> Result<Turn, End> {
        if let Some(turn) = self.turn_aside().or_else(|| self.turn_awaiting_pin()) {
            return Ok(turn);
        }
        let waited = self.worker.now() - self.waiting_since();
        let settings = self.worker.settings();
        let awaits_primary = matches!(self.phase, Phase::Held) && self.awaits_pin.is_none();
        if awaits_primary && waited >= settings.session.max_hold {
            self.leave_queue();
            // decides again: whoever has waited for so long is told what is missing
            return Ok(Turn::Again);
        }
        if waited >= pool::TELL_AFTER && !self.told_to_wait && self.told.is_some() {
            self.told_to_wait = true;
            let text = match &self.phase {
                Phase::Held if self.awaits_pin.is_some() => {
                    "too many clients keep their server connections; the statement waits for one of them"
                        .to_owned()
                }
                Phase::Held if self.is_aside() => {
                    "there is no room for the connection that listens; the statement waits for it".to_owned()
                }
                Phase::Held => {
                    let hold = self.handle.hold.borrow();
                    let why = hold.as_ref().map_or("there is nowhere to run it", |hold| &hold.why);
                    format!("{why}; the statement is held until that changes")
                }
                Phase::Waiting(pool) if pool.state() == PoolState::Paused => {
                    let database = &self.pools.database;
                    format!("database \"{database}\" is paused; the statement waits until it is resumed")
                }
                _ => "all server connections are busy; the statement waits for one".to_owned(),
            };
            let mut out = Vec::new();
            ErrorMessage::notice(text).write(&mut out);
            send(cx, &mut self.stream, &mut self.output, &out).map_err(End::ClientIo)?;
        }
        self.read_ahead(cx, read)
    }

    /// Takes in what the client sends while it waits, and notices when it leaves.
    pub(crate) fn read_ahead(&mut self, cx: &mut Context<'_>, read: &mut [u8]) -> Result<Turn, End> {
        if self.input.len() >= self.input_limit() {
            return Ok(Turn::Wait);
        }
        match poll_read(cx, &mut self.stream, read) {
            Poll::Pending => Ok(Turn::Wait),
            Poll::Ready(Ok(0)) => Err(End::ClientLeft),
            Poll::Ready(Ok(n)) => {
                self.input.extend_from_slice(read.get(..n).unwrap_or_default());
                Ok(Turn::Again)
            }
            Poll::Ready(Err(error)) => Err(End::ClientIo(error)),
        }
    }

    fn dial_failed(&mut self, failure: &DialFailure, node: Option<NodeId>) -> Result<Turn, End> {
        let on_replica = node.is_some_and(|node| !self.worker.is_primary(&self.pools, node));
        if on_replica && !failure.is_transient() && !self.primary_only {
            // a role, its password or its database may be too new for the replica: the primary knows
            self.primary_only = true;
            return Ok(Turn::Again);
        }
        let waited = self.worker.now() - self.waiting_since();
        if failure.is_transient() && waited < self.worker.settings().session.max_hold {
            return Ok(Turn::Again); // the pool dials again after a pause, or the topology changes
        }
        self.fail_or_refuse(failure.error_message())
    }

    /// An error ends a session that has not been welcomed yet, and else only its request.
    fn fail_or_refuse(&mut self, error: ErrorMessage) -> Result<Turn, End> {
        if self.told.is_none() {
            return Err(End::Refused(Box::new(ErrorMessage { severity: Severity::Fatal, ..error })));
        }
        self.fail_request(error);
        Ok(Turn::Again)
    }

    fn timed_out(&self, pool: &Pool) -> ErrorMessage {
        if pool.state() == PoolState::Paused {
            return paused(&self.pools.database);
        }
        let settings = self.pools.settings.borrow().pool.clone();
        let error =
            ErrorMessage::error(SqlState::TOO_MANY_CONNECTIONS, "no server connection became free in time");
        let waited = settings.wait_timeout;
        if let Some(usage) = pool.obstacle() {
            return error.with_detail(format!("Waited {waited:?}. {}", all_taken(&usage))).with_hint(
                "Raise max_server_connections, or find out what keeps the connections busy: SHOW LIMITS, SHOW SERVERS.",
            );
        }
        error
            .with_detail(format!(
                "Waited {waited:?} for one of the {} connections of database \"{}\" and user \"{}\".",
                settings.size, self.pools.database, self.pools.user
            ))
            .with_hint("Raise [pool] size or wait_timeout, or find out what keeps the connections busy: SHOW SERVERS.")
    }
}

/// Somebody paused a database, and nobody resumed it in time.
pub(crate) fn paused(database: &str) -> ErrorMessage {
    let text = format!("database \"{database}\" is paused");
    ErrorMessage::error(SqlState::CANNOT_CONNECT_NOW, text).with_hint(
        "An administrator paused it here (PAUSE or KILL); RESUME in the console ends that. Try again later, or another host.",
    )
}

/// A bound that is wider than a pool and leaves no room, for an error's DETAIL.
pub(crate) fn all_taken(usage: &Usage) -> String {
    let whose = match &usage.scope {
        Scope::Total => "in total".to_owned(),
        Scope::Node(..) => "to this node".to_owned(),
        Scope::Logins(..) => "being made to this node".to_owned(),
        Scope::Database(name) => format!("of database \"{name}\""),
        Scope::User(name) => format!("of user \"{name}\""),
        Scope::DatabaseUser(database, user) => format!("of user \"{user}\" in database \"{database}\""),
    };
    format!("All {} server connections {whose} that there may be are in use.", usage.cap)
}

pub(crate) fn queue_full(waiting: usize) -> ErrorMessage {
    ErrorMessage::error(SqlState::TOO_MANY_CONNECTIONS, "too many clients wait for a server connection")
        .with_detail(format!("{waiting} clients wait already."))
        .with_hint("Raise [pool] size or max_waiting.")
}

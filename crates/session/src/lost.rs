//! The server is gone, or refused for what it is. What the client hears of it, if anything.

use std::{io, net::SocketAddr, task::Context};

use pool::{Body, Server};
use protocol::{Ledger, Reached, first_unit};
use routing::Policy;
use tokio::time::Instant;
use wire::{
    SqlState,
    frame::{Direction, MESSAGE_LIMIT, Peek, peek},
    message::{
        backend::TxStatus,
        error::{ErrorMessage, Severity},
    },
};

use crate::{
    clock::Timed,
    exchange::{Entrance, Exchange, Rerun, Side},
    in_doubt,
    io::send,
    pin::Pins,
    session::{ClientBody, End, Phase, Session},
    stats::count,
    texts::texts,
};

/// How a server connection was lost.
#[derive(Debug)]
pub(crate) enum Loss {
    /// A socket error, or silence from a node that is down.
    Gone,
    /// End of stream, without a word: all that the server has sent was read.
    Ended,
    /// A FATAL or PANIC said why.
    Fatal(Box<ErrorMessage>),
    /// The first answer was an error that another node would not give.
    Refused(SqlState),
    /// It sent what nobody asked for.
    Desynchronised,
    /// The client's settings could not be brought about.
    Replay(Box<ErrorMessage>),
    /// Another node is the primary now.
    Deposed,
    /// The standby is not to be read from any more.
    SetAside,
    /// Nothing is wrong with it, but it must not run what comes next; the transaction ends with this error.
    Unsuited(Box<ErrorMessage>),
}

impl Loss {
    /// What a read of the server's socket that brought nothing means. TLS calls the end of the stream an error if the server
    /// did not say goodbye. A connection that is reset, as by a process that dies with something unread, ends behind all that
    /// was sent if nothing can be lost on the way: within this machine.
    pub(crate) fn of_read(read: &io::Result<usize>, local: Option<SocketAddr>) -> Self {
        let is_end = match read {
            Ok(_) => true,
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => true,
                io::ErrorKind::ConnectionReset => local.is_some_and(|local| local.ip().is_loopback()),
                _ => false,
            },
        };
        if is_end { Self::Ended } else { Self::Gone }
    }
}

/// A request is run elsewhere at most so often before its client hears of the trouble.
pub(crate) const RERUNS_MAX: u8 = 10;

impl Session {
    /// Whether an error means "ask another node": on a replica whatever a hot standby refuses, on the primary that it
    /// is none any more or not yet.
    pub(crate) fn refuses_by_role(&self, server: &Server, code: SqlState, read_only: bool) -> bool {
        match self.exchange().side {
            Side::Replica => {
                read_only
                    && self.policy == Policy::Smart
                    && matches!(
                        code,
                        SqlState::READ_ONLY_SQL_TRANSACTION
                            | SqlState::FEATURE_NOT_SUPPORTED
                            | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
                            | SqlState::SERIALIZATION_FAILURE
                            | SqlState::CANNOT_CONNECT_NOW
                            // COPY of an unlogged table, which has no file on a standby
                            | SqlState::UNDEFINED_FILE
                    )
            }
            Side::Primary => match code {
                SqlState::CANNOT_CONNECT_NOW => true,
                SqlState::READ_ONLY_SQL_TRANSACTION => {
                    !self.policy.is_read_only() && server.in_hot_standby == Some(true)
                }
                _ => false,
            },
        }
    }

    /// Deals with the loss of `server`, which is closed.
    pub(crate) fn lost(
        &mut self,
        cx: &mut Context<'_>,
        mut server: Box<Server>,
        loss: Loss,
    ) -> Result<(), End> {
        let mut exchange = self.exchange.take().expect("a linked session has an exchange");
        self.phase = Phase::Idle;
        self.handle.node.set(None);
        let named = in_doubt::named(&exchange);
        for one in exchange.unconfirmed.drain(..).rev() {
            self.names.take_back(one.step, &mut server.prepared);
        }
        self.count_names();
        self.time(Timed::Nothing);
        self.settle_channels();
        self.report_loss(&exchange, &loss);
        if self.told.is_none() && self.reruns < RERUNS_MAX && !matches!(loss, Loss::Replay(_)) {
            // only its settings were under way, which another server can take as well
            self.reruns += 1;
            return Ok(());
        }
        if self.runs_again(&mut exchange, &loss) {
            return Ok(());
        }
        if exchange.side == Side::Primary && (!exchange.writes.is_empty() || exchange.block.is_committing()) {
            // it may have committed: whoever looks must not be shown a replica that has not heard of it
            self.written = Some(routing::Written::After(Instant::now().into_std()));
        }
        if let ClientBody::Forward(left) = self.body {
            self.body = ClientBody::Discard(left);
        }
        if matches!(server.body, Body::Forward(_)) {
            return Err(End::CutOff);
        }
        send(cx, &mut self.stream, &mut self.output, &exchange.held_back).map_err(End::ClientIo)?;
        let loss = match loss {
            // later there is more on a pinned connection than the settings
            Loss::Replay(error) if self.pins().is_empty() || exchange.units_done(&server.ledger) == 0 => {
                return self.replay_failed(cx, server, &exchange, *error);
            }
            Loss::Unsuited(error) if !self.pins().is_empty() => {
                return Err(End::Refused(Box::new(ErrorMessage { severity: Severity::Fatal, ..*error })));
            }
            // everything is answered, and nothing is open that could fail
            Loss::Unsuited(error)
                if server.ledger.status() == TxStatus::Idle && !exchange.block.is_open() =>
            {
                self.fail_request(*error);
                return Ok(());
            }
            loss => loss,
        };
        let pins = self.pins().lost(exchange.established);
        let farewell = (!pins.is_empty()).then(|| {
            let text = format!("the server connection was lost, and with it the session's state ({pins})");
            Box::new(ErrorMessage::fatal(SqlState::ADMIN_SHUTDOWN, text))
        });
        if let Some(doubt) = self.commit_in_doubt(&exchange, &server, &loss) {
            self.keep_pins(Pins::default());
            self.await_resolution(server, &exchange, doubt, detail_of(&loss), named, farewell);
            return Ok(());
        }
        if let Some(error) = farewell {
            self.worker.charge(&self.pools, |toll| toll.fail(error.code, 1));
            return Err(End::Refused(error));
        }
        self.keep_pins(Pins::default());
        let (error, status) = verdict(&exchange, &server.ledger, &loss);
        if error.as_ref().is_some_and(|error| error.code == SqlState::TRANSACTION_RESOLUTION_UNKNOWN) {
            count(&self.pools.stats.commits_unknown, 1);
        }
        self.tell_loss(cx, &mut server.ledger, error, status)
    }

    /// Puts the request back to be run elsewhere, if it was kept and that may be.
    fn runs_again(&mut self, exchange: &mut Exchange, loss: &Loss) -> bool {
        let Rerun::Possible { bytes, names, closed, unnamed, read_only } =
            std::mem::take(&mut exchange.rerun)
        else {
            return false;
        };
        // units that came later were kept too, and may be more than the read that the first of them is
        let read_only = read_only && exchange.writes.is_empty() || runs_nothing(&bytes);
        let runs = self.reruns < RERUNS_MAX && may_run_again(loss, read_only);
        if runs {
            if exchange.side == Side::Replica {
                self.remember_refused(&bytes, loss);
            }
            self.put_names_back(names, closed, unnamed);
            self.put_back(&bytes);
            self.body = ClientBody::Boundary; // the head of what was under way is among them
            self.keep_pins(Pins::default()); // whatever it does, it does elsewhere
            self.reruns += 1;
            self.primary_only |= exchange.side == Side::Replica && matches!(loss, Loss::Refused(_));
            count(&self.pools.stats.reads_rerun, 1);
        }
        self.worker.keep_spare(bytes);
        runs
    }

    /// What a standby refused for what it does, and not for the moment's sake, goes to the primary from now on.
    fn remember_refused(&self, request: &[u8], loss: &Loss) {
        if !matches!(
            loss,
            Loss::Refused(
                SqlState::READ_ONLY_SQL_TRANSACTION
                    | SqlState::FEATURE_NOT_SUPPORTED
                    | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
                    | SqlState::UNDEFINED_FILE
            )
        ) {
            return;
        }
        // nothing behind the first unit has been run
        let unit = first_unit(request, MESSAGE_LIMIT).ok().flatten().and_then(|end| request.get(..end));
        texts(unit.unwrap_or(request), &self.names)
            .for_each(|text| self.pools.remember_refused(text.bytes()));
    }

    fn report_loss(&self, exchange: &Exchange, loss: &Loss) {
        use topology::Report;
        let report = match loss {
            Loss::Gone | Loss::Ended => Report::Crashed,
            Loss::Fatal(error) => match error.code {
                SqlState::ADMIN_SHUTDOWN => Report::Shutdown,
                SqlState::CRASH_SHUTDOWN => Report::Crashed,
                _ => return,
            },
            Loss::Refused(SqlState::READ_ONLY_SQL_TRANSACTION) if exchange.side == Side::Primary => {
                Report::ReadOnly
            }
            Loss::Refused(SqlState::CANNOT_CONNECT_NOW) => Report::Starting,
            Loss::Refused(_) | Loss::Replay(_) | Loss::Deposed | Loss::SetAside | Loss::Unsuited(_) => return,
            Loss::Desynchronised => {
                tracing::error!(client = %self.handle.id, node = exchange.node.0,
                    "a server sent what nobody asked for; its connection is closed");
                return;
            }
        };
        self.worker.report(&self.pools, exchange.node, report);
    }

    fn replay_failed(
        &mut self,
        cx: &mut Context<'_>,
        mut server: Box<Server>,
        exchange: &Exchange,
        error: ErrorMessage,
    ) -> Result<(), End> {
        if self.told.is_none() {
            return Err(End::Refused(Box::new(ErrorMessage { severity: Severity::Fatal, ..error })));
        }
        if exchange.units_sent == 0 && !exchange.unit_open {
            self.fail_request(error);
            return Ok(());
        }
        self.answer_abandoned(cx, server.ledger.abandon(), Some(error), TxStatus::Idle)
    }
}

/// What every statement of a failed transaction is told.
pub(crate) fn aborted() -> ErrorMessage {
    ErrorMessage::error(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

/// Whether a request whose answer had not begun may be run again after this: always if it was refused; a read after
/// any loss, since it left nothing; anything else only if the server said that it ended it.
fn may_run_again(loss: &Loss, read_only: bool) -> bool {
    match loss {
        Loss::Refused(_) => true,
        Loss::Fatal(error) if error.code == SqlState::ADMIN_SHUTDOWN => true,
        Loss::Fatal(_) | Loss::Gone | Loss::Ended | Loss::Deposed | Loss::SetAside => read_only,
        Loss::Desynchronised | Loss::Replay(_) | Loss::Unsuited(_) => false,
    }
}

/// Whether all that was sent only prepares, describes and closes, which leaves nothing behind.
fn runs_nothing(sent: &[u8]) -> bool {
    let mut rest = sent;
    while let Ok(Peek::Whole { header, .. }) = peek(rest, Direction::Frontend, MESSAGE_LIMIT) {
        if !matches!(header.tag, b'P' | b'D' | b'C' | b'H' | b'S') {
            return false;
        }
        rest = rest.get(header.total_len()..).unwrap_or_default();
    }
    matches!(rest, [] | [b'P' | b'D' | b'C' | b'H' | b'S', ..])
}

/// How a server was lost, for people.
fn detail_of(loss: &Loss) -> String {
    let reason = match loss {
        Loss::Gone | Loss::Ended => "the server closed the connection",
        Loss::Fatal(_) => "the server ended the connection",
        Loss::Refused(_) => "the server refused the request",
        Loss::Desynchronised => "the server broke the protocol",
        Loss::Replay(_) => "the session's settings could not be restored",
        Loss::Deposed => "another node has become the primary",
        Loss::SetAside => "the node was detached or is being restarted",
        Loss::Unsuited(_) => "the server must not run what came next",
    };
    match loss {
        Loss::Fatal(error) => format!("{reason}: {} ({})", error.message, error.code),
        _ => reason.to_owned(),
    }
}

/// What the client is told, and the transaction status that it is left in.
fn verdict(exchange: &Exchange, ledger: &Ledger, loss: &Loss) -> (Option<ErrorMessage>, TxStatus) {
    if let Loss::Unsuited(error) = loss {
        return (Some(ErrorMessage::clone(error)), TxStatus::Failed);
    }
    let detail = detail_of(loss);
    if exchange.block.is_committing() || ledger.owes_commit() {
        // A server that is told to end while it commits carries the commit through and says nothing more, or says so
        // after the answer: a FATAL without one came before the commit.
        let told = matches!(loss, Loss::Fatal(error) if error.code == SqlState::ADMIN_SHUTDOWN);
        let is_before = ledger.owed_commit().is_some_and(|commit| commit.reached == Reached::Not);
        let told = told && !exchange.unit_answering
            || is_before && exchange.witness.is_fit() && matches!(loss, Loss::Fatal(_));
        // Nor does a transaction leave anything that wrote nothing.
        if told || exchange.writes.is_empty() {
            return (Some(failover(detail)), TxStatus::Idle);
        }
        return (Some(unknown(detail)), TxStatus::Idle);
    }
    match ledger.status() {
        TxStatus::Failed if ledger.ready_owed() == 0 => (None, TxStatus::Failed),
        TxStatus::InTransaction | TxStatus::Failed => (Some(failover(detail)), TxStatus::Failed),
        TxStatus::Idle if exchange.block.is_open() => (Some(failover(detail)), TxStatus::Failed),
        TxStatus::Idle if !exchange.writes.is_empty() => {
            let error = ErrorMessage::error(
                SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
                "the server was lost while it ran the statement; whether it committed is not known",
            );
            (Some(error.with_detail(detail).with_hint("Find out before you run it again.")), TxStatus::Idle)
        }
        TxStatus::Idle => {
            let error =
                ErrorMessage::error(SqlState::CONNECTION_FAILURE, "the server was lost while it answered");
            (
                Some(error.with_detail(detail).with_hint("The statement changed nothing; run it again.")),
                TxStatus::Idle,
            )
        }
    }
}

/// What a client is told of a commit of which nobody knows.
pub(crate) fn unknown(detail: String) -> ErrorMessage {
    ErrorMessage::error(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        "the server was lost while it committed; whether it did is not known",
    )
    .with_hint("Find out before you run the transaction again.")
    .with_detail(detail)
}

/// What a client is told of a transaction that did not commit.
pub(crate) fn failover(detail: String) -> ErrorMessage {
    ErrorMessage::error(SqlState::SERIALIZATION_FAILURE, "transaction aborted by failover, retry")
        .with_detail(detail)
        .with_hint("Roll back and run the transaction again on this connection.")
}

impl Exchange {
    /// Whether the loss of a replaced primary can be told at once: nothing of it may still commit.
    pub(crate) fn may_be_cut(&self, status: TxStatus, settled: bool) -> bool {
        let in_transaction = status != TxStatus::Idle || self.block.is_open();
        settled || (in_transaction && !self.block.is_committing() && self.entrance == Entrance::Open)
    }
}

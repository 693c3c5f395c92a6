//! A server was lost after the COMMIT was sent and before its answer came. Its client waits until some primary can say what
//! became of the transaction, and is told that.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pool::{Server, Statement};
use protocol::{AfterCommit, Ledger, OwedCommit, Reached, Untold};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};
use topology::{Doubtful, InDoubt, Resolution};
use wire::{
    SqlState,
    message::{
        backend::{TxStatus, bare, command_complete, finish, ready_for_query},
        error::ErrorMessage,
    },
};

use crate::{
    clock::Timed,
    exchange::{Block, Exchange},
    handle::ClientState,
    io::send,
    lost::{Loss, failover, unknown},
    serve::Turn,
    session::{End, Phase, Session},
    stats::count,
    unconfirmed::Step,
};

/// What is kept of a lost server connection until it is known what became of the commit.
#[derive(Debug)]
pub(crate) struct Doubt {
    answer: oneshot::Receiver<Resolution>,
    /// What it owed.
    ledger: Ledger,
    block: Block,
    /// How it was lost, for people.
    detail: String,
    /// Names that the client gave and was not told of.
    named: Vec<(Box<[u8]>, Rc<Statement>)>,
    /// The session ends after the answer, with this.
    farewell: Option<Box<ErrorMessage>>,
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

/// The names that the client gave in units that were not answered.
pub(crate) fn named(exchange: &Exchange) -> Vec<(Box<[u8]>, Rc<Statement>)> {
    let named = exchange.unconfirmed.iter().filter_map(|one| match &one.step {
        Step::Parse { statement, name: Some(name), .. } => Some((name.clone(), Rc::clone(statement))),
        _ => None,
    });
    named.collect()
}

impl Session {
    /// The commit that was under way, if somebody can be asked about it.
    pub(crate) fn commit_in_doubt(
        &self,
        exchange: &Exchange,
        server: &Server,
        loss: &Loss,
    ) -> Option<Doubtful> {
        let commit = server.ledger.owed_commit()?;
        if exchange.writes.is_empty() || !self.resolves_commits() {
            return None;
        }
        let stamp = server.stamp();
        let not_reached = commit.reached == Reached::Not && exchange.witness.is_fit();
        let testimony = exchange.witness.testimony().filter(|_| !server.ledger.owes_own_result());
        let known = testimony.map(|(xid, flushed)| InDoubt {
            xid,
            flushed,
            node: stamp.node,
            timeline: stamp.timeline,
        });
        match loss {
            Loss::Ended if not_reached => return Some(Doubtful::NotReached(stamp.node, known)),
            Loss::Fatal(_) if not_reached => return None,
            Loss::Gone | Loss::Ended | Loss::Deposed => {}
            // one that came before the answer came before the commit
            Loss::Fatal(error) if error.code == SqlState::ADMIN_SHUTDOWN && !exchange.unit_answering => {
                return None;
            }
            Loss::Fatal(_) => {}
            Loss::Refused(_)
            | Loss::Desynchronised
            | Loss::Replay(_)
            | Loss::SetAside
            | Loss::Unsuited(_) => return None,
        }
        known.map(Doubtful::Reached)
    }

    /// Waits for what became of it.
    pub(crate) fn await_resolution(
        &mut self,
        mut server: Box<Server>,
        exchange: &Exchange,
        doubt: Doubtful,
        detail: String,
        named: Vec<(Box<[u8]>, Rc<Statement>)>,
        farewell: Option<Box<ErrorMessage>>,
    ) {
        let (told, answer) = oneshot::channel();
        // if it cannot be asked the sender is dropped here, and the answer is that nobody knows
        let _ = self.worker.questions(&self.pools).try_send((doubt, told));
        let now = self.worker.now();
        tracing::debug!(client = %self.handle.id, ?doubt, "its commit is in doubt");
        self.handle.state.set(ClientState::Held);
        self.handle.node.set(None);
        self.time(Timed::Nothing);
        self.phase = Phase::InDoubt(Box::new(Doubt {
            answer,
            ledger: std::mem::take(&mut server.ledger),
            block: exchange.block,
            detail,
            named,
            farewell,
            since: now,
            timer: Box::pin(sleep_until(now + pool::TELL_AFTER.min(self.worker.settings().session.max_hold))),
        }));
    }

    pub(crate) fn turn_in_doubt(
        &mut self,
        cx: &mut Context<'_>,
        mut doubt: Box<Doubt>,
        read: &mut [u8],
    ) -> Result<Turn, End> {
        if let Poll::Ready(answer) = Pin::new(&mut doubt.answer).poll(cx) {
            self.tell_resolution(cx, *doubt, answer.unwrap_or(Resolution::Unknown))?;
            return Ok(Turn::Again);
        }
        if doubt.timer.as_mut().poll(cx).is_ready() {
            let deadline = doubt.since + self.worker.settings().session.max_hold;
            if self.worker.now() >= deadline {
                doubt.detail.push_str("; no primary could tell in time");
                self.tell_resolution(cx, *doubt, Resolution::Unknown)?;
                return Ok(Turn::Again);
            }
            let text =
                "the server was lost while it committed; waiting for a primary that knows whether it did";
            let mut out = Vec::new();
            ErrorMessage::notice(text.to_owned()).write(&mut out);
            doubt.timer.as_mut().reset(deadline);
            self.phase = Phase::InDoubt(doubt);
            send(cx, &mut self.stream, &mut self.output, &out).map_err(End::ClientIo)?;
            return Ok(Turn::Again);
        }
        self.phase = Phase::InDoubt(doubt);
        self.read_ahead(cx, read)
    }

    /// The client does not want to wait any longer.
    pub(crate) fn cancel_doubt(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Phase::InDoubt(mut doubt) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return Ok(());
        };
        doubt.detail.push_str("; the wait for a primary that could tell was cancelled");
        self.tell_resolution(cx, *doubt, Resolution::Unknown)
    }

    fn tell_resolution(
        &mut self,
        cx: &mut Context<'_>,
        doubt: Doubt,
        resolution: Resolution,
    ) -> Result<(), End> {
        let Doubt { mut ledger, block, detail, named, farewell, .. } = doubt;
        let stats = &self.pools.stats;
        match resolution {
            Resolution::Committed => count(&stats.commits_committed, 1),
            Resolution::Aborted => count(&stats.commits_aborted, 1),
            Resolution::Unknown => count(&stats.commits_unknown, 1),
        }
        // whoever reads it on a replica must find it there
        self.written = Some(routing::Written::After(Instant::now().into_std()));
        self.phase = Phase::Idle;
        self.request_over();
        match (resolution, ledger.owed_commit()) {
            (Resolution::Committed, Some(OwedCommit { before: Some(before), after, .. })) => {
                for (name, statement) in named {
                    if self.names.find(&name).is_none() {
                        self.names.insert(&name, statement);
                    }
                }
                self.count_names();
                ledger.settle_commit();
                let out = answer(&before, after, block);
                send(cx, &mut self.stream, &mut self.output, &out).map_err(End::ClientIo)?;
                let (error, status) = rest(block, detail);
                self.tell_loss(cx, &mut ledger, Some(error), status)?;
            }
            (Resolution::Committed, _) => {
                let text = "the server was lost while it committed; it did, but what the transaction's last statements \
                            answered is lost";
                let error = ErrorMessage::error(SqlState::TRANSACTION_RESOLUTION_UNKNOWN, text)
                    .with_detail(detail)
                    .with_hint("Do not run the transaction again.");
                self.tell_loss(cx, &mut ledger, Some(error), TxStatus::Idle)?;
            }
            (Resolution::Aborted, _) => {
                self.tell_loss(cx, &mut ledger, Some(failover(detail)), TxStatus::Idle)?;
            }
            (Resolution::Unknown, _) => {
                self.tell_loss(cx, &mut ledger, Some(unknown(detail)), TxStatus::Idle)?;
            }
        }
        match farewell {
            Some(error) => {
                self.worker.charge(&self.pools, |toll| toll.fail(error.code, 1));
                Err(End::Refused(error))
            }
            None => Ok(()),
        }
    }
}

/// What the server would have said, up to and with the answer to the commit.
fn answer(before: &[Untold], after: AfterCommit, block: Block) -> Vec<u8> {
    let mut out = Vec::new();
    for untold in before {
        match untold {
            Untold::Parse => bare(b'1', &mut out),
            Untold::Bind => bare(b'2', &mut out),
            Untold::Close => bare(b'3', &mut out),
            Untold::DescribePortal => bare(b'n', &mut out),
            Untold::DescribeStatement => {
                finish(&mut out, b't', |out| out.extend_from_slice(&[0, 0])); // no parameters
                bare(b'n', &mut out);
            }
        }
    }
    command_complete("COMMIT", &mut out);
    if after == AfterCommit::Ready {
        let chain = block == Block::Committing { chain: true };
        ready_for_query(if chain { TxStatus::InTransaction } else { TxStatus::Idle }, &mut out);
    }
    out
}

/// What became of all that was sent behind the commit: nobody knows, unless it is in a transaction of its own.
fn rest(block: Block, detail: String) -> (ErrorMessage, TxStatus) {
    if block.is_open() {
        return (failover(detail), TxStatus::Failed);
    }
    let text = "the server was lost while it ran the statement; whether it committed is not known";
    let error = ErrorMessage::error(SqlState::TRANSACTION_RESOLUTION_UNKNOWN, text);
    (error.with_detail(detail).with_hint("Find out before you run it again."), TxStatus::Idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_answered_as_its_server_would_have() {
        let simple = answer(&[], AfterCommit::Ready, Block::Committing { chain: false });
        assert_eq!(simple, b"C\0\0\0\x0bCOMMIT\0Z\0\0\0\x05I");
        let extended = answer(
            &[Untold::Bind, Untold::DescribePortal],
            AfterCommit::Open,
            Block::Committing { chain: false },
        );
        assert_eq!(extended, b"2\0\0\0\x04n\0\0\0\x04C\0\0\0\x0bCOMMIT\0");
        let chained = answer(&[], AfterCommit::Ready, Block::Committing { chain: true });
        assert!(chained.ends_with(b"T"));
    }
}

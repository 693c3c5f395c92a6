//! What tells later whether a transaction committed: its id, which the server is asked for before the commit, in the same
//! write as something of the client's and without a round trip of its own.
//!
//! Once a transaction has written, the question travels at the end of an extended-protocol unit or ahead of the next simple
//! query, whose answers bring its answer along. Only if nothing came in between does it travel with the commit itself, and
//! then with a Flush, because PostgreSQL would send its answer no sooner than that of the commit.

use pool::{CommitResolution, Server, Under};
use protocol::{Origin, Owed, Owner};
use sql::{Class, Kind};
use topology::Xid;
use wire::{
    Lsn, SqlState,
    message::{
        backend::{TxStatus, finish},
        error::ErrorView,
        frontend::{self, Parse, Target},
    },
};

use crate::{
    exchange::{Entrance, Side, Writes},
    io::Splice,
    lost::Loss,
    receive::as_own,
    rename::Message,
    session::Session,
    unconfirmed::Step,
};

/// The question: the transaction's id, and a position that its commit will lie beyond.
pub(crate) const QUESTION: &[u8] =
    b"SELECT pg_catalog.pg_current_xact_id_if_assigned(), pg_catalog.pg_current_wal_flush_lsn() /* pgherd */";

/// The portal that it runs in, so that no portal of the client's is replaced.
const PORTAL: &[u8] = b"pgherd_witness";

/// The longest answer, in bytes: two numbers as text.
pub(crate) const ANSWER_MAX: u32 = 128;

/// What is known of the id of the present transaction, and asked.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// The last unit that writes and that a question of this transaction came behind.
    asked: Option<u32>,
    known: Option<(Xid, Lsn)>,
    /// The portal that commits when it is executed.
    portal: Option<Box<[u8]>>,
    /// This unit may be taking COPY data, where no message may be inserted.
    barred: Option<u32>,
    /// A question was sent ahead of a simple query, which the server skips if the question fails.
    ahead: Ahead,
    subject: Subject,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ahead {
    #[default]
    No,
    Yes,
}

/// Whether the id tells what becomes of the client's commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Subject {
    #[default]
    Fit,
    /// Something else than a plain COMMIT ends the transaction.
    Unfit,
}

impl Witness {
    /// Whether the server has to be asked so that everything written so far is covered.
    fn is_wanted(&self, writes: Writes) -> bool {
        writes.last().is_some_and(|last| self.asked.is_none_or(|asked| asked < last && self.known.is_none()))
    }

    /// Whether nothing but a plain COMMIT was sent to commit.
    pub(crate) fn is_fit(&self) -> bool {
        self.subject == Subject::Fit
    }

    /// The id of the transaction whose commit is under way, and the position. Only if no question is open.
    pub(crate) fn testimony(&self) -> Option<(Xid, Lsn)> {
        self.known.filter(|_| self.subject == Subject::Fit)
    }

    /// The next statement belongs to another transaction.
    pub(crate) fn transaction_ends(&mut self) {
        self.asked = None;
    }

    /// Something else than a plain COMMIT commits.
    pub(crate) fn is_unfit(&mut self) {
        self.subject = Subject::Unfit;
    }

    /// A command of the client's completed.
    pub(crate) fn completed(&mut self, tag: &[u8]) {
        match tag {
            b"COMMIT\0" | b"BEGIN\0" | b"START TRANSACTION\0" => self.known = None,
            // perhaps to a savepoint only: then it is asked for anew
            b"ROLLBACK\0" => (self.known, self.asked) = (None, None),
            _ => {}
        }
    }

    /// A unit was answered.
    pub(crate) fn answered(&mut self, status: TxStatus, settled: bool) {
        match (status, settled) {
            (TxStatus::Idle, true) => *self = Self::default(),
            (TxStatus::Idle, false) => self.known = None,
            (TxStatus::InTransaction | TxStatus::Failed, _) => {}
        }
    }
}

impl Session {
    /// A simple query is about to be sent; `commits`: it is a COMMIT.
    pub(crate) fn witness_query(
        &mut self,
        server: &mut Server,
        at: usize,
        commits: bool,
        splice: &mut Splice<'_>,
    ) {
        let exchange = self.exchange();
        let is_clear = server.ledger.is_answered()
            && server.ledger.status() == TxStatus::InTransaction
            && !exchange.unit_open;
        if is_clear && self.wants_witness(server) {
            let out = splice.replace(at, at);
            self.ask_for_witness(server, out);
            if commits {
                frontend::header(b'H', 0, out);
            }
            self.exchange_mut().witness.ahead = Ahead::Yes;
        }
    }

    /// A statement is bound to a portal.
    pub(crate) fn witness_bind(&mut self, portal: &[u8], bound: Option<(Class, &[u8])>) {
        let unit = self.exchange().units_sent;
        let witness = &mut self.exchange_mut().witness;
        match bound {
            Some((Class { kind: Kind::Commit { .. }, .. }, text)) if sql::is_commit(text) => {
                witness.portal = Some(portal.into());
                return;
            }
            Some((_, text)) if !sql::is_copy(text) => {}
            Some(_) | None => witness.barred = Some(unit),
        }
        witness.portal.take_if(|commits| **commits == *portal);
    }

    /// Whether an Execute commits.
    pub(crate) fn runs_commit(&self, execute: &[u8]) -> bool {
        let portal = execute.split(|&b| b == 0).next();
        self.exchange().witness.portal.as_deref().is_some_and(|commits| Some(commits) == portal)
    }

    /// An Execute or a Sync is about to be sent.
    pub(crate) fn witness_extended(
        &mut self,
        server: &mut Server,
        message: &Message<'_>,
        splice: &mut Splice<'_>,
    ) {
        let exchange = self.exchange();
        let runs_before = exchange.executes > 0;
        if server.ledger.is_skipping()
            || server.ledger.is_copy_in()
            || exchange.writes.is_empty()
            || exchange.witness.barred == Some(exchange.units_sent)
        {
            return;
        }
        match message.header.tag {
            // In a failed transaction what ran before it in the unit has failed, too.
            b'S' if runs_before && exchange.block.is_open() && self.wants_witness(server) => {
                let out = splice.replace(message.at, message.at);
                self.ask_for_witness(server, out);
            }
            b'E' if self.runs_commit(message.body) => {
                let is_clear =
                    server.ledger.status() == TxStatus::InTransaction && server.ledger.ready_owed() == 0;
                let asks = (runs_before || is_clear) && self.wants_witness(server);
                let flushes = runs_before && self.resolves_commits();
                if !asks && !flushes {
                    return;
                }
                let out = splice.replace(message.at, message.at);
                if asks {
                    self.ask_for_witness(server, out);
                }
                // also so that the answers to what comes before are there by the time of the commit
                frontend::header(b'H', 0, out);
            }
            _ => {}
        }
    }

    pub(crate) fn resolves_commits(&self) -> bool {
        self.pools.settings.borrow().pool.commit_resolution == CommitResolution::Xid
            && !self.pools.is_witness_refused.get()
    }

    fn wants_witness(&self, server: &Server) -> bool {
        let exchange = self.exchange();
        exchange.witness.is_wanted(exchange.writes)
            && exchange.side == Side::Primary
            && exchange.entrance == Entrance::Open
            && server.in_hot_standby != Some(true)
            && self.resolves_commits()
    }

    fn ask_for_witness(&mut self, server: &mut Server, out: &mut Vec<u8>) {
        let statement = self.pools.witness_statement();
        if !server.prepared.contains(&statement, Under::Own) {
            Parse { statement: statement.server_name(), query: QUESTION, parameter_types: &[0, 0] }
                .write(out);
            server.prepared.insert(&statement, Under::Own);
            let step = Step::Parse { statement: statement.clone(), name: None, under: Under::Own };
            self.owe_parse(server, step, Origin::Proxy);
            self.evict(server, statement.id(), out);
        }
        finish(out, b'B', |out| {
            out.extend_from_slice(PORTAL);
            out.push(0);
            out.extend_from_slice(statement.server_name());
            out.extend_from_slice(&[0; 7]); // no formats, no values, and text for the results
        });
        finish(out, b'E', |out| {
            out.extend_from_slice(PORTAL);
            out.extend_from_slice(&[0; 5]); // all rows
        });
        Target::Portal(PORTAL).write(b'C', out);
        for owed in [Owed::Bind, Owed::Execute, Owed::Close] {
            server.ledger.owe(owed, Origin::Proxy);
        }
        let exchange = self.exchange_mut();
        exchange.note(Step::Other);
        exchange.witness.asked = exchange.writes.last();
    }

    /// Whether what comes next from the server answers the question.
    pub(crate) fn awaits_witness(&self, server: &Server) -> bool {
        match server.ledger.front() {
            Some((Owed::Bind | Owed::Execute, Owner::Proxy)) => true,
            Some((Owed::Parse, Owner::Proxy)) => self.exchange().witness.ahead == Ahead::Yes,
            _ => false,
        }
    }

    /// A part of the answer.
    pub(crate) fn witness_answer(&mut self, tag: u8, body: &[u8]) {
        let witness = &mut self.exchange_mut().witness;
        match tag {
            b'D' => witness.known = read_answer(body),
            b'C' => witness.ahead = Ahead::No,
            _ => {}
        }
    }

    /// An error is the answer. `Some`: the server skips what the client sent behind it, and the connection is of no use.
    pub(crate) fn witness_failed(&mut self, server: &Server, view: &ErrorView<'_>) -> Option<Loss> {
        if !self.awaits_witness(server) {
            return None;
        }
        if view.code != Some(SqlState::QUERY_CANCELED) && !self.pools.is_witness_refused.replace(true) {
            let (database, user) = (&self.pools.database, &self.pools.user);
            let error = as_own(view);
            tracing::warn!(%database, %user, code = %error.code, error = %error.message,
                "transactions cannot be asked for their ids: commits in doubt will not be resolved");
        }
        let ahead = std::mem::take(&mut self.exchange_mut().witness.ahead);
        (ahead == Ahead::Yes).then(|| Loss::Unsuited(Box::new(as_own(view))))
    }
}

/// Reads the DataRow: id and position. `None`: the transaction has no id.
fn read_answer(row: &[u8]) -> Option<(Xid, Lsn)> {
    let rest = row.strip_prefix(&[0, 2])?;
    let (xid, rest) = read_value(rest)?;
    let (lsn, _) = read_value(rest)?;
    Some((Xid(xid.parse().ok()?), lsn.parse().ok()?))
}

fn read_value(row: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = row.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(usize::try_from(i32::from_be_bytes(*len)).ok()?)?;
    Some((std::str::from_utf8(value).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_an_id_or_none() {
        let row = b"\0\x02\0\0\0\x03742\0\0\0\x091/B374D84";
        assert_eq!(read_answer(row), Some((Xid(742), Lsn(0x1_0B37_4D84))));
        assert_eq!(read_answer(b"\0\x02\xff\xff\xff\xff\0\0\0\x031/0"), None);
        for broken in
            [&b""[..], b"\0\x02", b"\0\x02\0\0\0\x09742", b"\0\x01\0\0\0\x03742", b"\0\x02\x7f\xff\xff\xff1"]
        {
            assert_eq!(read_answer(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn it_is_asked_once_behind_the_first_write_and_again_if_that_had_no_id() {
        let (mut witness, mut writes) = (Witness::default(), Writes::default());
        assert!(!witness.is_wanted(writes));
        writes.note(3);
        assert!(witness.is_wanted(writes));
        witness.asked = writes.last();
        assert!(!witness.is_wanted(writes) && witness.testimony().is_none());
        writes.note(4);
        assert!(witness.is_wanted(writes), "what it answers is not known yet");
        witness.known = Some((Xid(7), Lsn(8)));
        assert!(!witness.is_wanted(writes));
        assert_eq!(witness.testimony(), Some((Xid(7), Lsn(8))));
    }

    #[test]
    fn an_id_ends_with_its_transaction() {
        for tag in [&b"COMMIT\0"[..], b"ROLLBACK\0", b"BEGIN\0"] {
            let mut witness = Witness { known: Some((Xid(7), Lsn(8))), ..Witness::default() };
            witness.completed(b"INSERT 0 1\0");
            assert!(witness.testimony().is_some());
            witness.completed(tag);
            assert!(witness.testimony().is_none());
        }
        let mut unfit = Witness { known: Some((Xid(7), Lsn(8))), ..Witness::default() };
        unfit.is_unfit();
        assert!(unfit.testimony().is_none());
    }
}

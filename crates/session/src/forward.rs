//! Client to server: messages pass as they are; names of prepared statements are replaced by those that the server
//! knows, and what the server lacks is sent ahead.

use std::{collections::VecDeque, task::Context};

use pool::Server;
use protocol::{Local, Origin, Owed, UnitEnd, first_unit, unit_end};
use sql::{Effect, Kind, Statements};
use wire::{
    frame::{Direction, HEADER_LEN, MESSAGE_LIMIT, Peek, peek},
    message::{
        backend::TxStatus,
        frontend::{self, BindNames, query_text},
    },
};

use crate::{
    clock::Timed,
    effects::Place,
    exchange::{Again, Entrance, Next, Rerun, Side},
    io::{Splice, send},
    oversized::{BIND_NAMES_MAX, Pieces, in_pieces, too_long},
    refusal::REFUSED_TEXT,
    rename::Message,
    scan::{self, Scan, Scanned},
    session::{ClientBody, End, Session},
    sql_prepared::{ByName, executed},
    stats::count,
    unconfirmed,
};

/// A client may be this many answers ahead of its server; then its socket is not read.
const REPLIES_OWED_MAX: usize = 10_000;

/// What became of one message.
enum Step {
    /// It was dealt with; so many bytes of the input belong to it.
    Took(usize),
    /// Not enough of it is there, or it has to wait.
    Stop,
}

impl Session {
    /// Whether the server would take more of the client's input now.
    pub(crate) fn may_forward(&self, server: &Server) -> bool {
        server.output.is_empty()
            && !self.is_inquiring()
            && self.exchange().again == Again::No
            && server.ledger.len() < REPLIES_OWED_MAX
            && !matches!(self.exchange().entrance, Entrance::Replaying { .. })
            // a cancel on its way must not hit the next statement
            && (server.cancels().get() == 0 || !server.ledger.is_answered())
    }

    /// Sends what can be sent of `input`, behind what `out` holds already, in the same write; the number of bytes
    /// consumed.
    pub(crate) fn forward(
        &mut self,
        cx: &mut Context<'_>,
        server: &mut Server,
        input: &[u8],
        out: &mut Vec<u8>,
        scanned: &mut VecDeque<Scanned>,
    ) -> Result<usize, End> {
        if self.may_replay(server) {
            let first = self.discard_sequences(server);
            let entrance = self.bring_settings_about(server, first, out);
            self.exchange_mut().entrance = entrance;
        }
        if matches!(self.exchange().entrance, Entrance::Replaying { .. }) {
            if send(cx, &mut server.stream, &mut server.output, out).is_err() {
                server.output.clear();
            }
            out.clear();
            return Ok(0);
        }
        let was_settled = server.ledger.is_settled();
        let mut splice = Splice::behind(input, out);
        let discarding = matches!(self.body, ClientBody::Discard(_));
        let mut at = self.pass_body(input);
        if discarding {
            splice.replace(0, at);
        }
        while at < input.len() && self.body == ClientBody::Boundary && server.ledger.len() < REPLIES_OWED_MAX
        {
            match self.step(server, input, at, &mut splice, scanned)? {
                Step::Took(n) => at += n,
                Step::Stop => break,
            }
        }
        if was_settled && !server.ledger.is_settled() {
            self.time(Timed::Query);
        }
        self.remember_for_rerun(input.get(..at).unwrap_or_default());
        let (first, second) = splice.finish(at);
        count(&self.pools.stats.received, at as u64);
        let sent = send(cx, &mut server.stream, &mut server.output, first)
            .and_then(|()| send(cx, &mut server.stream, &mut server.output, second));
        // a server that cannot be written to is noticed, with its reason, when it is read from
        if sent.is_err() {
            server.output.clear();
        }
        Ok(at)
    }

    /// The proxy may run something of its own before the next unit: a RESET or DISCARD ALL gave the server's settings where
    /// the client's own of its startup are due, or others' values from sequences have to go.
    fn may_replay(&self, server: &Server) -> bool {
        self.exchange().entrance == Entrance::Open
            && !self.exchange().unit_open
            && self.body == ClientBody::Boundary
            && server.ledger.is_settled()
            && server.ledger.status() == TxStatus::Idle
    }

    /// The rest of a body whose head was sent before.
    fn pass_body(&mut self, input: &[u8]) -> usize {
        let (ClientBody::Forward(left) | ClientBody::Discard(left)) = self.body else { return 0 };
        let here = u32::try_from(input.len()).unwrap_or(u32::MAX).min(left);
        self.body = self.body.less(here);
        here as usize
    }

    fn step(
        &mut self,
        server: &mut Server,
        input: &[u8],
        at: usize,
        splice: &mut Splice<'_>,
        scanned: &mut VecDeque<Scanned>,
    ) -> Result<Step, End> {
        let rest = input.get(at..).unwrap_or_default();
        let (header, body, whole) =
            match peek(rest, Direction::Frontend, MESSAGE_LIMIT).map_err(End::bad_frame)? {
                Peek::Nothing => return Ok(Step::Stop),
                Peek::Partial { header, body } => (header, body, false),
                Peek::Whole { header, body } => (header, body, true),
            };
        if !self.exchange().unit_open && !self.may_begin_unit(server, rest)? {
            return Ok(Step::Stop);
        }
        let oversized = !whole && header.total_len() > self.input_limit();
        if oversized {
            match in_pieces(header.tag, body) {
                Pieces::Pass => {}
                Pieces::More => return Ok(Step::Stop),
                Pieces::Refuse => return Err(too_long()),
            }
        }
        let message = Message { header, body, whole, at };
        let taken = match header.tag {
            // the server skips it as it is
            b'Q' | b'P' | b'B' | b'D' | b'C'
                if server.ledger.is_skipping() && (whole || oversized || body.len() >= BIND_NAMES_MAX) =>
            {
                if whole && matches!(header.tag, b'Q' | b'P') {
                    scanned.pop_front();
                }
                true
            }
            b'Q' if whole => self.query(server, &message, splice, scanned),
            b'P' if whole => self.parse(server, &message, splice, scanned)?,
            b'B' if whole || oversized => self.bind(server, &message, splice),
            b'B' if body.len() >= BIND_NAMES_MAX && BindNames::read(body).is_ok() => {
                self.bind(server, &message, splice)
            }
            b'D' | b'C' if whole => self.describe_or_close(server, &message, splice)?,
            b'F' if oversized => {
                self.plain(server, b'F', body);
                true
            }
            b'Q' | b'P' if oversized => {
                self.unread_text(server, header.tag, body);
                true
            }
            b'd' => true,
            b'E' | b'S' | b'H' | b'F' | b'c' | b'f' if whole => {
                self.witness_extended(server, &message, splice);
                self.plain(server, header.tag, body);
                true
            }
            b'X' => return Err(End::ClientLeft),
            b'p' => return Err(End::protocol("unexpected password message")),
            _ => false,
        };
        if !taken {
            return Ok(Step::Stop);
        }
        self.unit_progress(server, header.tag);
        let here = HEADER_LEN + body.len();
        if !whole {
            self.body = ClientBody::Forward(header.body_len - u32::try_from(body.len()).unwrap_or(u32::MAX));
        }
        Ok(Step::Took(here))
    }

    /// A new unit may follow on this connection, or has to wait until the connection is released: on a replica
    /// outside a transaction only reads follow.
    fn may_begin_unit(&mut self, server: &Server, rest: &[u8]) -> Result<bool, End> {
        if let Some(error) = self.unsuited(rest) {
            self.exchange_mut().unsuited = Some(Box::new(error));
            return Ok(false);
        }
        let exchange = self.exchange();
        // where the server skips all until a Sync, that Sync is what the answers wait for
        if exchange.next == Next::Waits && !is_copy_data(rest) && !server.ledger.is_skipping() {
            if !server.ledger.is_settled() {
                return Ok(false);
            }
            self.exchange_mut().next = Next::Follows;
        }
        let exchange = self.exchange();
        let first = exchange.units_sent == 0;
        if !first && self.is_per_statement() && self.pins().is_empty() {
            return Ok(false);
        }
        let settled_elsewhere = (exchange.side == Side::Primary && !self.policy.is_read_only())
            || exchange.block.is_open()
            || server.ledger.status() != TxStatus::Idle
            || !self.pins().is_empty()
            || first;
        if settled_elsewhere {
            return Ok(true);
        }
        // this unit alone: each is looked at when its turn comes
        let Some(unit) = first_unit(rest, MESSAGE_LIMIT).map_err(End::bad_frame)? else { return Ok(false) };
        let rest = rest.get(..unit).unwrap_or_default();
        let mut scanned = VecDeque::new();
        Ok(
            match scan::scan(rest, &self.names, &self.wanted, &self.pools, &mut scanned)
                .map_err(End::bad_frame)?
            {
                Scan::Units(group) => group.replica && !group.hinted,
                Scan::Incomplete => false,
            },
        )
    }

    fn unit_progress(&mut self, server: &Server, tag: u8) {
        let now = self.worker.now();
        let exchange = self.exchange_mut();
        if !exchange.unit_open {
            exchange.unit_started = now;
        }
        match unit_end(tag) {
            Some(UnitEnd::Ready) => {
                // the server ignores a Sync within a COPY, and a Query behind an error
                exchange.unit_open = server.ledger.ready_owed() == 0;
                exchange.executes = 0;
                exchange.units_sent += 1;
            }
            Some(UnitEnd::Flush) => {
                exchange.unit_open = true;
                self.give_up_rerun();
            }
            Some(UnitEnd::Terminate) | None => {
                exchange.unit_open = !matches!(tag, b'd' | b'c' | b'f') || exchange.unit_open
            }
        }
    }

    /// A request that can be run again is kept until its answer begins.
    fn remember_for_rerun(&mut self, input: &[u8]) {
        /// A longer request is not kept: it would be dear, and long requests are rarely cut off at their beginning.
        const RERUN_BYTES_MAX: usize = 16 * 1024;
        if let Rerun::Possible { bytes, .. } = &mut self.exchange_mut().rerun {
            if bytes.len() + input.len() <= RERUN_BYTES_MAX {
                bytes.extend_from_slice(input);
            } else {
                self.give_up_rerun();
            }
        }
    }

    fn query(
        &mut self,
        server: &mut Server,
        message: &Message<'_>,
        splice: &mut Splice<'_>,
        scanned: &mut VecDeque<Scanned>,
    ) -> bool {
        let Ok(text) = query_text(message.body) else {
            scanned.pop_front();
            server.ledger.owe(Owed::Query, Origin::Client); // the server says what is wrong with it
            return true;
        };
        let class = match scanned.pop_front() {
            Some(Scanned::Query(class)) => class,
            Some(Scanned::Parse(_)) | None => self.pools.classify(text),
        };
        if class.effect == Effect::Listen && !self.may_listen(text) {
            return false;
        }
        self.drop_unnamed(server);
        // here that of the text alone, without what it executes
        let first = sql::may_name_statements(text);
        let class = if first { self.pools.classify(text) } else { class };
        let by_name = first || class.statements == Statements::Many || self.names.are_in_code(text);
        let another = by_name.then(|| self.names_another(text)).flatten();
        if by_name && another.is_none() {
            executed(text, &self.names).into_iter().for_each(|statement| self.pools.reclassify(statement));
            match self.query_by_name(server, message, text, class, splice) {
                ByName::No => {}
                ByName::Sent => return true,
                ByName::Waits => return false,
            }
        }
        count(&self.pools.stats.queries, 1);
        server.prepared.set_unnamed(None);
        let deallocates = class.effect == Effect::Deallocate && another.is_none();
        if deallocates && server.ledger.status() != TxStatus::Failed {
            let name = sql::deallocated_name(text).unwrap_or_default();
            if self.must_wait_for(&name, None) {
                return false;
            }
            if let Some((name, statement)) = self.names.take_entry(&name) {
                self.count_names();
                self.exchange_mut().note(unconfirmed::Step::Closed { name, statement });
                frontend::query(b"", splice.replace(message.at, message.end()));
                server.ledger.owe(Owed::Query, Origin::Proxy);
                server.ledger.answer_locally(Local::Deallocated);
                server.ledger.answer_locally(Local::Ready);
                return true;
            }
        }
        let (class, lost) = self.with_sequence_values(server, class, text);
        let refusal = another.or(lost).or_else(|| self.refusal(class));
        if let Some(error) = refusal.or_else(|| self.unsuited_statement(class, text)) {
            self.note_refusal(error);
            frontend::query(REFUSED_TEXT, splice.replace(message.at, message.end()));
            server.ledger.owe(Owed::Query, Origin::Client);
            return true;
        }
        let commits = matches!(class.kind, Kind::Commit { .. }) && sql::is_commit(text);
        self.witness_query(server, message.at, commits, splice);
        self.note_class(class, Place::Query, text);
        if commits {
            self.exchange_mut().witness.transaction_ends();
        }
        server.ledger.owe(Owed::Query, if commits { Origin::Commit } else { Origin::Client });
        true
    }

    fn plain(&mut self, server: &mut Server, tag: u8, body: &[u8]) {
        let mut origin = Origin::Client;
        let owed = match tag {
            b'E' => {
                if self.runs_commit(body) {
                    self.exchange_mut().witness.transaction_ends();
                    origin = Origin::Commit;
                }
                count(&self.pools.stats.queries, 1);
                self.forget_statements_ahead(server, body);
                self.exchange_mut().executes += 1;
                Owed::Execute
            }
            b'S' => Owed::Sync,
            b'F' => {
                self.note_write();
                Owed::FunctionCall
            }
            b'c' | b'f' => Owed::CopyEnd,
            _ => return,
        };
        server.ledger.owe(owed, origin);
    }
}

/// COPY data, or its end: part of a unit that has begun.
fn is_copy_data(input: &[u8]) -> bool {
    matches!(input.first(), Some(b'd' | b'c' | b'f'))
}

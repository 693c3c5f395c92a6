//! Client to server: messages pass as they are; names of prepared statements are replaced by those that the server
//! knows, and what the server lacks is sent ahead.

use std::{collections::VecDeque, task::Context};

use pool::Server;
use protocol::{Local, Origin, Owed, UnitEnd, unit_end};
use sql::{Class, Effect, Kind};
use wire::{
    frame::{Direction, HEADER_LEN, MESSAGE_LIMIT, Peek, peek},
    message::{
        backend::TxStatus,
        frontend::{self, query_text},
    },
};

use crate::{
    exchange::{Again, Block, Entrance, Intent, ParseUnderWay, Rerun, Side},
    io::{Splice, send},
    pin::PinReason,
    refusal::REFUSED_TEXT,
    rename::Message,
    scan::{self, Scan, Scanned},
    session::{ClientBody, End, Session},
    stats::count,
};

/// A client may be this many answers ahead of its server; then its socket is not read.
const REPLIES_OWED_MAX: usize = 10_000;

/// Names at the head of a Bind are looked for in this many bytes; longer names are the server's to refuse.
const BIND_NAMES_MAX: usize = 16 * 1024;

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
            && (server.cancels().get() == 0 || !server.ledger.is_settled())
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
        let message = Message { header, body, whole, at };
        let taken = match header.tag {
            b'Q' if whole => self.query(server, &message, splice, scanned),
            b'P' if whole => self.parse(server, &message, splice, scanned)?,
            b'B' if whole || oversized || body.len() >= BIND_NAMES_MAX => self.bind(server, &message, splice),
            b'D' | b'C' if whole => self.describe_or_close(server, &message, splice)?,
            // whether it is the unnamed statement shows in its first byte
            b'P' if oversized && body.is_empty() => false,
            b'Q' | b'P' if oversized => {
                if header.tag == b'Q' || body.first() == Some(&0) {
                    // the server's unnamed statement is this one, or none
                    server.prepared.set_unnamed(None);
                    self.names.remove(b"");
                }
                self.pin(PinReason::LongStatement);
                self.exchange_mut().intent = Intent::Writes;
                let owed = if header.tag == b'Q' { Owed::Query } else { Owed::Parse };
                if owed == Owed::Parse {
                    let unit = self.exchange().units_sent;
                    self.exchange_mut().parses.push_back(ParseUnderWay::other(unit));
                }
                server.ledger.owe(owed, Origin::Client);
                true
            }
            b'd' => true,
            b'E' | b'S' | b'H' | b'F' | b'c' | b'f' if whole => {
                self.plain(server, header.tag);
                true
            }
            b'X' => return Err(End::ClientLeft),
            b'p' => return Err(End::protocol("unexpected password message")),
            _ => false,
        };
        if !taken {
            return Ok(Step::Stop);
        }
        self.unit_progress(header.tag);
        let here = HEADER_LEN + body.len();
        if !whole {
            self.body = ClientBody::Forward(header.body_len - u32::try_from(body.len()).unwrap_or(u32::MAX));
        }
        Ok(Step::Took(here))
    }

    /// A new unit may follow on this connection, or has to wait until the connection is released: on a replica
    /// outside a transaction only reads follow.
    fn may_begin_unit(&mut self, server: &Server, rest: &[u8]) -> Result<bool, End> {
        let exchange = self.exchange();
        let first = exchange.units_sent == 0;
        let settled_elsewhere = exchange.side == Side::Primary
            || exchange.block.is_open()
            || server.ledger.status() != TxStatus::Idle
            || !self.pins().is_empty()
            || first;
        if settled_elsewhere {
            return Ok(true);
        }
        let mut scanned = VecDeque::new();
        Ok(match scan::scan(rest, &self.names, &self.pools, &mut scanned).map_err(End::bad_frame)? {
            Scan::Units(group) => group.replica && !group.hinted,
            Scan::Incomplete => false,
        })
    }

    fn unit_progress(&mut self, tag: u8) {
        let now = self.worker.now();
        let exchange = self.exchange_mut();
        if !exchange.unit_open {
            exchange.unit_started = now;
        }
        match unit_end(tag) {
            Some(UnitEnd::Ready) => {
                exchange.unit_open = false;
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
        count(&self.pools.stats.queries, 1);
        // a simple query destroys the unnamed statement (manual, "Extended Query")
        server.prepared.set_unnamed(None);
        self.names.remove(b"");
        if class.effect == Effect::Deallocate && server.ledger.status() != TxStatus::Failed {
            let known = sql::deallocated_name(text).and_then(|name| self.names.remove(&name));
            if known.is_some() {
                frontend::query(b"", splice.replace(message.at, message.end()));
                server.ledger.owe(Owed::Query, Origin::Proxy);
                server.ledger.answer_locally(Local::Deallocated);
                server.ledger.answer_locally(Local::Ready);
                return true;
            }
        }
        if let Some(error) = self.refusal(class) {
            self.note_refusal(error);
            frontend::query(REFUSED_TEXT, splice.replace(message.at, message.end()));
        } else {
            self.note_class(class, text);
        }
        server.ledger.owe(Owed::Query, Origin::Client);
        true
    }

    /// What running a text of this class means for the session.
    pub(crate) fn note_class(&mut self, class: Class, text: &[u8]) {
        let unit = self.exchange().units_sent;
        let exchange = self.exchange_mut();
        match class.kind {
            Kind::Empty | Kind::Read => {}
            Kind::Begin { .. } | Kind::Rollback { chain: true } => exchange.block = Block::Open,
            Kind::Commit { chain } => exchange.block = Block::Committing { chain },
            Kind::Rollback { chain: false } => exchange.block = Block::None,
            Kind::Control | Kind::Session => {}
            Kind::Write => exchange.intent = Intent::Writes,
        }
        self.note_release(text);
        match class.effect {
            Effect::None | Effect::DeallocateAll | Effect::Deallocate => {}
            Effect::Settings => self.exchange_mut().effects.ask(unit, text),
            Effect::DiscardAll => self.exchange_mut().effects.ask_discard(unit),
            Effect::Pin(_) => self.pins_of(class).into_iter().for_each(|reasons| self.pin(reasons)),
        }
    }

    fn plain(&mut self, server: &mut Server, tag: u8) {
        let owed = match tag {
            b'E' => {
                count(&self.pools.stats.queries, 1);
                Owed::Execute
            }
            b'S' => Owed::Sync,
            b'F' => {
                self.exchange_mut().intent = Intent::Writes;
                Owed::FunctionCall
            }
            b'c' | b'f' => Owed::CopyEnd,
            _ => return,
        };
        server.ledger.owe(owed, Origin::Client);
    }
}

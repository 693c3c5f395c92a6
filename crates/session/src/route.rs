//! From a whole unit of input to a server connection: classify, decide, check out or wait.

use std::{rc::Rc, task::Context};

use pool::{Server, transition};
use protocol::{Origin, Owed};
use routing::{Decision, HoldReason, Request, Wants};
use wire::{
    SqlState,
    frame::{Direction, HEADER_LEN, MESSAGE_LIMIT, Peek, peek},
    message::{
        backend::{TxStatus, ready_for_query},
        error::ErrorMessage,
        frontend,
    },
};

use crate::{
    clock::Timed,
    exchange::{Entrance, Rerun, Side},
    handle::{Awaits, ClientState},
    io::send,
    names::Names,
    oversized::{Pieces, in_pieces, too_long},
    pin::PinReason,
    scan::{Group, Opens, Scan, Seeks, scan},
    session::{ClientBody, End, Phase, Session, Work},
    standing_hint::with_standing,
    stats::count,
    texts::texts,
    wait::queue_full,
};

/// A unit that is longer than the proxy keeps: it goes to the primary in pieces.
pub(crate) const LONG_UNIT: Group =
    Group { replica: false, replayable: false, hinted: false, opens: Opens::Transaction, seeks: Seeks::Any };

/// Why no transaction begins during a planned move.
const BEING_REPLACED: &str = "the primary is being replaced";

impl Session {
    /// Takes up new input while idle; the number of bytes consumed.
    pub(crate) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        input: &[u8],
        work: &mut Work,
    ) -> Result<usize, End> {
        self.time(Timed::Idle);
        let skipped = self.answer_without_server(cx, input)?;
        let rest = self.for_one_checkout(input.get(skipped..).unwrap_or_default())?;
        if rest.is_empty() || self.body != ClientBody::Boundary {
            return Ok(skipped);
        }
        let scanned =
            scan(rest, &self.names, &self.wanted, &self.pools, &mut work.scanned).map_err(End::bad_frame)?;
        let group = match scanned {
            Scan::Units(group) => group,
            Scan::Incomplete if self.is_too_long(rest)? => LONG_UNIT,
            Scan::Incomplete => return Ok(skipped),
        };
        if self.refuse_begin(&work.scanned) {
            return Ok(skipped);
        }
        self.handle.request_at.set(self.worker.now());
        match self.find_server(rest, group) {
            Some(server) => {
                self.link(cx, server, group, work)?;
                Ok(skipped + self.forward_linked(cx, rest, work)?)
            }
            None => Ok(skipped),
        }
    }

    /// The first message alone is more than is kept of a client's input, or so many small ones are.
    fn is_too_long(&self, rest: &[u8]) -> Result<bool, End> {
        let limit = self.input_limit();
        match peek(rest, Direction::Frontend, MESSAGE_LIMIT).map_err(End::bad_frame)? {
            Peek::Partial { header, body } if header.total_len() > limit => match in_pieces(header.tag, body)
            {
                Pieces::Pass => Ok(true),
                Pieces::More => Ok(false),
                Pieces::Refuse => Err(too_long()),
            },
            Peek::Partial { .. } | Peek::Whole { .. } | Peek::Nothing => Ok(rest.len() >= limit),
        }
    }

    /// Messages that need no server: a Sync with nothing before it, a Flush, what is left of a COPY that failed, and
    /// statements that are prepared and not run.
    fn answer_without_server(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, End> {
        let mut at = self.discard_body(input);
        let mut out = Vec::new();
        while self.body == ClientBody::Boundary {
            let rest = input.get(at..).unwrap_or_default();
            match peek(rest, Direction::Frontend, MESSAGE_LIMIT).map_err(End::bad_frame)? {
                Peek::Whole { header, .. } if matches!(header.tag, b'd' | b'c' | b'f' | b'H' | b'S') => {
                    if header.tag == b'S' {
                        ready_for_query(TxStatus::Idle, &mut out);
                    }
                    at += header.total_len();
                }
                Peek::Partial { header, body } if header.tag == b'd' => {
                    let left = header.body_len - u32::try_from(body.len()).unwrap_or(header.body_len);
                    self.body = ClientBody::Discard(left);
                    at += HEADER_LEN + body.len();
                }
                Peek::Whole { header, .. } if matches!(header.tag, b'P' | b'C') => {
                    match self.prepare_without_server(rest, &mut out) {
                        0 => break,
                        taken => at += taken,
                    }
                }
                Peek::Whole { header, .. } if header.tag == b'X' => return Err(End::ClientLeft),
                Peek::Whole { header, .. } if header.tag == b'p' => {
                    return Err(End::protocol("unexpected password message"));
                }
                Peek::Whole { .. } | Peek::Partial { .. } | Peek::Nothing => break,
            }
        }
        if !out.is_empty() {
            send(cx, &mut self.stream, &mut self.output, &out).map_err(End::ClientIo)?;
        }
        Ok(at)
    }

    /// A server connection for a group of units; `None`: the phase says what is waited for, or what failed.
    fn find_server(&mut self, input: &[u8], group: Group) -> Option<Box<Server>> {
        let wants = match self.pools_mode() {
            pool::PoolMode::Transaction | pool::PoolMode::Statement
                if group.replica && !self.primary_only && !self.wanted.needs_primary() =>
            {
                Wants::Replica
            }
            pool::PoolMode::Transaction | pool::PoolMode::Statement => Wants::Primary,
            pool::PoolMode::Session if self.policy.is_read_only() => Wants::Replica,
            pool::PoolMode::Session => Wants::Primary,
        };
        if wants == Wants::Primary
            && group.opens == Opens::Transaction
            && self.worker.is_primary_draining(&self.pools)
        {
            self.hold(&BEING_REPLACED, Awaits::Primary);
            return None;
        }
        // what it has prepared may have the hint
        let (names, standing) = (std::mem::take(&mut self.names), self.standing_hint.take());
        let hint = group.hinted.then(|| hint_of(input, &names)).flatten();
        let server = self.check_out(wants, with_standing(hint, standing.as_deref()), group.seeks);
        (self.names, self.standing_hint) = (names, standing);
        server
    }

    pub(crate) fn check_out(
        &mut self,
        wants: Wants,
        hint: Option<routing::Hint<'_>>,
        seeks: Seeks,
    ) -> Option<Box<Server>> {
        let worker = Rc::clone(&self.worker);
        let now = worker.now();
        let snapshot = worker.snapshot(&self.pools);
        if let Some(written) = self.written {
            self.written = Some(routing::resolve_written(written, &snapshot));
        }
        let request = Request { wants, policy: self.policy, written: self.written, hint };
        let settings = worker.settings();
        let pools = Rc::clone(&self.pools);
        let outstanding = |node| worker.active_on(&pools, node);
        let decision = routing::decide(
            &request,
            &settings.routing,
            &snapshot,
            now.into_std(),
            outstanding,
            worker.random(),
        );
        drop(snapshot);
        match decision {
            Decision::Use { node, .. } => {
                let pool = worker.pool(&self.pools, node);
                if self.must_await_pin(&pool, seeks) {
                    self.await_pin(pool);
                    return None;
                }
                let own = (seeks == Seeks::SequenceValues)
                    .then(|| pool.try_checkout_with_values_of(self.handle.id.0, self.writings, now))
                    .flatten();
                if let Some(server) = own.or_else(|| pool.try_checkout(&self.wanted, now)) {
                    return Some(server);
                }
                self.begin_wait();
                match pool.enter(&self.waiter, now) {
                    Ok(()) => {
                        self.handle.state.set(ClientState::Waiting);
                        self.phase = Phase::Waiting(pool);
                    }
                    Err(waiting) => self.fail_request(queue_full(waiting)),
                }
            }
            Decision::Hold(reason) => {
                let awaits = match reason {
                    HoldReason::NoPrimary(_) | HoldReason::NoReplicaFit(_) => Awaits::Primary,
                    HoldReason::AwaitsReplica => Awaits::Replica,
                };
                self.hold(&reason, awaits);
            }
            Decision::Refuse(reason) => {
                self.fail_request(ErrorMessage::error(SqlState::CANNOT_CONNECT_NOW, reason.to_string()));
            }
        }
        None
    }

    /// Makes `server` this session's: brings its settings about, ahead of the request if they have been proven.
    pub(crate) fn link(
        &mut self,
        cx: &mut Context<'_>,
        mut server: Box<Server>,
        group: Group,
        work: &mut Work,
    ) -> Result<(), End> {
        let now = self.worker.now();
        let node = server.stamp().node;
        let side = if self.worker.is_primary(&self.pools, node) { Side::Primary } else { Side::Replica };
        let mut exchange = self.worker.take_exchange(node, side, now);
        exchange.mode = self.pools_mode();
        if group.replayable && exchange.mode != pool::PoolMode::Session {
            let bytes = self.worker.spare();
            exchange.rerun = Rerun::Possible {
                bytes,
                names: Vec::new(),
                closed: Vec::new(),
                unnamed: self.names.find(b"").map(Rc::clone),
                read_only: group.replica,
            };
        }
        self.waiting = false;
        self.time(Timed::Query);
        self.handle.state.set(ClientState::Active);
        self.handle.node.set(Some(node));
        self.handle.linked_at.set(now);
        self.handle.idles_pinned.set(false);
        self.handle.server_process.set(server.process_id());
        count(&self.pools.stats.server_assignments, 1);
        if self.told.is_some() {
            self.pools.stats.routed_to(node, group.replica);
        }
        work.out.clear();
        let (sequences, first) = self.sequences_on(&mut server, group);
        exchange.sequences = sequences;
        exchange.entrance = self.bring_settings_about(&mut server, first, &mut work.out);
        if exchange.entrance == Entrance::Open && self.told.is_some() {
            let mut news = Vec::new();
            self.tell_parameters(&server, &mut news);
            send(cx, &mut self.stream, &mut self.output, &news).map_err(End::ClientIo)?;
        }
        if matches!(exchange.entrance, Entrance::Replaying { .. })
            && send(cx, &mut server.stream, &mut server.output, &work.out).is_err()
        {
            server.output.clear();
        }
        self.exchange = Some(exchange);
        self.phase = Phase::Linked(server);
        if self.pools_mode() == pool::PoolMode::Session && self.told.is_some() {
            self.pin(PinReason::SessionPooling);
        } else if self.wanted.breaks_lexing() && self.told.is_some() {
            self.pin(PinReason::Settings);
        }
        Ok(())
    }

    /// Writes what brings the client's settings about on `server`, if they are not in force, behind `first`, if that is
    /// anything; whether the client's input has to wait for the answer.
    pub(crate) fn bring_settings_about(
        &self,
        server: &mut Server,
        first: Option<&'static str>,
        out: &mut Vec<u8>,
    ) -> Entrance {
        if first.is_none() && Rc::ptr_eq(&server.state, &self.wanted) {
            return Entrance::Open;
        }
        let mut texts = transition(&server.state, &self.wanted);
        texts.splice(..0, first.map(Vec::from));
        for text in &texts {
            frontend::query(text, out);
            server.ledger.owe(Owed::Query, Origin::Proxy);
        }
        let left = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        if left == 0 {
            server.state = Rc::clone(&self.wanted);
            return Entrance::Open;
        }
        server.prepared.set_unnamed(None);
        // a client that is not welcomed yet sends nothing that they could go ahead of, even if another one has proven
        // its settings while it waited for a server
        let ahead = self.wanted.is_proven() && self.told.is_some();
        if ahead { Entrance::Ahead { left } } else { Entrance::Replaying { left } }
    }

    /// Sends the first of `input` over a server connection that was just linked; the number of bytes consumed.
    pub(crate) fn forward_linked(
        &mut self,
        cx: &mut Context<'_>,
        input: &[u8],
        work: &mut Work,
    ) -> Result<usize, End> {
        let Phase::Linked(mut server) = std::mem::replace(&mut self.phase, Phase::Idle) else { return Ok(0) };
        let consumed = if self.may_forward(&server) {
            self.forward(cx, &mut server, input, &mut work.out, &mut work.scanned)
        } else {
            Ok(0)
        };
        self.phase = Phase::Linked(server);
        let consumed = consumed?;
        self.answer_settled(cx, work)?;
        Ok(consumed)
    }

    pub(crate) fn pools_mode(&self) -> pool::PoolMode {
        self.pools.settings.borrow().pool.mode
    }
}

/// The hints in the texts of `input`: what one leaves open the next may say.
fn hint_of<'a>(input: &'a [u8], names: &'a Names) -> Option<sql::Hint<'a>> {
    texts(input, names).filter_map(|text| sql::hint(text.bytes())).reduce(sql::Hint::or)
}

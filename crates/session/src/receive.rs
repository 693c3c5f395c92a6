//! Server to client: whole runs of bytes pass as they came; a few short messages are looked at.

use std::task::Context;

use pool::{Body, Server};
use protocol::{Local, Owner, Verdict};
use wire::{
    SqlState,
    frame::{Direction, HEADER_LEN, MESSAGE_LIMIT, Peek, peek},
    message::{
        backend::{bare, ready_for_query},
        error::{ErrorMessage, ErrorView, Severity},
    },
};

use crate::{
    answered::is_stale_plan,
    exchange::{Again, Entrance, Rerun},
    io::{Splice, send},
    lost::Loss,
    reworded::REWORDED_MAX,
    session::{End, Session},
    stats::count,
    witness::ANSWER_MAX,
};

/// What came of a chunk.
pub(crate) enum Received {
    /// All of it was dealt with.
    All,
    /// The server is lost, or the request has to be run elsewhere.
    Lost(Loss),
}

/// So many bytes are held back of the answer to a request that could be run again; it is not, once there are more, as
/// when a statement raises notices without end.
const HELD_BACK_MAX: usize = 64 * 1024;

/// How much of a body must be there before a message of this type is dealt with; the rest may follow later.
fn bytes_needed(tag: u8, body_len: u32) -> u32 {
    /// Severity and SQLSTATE stand at the head of an error, before texts of any length.
    const ERROR_HEAD: u32 = 256;
    /// Longer parameter values are not PostgreSQL's.
    const PARAMETER: u32 = 64 * 1024;
    /// A process id, and a name with its NUL.
    const CHANNEL: u32 = 4 + 64;
    /// The longest command tag that matters.
    const TAG: u32 = 32;
    match tag {
        b'Z' => body_len,
        b'E' => body_len.min(ERROR_HEAD),
        b'S' => body_len.min(PARAMETER),
        b'C' => body_len.min(TAG),
        b'A' => body_len.min(CHANNEL),
        _ => 0,
    }
}

impl Session {
    /// Deals with bytes from the server and passes on what is the client's.
    pub(crate) fn receive(
        &mut self,
        cx: &mut Context<'_>,
        server: &mut Server,
        chunk: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Received, End> {
        out.clear();
        out.append(&mut self.exchange_mut().held_back);
        if server.input.is_empty() {
            let consumed = self.receive_run(cx, server, chunk, out)?;
            let (consumed, received) = consumed;
            if matches!(received, Received::All) {
                server.input.extend_from_slice(chunk.get(consumed..).unwrap_or_default());
            }
            return Ok(received);
        }
        server.input.extend_from_slice(chunk);
        let joined = server.input.split();
        let (consumed, received) = self.receive_run(cx, server, &joined, out)?;
        if matches!(received, Received::All) {
            server.input.extend_from_slice(joined.get(consumed..).unwrap_or_default());
        }
        Ok(received)
    }

    fn receive_run(
        &mut self,
        cx: &mut Context<'_>,
        server: &mut Server,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Received), End> {
        let mut splice = Splice::behind(input, out);
        let mut at = pass_body(server, input, &mut splice);
        let mut received = Received::All;
        while server.body == Body::Boundary {
            let peeked = match peek(input.get(at..).unwrap_or_default(), Direction::Backend, MESSAGE_LIMIT) {
                Ok(peeked) => peeked,
                Err(_) => {
                    received = Received::Lost(Loss::Desynchronised);
                    break;
                }
            };
            let (header, body, whole) = match peeked {
                Peek::Nothing => break,
                Peek::Partial { header, body } => (header, body, false),
                Peek::Whole { header, body } => (header, body, true),
            };
            if !whole
                && (body.len() as u64) < u64::from(self.bytes_needed(server, header.tag, header.body_len))
            {
                break;
            }
            let end = at + HEADER_LEN + body.len();
            match self.message(server, header.tag, body, at, end, &mut splice)? {
                Fate::Forward if !whole => server.body = Body::Forward(rest_of(header.body_len, body)),
                Fate::Swallow => {
                    splice.replace(at, end);
                    if !whole {
                        server.body = Body::Swallow(rest_of(header.body_len, body));
                    }
                }
                Fate::Forward => {}
                Fate::Replaced => debug_assert!(whole, "only short messages are replaced"),
                Fate::Lost(loss) => {
                    received = Received::Lost(loss);
                    break;
                }
            }
            at = end;
            self.local_answers(server, at, &mut splice);
        }
        let (first, second) = splice.finish(at);
        self.pass_to_client(cx, first, second)?;
        Ok((at, received))
    }

    /// Sends to the client, or keeps back while the request could still be run again.
    pub(crate) fn pass_to_client(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Result<(), End> {
        if matches!(self.exchange().rerun, Rerun::Possible { .. }) {
            let held = &mut self.exchange_mut().held_back;
            held.extend_from_slice(first);
            held.extend_from_slice(second);
            if held.len() <= HELD_BACK_MAX {
                return Ok(());
            }
            let held = std::mem::take(held);
            self.give_up_rerun();
            count(&self.pools.stats.sent, held.len() as u64);
            return send(cx, &mut self.stream, &mut self.output, &held).map_err(End::ClientIo);
        }
        if !self.exchange().held_back.is_empty() {
            let held_back = std::mem::take(&mut self.exchange_mut().held_back);
            count(&self.pools.stats.sent, held_back.len() as u64);
            send(cx, &mut self.stream, &mut self.output, &held_back).map_err(End::ClientIo)?;
        }
        count(&self.pools.stats.sent, (first.len() + second.len()) as u64);
        send(cx, &mut self.stream, &mut self.output, first).map_err(End::ClientIo)?;
        send(cx, &mut self.stream, &mut self.output, second).map_err(End::ClientIo)
    }

    /// Answers of the proxy's own whose turn has come, into the stream at `at`.
    pub(crate) fn local_answers(&mut self, server: &mut Server, at: usize, splice: &mut Splice<'_>) {
        while let Some(local) = server.ledger.take_local() {
            let out = splice.replace(at, at);
            match local {
                Local::ParseComplete => {
                    self.confirm();
                    bare(b'1', out);
                }
                Local::CloseComplete => {
                    self.confirm();
                    bare(b'3', out);
                }
                Local::Deallocated => self.deallocated(server, out),
                Local::Prepared => self.prepared_by_name(server, out),
                Local::Ready => {
                    ready_for_query(server.ledger.status(), out);
                    self.unit_answered(server, false);
                }
            }
        }
    }

    fn message(
        &mut self,
        server: &mut Server,
        tag: u8,
        body: &[u8],
        at: usize,
        end: usize,
        splice: &mut Splice<'_>,
    ) -> Result<Fate, End> {
        if tag == b'E' {
            let view = ErrorView::read(body);
            if let Some(loss) = self.judge_error(server, &view).or_else(|| self.witness_failed(server, &view))
            {
                return Ok(Fate::Lost(loss));
            }
            self.unnamed_at_error(server);
        }
        if matches!(tag, b'D' | b'C') && self.awaits_witness(server) {
            self.witness_answer(tag, body);
        }
        let Ok(verdict) = server.ledger.receive(tag, body) else {
            return Ok(Fate::Lost(Loss::Desynchronised));
        };
        let owner = match verdict {
            Verdict::Asynchronous => return Ok(self.asynchronous(server, tag, body)),
            Verdict::Ready(owner) | Verdict::Reply(owner) | Verdict::Error(owner) => owner,
        };
        if self.exchange().entrance != Entrance::Open {
            return Ok(self.replay_message(server, tag, body, at, end, splice));
        }
        if owner == Owner::Proxy && self.is_inquiring() {
            self.inquiry_answer(tag, body);
            return Ok(Fate::Swallow);
        }
        match verdict {
            Verdict::Ready(Owner::Client) if self.exchange().again == Again::AfterReady => {
                self.exchange_mut().again = Again::Now;
                return Ok(Fate::Swallow);
            }
            Verdict::Ready(Owner::Client) => {
                self.unit_answered(server, true);
                self.refuse_transaction(server.ledger.status())?;
            }
            Verdict::Error(Owner::Client) if self.prepares_again(server, &ErrorView::read(body)) => {
                return Ok(Fate::Swallow);
            }
            Verdict::Error(Owner::Proxy) if self.exchange().ahead.is_awaited() => {
                self.ahead_failed(server, body);
                return Ok(Fate::Swallow);
            }
            Verdict::Ready(Owner::Proxy) => self.exchange_mut().ahead.is_over(),
            Verdict::Error(owner) => {
                let error = self.error_for_client(server, body, owner);
                self.unit_error(server);
                // that of what was sent ahead, too, is the answer to the request that needed it
                let Some(error) = error else { return Ok(Fate::Forward) };
                splice.replace(at, end).extend_from_slice(&error);
                return Ok(Fate::Replaced);
            }
            Verdict::Reply(_) if matches!(tag, b'1' | b'3') => self.confirm(),
            // the Sync that was sent is one that the server ignores
            Verdict::Reply(_) if tag == b'G' => {
                self.exchange_mut().unit_open |= server.ledger.ready_owed() == 0
            }
            Verdict::Reply(_) if tag == b'C' && owner == Owner::Client => {
                self.command_completed(server, body)
            }
            Verdict::Reply(Owner::Client) if matches!(tag, b'I' | b's') => {
                self.exchange_mut().effects.completed_without_tag();
            }
            Verdict::Reply(_) | Verdict::Asynchronous => {}
        }
        if owner == Owner::Client && is_first_of_an_answer(tag) {
            self.exchange_mut().unit_answering = tag != b'Z';
            self.give_up_rerun();
        }
        Ok(if owner == Owner::Client { Fate::Forward } else { Fate::Swallow })
    }

    fn bytes_needed(&self, server: &Server, tag: u8, body_len: u32) -> u32 {
        // the proxy's own questions have short answers
        let whole = match tag {
            b'D' => self.is_inquiring() || body_len <= ANSWER_MAX && self.awaits_witness(server),
            b'E' => self.may_reword() && body_len <= REWORDED_MAX,
            _ => false,
        };
        if whole { body_len } else { bytes_needed(tag, body_len) }
    }

    /// Whether an error ends the connection, or sends the request elsewhere.
    fn judge_error(&mut self, server: &Server, view: &ErrorView<'_>) -> Option<Loss> {
        let code = view.code.unwrap_or(SqlState::INTERNAL_ERROR);
        if view.is_fatal() {
            return Some(Loss::Fatal(Box::new(as_own(view))));
        }
        if let Rerun::Possible { read_only, .. } = self.exchange().rerun
            && self.refuses_by_role(server, code, read_only)
            && !is_stale_plan(view)
        {
            return Some(Loss::Refused(code));
        }
        None
    }
}

/// What becomes of a message.
pub(crate) enum Fate {
    Forward,
    Swallow,
    /// Something else stands in its place already.
    Replaced,
    Lost(Loss),
}

fn rest_of(body_len: u32, body: &[u8]) -> u32 {
    body_len - u32::try_from(body.len()).unwrap_or(body_len)
}

/// The rest of a body whose head was dealt with before; where the next head begins.
fn pass_body(server: &mut Server, input: &[u8], splice: &mut Splice<'_>) -> usize {
    let (left, swallow) = match server.body {
        Body::Boundary => return 0,
        Body::Forward(left) => (left, false),
        Body::Swallow(left) => (left, true),
    };
    let here = u32::try_from(input.len()).unwrap_or(u32::MAX).min(left);
    server.body = match (left - here, swallow) {
        (0, _) => Body::Boundary,
        (left, false) => Body::Forward(left),
        (left, true) => Body::Swallow(left),
    };
    if swallow {
        splice.replace(0, here as usize);
    }
    here as usize
}

/// From this message on an answer is the client's and the request is not run again. Completions of Parse and Bind
/// and descriptions come before anything was executed; so does CopyOutResponse, which is sent before the table is
/// opened.
fn is_first_of_an_answer(tag: u8) -> bool {
    !matches!(tag, b'1' | b'2' | b'3' | b't' | b'T' | b'n' | b'H')
}

/// A server's error in the proxy's own words and with its code: what came is not passed on byte for byte.
pub(crate) fn as_own(view: &ErrorView<'_>) -> ErrorMessage {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ErrorMessage {
        severity: if view.is_fatal() { Severity::Fatal } else { Severity::Error },
        code: view.code.unwrap_or(SqlState::INTERNAL_ERROR),
        message: text(view.message).into(),
        detail: (!view.detail.is_empty()).then(|| text(view.detail).into()),
        hint: (!view.hint.is_empty()).then(|| text(view.hint).into()),
    }
}

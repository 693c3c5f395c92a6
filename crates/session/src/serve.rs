//! The loop of a session: one task that polls its client and, while it has one, its server.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use pool::Server;
use wire::{SqlState, message::error::ErrorMessage};

use crate::{
    clock::Timed,
    exchange::{Again, Entrance},
    handle::ClientState,
    io::{Splice, drain, poll_read, send},
    local::Progress,
    lost::Loss,
    names::Dictionary,
    receive::Received,
    session::{ClientBody, End, Phase, Session, Work},
};

/// What a turn came to.
pub(crate) enum Turn {
    /// Something happened; look again.
    Again,
    /// Nothing to do until a socket or a queue wakes the task.
    Wait,
}

/// Turns of one session before the others on its worker get theirs; bounds how long one COPY keeps the thread.
const TURNS_AT_ONCE: u32 = 16;

/// Bytes that a client may leave untaken before nothing more of its input is looked at.
const OUTPUT_MAX: usize = 256 * 1024;

impl Session {
    /// Serves until the client leaves or has to.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let worker = Rc::clone(&self.worker);
        let (mut read, mut work) = worker.buffers();
        self.handle.remember_waker(cx.waker());
        for _ in 0..TURNS_AT_ONCE {
            match self.turn(cx, &mut read, &mut work) {
                Ok(Turn::Again) => {}
                Ok(Turn::Wait) => match self.obey_clock(cx) {
                    Ok(()) => return Poll::Pending,
                    Err(end) => return Poll::Ready(end),
                },
                Err(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn turn(&mut self, cx: &mut Context<'_>, read: &mut [u8], work: &mut Work) -> Result<Turn, End> {
        self.obey(cx)?;
        let taken = drain(cx, &mut self.stream, &mut self.output).map_err(End::ClientIo)?;
        if self.is_suspended() {
            return Ok(Turn::Wait);
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle if self.told.is_none() => self.greet(cx),
            Phase::Idle if taken => self.turn_idle(cx, read, work),
            Phase::Idle => Ok(Turn::Wait),
            phase @ (Phase::Waiting(_) | Phase::Held) => {
                self.phase = phase;
                self.turn_waiting(cx, read, work)
            }
            Phase::InDoubt(doubt) => self.turn_in_doubt(cx, doubt, read),
            Phase::Linked(server) => self.turn_linked(cx, server, read, work, taken),
            Phase::Local(responder) if self.told.is_none() => Err(End::refused_login(*responder)),
            Phase::Local(responder) => {
                self.phase = Phase::Local(responder);
                if taken { self.turn_local(cx, read, work) } else { Ok(Turn::Wait) }
            }
        }
    }

    /// Carries out what others asked of the session.
    fn obey(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if let Some(farewell) = self.handle.farewell(|| self.is_idle()) {
            return Err(End::Farewell(farewell));
        }
        if !self.handle.take_cancel() {
            return Ok(());
        }
        match &self.phase {
            // it is for the client's request, and must not end what brings the client's settings about
            Phase::Linked(_) if self.exchange().entrance != Entrance::Open => self.handle.defer_cancel(),
            // what runs before a LISTEN that waits is what the client means
            Phase::Linked(server)
                if self.exchange().awaits_channel.is_some()
                    && (server.ledger.is_answered() || self.is_stuck(server)) =>
            {
                let text = "canceling statement due to user request";
                let error = ErrorMessage::error(SqlState::QUERY_CANCELED, text);
                self.exchange_mut().unsuited = Some(Box::new(error));
            }
            // what the client could cancel is over when the proxy asks something of its own
            Phase::Linked(server) if !server.ledger.is_answered() && !self.is_inquiring() => {
                self.worker.cancel_on_server(server, &self.handle);
            }
            Phase::Waiting(_) | Phase::Held => {
                self.leave_queue();
                let text = "canceling statement due to user request";
                self.fail_request(ErrorMessage::error(SqlState::QUERY_CANCELED, text));
                cx.waker().wake_by_ref();
            }
            Phase::InDoubt(_) => {
                self.cancel_doubt(cx)?;
                cx.waker().wake_by_ref();
            }
            Phase::Linked(_) | Phase::Idle | Phase::Local(_) => {}
        }
        Ok(())
    }

    /// Whether it has no transaction and no request under way; it may keep its server nevertheless.
    fn is_idle(&self) -> bool {
        self.input.is_empty()
            && match &self.phase {
                Phase::Idle => true,
                Phase::Linked(server) => self.is_at_rest(server) && self.exchange().awaits_channel.is_none(),
                Phase::Waiting(_) | Phase::Held | Phase::InDoubt(_) | Phase::Local(_) => false,
            }
    }

    /// Reads once from the client and lets `take` consume; what it leaves is kept. `None`: nothing came.
    fn read_client(
        &mut self,
        cx: &mut Context<'_>,
        read: &mut [u8],
        take: impl FnOnce(&mut Self, &mut Context<'_>, &[u8]) -> Result<usize, End>,
    ) -> Result<Option<usize>, End> {
        let n = match poll_read(cx, &mut self.stream, read) {
            Poll::Pending => return Ok(None),
            Poll::Ready(Ok(0)) => return Err(End::ClientLeft),
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(error)) => return Err(End::ClientIo(error)),
        };
        let chunk = read.get(..n).unwrap_or_default();
        if self.input.is_empty() {
            let consumed = take(self, cx, chunk)?;
            // whatever was put back meanwhile is older than the rest of this chunk
            self.input.extend_from_slice(chunk.get(consumed..).unwrap_or_default());
            Ok(Some(consumed))
        } else {
            self.input.extend_from_slice(chunk);
            self.take_input(cx, take).map(Some)
        }
    }

    /// Lets `take` consume from the kept input; the number of bytes that it took.
    fn take_input(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Self, &mut Context<'_>, &[u8]) -> Result<usize, End>,
    ) -> Result<usize, End> {
        let mut input = std::mem::take(&mut self.input);
        let consumed = take(self, cx, &input)?;
        input.advance(consumed);
        if self.input.is_empty() {
            self.input = if input.is_empty() { BytesMut::new() } else { input };
        } else {
            self.input.extend_from_slice(&input);
        }
        Ok(consumed)
    }

    fn turn_idle(&mut self, cx: &mut Context<'_>, read: &mut [u8], work: &mut Work) -> Result<Turn, End> {
        self.handle.state.set(ClientState::Idle);
        if self.handle.clock.timed() != Timed::Idle {
            self.time(Timed::Idle);
        }
        if self.tell_news(cx)? {
            return Ok(Turn::Again);
        }
        if !self.input.is_empty() {
            let consumed = self.take_input(cx, |me, cx, input| me.begin(cx, input, work))?;
            if consumed > 0 || !matches!(self.phase, Phase::Idle) {
                return Ok(Turn::Again);
            }
        }
        match self.read_client(cx, read, |me, cx, input| me.begin(cx, input, work))? {
            Some(_) => Ok(self.after_request(cx)),
            None => Ok(Turn::Wait),
        }
    }

    fn turn_local(&mut self, cx: &mut Context<'_>, read: &mut [u8], work: &mut Work) -> Result<Turn, End> {
        if !self.input.is_empty() {
            let consumed = self.take_input(cx, |me, cx, input| me.answer_locally(cx, input, work))?;
            if consumed > 0 {
                return Ok(Turn::Again);
            }
        }
        if self.input.len() > self.input_limit() {
            return Err(End::protocol("a message is too long for a session whose request has failed"));
        }
        match self.read_client(cx, read, |me, cx, input| me.answer_locally(cx, input, work))? {
            Some(_) => Ok(Turn::Again),
            None => Ok(Turn::Wait),
        }
    }

    fn answer_locally(&mut self, cx: &mut Context<'_>, input: &[u8], work: &mut Work) -> Result<usize, End> {
        let skipped = self.discard_body(input);
        let Phase::Local(responder) = &mut self.phase else { return Ok(skipped) };
        let rest = input.get(skipped..).unwrap_or_default();
        work.out.clear();
        let mut meaning = Dictionary { pools: &self.pools, state: &self.wanted, names: &mut self.names };
        let progress = responder.answer(rest, &mut meaning, &mut work.out).map_err(End::bad_frame)?;
        self.count_names();
        send(cx, &mut self.stream, &mut self.output, &work.out).map_err(End::ClientIo)?;
        match progress {
            Progress::Goes(n) => Ok(skipped + n),
            Progress::Out(n) => {
                self.phase = Phase::Idle;
                self.request_over();
                Ok(skipped + n)
            }
            Progress::Terminate => Err(End::ClientLeft),
        }
    }

    /// Skips the rest of a body that was for a server now gone.
    pub(crate) fn discard_body(&mut self, input: &[u8]) -> usize {
        let ClientBody::Discard(left) = self.body else { return 0 };
        let here = u32::try_from(input.len()).unwrap_or(u32::MAX).min(left);
        self.body = self.body.less(here);
        here as usize
    }

    fn turn_linked(
        &mut self,
        cx: &mut Context<'_>,
        mut server: Box<Server>,
        read: &mut [u8],
        work: &mut Work,
        taken: bool,
    ) -> Result<Turn, End> {
        if drain(cx, &mut server.stream, &mut server.output).is_err() {
            server.output.clear(); // what it said last is read below
        }
        if let Some(loss) = self.reason_to_leave(&server) {
            self.lost(cx, server, loss)?;
            return Ok(Turn::Again);
        }
        let dead = self.worker.is_down(&self.pools, self.exchange().node);
        if taken {
            match poll_read(cx, &mut server.stream, read) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    let chunk = read.get(..n).unwrap_or_default();
                    return self.take_from_server(cx, server, chunk, work);
                }
                Poll::Ready(ended) => {
                    let loss = Loss::of_read(&ended, server.stream.local_addr());
                    self.lost(cx, server, loss)?;
                    return Ok(Turn::Again);
                }
                Poll::Pending if dead => {
                    self.lost(cx, server, Loss::Gone)?;
                    return Ok(Turn::Again);
                }
                Poll::Pending => {}
            }
        }
        if self.may_release(&server) {
            return self.release(cx, server);
        }
        if self.should_inquire(&server) {
            self.inquire(cx, &mut server);
            self.phase = Phase::Linked(server);
            return Ok(Turn::Again);
        }
        if taken && self.may_tell_news(&server) {
            self.phase = Phase::Linked(server);
            self.tell_news(cx)?;
            return Ok(Turn::Again);
        }
        // the proxy's own answers come without a server that would slow down for a client that does not read
        if !self.may_forward(&server) || self.output.len() > OUTPUT_MAX {
            self.phase = Phase::Linked(server);
            return Ok(Turn::Wait);
        }
        self.forward_more(cx, server, read, work)
    }

    fn take_from_server(
        &mut self,
        cx: &mut Context<'_>,
        mut server: Box<Server>,
        chunk: &[u8],
        work: &mut Work,
    ) -> Result<Turn, End> {
        match self.receive(cx, &mut server, chunk, &mut work.out) {
            Ok(Received::All) if self.exchange().again == Again::Now => self.run_again(cx, server),
            Ok(Received::All) if self.may_release(&server) => {
                self.release(cx, server)?;
                self.after_release(cx)
            }
            Ok(Received::All) => {
                self.phase = Phase::Linked(server);
                Ok(Turn::Again)
            }
            Ok(Received::Lost(loss)) => {
                self.lost(cx, server, loss)?;
                Ok(Turn::Again)
            }
            Err(end) => {
                self.phase = Phase::Linked(server); // it is dealt with where the session ends
                Err(end)
            }
        }
    }

    /// Client to server, once.
    fn forward_more(
        &mut self,
        cx: &mut Context<'_>,
        mut server: Box<Server>,
        read: &mut [u8],
        work: &mut Work,
    ) -> Result<Turn, End> {
        work.scanned.clear();
        let mut forward = |me: &mut Self, cx: &mut Context<'_>, input: &[u8]| {
            work.out.clear();
            me.forward(cx, &mut server, input, &mut work.out, &mut work.scanned)
        };
        let mut progress = false;
        let outcome = if self.input.is_empty() {
            self.read_client(cx, read, &mut forward).map(|n| progress = n.is_some())
        } else {
            self.take_input(cx, &mut forward).map(|n| progress = n > 0)
        };
        let outcome = match outcome {
            Ok(()) if !progress && !self.input.is_empty() && self.input.len() < self.input_limit() => {
                self.read_client(cx, read, &mut forward).map(|n| progress = n.is_some())
            }
            other => other,
        };
        let unsuited = self.exchange_mut().unsuited.take();
        let unsuited = unsuited.filter(|_| server.ledger.is_settled() || self.is_stuck(&server));
        if let (Some(error), Ok(())) = (unsuited, &outcome) {
            return self.refuse_unit(cx, server, error);
        }
        if outcome.is_ok() && self.steps_aside(&server) {
            return self.step_aside(cx, server);
        }
        self.handle.idles_pinned.set(!self.pins().is_empty() && self.is_at_rest(&server));
        self.phase = Phase::Linked(server);
        outcome?;
        self.answer_settled(cx, work)?;
        Ok(if progress { Turn::Again } else { Turn::Wait })
    }

    /// Gives the proxy's own answers whose turn has come without the server saying anything.
    pub(crate) fn answer_settled(&mut self, cx: &mut Context<'_>, work: &mut Work) -> Result<(), End> {
        let Phase::Linked(mut server) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return Ok(());
        };
        work.out.clear();
        self.local_answers(&mut server, 0, &mut Splice::new(&[], &mut work.out));
        self.phase = Phase::Linked(server);
        if work.out.is_empty() {
            return Ok(());
        }
        self.pass_to_client(cx, &work.out, &[])
    }
}

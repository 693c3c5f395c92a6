//! Where a turn ends because the next one would find nothing to do: most requests take two turns then, and not four.

use std::task::Context;

use crate::{
    clock::Timed,
    serve::Turn,
    session::{ClientBody, End, Phase, Session},
};

impl Session {
    /// A request was taken up. Mostly the next turn would find nothing to do but to wait for its answer.
    pub(crate) fn after_request(&mut self, cx: &mut Context<'_>) -> Turn {
        let Phase::Linked(server) = &self.phase else { return Turn::Again };
        let waits_for_answer = !server.ledger.is_answered()
            && server.output.is_empty()
            && self.exchange().awaits_channel.is_none()
            && self.exchange().unsuited.is_none();
        if waits_for_answer && server.stream.poll_read_ready(cx).is_pending() && self.is_quiet(cx) {
            Turn::Wait
        } else {
            Turn::Again
        }
    }

    /// A request is over, and its server was given back. Mostly the next turn would find nothing to do but to wait for
    /// another request.
    pub(crate) fn after_release(&mut self, cx: &mut Context<'_>) -> Result<Turn, End> {
        let is_over = matches!(self.phase, Phase::Idle) && self.told.is_some();
        if !is_over || !self.is_quiet(cx) || self.tell_news(cx)? {
            return Ok(Turn::Again);
        }
        self.time(Timed::Idle);
        Ok(Turn::Wait)
    }

    /// Nobody has asked anything, nothing of the client's is left to be taken up or to be sent to it, and it says nothing.
    fn is_quiet(&self, cx: &mut Context<'_>) -> bool {
        self.input.is_empty()
            && self.output.is_empty()
            && self.body == ClientBody::Boundary
            && !self.handle.is_asked_something()
            && !self.worker.is_suspended()
            && self.stream.poll_read_ready(cx).is_pending()
    }
}

//! The end of using a server connection: it goes back clean, or not at all.

use std::task::Context;

use pool::{Body, Reset, Server};

use crate::{
    exchange::{Entrance, Inquiry},
    handle::ClientState,
    serve::Turn,
    session::{ClientBody, End, Phase, Session},
};

impl Session {
    pub(crate) fn may_release(&self, server: &Server) -> bool {
        self.pins().is_empty() && self.exchange().awaits_channel.is_none() && self.is_at_rest(server)
    }

    /// Gives the server connection back.
    pub(crate) fn release(&mut self, cx: &mut Context<'_>, mut server: Box<Server>) -> Result<Turn, End> {
        if self.told.is_none()
            && let Err(end) = self.welcome(cx, &server)
        {
            self.phase = Phase::Linked(server);
            return Err(end);
        }
        self.give_up_rerun();
        if let Some(exchange) = self.exchange.take() {
            self.note_writing(&mut server, &exchange);
            self.worker.keep_exchange(exchange);
        }
        self.request_over();
        // a reload may have given the database other pools meanwhile: it is none of theirs
        let Some(pool) = server.pool() else { return Ok(Turn::Again) };
        match server.prove_clean() {
            Ok(clean) => pool.give_back(clean),
            Err(server) => pool.reset_and_give_back(server, Reset::Transaction),
        }
        Ok(Turn::Again)
    }

    /// The present request is over, one way or another.
    pub(crate) fn request_over(&mut self) {
        self.primary_only = false;
        self.reruns = 0;
        self.told_to_wait = false;
        self.waiting = false;
        self.handle.state.set(ClientState::Idle);
        self.handle.node.set(None);
        self.handle.server_process.set(0);
    }

    /// What becomes of the server when the client has gone: the next client gets a clean one or none.
    pub(crate) fn leave(&mut self) {
        self.leave_queue();
        let Phase::Linked(mut server) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        let Some(exchange) = self.exchange.take() else { return };
        self.note_writing(&mut server, &exchange);
        let Some(pool) = server.pool() else { return };
        let mid_message =
            self.body != ClientBody::Boundary || !server.output.is_empty() || server.body != Body::Boundary;
        // what a Flush asked for is answered and yet not committed, nor does the last status tell of it
        let busy = !server.ledger.is_answered() && !matches!(exchange.inquiry, Inquiry::Asked { .. });
        let unfinished = mid_message || exchange.unit_open || busy || exchange.entrance != Entrance::Open;
        if unfinished {
            // it would be kept busy for a client that has gone: end what it does, and the connection
            self.worker.cancel_and_close(&self.pools, &pool, server);
            return;
        }
        let reset = if self.pins().last() { Reset::Session } else { Reset::Transaction };
        pool.reset_and_give_back(server, reset);
    }
}

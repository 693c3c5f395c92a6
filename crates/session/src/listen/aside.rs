//! Waiting for the shared connection without a server connection: under a bound on all of them, those of the clients
//! that wait may be what it has no place for.

use std::task::Context;

use pool::Server;

use super::{follow::not_heard, hub::Trouble};
use crate::{
    handle::{Awaits, ClientState},
    serve::Turn,
    session::{End, Phase, Session},
    stats::count,
    wait::queue_full,
};

impl Session {
    /// Whether its server connection is better given back while its LISTEN waits.
    pub(crate) fn steps_aside(&self, server: &Server) -> bool {
        self.exchange().awaits_channel.is_some()
            && self.pins().is_empty()
            && self.is_at_rest(server)
            && self.listening.as_ref().is_some_and(|subscriber| {
                let hub = subscriber.hub();
                matches!(hub.trouble(), Some(Trouble::NoPlace(_))) && !hub.is_first(subscriber.id())
            })
    }

    /// Gives it back and waits among those who are held.
    pub(crate) fn step_aside(&mut self, cx: &mut Context<'_>, server: Box<Server>) -> Result<Turn, End> {
        self.exchange_mut().awaits_channel = None;
        self.release(cx, server)?;
        self.begin_wait();
        if self.worker.hold(&self.waiter) {
            if let Some(subscriber) = &self.listening {
                subscriber.aside.set(true);
            }
            count(&self.pools.stats.held, 1);
            self.handle.state.set(ClientState::Held);
            self.note_hold(&"there is no room for the connection that listens", Awaits::Room);
            self.phase = Phase::Held;
        } else {
            self.fail_request(queue_full(self.worker.settings().session.max_held as usize));
        }
        Ok(Turn::Again)
    }

    /// Whether it waits like this.
    pub(crate) fn is_aside(&self) -> bool {
        matches!(self.phase, Phase::Held)
            && self.listening.as_ref().is_some_and(|subscriber| subscriber.aside.get())
    }

    /// Looks whether it may go on: the shared connection listens, or whoever kept its own meanwhile has gone, or it has
    /// waited for too long. Otherwise it goes on to wait.
    pub(crate) fn turn_aside(&mut self) -> Option<Turn> {
        let subscriber = self.listening.clone().filter(|_| self.is_aside())?;
        let waited = self.worker.now() - self.waiting_since();
        let is_over = waited >= self.worker.settings().session.max_hold;
        if !is_over && !subscriber.is_heard() && !subscriber.hub().is_first(subscriber.id()) {
            return None;
        }
        subscriber.aside.set(false);
        self.leave_queue();
        if is_over {
            self.fail_request(not_heard(waited, subscriber.hub().trouble()));
        }
        Some(Turn::Again)
    }
}

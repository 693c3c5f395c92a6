//! What administrators and the topology tell a pool to do.

use std::rc::Rc;

use super::{DialPlan, Pool, PoolState, Settings};
use crate::{Gate, quota::Reached};

impl Pool {
    /// Stops handing out connections until [`Pool::resume`].
    pub fn pause(&self) {
        self.state.set(PoolState::Paused);
    }

    /// Hands out connections again, if it did not.
    pub fn resume(&self) {
        if self.state.replace(PoolState::Open) == PoolState::Paused {
            self.tell_all_again();
        }
    }

    /// Whether it hands out connections.
    #[must_use]
    pub fn state(&self) -> PoolState {
        self.state.get()
    }

    /// Closes idle connections now and the others when they come back.
    pub fn reconnect(&self) {
        self.generation.set(self.generation.get() + 1);
        self.stale.set(self.live.get());
        let idle = self.idle.take();
        drop(idle); // each gives its place back
    }

    /// Ends the pool: nothing is handed out or taken back any more, and whoever waits decides again.
    pub fn retire(&self) {
        self.reconnect();
        self.account.close();
        self.tell_all_again();
    }

    /// Sends all waiting clients back to decide again, as after a change of the topology.
    pub fn reroute_waiters(&self) {
        self.dial_not_before.set(None);
        self.refusals.take();
        self.account.login_ended(Reached::Yes);
        let unusable: Vec<_> = {
            let mut idle = self.idle.borrow_mut();
            let (usable, unusable) = idle.drain(..).partition(|server| self.is_usable(server));
            *idle = usable;
            unusable
        };
        drop(unusable);
        self.tell_all_again();
    }

    /// Takes over changed settings and dialing data; connections made under other dialing data are replaced.
    pub fn reconfigure(&self, settings: Settings, plan: DialPlan, redial: bool) {
        *self.settings.borrow_mut() = settings;
        *self.plan.borrow_mut() = plan;
        self.refusals.take(); // with another secret it may be let in
        if redial {
            self.reconnect();
        }
    }

    /// From now on this one knows where connections may lead.
    pub fn set_gate(&self, gate: Rc<dyn Gate>) {
        *self.gate.borrow_mut() = gate;
    }

    /// Grows whenever all connections are to be replaced.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// A connection that listens takes a place.
    pub(crate) fn listening_begins(&self) {
        self.listening.set(self.listening.get() + 1);
    }

    /// It gives it back.
    pub(crate) fn listening_ended(&self) {
        self.listening.set(self.listening.get() - 1);
    }

    /// `size`, or more where connections that listen would leave none for anything else.
    pub(crate) fn limit(&self, size: u32) -> u32 {
        size.max(self.listening.get() + 1)
    }

    /// Connections beyond the limit, which was lowered, or beyond which one that listens has taken a place.
    pub(super) fn surplus(&self) -> u32 {
        let settings = self.settings.borrow();
        self.live.get().saturating_sub(self.limit(settings.size).saturating_add(settings.reserve_size))
    }
}

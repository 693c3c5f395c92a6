mod dialing;
mod orders;
mod share;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    sync::Arc,
};

use tokio::time::Instant;

use crate::{
    Account, CleanServer, Counts, Delivery, DialPlan, Gate, ParameterSets, PoolState, Reset, Server,
    SessionState, SessionStates, Settings, Waiter, has_news, reset,
};

/// The server connections of one database and user on one node.
///
/// ```text
///   (dialing) --> idle --check out--> active (owned by a session) --clean--> idle
///                                        |--left dirty--> resetting --clean--> idle
///                                        '--anything else--> closed
/// ```
#[derive(Debug)]
pub struct Pool {
    me: Weak<Pool>,
    settings: RefCell<Settings>,
    plan: RefCell<DialPlan>,
    state: Cell<PoolState>,
    idle: RefCell<Vec<CleanServer>>,
    waiters: RefCell<VecDeque<Rc<Waiter>>>,
    /// Connections that exist or are being made, wherever they are.
    live: Cell<u32>,
    dialing: Cell<u32>,
    /// Connections that their clients keep after a transaction.
    pinned: Cell<u32>,
    /// How many of `live` listen for clients.
    listening: Cell<u32>,
    generation: Cell<u64>,
    /// How many of `live` are of an earlier generation.
    stale: Cell<u32>,
    /// No dialing before this instant, after a failure.
    dial_not_before: Cell<Option<Instant>>,
    /// How often in a row a login was refused for good, and until when nobody tries again who can do without.
    refusals: Cell<(u32, Option<Instant>)>,
    /// Connections made before this instant may have reached their lifetime.
    aged_before: Cell<Option<Instant>>,
    /// Its share in the bounds that are wider than one pool.
    account: Arc<Account>,
    /// A place was asked for there, which will be granted in its turn.
    asked: Cell<bool>,
    /// Who asked for a place there that is for no waiter.
    guest: Cell<Option<share::Guest>>,
    /// Somebody waits for a place there, perhaps one of this pool's.
    is_short: Cell<bool>,
    gate: RefCell<Rc<dyn Gate>>,
    states: Rc<SessionStates>,
    parameters: Rc<ParameterSets>,
}

/// The part of a connection's lifetime that chance decides on.
const JITTER: f64 = 0.1;

impl Pool {
    /// An empty pool.
    pub fn new(
        settings: Settings,
        plan: DialPlan,
        account: Arc<Account>,
        gate: Rc<dyn Gate>,
        states: Rc<SessionStates>,
        parameters: Rc<ParameterSets>,
    ) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            settings: RefCell::new(settings),
            plan: RefCell::new(plan),
            state: Cell::default(),
            idle: RefCell::default(),
            waiters: RefCell::default(),
            live: Cell::default(),
            dialing: Cell::default(),
            pinned: Cell::default(),
            listening: Cell::default(),
            generation: Cell::default(),
            stale: Cell::default(),
            dial_not_before: Cell::default(),
            refusals: Cell::default(),
            aged_before: Cell::default(),
            account,
            asked: Cell::default(),
            guest: Cell::default(),
            is_short: Cell::default(),
            gate: RefCell::new(gate),
            states,
            parameters,
        })
    }

    /// A clean connection at once, or `None`: then [`Pool::enter`] the queue. Prefers one whose settings are the
    /// wanted ones already; among equals the one used last, whose caches are warm.
    #[inline]
    pub fn try_checkout(&self, wanted: &Rc<SessionState>, now: Instant) -> Option<Box<Server>> {
        if self.state.get() == PoolState::Paused || !self.waiters.borrow().is_empty() {
            return None;
        }
        self.take_idle(wanted, now)
    }

    /// The clean connection that has the sequence values of this client, as [`are_of`](crate::SequenceValues::are_of)
    /// has it, if it is free.
    pub fn try_checkout_with_values_of(&self, client: u64, serial: u32, now: Instant) -> Option<Box<Server>> {
        if self.state.get() == PoolState::Paused {
            return None;
        }
        let mut idle = self.idle.borrow_mut();
        let at = idle.iter().position(|server| server.get().sequence_values.are_of(client, serial))?;
        self.take_usable(idle.swap_remove(at), now)
    }

    fn take_idle(&self, wanted: &Rc<SessionState>, now: Instant) -> Option<Box<Server>> {
        let mut idle = self.idle.borrow_mut();
        while !idle.is_empty() {
            let at = idle.iter().rposition(|s| Rc::ptr_eq(&s.get().state, wanted)).unwrap_or(idle.len() - 1);
            let server = idle.swap_remove(at);
            if let Some(server) = self.take_usable(server, now) {
                return Some(server);
            }
        }
        None
    }

    fn take_usable(&self, mut server: CleanServer, now: Instant) -> Option<Box<Server>> {
        let usable = self.is_usable(&server) && !server.has_spoken();
        usable.then(|| {
            let mut server = server.into_inner();
            server.activity.last_checkout = now;
            server
        })
    }

    fn is_usable(&self, server: &CleanServer) -> bool {
        server.get().is_current_in(self) && self.gate.borrow().admits(&server.get().stamp())
    }

    /// Joins the queue, which is in the order of [`Waiter::since`]: who was in another one before has not waited in
    /// vain. The caller polls the waiter and leaves with [`Pool::leave`].
    ///
    /// # Errors
    /// Gives the number of waiting clients if the queue is full.
    pub fn enter(&self, waiter: &Rc<Waiter>, now: Instant) -> Result<(), usize> {
        let waiting = self.waiters.borrow().len();
        if waiting >= self.settings.borrow().max_waiting as usize {
            return Err(waiting);
        }
        waiter.set_queued(true);
        let place = place_for(&self.waiters.borrow(), waiter.since());
        self.waiters.borrow_mut().insert(place, Rc::clone(waiter));
        self.dial_if_needed(now);
        Ok(())
    }

    /// Leaves the queue; what was delivered meanwhile goes to the next in line.
    pub fn leave(&self, waiter: &Rc<Waiter>) {
        self.waiters.borrow_mut().retain(|w| !Rc::ptr_eq(w, waiter));
        self.ask_no_more();
        if let Some(server) = waiter.leave()
            && let Ok(clean) = server.prove_clean()
        {
            self.give_back(clean);
        }
    }

    /// Takes a connection back that was proven clean, and hands it to the client that waited longest.
    #[inline]
    pub fn give_back(&self, mut server: CleanServer) {
        // what has arrived behind the last answer would be the next client's; one that becomes idle is asked when it is
        // checked out
        let lost_place = !self.waiters.borrow().is_empty() && server.has_spoken();
        if lost_place || !self.is_usable(&server) || self.surplus() > 0 {
            drop(server);
            return;
        }
        if self.is_over_age(&server) || self.is_short.get() && self.yields(&server) {
            share::part_with(server);
            return;
        }
        if self.state.get() == PoolState::Open
            && let Some(waiter) = self.pop_waiter()
        {
            let mut server = server.into_inner();
            server.activity.last_checkout = Instant::now();
            waiter.deliver(Delivery::Server(server));
            self.ask_no_more();
            return;
        }
        self.idle.borrow_mut().push(server);
    }

    /// Cleans a connection that a client left in the middle of things, then takes it back; closes it if that fails.
    pub fn reset_and_give_back(&self, server: Box<Server>, reset: Reset) {
        let Some(pool) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            if let Some(clean) = reset::clean(server, reset, pool.states.empty(), &pool.parameters).await {
                pool.give_back(clean);
            }
        });
    }

    /// Closes an idle connection, if there is one, so that another can take its place.
    pub(crate) fn close_idle(&self) {
        let server = self.idle.borrow_mut().pop();
        drop(server);
    }

    fn pop_waiter(&self) -> Option<Rc<Waiter>> {
        let mut waiters = self.waiters.borrow_mut();
        loop {
            let waiter = waiters.pop_front()?;
            if waiter.is_queued() {
                return Some(waiter);
            }
        }
    }

    fn tell_all_again(&self) {
        for waiter in self.waiters.take() {
            if waiter.is_queued() {
                waiter.deliver(Delivery::Again);
            }
        }
        self.ask_no_more();
    }

    /// Counts a place as taken; the generation that it belongs to.
    pub(crate) fn place_taken(&self) -> u64 {
        self.live.set(self.live.get() + 1);
        self.generation.get()
    }

    /// A connection is gone. Whoever dropped it has let go of the pool's lists before.
    pub(crate) fn place_given_back(&self, generation: u64) {
        self.live.set(self.live.get() - 1);
        if generation != self.generation.get() {
            self.stale.set(self.stale.get() - 1);
        }
        if !self.waiters.borrow().is_empty() {
            self.dial_if_needed(Instant::now());
        }
    }

    /// One connection more is pinned, or one less.
    pub(crate) fn pinned_cell(&self) -> &Cell<u32> {
        &self.pinned
    }

    /// Connections that their clients keep after a transaction, other than for session pooling.
    #[must_use]
    pub fn pinned(&self) -> u32 {
        self.pinned.get()
    }

    /// Periodic work: times waiters out, retires old and long idle connections, notices those that ended, keeps the
    /// minimum. Waiters that have waited a while are woken so that they can tell their clients.
    pub fn maintain(&self, now: Instant) {
        let settings = self.settings.borrow().clone();
        self.retire_idle(&settings, now);
        while let Some(oldest) = self.longest_waiting() {
            if oldest.is_queued() && now.duration_since(oldest.since()) < settings.wait_timeout {
                break;
            }
            self.waiters.borrow_mut().pop_front();
            if oldest.is_queued() {
                oldest.deliver(Delivery::TimedOut);
            }
        }
        for waiter in self.waiters.borrow().iter().filter(|w| has_news(now.duration_since(w.since()))) {
            waiter.wake();
        }
        self.dial_if_needed_still(now);
    }

    fn longest_waiting(&self) -> Option<Rc<Waiter>> {
        self.waiters.borrow().front().map(Rc::clone)
    }

    fn retire_idle(&self, settings: &Settings, now: Instant) {
        let mut idle = self.idle.take();
        let mut spare = self.live.get().saturating_sub(settings.min_size);
        let mut surplus = self.surplus();
        self.aged_before.set(now.checked_sub(settings.server_lifetime.mul_f64(1.0 - JITTER)));
        let over = idle.extract_if(.., |server| {
            let activity = server.get().activity;
            let old = self.is_over_age(server);
            let bored =
                spare > 0 && now.duration_since(activity.last_checkout) >= settings.server_idle_timeout;
            let keep = self.is_usable(server) && surplus == 0 && !old && !bored && !server.has_spoken();
            if !keep {
                spare = spare.saturating_sub(1);
                surplus = surplus.saturating_sub(1);
            }
            !keep
        });
        for server in over {
            if self.is_usable(&server) {
                share::part_with(server);
            }
        }
        self.idle.borrow_mut().append(&mut idle);
    }

    /// Whether a connection has reached its lifetime, as of the last look at the clock. Up to [`JITTER`] of it is cut
    /// off by chance (the process id), so that connections made together do not end together.
    #[inline]
    fn is_over_age(&self, server: &CleanServer) -> bool {
        let connected_at = server.get().activity.connected_at;
        let Some(aged_before) = self.aged_before.get().filter(|aged| connected_at <= *aged) else {
            return false;
        };
        let chance = f64::from(server.get().process_id() % 100) / 100.0;
        let more = self.settings.borrow().server_lifetime.mul_f64(JITTER * (1.0 - chance));
        connected_at + more <= aged_before
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings.borrow().clone()
    }

    /// How and where it dials.
    #[must_use]
    pub fn plan(&self) -> DialPlan {
        self.plan.borrow().clone()
    }

    /// How many connections and clients it has.
    pub fn counts(&self) -> Counts {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Counts {
            live: self.live.get(),
            idle: count(self.idle.borrow().len()),
            dialing: self.dialing.get(),
            listening: self.listening.get(),
            waiting: count(self.waiters.borrow().len()),
            stale: self.stale.get(),
            pinned: self.pinned.get(),
        }
    }

    /// Calls `visit` for each idle connection.
    pub fn for_each_idle(&self, mut visit: impl FnMut(&Server)) {
        self.idle.borrow().iter().for_each(|server| visit(server.get()));
    }

    /// How long its first waiter has waited.
    #[must_use]
    pub fn longest_wait(&self, now: Instant) -> std::time::Duration {
        let waiters = self.waiters.borrow();
        waiters.front().map_or(std::time::Duration::ZERO, |w| now.duration_since(w.since()))
    }
}

/// Where a client that has waited since then belongs in a queue: as a rule, at the end.
fn place_for(waiters: &VecDeque<Rc<Waiter>>, since: Instant) -> usize {
    waiters.iter().rposition(|other| other.since() <= since).map_or(0, |before| before + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_longer_in_another_queue_comes_before_those_who_have_not() {
        let start = Instant::now();
        let mut queue = VecDeque::new();
        for ms in [30, 10, 20, 40, 10] {
            let waiter = Waiter::new(start + std::time::Duration::from_millis(ms));
            let place = place_for(&queue, waiter.since());
            queue.insert(place, waiter);
        }
        let order: Vec<_> = queue.iter().map(|waiter| (waiter.since() - start).as_millis()).collect();
        assert_eq!(order, [10, 10, 20, 30, 40]);
        let first_of_ten = Waiter::new(start + std::time::Duration::from_millis(10));
        assert_eq!(place_for(&queue, first_of_ten.since()), 2, "behind those who came at the same time");
    }
}

//! Making connections: when, how many, and what becomes of a failure.

use std::{rc::Rc, time::Duration};

use tokio::time::Instant;
use topology::Stamp;

use super::Pool;
use crate::{Delivery, DialFailure, PoolState, Server, permit::Permit, quota::Reached};

/// After a failed dial the pool's next one waits this long; for the node as a whole the quota knows more.
const DIAL_BACKOFF: Duration = Duration::from_millis(50);

/// After a login that was refused for good the pool rests so long, twice as long after each further one, unless it
/// has no connection and somebody waits for one.
const REFUSED_REST_MIN: Duration = Duration::from_millis(100);
/// At most so long.
const REFUSED_REST_MAX: Duration = Duration::from_secs(10);

/// What became of the wish for one more connection.
enum Dialing {
    /// It is being made.
    Begun,
    /// None may be made to this node now.
    NoNode,
    /// There is no place for it.
    NoPlace,
}

impl Pool {
    /// Makes connections while clients wait, there is room, and the node did not fail a moment ago.
    pub(super) fn dial_if_needed(&self, now: Instant) {
        if self.asked.get() || self.guest_goes_first(now) {
            return; // what is asked for would be there if there were room
        }
        let (size, needed) = (self.size_now(now), self.needed(now));
        while self.state.get() == PoolState::Open
            && self.live.get() < size
            && self.dialing.get() < needed
            && self.dial_not_before.get().is_none_or(|at| at <= now)
        {
            match self.dial() {
                Dialing::Begun => {}
                Dialing::NoNode => {
                    self.tell_all_again();
                    return;
                }
                Dialing::NoPlace => {
                    self.ask_for_place();
                    return;
                }
            }
        }
    }

    /// How many connections should be under way.
    fn needed(&self, now: Instant) -> u32 {
        let waiting = u32::try_from(self.waiters.borrow().len()).unwrap_or(u32::MAX);
        let min_missing = self.settings.borrow().min_size.saturating_sub(self.live.get());
        let rests = self.refusals.get().1.is_some_and(|until| now < until);
        match self.established() {
            0 if rests => waiting, // they are told of the next refusal, and of nothing before it
            _ if rests => 0,
            _ => waiting.max(min_missing),
        }
    }

    /// Connections that exist and may become free.
    fn established(&self) -> u32 {
        self.live.get().saturating_sub(self.dialing.get() + self.listening.get())
    }

    /// A server refused a login, and would again.
    fn refused(&self, now: Instant) {
        let (count, until) = self.refusals.get();
        // those that were on their way together count once
        if until.is_none_or(|until| until <= now) {
            let rest = REFUSED_REST_MIN.saturating_mul(2_u32.saturating_pow(count)).min(REFUSED_REST_MAX);
            self.refusals.set((count.saturating_add(1), Some(now + rest)));
        }
    }

    /// Most connections at present: with the reserve, if whoever waits longest has waited for it.
    fn size_now(&self, now: Instant) -> u32 {
        let settings = self.settings.borrow();
        let is_short = settings.reserve_size > 0 && self.longest_wait(now) >= settings.reserve_timeout;
        self.limit(settings.size).saturating_add(if is_short { settings.reserve_size } else { 0 })
    }

    /// That of a connection which would be dialed now; `None`: none may be.
    fn stamp(&self) -> Option<Stamp> {
        self.gate.borrow().stamp(self.plan.borrow().node)
    }

    fn dial(&self) -> Dialing {
        let (Some(pool), Some(stamp)) = (self.me.upgrade(), self.stamp()) else {
            return Dialing::NoNode;
        };
        let Some((permit, turn)) = Permit::take(&pool) else { return Dialing::NoPlace };
        self.dialing.set(self.dialing.get() + 1);
        let plan = self.plan.borrow().clone();
        tokio::task::spawn_local(async move {
            let result = plan.connect(&[]).await;
            drop(turn);
            pool.dialing.set(pool.dialing.get() - 1);
            pool.dialed(result, stamp, permit);
        });
        Dialing::Begun
    }

    fn dialed(&self, result: Result<conn::ServerConnection, DialFailure>, stamp: Stamp, permit: Permit) {
        let now = Instant::now();
        match result {
            Ok(connection) => {
                self.dial_not_before.set(None);
                self.refusals.take();
                self.account.login_ended(Reached::Yes);
                let parameters = self.parameters.intern(connection.parameters.iter().cloned());
                let server = Server::new(connection, stamp, self.states.empty(), parameters, permit, now);
                server.state.prove(&server.parameters);
                if let Ok(clean) = server.prove_clean() {
                    self.give_back(clean);
                }
                self.dial_if_needed(now);
            }
            Err(failure) => {
                tracing::debug!(plan = ?self.plan.borrow(), error = %failure, "server connection failed");
                if let Some(report) = failure.report() {
                    self.gate.borrow().report(self.plan.borrow().node, report);
                }
                self.dial_not_before.set(Some(now + DIAL_BACKOFF));
                if failure.is_transient() {
                    self.account.login_ended(Reached::No);
                } else {
                    self.refused(now);
                }
                drop(permit);
                self.fail_waiters(failure);
            }
        }
    }

    /// A failure that may pass sends everybody back to decide again; any other is the answer to all who wait for a
    /// first connection, since it would be the same for each. With others there, they wait for one of those.
    fn fail_waiters(&self, failure: DialFailure) {
        let others = if failure.is_transient() { self.live.get() } else { self.established() };
        if others > 0 {
            return;
        }
        let failure = Rc::new(failure);
        for waiter in self.waiters.take() {
            if waiter.is_queued() {
                waiter.deliver(Delivery::Failed(Rc::clone(&failure)));
            }
        }
        self.ask_no_more();
    }
}

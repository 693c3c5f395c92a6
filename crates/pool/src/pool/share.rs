//! The pool among all others: places that it asks for, and connections that it gives up for somebody else.

use std::{io, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use wire::message::frontend;

use super::Pool;
use crate::{
    AccountId, Bounds, CleanServer, Order, Usage,
    permit::Permit,
    quota::{Slot, Turn},
};

/// A connection serves its own pool for at least so long: with more pools than places, logins would else take more
/// time than what they are for.
const TENURE: Duration = Duration::from_millis(100);

/// Whoever wants a place for a connection that is not pooled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    /// Since when.
    since: Instant,
    /// It last asked then.
    asked_at: Instant,
}

/// Who asks for a place and has not asked again for so long needs it no more.
const GUEST_ASKS_AGAIN_WITHIN: Duration = Duration::from_secs(1);

impl Pool {
    /// By which orders to it are told from others'.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account.id()
    }

    /// Since when the connection has been idle that has been so for longest, of those that may be closed for others.
    #[must_use]
    pub fn longest_idle(&self, now: Instant) -> Option<Instant> {
        let idle = self.idle.borrow();
        let old_enough = idle.iter().map(|server| server.get().activity);
        let old_enough = old_enough.filter(|activity| now.duration_since(activity.connected_at) >= TENURE);
        old_enough.map(|activity| activity.last_checkout).min()
    }

    /// Notes whether somebody waits for a place that only the end of a connection brings.
    pub fn set_shortage(&self, is_short: bool) {
        self.is_short.set(is_short);
    }

    /// Closes idle connections for other pools, and uses the places that were granted.
    pub fn obey(&self, order: Order, now: Instant) {
        for left in (0..order.close).rev() {
            if !self.close_longest_idle() {
                self.account.not_closed(left + 1);
                break;
            }
        }
        if order.granted > 0 {
            self.asked.set(false);
            self.dial_if_needed(now);
            if !self.has_guest(now) {
                self.account.give_back_granted();
            }
        }
    }

    /// As `dial_if_needed`; what was asked for and is not needed now is asked for no more.
    pub(super) fn dial_if_needed_still(&self, now: Instant) {
        let asked_before = self.asked.replace(false);
        self.dial_if_needed(now);
        let guest_left = self.guest.get().is_some() && !self.has_guest(now);
        if guest_left {
            self.guest.set(None);
            self.account.give_back_granted();
        }
        if (asked_before || guest_left) && !self.asked.get() && !self.has_guest(now) {
            self.account.want(None);
        }
    }

    fn has_guest(&self, now: Instant) -> bool {
        self.guest.get().is_some_and(|guest| now.duration_since(guest.asked_at) < GUEST_ASKS_AGAIN_WITHIN)
    }

    /// Whether the next place is a guest's, which has waited for longer than any client.
    pub(super) fn guest_goes_first(&self, now: Instant) -> bool {
        let client = self.longest_waiting().map(|waiter| waiter.since());
        let since = self.guest.get().map(|guest| guest.since);
        self.has_guest(now) && client.is_none_or(|client| since < Some(client))
    }

    /// A place for a connection that is not pooled; the caller asks again until it gets it. `since`: when its client
    /// began to wait.
    pub(crate) fn take_slot_for_guest(self: &Rc<Self>, since: Instant) -> Option<(Permit, Turn)> {
        let (taken, now) = (Permit::take(self), Instant::now());
        self.guest.set(taken.is_none().then_some(Guest { since, asked_at: now }));
        if taken.is_none() && (!self.asked.get() || self.guest_goes_first(now)) {
            self.account.want(Some(since));
        }
        taken
    }

    fn close_longest_idle(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let activity = idle.iter().map(|server| server.get().activity.last_checkout);
        let longest = activity.enumerate().min_by_key(|(_, last)| *last);
        let server = longest.map(|(at, _)| idle.swap_remove(at));
        drop(idle);
        server.map(part_with).is_some()
    }

    /// Whether a connection that has come back goes to a client elsewhere.
    pub(super) fn yields(&self, server: &CleanServer) -> bool {
        let age = Instant::now().duration_since(server.get().activity.connected_at);
        let own = self.longest_waiting().map(|waiter| waiter.since());
        age >= TENURE && self.account.yields(own)
    }

    /// Whether somebody waits for a place that only the end of a connection brings.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.is_short.get()
    }

    pub(crate) fn take_slot(&self) -> Option<(Slot, Turn)> {
        self.account.take()
    }

    /// Asks for a place for the first client that no connection under way is for. Connections of the minimum that
    /// nobody waits for come when there is room.
    pub(super) fn ask_for_place(&self) {
        let ahead = usize::try_from(self.dialing.get()).unwrap_or(usize::MAX);
        let since = self.waiters.borrow().get(ahead).map(|waiter| waiter.since());
        if since.is_some() {
            self.account.want(since);
            self.asked.set(true);
        }
    }

    /// Takes the request for a place back when nobody waits any more.
    pub(super) fn ask_no_more(&self) {
        if self.asked.get() && self.guest.get().is_none() && self.waiters.borrow().is_empty() {
            self.asked.set(false);
            self.account.want(None);
        }
    }

    /// The bounds that it is under are others now.
    pub fn rebound(&self, bounds: Bounds) {
        self.account.rebound(bounds);
    }

    /// The bound wider than this pool that keeps it from one more connection, if one does.
    #[must_use]
    pub fn obstacle(&self) -> Option<Usage> {
        self.account.obstacle()
    }
}

/// Closes a connection and lets go of its place when the server is gone at its other end, so that there are never more
/// servers than places.
pub(super) fn part_with(server: CleanServer) {
    /// A server that is idle ends within milliseconds; one that does not is cut off or frozen.
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut server = server.into_inner();
    tokio::task::spawn_local(async move {
        let mut terminate = Vec::new();
        frontend::terminate(&mut terminate);
        let closing = async {
            server.stream.write_all(&terminate).await?;
            server.stream.flush().await?;
            while server.stream.read_u8().await.is_ok() {} // last words, that nobody waits for
            Ok::<_, io::Error>(())
        };
        let _ = tokio::time::timeout(PATIENCE, closing).await; // however it went, it is closed now
    });
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.account.close();
    }
}

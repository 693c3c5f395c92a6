use std::rc::{Rc, Weak};

use tokio::time::Instant;

use crate::{
    Pool, PoolState,
    quota::{Slot, Turn},
};

/// A place in a pool for a connection that is never pooled. Dropping it makes room again.
#[derive(Debug)]
pub struct Place {
    _permit: Permit,
    turn: Option<Turn>,
}

impl Place {
    /// Its connection has been made: the next one gets its turn.
    pub fn logged_in(&mut self) {
        self.turn = None;
    }
}

/// A place in a pool for a connection that listens to channels for clients. Dropping it makes room again.
#[derive(Debug)]
pub struct ListeningPlace {
    permit: Permit,
    turn: Option<Turn>,
}

impl ListeningPlace {
    /// Its connection has been made: the next one gets its turn.
    pub fn logged_in(&mut self) {
        self.turn = None;
    }

    /// Whether the pool has replaced its connections since, by RECONNECT or a reload.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.permit.pool.upgrade().is_none_or(|pool| pool.generation() != self.permit.generation)
    }
}

impl Drop for ListeningPlace {
    fn drop(&mut self) {
        if let Some(pool) = self.permit.pool.upgrade() {
            pool.listening_ended();
        }
    }
}

impl Pool {
    /// A place for a connection that listens. It is an idle connection's if all are in use, else one beyond the limit
    /// until one of them comes back: clients with transactions may wait for it, so it must not wait for them, nor for
    /// the end of a PAUSE. There may always be one connection more than those that listen. `None`: bounds that are
    /// wider than the pool leave no room; then ask again a moment later. `since`: when it was first asked for.
    #[must_use]
    pub fn take_listening_place(self: &Rc<Self>, since: Instant) -> Option<ListeningPlace> {
        self.listening_begins();
        if self.counts().live >= self.limit(self.settings().size) {
            self.close_idle();
        }
        let taken = self.take_slot_for_guest(since);
        if taken.is_none() {
            self.listening_ended();
        }
        taken.map(|(permit, turn)| ListeningPlace { permit, turn: Some(turn) })
    }

    /// A place for a connection of the caller's own, an idle connection's if need be; `None` while all are in use or
    /// the pool is paused: then ask again a moment later. `since`: when its client began to wait.
    #[must_use]
    pub fn take_place(self: &Rc<Self>, since: Instant) -> Option<Place> {
        let is_full = || self.counts().live >= self.limit(self.settings().size);
        if self.state() == PoolState::Paused {
            return None;
        }
        if is_full() {
            self.close_idle();
        }
        let (permit, turn) = if is_full() { None } else { self.take_slot_for_guest(since) }?;
        Some(Place { _permit: permit, turn: Some(turn) })
    }
}

/// A place in a pool. Dropping it makes room for another connection.
#[derive(Debug)]
pub(crate) struct Permit {
    pool: Weak<Pool>,
    generation: u64,
    slot: Option<Slot>,
}

impl Permit {
    /// Takes a place, and a turn to log in. The pool counts it from now on. `None`: bounds that are wider than this
    /// pool leave no room.
    pub(crate) fn take(pool: &Rc<Pool>) -> Option<(Self, Turn)> {
        let (slot, turn) = pool.take_slot()?;
        let permit = Self { pool: Rc::downgrade(pool), generation: pool.place_taken(), slot: Some(slot) };
        Some((permit, turn))
    }

    /// The pool that it is a place in, while that exists.
    pub(crate) fn pool(&self) -> Option<Rc<Pool>> {
        self.pool.upgrade()
    }

    /// Whether it is a place in `pool`, which has not replaced its connections since it was taken.
    pub(crate) fn is_current_in(&self, pool: &Pool) -> bool {
        std::ptr::eq(self.pool.as_ptr(), pool) && self.generation == pool.generation()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot = None; // before the pool dials again: clients elsewhere may have waited longer
        if let Some(pool) = self.pool.upgrade() {
            pool.place_given_back(self.generation);
        }
    }
}

/// A place among the pinned connections of a pool. Dropping it makes room for another.
#[derive(Debug)]
pub struct PinPermit(Rc<Pool>);

impl PinPermit {
    /// Counts one more, whether or not there is room.
    #[must_use]
    pub fn take(pool: &Rc<Pool>) -> Self {
        pool.pinned_cell().set(pool.pinned().saturating_add(1));
        Self(Rc::clone(pool))
    }
}

impl Drop for PinPermit {
    fn drop(&mut self) {
        self.0.pinned_cell().set(self.0.pinned().saturating_sub(1));
    }
}

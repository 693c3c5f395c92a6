use std::rc::{Rc, Weak};

use crate::{Pool, PoolState};

/// A place in a pool for a connection that is never pooled. Dropping it makes room again.
#[derive(Debug)]
pub struct Place {
    _permit: Permit,
}

impl Pool {
    /// A place for a connection of the caller's own, an idle connection's if need be; `None` while all are in use or
    /// the pool is paused.
    #[must_use]
    pub fn take_place(self: &Rc<Self>) -> Option<Place> {
        let is_full = || self.counts().live >= self.settings().size;
        if self.state() == PoolState::Paused {
            return None;
        }
        if is_full() {
            self.close_idle();
        }
        (!is_full()).then(|| Place { _permit: Permit::take(self) })
    }
}

/// A place in a pool. Dropping it makes room for another connection.
#[derive(Debug)]
pub(crate) struct Permit {
    pool: Weak<Pool>,
    generation: u64,
}

impl Permit {
    /// Takes a place. The pool counts it from now on.
    pub(crate) fn take(pool: &Rc<Pool>) -> Self {
        Self { pool: Rc::downgrade(pool), generation: pool.place_taken() }
    }

    /// The pool's generation when the place was taken.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
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

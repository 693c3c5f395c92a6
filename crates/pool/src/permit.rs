use std::rc::{Rc, Weak};

use crate::Pool;

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
            pool.place_given_back();
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

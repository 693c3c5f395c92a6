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
            pool.place_given_back(self.generation);
        }
    }
}

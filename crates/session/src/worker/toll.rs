//! What it costs clients that a primary is lost: counted here, told with the next tick.

use tokio::time::Instant;
use topology::{NodeId, Toll, Writable};

use super::Worker;
use crate::pool_set::PoolSet;

impl Worker {
    /// Adds to it.
    pub(crate) fn charge(&self, pools: &PoolSet, charge: impl FnOnce(&mut Toll)) {
        charge(&mut self.view(pools).toll.borrow_mut());
    }

    /// A write was answered by `node`.
    #[inline]
    pub(crate) fn note_write(&self, pools: &PoolSet, node: NodeId) {
        if self.awaits_first_write.get() {
            self.note_first_write(pools, node);
        }
    }

    fn note_first_write(&self, pools: &PoolSet, node: NodeId) {
        let view = self.view(pools);
        // what is still under way on the old primary tells nothing of the new one
        if view.snapshot.borrow().writable == Writable::Primary(node) && view.awaits_first_write.take() {
            view.toll.borrow_mut().first_write = Some(Instant::now().into_std());
        }
        let any = self.views.borrow().iter().any(|view| view.awaits_first_write.get());
        self.awaits_first_write.set(any);
    }
}

//! The worker's part in bounds that all workers share.

use tokio::time::Instant;

use super::{PauseScope, Worker};

impl Worker {
    /// Tells of its idle connections while somebody waits for a place, closes those that were waited for longest, and
    /// lets its own pools use what was granted to them.
    pub(super) fn attend_to_quota(&self, now: Instant) {
        let is_short = self.quota.look();
        let mut idle = Vec::new();
        self.for_each_pool(&PauseScope::All, |pool| {
            pool.set_shortage(is_short);
            if is_short && let Some(since) = pool.longest_idle(now) {
                idle.push((pool.account(), since));
            }
        });
        if is_short {
            self.quota.offer(self.id.0, &idle);
        }
        let orders = self.quota.take_orders(self.id.0);
        if orders.is_empty() {
            return;
        }
        self.for_each_pool(&PauseScope::All, |pool| {
            if let Some((_, order)) = orders.iter().find(|(account, _)| *account == pool.account()) {
                pool.obey(*order, now);
            }
        });
    }
}

//! What a worker does ten times a second. It costs the same however many clients are idle, unless they are timed.

use tokio::time::Instant;

use super::{Worker, release_held};
use crate::{Timeouts, clock::Timed, pool_set::PoolSet};

impl Worker {
    pub(super) fn tick(&self, now: Instant) {
        // watchers bring what changes routing at once; positions and lag are taken over here
        let views = self.views.borrow().clone();
        for (cluster, view) in views.iter().enumerate() {
            self.topology_changed(cluster, view);
            view.tell_toll();
        }
        self.sets.borrow_mut().retain(|_, set| !set.is_forgettable(now));
        self.retired.borrow_mut().retain(|(_, pool)| pool.counts().live > 0);
        for set in self.sets.borrow().values() {
            let cluster = set.settings.borrow().cluster;
            if let Some(view) = self.views.borrow().get(cluster) {
                set.set_functions(view.cluster.functions.functions(&set.server_database()));
            }
            set.for_each_pool(|_, pool| pool.maintain(now));
            self.look_at_hubs(set);
        }
        self.attend_to_quota(now);
        self.look_at_clocks();
        if self.replica_is_awaited.take() {
            release_held(&self.held);
        }
        let max_hold = self.settings().session.max_hold;
        let pin_awaited = self.pin_is_awaited.take();
        for waiter in self.held.borrow().iter() {
            let waited = now.duration_since(waiter.since());
            if pin_awaited || waited >= max_hold || pool::has_news(waited) {
                waiter.wake();
            }
        }
        if self.somebody_leaves.take() {
            self.wake_linked();
        }
    }

    /// Clients with a server connection look whether it is still of any use.
    pub(super) fn wake_linked(&self) {
        for (handle, _) in self.handles.borrow().values() {
            if handle.node.get().is_some() {
                handle.wake();
            }
        }
    }

    /// A client has a connection that is not to be used any more, and may keep it for a while: with the next tick it looks
    /// again.
    pub(crate) fn note_leaving(&self) {
        self.somebody_leaves.set(true);
    }

    /// A client waits for a replica that is fit: with the next tick it looks again, since lag brings no news.
    pub(crate) fn note_replica_awaited(&self) {
        self.replica_is_awaited.set(true);
    }

    /// A client waits until others keep fewer connections: with the next tick it looks again.
    pub(crate) fn note_pin_awaited(&self) {
        self.pin_is_awaited.set(true);
    }

    /// The connections that listen follow the topology and RECONNECT.
    pub(super) fn look_at_hubs(&self, set: &PoolSet) {
        let limit = self.world.borrow().session.notification_limit as usize;
        set.for_each_hub(|hub| hub.look_around(limit));
    }

    /// A session is timed whatever is configured.
    pub(crate) fn note_timed(&self) {
        self.has_timed.set(true);
    }

    /// Wakes the sessions that take longer than they may.
    fn look_at_clocks(&self) {
        if self.is_suspended() {
            return;
        }
        let tick = self.ticks.get().wrapping_add(1);
        self.ticks.set(tick);
        let are_timed = |set: &PoolSet| set.settings.borrow().timeouts != Timeouts::default();
        if !self.has_timed.get() && !self.sets.borrow().values().any(|set| are_timed(set)) {
            return;
        }
        let mut has_timed = false;
        for (handle, set) in self.handles.borrow().values() {
            has_timed |= matches!(handle.clock.timed(), Timed::Cancelled | Timed::Kept);
            if handle.clock.is_over(tick, &set.settings.borrow().timeouts) {
                handle.wake();
            }
        }
        self.has_timed.set(has_timed);
    }
}

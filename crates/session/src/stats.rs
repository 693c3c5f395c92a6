use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use topology::NodeId;

/// Counters of one database and user on one worker, in PgBouncer's terms; they only grow.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) server_assignments: Cell<u64>,
    pub(crate) transactions: Cell<u64>,
    pub(crate) queries: Cell<u64>,
    pub(crate) received: Cell<u64>,
    pub(crate) sent: Cell<u64>,
    pub(crate) transaction_time: Cell<Duration>,
    pub(crate) query_time: Cell<Duration>,
    pub(crate) wait_time: Cell<Duration>,
    pub(crate) client_parses: Cell<u64>,
    pub(crate) server_parses: Cell<u64>,
    pub(crate) binds: Cell<u64>,
    pub(crate) logins: Cell<u64>,
    pub(crate) reads_rerun: Cell<u64>,
    pub(crate) held: Cell<u64>,
    /// Commits whose server was lost: resolved as committed, as aborted, and not at all.
    pub(crate) commits_committed: Cell<u64>,
    pub(crate) commits_aborted: Cell<u64>,
    pub(crate) commits_unknown: Cell<u64>,
    /// Of each node: reads, others.
    pub(crate) routed: RefCell<Vec<(NodeId, u64, u64)>>,
}

impl Stats {
    /// Counts a request that went to `node`.
    pub(crate) fn routed_to(&self, node: NodeId, read: bool) {
        let mut routed = self.routed.borrow_mut();
        let at = routed.iter().position(|(id, ..)| *id == node).unwrap_or_else(|| {
            routed.push((node, 0, 0));
            routed.len() - 1
        });
        let (_, reads, others) = &mut routed[at];
        *if read { reads } else { others } += 1;
    }
}

/// Adds to a counter.
#[inline]
pub(crate) fn count(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get().wrapping_add(n));
}

/// Adds to a sum of times.
#[inline]
pub(crate) fn add(cell: &Cell<Duration>, time: Duration) {
    cell.set(cell.get().saturating_add(time));
}

//! What is under way on a node, for a failover manager that waits for its end.

use topology::NodeId;

use super::Worker;
use crate::{ClientState, Purpose};

/// What is under way on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Busy {
    /// Transactions and requests that had their server connection before the instant that was asked about.
    pub earlier: u32,
    /// All of them.
    pub all: u32,
}

impl Worker {
    pub(super) fn count_busy(&self, cluster: usize, node: NodeId, before: std::time::Instant) -> Busy {
        let mut busy = Busy::default();
        for (handle, pools) in self.handles.borrow().values() {
            let is_there = handle.node.get() == Some(node)
                && handle.purpose == Purpose::Session
                && handle.state.get() == ClientState::Active
                && !handle.idles_pinned.get()
                && pools.settings.borrow().cluster == cluster;
            if is_there {
                busy.all += 1;
                busy.earlier += u32::from(handle.linked_at.get().into_std() <= before);
            }
        }
        busy
    }
}

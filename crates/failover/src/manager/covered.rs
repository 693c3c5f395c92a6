//! Whether those who are there have every commit that was acknowledged, where the primary was set to wait for standbys.

use std::sync::Arc;

use topology::{NodeId, Synchrony, Uncovered};
use wire::TimelineId;

use super::Manager;

impl Manager {
    /// Why commits that were acknowledged may be on none of `present`; `None`: each is on at least one of them, or nobody
    /// ever waited for a standby. If nothing is known, as after an upgrade while there was no primary, it is as with
    /// `max_lost_bytes`: nothing is asked for.
    pub(super) fn lacks(&self, present: &[NodeId]) -> Option<String> {
        let synchrony = self.snapshot().synchrony.as_deref()?;
        let old = synchrony.primary.or(self.reign.and_then(|reign| reign.node));
        let nodes = self.snapshot().nodes.iter();
        let others: Vec<NodeId> = nodes.map(|node| node.id).filter(|node| Some(*node) != old).collect();
        let uncovered = synchrony.is_covered_by(present, &others).err()?;
        Some(self.told(synchrony, &uncovered))
    }

    /// Standbys that are up, on this timeline.
    pub(super) fn present_on(&self, timeline: TimelineId) -> Vec<NodeId> {
        self.standbys().filter(|node| node.timeline == timeline).map(|node| node.id).collect()
    }

    fn told(&self, synchrony: &Synchrony, uncovered: &Uncovered) -> String {
        let name = |node: &NodeId| Some(self.view(*node)?.name.to_string());
        let mut of: Vec<String> = uncovered.of.iter().filter_map(name).collect();
        if uncovered.strangers > 0 {
            of.push(format!("{} that pgherd does not know", uncovered.strangers));
        }
        let (needed, text) = (uncovered.needed, &synchrony.text);
        let of =
            if of.is_empty() { "those that are not configured any more".to_owned() } else { of.join(", ") };
        format!(
            "commits waited for standbys (synchronous_standby_names = {text}), and some may be on none of those that are \
             there; missing: {needed} of {of}"
        )
    }

    /// Whom commits wait for from now on, if for anybody.
    pub(super) fn waits_for(&self) -> Option<Arc<str>> {
        let synchrony = self.snapshot().synchrony.as_ref()?;
        synchrony.waits().then(|| Arc::clone(&synchrony.text))
    }
}

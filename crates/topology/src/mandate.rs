use wire::TimelineId;

use crate::{election::Outcome, node::NodeId};

/// Whom the failover manager allows to be the primary. It goes before what the nodes say of themselves, and adds
/// nothing to it: a node is still written to only after it has proved that it is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mandate {
    /// Whoever proves it. So it is when nobody manages the cluster, and whenever nothing is under way.
    #[default]
    Open,
    /// Whoever proves it; but of several that claim this timeline the node that is recorded as its primary. Another one
    /// was promoted to the same number by chance, too late or by somebody else, and nobody was sent to it.
    Recorded(NodeId, TimelineId),
    /// The present primary, which is about to be replaced: no transaction begins on it any more.
    Draining,
    /// Nobody: the standbys are being asked how far they are, or the old primary is being stopped.
    Closed,
    /// This node alone, which is being promoted.
    Only(NodeId),
    /// Whoever proves it on a timeline above this one: somebody may have been promoted to one, so the primary of this
    /// one must not go on.
    Above(TimelineId),
}

impl Mandate {
    /// Which of those who claim `timeline` is the one that is recorded.
    pub(crate) fn recorded(self, timeline: TimelineId) -> Option<NodeId> {
        match self {
            Self::Recorded(node, recorded) if recorded == timeline => Some(node),
            Self::Only(node) => Some(node),
            Self::Recorded(..) | Self::Open | Self::Draining | Self::Closed | Self::Above(_) => None,
        }
    }

    /// What becomes of the election; `elected`: the timeline of who has won.
    pub(crate) fn restrict(self, outcome: Outcome, elected: Option<TimelineId>) -> Outcome {
        match (self, outcome) {
            (Self::Open | Self::Recorded(..) | Self::Draining, outcome) => outcome,
            (Self::Above(timeline), Outcome::Primary(_)) if elected <= Some(timeline) => Outcome::Forbidden,
            (Self::Above(_), outcome) => outcome,
            (Self::Only(node), Outcome::Primary(elected)) if elected == node => outcome,
            (Self::Closed | Self::Only(_), Outcome::Primary(_) | Outcome::Early | Outcome::Absent) => {
                Outcome::Forbidden
            }
            (
                Self::Closed | Self::Only(_),
                Outcome::OnlyStale
                | Outcome::Split(..)
                | Outcome::Waiting
                | Outcome::Unproven { .. }
                | Outcome::Forbidden,
            ) => outcome,
        }
    }
}

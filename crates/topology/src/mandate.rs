use crate::{election::Outcome, node::NodeId};

/// Whom the failover manager allows to be the primary. It goes before what the nodes say of themselves, and adds
/// nothing to it: a node is still written to only after it has proved that it is the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mandate {
    /// Whoever proves it. So it is when nobody manages the cluster, and whenever nothing is under way.
    #[default]
    Open,
    /// The present primary, which is about to be replaced: no transaction begins on it any more.
    Draining,
    /// Nobody: the standbys are being asked how far they are, or the old primary is being stopped.
    Closed,
    /// This node alone, which is being promoted.
    Only(NodeId),
}

impl Mandate {
    /// What becomes of the election.
    pub(crate) fn restrict(self, outcome: Outcome) -> Outcome {
        match (self, outcome) {
            (Self::Open | Self::Draining, outcome) => outcome,
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

use std::{fmt, sync::Arc, time::Duration};

use wire::{Lsn, TimelineId};

use crate::{
    node::{DownReason, NodeId},
    probe::Role,
    snapshot::{Epoch, NoPrimary},
};

/// A node in an event: the id for machines, the name for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: NodeId,
    /// Its configured name.
    pub name: Arc<str>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Something that people want to know; see [`crate::Cluster::poll_event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first primary since the proxy started.
    PrimaryFound {
        /// The primary.
        node: Named,
        /// Its timeline.
        timeline: TimelineId,
        /// The epoch it is written in.
        epoch: Epoch,
    },
    /// The lost primary is back on its timeline.
    PrimaryBack {
        /// The primary.
        node: Named,
        /// The epoch it is written in.
        epoch: Epoch,
        /// For how long there was no primary.
        gap: Duration,
    },
    /// Another node, or the same on another timeline, is the primary now.
    Promoted {
        /// The new primary.
        node: Named,
        /// The one before; `None` if it is no longer configured.
        from: Option<Named>,
        /// The new timeline.
        timeline: TimelineId,
        /// The epoch it is written in.
        epoch: Epoch,
        /// Where it left the old timeline, if its history was read already; else [`Event::TailCounted`] follows.
        switch_lsn: Option<Lsn>,
        /// WAL of the old primary past that, as far as it was seen: bytes of commits that are lost.
        lost_bytes: Option<u64>,
        /// For how long there was no primary.
        gap: Duration,
    },
    /// The cost of the last promotion is known.
    TailCounted {
        /// The new primary.
        node: Named,
        /// The old timeline.
        timeline: TimelineId,
        /// Where it was left.
        switch_lsn: Lsn,
        /// WAL of the old primary past that, as far as it was seen, in bytes.
        lost_bytes: u64,
    },
    /// There is no primary any more.
    PrimaryLost {
        /// The one that was.
        node: Named,
        /// Why nobody may be written to.
        reason: NoPrimary,
    },
    /// Two nodes claim to be the primary; no writes until one of them gives way.
    SplitBrain {
        /// The one on the higher timeline, if they differ.
        a: Named,
        /// The other.
        b: Named,
    },
    /// A node claims to be the primary on a timeline that does not descend from the last good one.
    UnprovenPrimary {
        /// The claimant.
        node: Named,
        /// The timeline it claims.
        timeline: TimelineId,
        /// The timeline that its history should contain.
        expected: TimelineId,
    },
    /// A primary of an abandoned timeline; it is not used.
    StalePrimary {
        /// The node.
        node: Named,
        /// Its timeline.
        timeline: TimelineId,
        /// Its WAL past the fork, in bytes, if the fork is known.
        beyond_fork: Option<u64>,
    },
    /// A node of another cluster; it is not used.
    ForeignNode {
        /// The node.
        node: Named,
        /// Its `system_identifier`.
        system_id: u64,
    },
    /// A node answers.
    NodeUp {
        /// The node.
        node: Named,
        /// What it says it is.
        role: Role,
    },
    /// A probe failed or the data path reported trouble.
    NodeSuspect {
        /// The node.
        node: Named,
    },
    /// A node starts or recovers from a crash.
    NodeRecovering {
        /// The node.
        node: Named,
    },
    /// A node is down.
    NodeDown {
        /// The node.
        node: Named,
        /// How that was found.
        reason: DownReason,
    },
    /// An operator has set a node aside: nothing is read from it, and it is not promoted.
    NodeDetached {
        /// The node.
        node: Named,
    },
    /// It is used again as it proves fit.
    NodeAttached {
        /// The node.
        node: Named,
    },
    /// A spare serves in place of a node that was lost.
    SpareServes {
        /// The spare.
        spare: Named,
        /// In whose place.
        lost: Named,
    },
    /// A spare is to be made a standby, to serve in place of a node that was lost.
    SpareCalled {
        /// The spare.
        spare: Named,
        /// In whose place.
        lost: Named,
    },
    /// A spare does not serve in another's place any more: that one is back, or the spare is no use.
    SpareRests {
        /// The spare.
        spare: Named,
    },
    /// Patroni says that another one leads than before. It is written to once it says so itself.
    LeaderNamed {
        /// Whom; `None`: nobody, or a server that is none of the nodes.
        leader: Option<Named>,
    },
    /// A node claims to be the primary, and by its timeline would be, but the one that leads by Patroni's word claims
    /// too; it is not used.
    ContradictedPrimary {
        /// The claimant.
        node: Named,
        /// The timeline it claims.
        timeline: TimelineId,
        /// Who leads by Patroni's word.
        leader: Named,
    },
    /// A node says that it is something else than before.
    RoleChanged {
        /// The node.
        node: Named,
        /// What it is now.
        role: Role,
        /// The timeline it is on.
        timeline: TimelineId,
    },
}

impl Event {
    /// A stable word for logs, filters and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::PrimaryFound { .. } => "primary_found",
            Self::PrimaryBack { .. } => "primary_back",
            Self::Promoted { .. } => "promoted",
            Self::TailCounted { .. } => "tail_counted",
            Self::PrimaryLost { .. } => "primary_lost",
            Self::SplitBrain { .. } => "split_brain",
            Self::UnprovenPrimary { .. } => "unproven_primary",
            Self::StalePrimary { .. } => "stale_primary",
            Self::ForeignNode { .. } => "foreign_node",
            Self::NodeUp { .. } => "node_up",
            Self::NodeSuspect { .. } => "node_suspect",
            Self::NodeRecovering { .. } => "node_recovering",
            Self::NodeDown { .. } => "node_down",
            Self::NodeDetached { .. } => "node_detached",
            Self::NodeAttached { .. } => "node_attached",
            Self::SpareServes { .. } => "spare_serves",
            Self::SpareCalled { .. } => "spare_called",
            Self::SpareRests { .. } => "spare_rests",
            Self::LeaderNamed { .. } => "leader_named",
            Self::ContradictedPrimary { .. } => "contradicted_primary",
            Self::RoleChanged { .. } => "role_changed",
        }
    }

    /// Whether a person must look.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        match self {
            Self::SplitBrain { .. }
            | Self::UnprovenPrimary { .. }
            | Self::StalePrimary { .. }
            | Self::ContradictedPrimary { .. }
            | Self::ForeignNode { .. } => true,
            Self::PrimaryFound { .. }
            | Self::PrimaryBack { .. }
            | Self::Promoted { .. }
            | Self::TailCounted { .. }
            | Self::PrimaryLost { .. }
            | Self::NodeUp { .. }
            | Self::NodeSuspect { .. }
            | Self::NodeRecovering { .. }
            | Self::NodeDown { .. }
            | Self::NodeDetached { .. }
            | Self::NodeAttached { .. }
            | Self::SpareServes { .. }
            | Self::SpareCalled { .. }
            | Self::SpareRests { .. }
            | Self::LeaderNamed { .. }
            | Self::RoleChanged { .. } => false,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrimaryFound { node, timeline, epoch } => {
                write!(f, "{node} is the primary, on timeline {timeline} (epoch {epoch})")
            }
            Self::PrimaryBack { node, epoch, gap } => {
                write!(f, "{node} is the primary again after {gap:.1?} (epoch {epoch})")
            }
            Self::Promoted { node, from, timeline, epoch, switch_lsn, lost_bytes, gap } => {
                write!(f, "{node} was promoted to timeline {timeline} (epoch {epoch})")?;
                if let Some(from) = from {
                    write!(f, " in place of {from}")?;
                }
                if !gap.is_zero() {
                    write!(f, ", after {gap:.1?} without primary")?;
                }
                if let Some(lsn) = switch_lsn {
                    write!(f, ", from {lsn}")?;
                }
                lost_bytes.map_or(Ok(()), |lost| write!(f, "; {lost} bytes of WAL were left behind"))
            }
            Self::TailCounted { node, timeline, switch_lsn, lost_bytes } => {
                write!(
                    f,
                    "{node} left timeline {timeline} at {switch_lsn}; {lost_bytes} bytes of WAL were left behind"
                )
            }
            Self::PrimaryLost { node, reason } => write!(f, "{node} is no longer the primary: {reason}"),
            Self::SplitBrain { a, b } => {
                write!(f, "{a} and {b} both claim to be the primary; no writes until one gives way")
            }
            Self::UnprovenPrimary { node, timeline, expected } if timeline == expected => write!(
                f,
                "{node} claims to be the primary on timeline {timeline}, which is not known to be the timeline {expected} \
                 that was written last"
            ),
            Self::UnprovenPrimary { node, timeline, expected } => write!(
                f,
                "{node} claims to be the primary on timeline {timeline}, which is not known to descend from {expected}"
            ),
            Self::StalePrimary { node, timeline, beyond_fork } => {
                write!(f, "{node} is a primary of the abandoned timeline {timeline} and is not used")?;
                beyond_fork.map_or(Ok(()), |bytes| write!(f, "; it has {bytes} bytes of WAL past the fork"))
            }
            Self::ForeignNode { node, system_id } => {
                write!(f, "{node} belongs to another cluster (system identifier {system_id}) and is not used")
            }
            Self::NodeUp { node, role } => write!(f, "{node} answers as {}", role.as_str()),
            Self::NodeSuspect { node } => write!(f, "{node} is suspected to be down"),
            Self::NodeRecovering { node } => write!(f, "{node} is starting or recovering"),
            Self::NodeDown { node, reason } => write!(f, "{node} is down: {reason}"),
            Self::NodeDetached { node } => write!(f, "{node} was detached"),
            Self::NodeAttached { node } => write!(f, "{node} was attached"),
            Self::SpareServes { spare, lost } => write!(f, "spare {spare} serves in place of {lost}"),
            Self::SpareCalled { spare, lost } => {
                write!(f, "spare {spare} is to be made a standby, to serve in place of {lost}")
            }
            Self::SpareRests { spare } => write!(f, "spare {spare} does not stand in for another any more"),
            Self::LeaderNamed { leader: Some(leader) } => write!(f, "Patroni's leader is {leader}"),
            Self::LeaderNamed { leader: None } => f.write_str("Patroni has no leader among the nodes"),
            Self::ContradictedPrimary { node, timeline, leader } => write!(
                f,
                "{node} claims to be the primary on timeline {timeline} and is not used: Patroni's leader is {leader}, \
                 which claims it too"
            ),
            Self::RoleChanged { node, role, timeline } => {
                write!(f, "{node} is a {} now, on timeline {timeline}", role.as_str())
            }
        }
    }
}

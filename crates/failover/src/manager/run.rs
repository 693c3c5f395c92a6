//! One failover, switchover or restart, from its begin to its end.

use std::{sync::Arc, time::Instant};

use topology::{Epoch, Mandate, NodeId};
use wire::Lsn;

use super::Reign;
use crate::{choice::Recruit, command::Ticket, note::Kind, order::OrderId};

/// See the module.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) kind: Kind,
    pub(super) epoch: Epoch,
    /// Whom it replaces.
    pub(super) old: Option<Reign>,
    /// Whom an operator wants.
    pub(super) wanted: Option<NodeId>,
    pub(super) ticket: Option<Ticket>,
    pub(super) stage: Stage,
    /// Since when it is in that stage.
    pub(super) entered: Instant,
    /// Where the old primary's WAL ends, if it was halted.
    pub(super) halted: Option<Lsn>,
    /// How much WAL of what the old primary was seen to have may be lost, in bytes; `None`: any, and a timeline, too.
    pub(super) limit: Option<u64>,
    pub(super) recruits: Vec<Recruit>,
    /// Why others could not be cut off.
    pub(super) refusals: Vec<(NodeId, String)>,
    /// The addresses of those who may have been promoted, the last candidate last.
    pub(super) tried: Vec<Arc<str>>,
    /// Standbys that have not answered in time; while nobody is chosen they may still.
    pub(super) late: Vec<(OrderId, NodeId)>,
    pub(super) attempts: u32,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Not begun.
    New,
    /// Planned: the old primary writes a checkpoint.
    Checkpointing(OrderId),
    /// Planned: open transactions may end, none begins.
    Draining { until: Instant, count: Count },
    /// Planned: what is under way ends, nothing is sent any more.
    Emptying { until: Instant, count: Count },
    /// Planned: the old primary is stopped, or lets no commit succeed any more.
    Halting(OrderId),
    /// Planned: a standby receives what is left.
    Awaiting { until: Instant },
    /// It is stored that standbys will be cut off.
    Fencing(OrderId),
    /// Standbys are cut off and asked how far they are.
    Recruiting { until: Instant, asked: Vec<(OrderId, NodeId)> },
    /// The candidate receives what another has.
    CatchingUp(OrderId, NodeId),
    /// It is stored that this node will be promoted.
    Intending(OrderId, NodeId),
    /// It is being promoted.
    Promoting(OrderId, NodeId),
    /// The topology is to find that it is the primary.
    Swapping { node: NodeId, until: Instant },
    /// The old primary is to go on, for this reason.
    Reverting(OrderId, String),
    /// A restart.
    Restarting(OrderId),
    /// After a restart the primary is to come back.
    Returning { until: Instant },
}

/// How much is under way on the primary, asked again and again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Asked(OrderId),
    Again(Instant),
}

impl Run {
    /// Of a primary that is not there, or is pushed aside.
    pub(super) fn unplanned(
        kind: Kind,
        epoch: Epoch,
        old: Option<Reign>,
        limit: Option<u64>,
        now: Instant,
    ) -> Self {
        Self {
            kind,
            epoch,
            old,
            wanted: None,
            ticket: None,
            stage: Stage::New,
            entered: now,
            halted: None,
            limit,
            recruits: Vec::new(),
            refusals: Vec::new(),
            tried: Vec::new(),
            late: Vec::new(),
            attempts: 1,
        }
    }

    /// Of a living primary.
    pub(super) fn planned(
        kind: Kind,
        epoch: Epoch,
        old: Option<Reign>,
        ticket: Option<Ticket>,
        now: Instant,
    ) -> Self {
        Self { ticket, ..Self::unplanned(kind, epoch, old, Some(u64::MAX), now) }
    }

    /// A predecessor's, which may have promoted one of `tried`.
    pub(super) fn taken_up(
        epoch: Epoch,
        old: Option<Reign>,
        limit: u64,
        tried: Vec<Arc<str>>,
        now: Instant,
    ) -> Self {
        Self { tried, ..Self::unplanned(Kind::Automatic, epoch, old, Some(limit), now) }
    }

    /// A predecessor's, which may have halted the primary.
    pub(super) fn to_revert(epoch: Epoch, old: Option<Reign>, now: Instant) -> Self {
        let run = Self::unplanned(Kind::Switchover, epoch, old, None, now);
        Self { halted: Some(Lsn(0)), ..run }
    }

    /// Those of the recruits that have followed the same timeline.
    pub(super) fn alike(&self, one: &Recruit) -> Vec<NodeId> {
        let alike = self.recruits.iter().filter(|recruit| recruit.timeline == one.timeline);
        alike.map(|recruit| recruit.node).collect()
    }

    pub(super) fn is_planned(&self) -> bool {
        matches!(self.kind, Kind::Switchover | Kind::Restart | Kind::Failback)
    }

    pub(super) fn from(&self) -> Option<NodeId> {
        self.old.and_then(|old| old.node)
    }

    /// Whether it has been stored that somebody may be promoted: then there is no way back.
    pub(super) fn is_past_return(&self) -> bool {
        !self.tried.is_empty()
    }

    /// Whether nobody is being promoted by it at present.
    pub(super) fn is_before_promotion(&self) -> bool {
        match &self.stage {
            Stage::New
            | Stage::Checkpointing(_)
            | Stage::Draining { .. }
            | Stage::Emptying { .. }
            | Stage::Halting(_)
            | Stage::Awaiting { .. }
            | Stage::Fencing(_)
            | Stage::Recruiting { .. }
            | Stage::CatchingUp(..)
            | Stage::Intending(..) => true,
            Stage::Promoting(..)
            | Stage::Swapping { .. }
            | Stage::Reverting(..)
            | Stage::Restarting(_)
            | Stage::Returning { .. } => false,
        }
    }

    pub(super) fn awaits(&self, id: OrderId) -> bool {
        match &self.stage {
            Stage::Checkpointing(order)
            | Stage::Draining { count: Count::Asked(order), .. }
            | Stage::Emptying { count: Count::Asked(order), .. }
            | Stage::Halting(order)
            | Stage::Fencing(order)
            | Stage::Intending(order, _)
            | Stage::Promoting(order, _)
            | Stage::Reverting(order, _)
            | Stage::Restarting(order) => *order == id,
            Stage::CatchingUp(order, _) if *order == id => true,
            Stage::Recruiting { asked, .. } => asked.iter().any(|(order, _)| *order == id),
            Stage::CatchingUp(..) => self.late.iter().any(|(order, _)| *order == id),
            Stage::New
            | Stage::Draining { .. }
            | Stage::Emptying { .. }
            | Stage::Awaiting { .. }
            | Stage::Swapping { .. }
            | Stage::Returning { .. } => false,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Draining { until, count } | Stage::Emptying { until, count } => Some(match count {
                Count::Asked(_) => *until,
                Count::Again(at) => (*at).min(*until),
            }),
            Stage::Awaiting { until }
            | Stage::Recruiting { until, .. }
            | Stage::Swapping { until, .. }
            | Stage::Returning { until } => Some(*until),
            Stage::New
            | Stage::Checkpointing(_)
            | Stage::Halting(_)
            | Stage::Fencing(_)
            | Stage::CatchingUp(..)
            | Stage::Intending(..)
            | Stage::Promoting(..)
            | Stage::Reverting(..)
            | Stage::Restarting(_) => None,
        }
    }

    pub(super) fn mandate(&self) -> Mandate {
        match &self.stage {
            Stage::Checkpointing(_) | Stage::Returning { .. } => Mandate::Open,
            Stage::Draining { .. } => Mandate::Draining,
            Stage::Promoting(_, node) | Stage::Swapping { node, .. } => Mandate::Only(*node),
            Stage::New
            | Stage::Emptying { .. }
            | Stage::Halting(_)
            | Stage::Awaiting { .. }
            | Stage::Fencing(_)
            | Stage::Recruiting { .. }
            | Stage::CatchingUp(..)
            | Stage::Intending(..)
            | Stage::Reverting(..)
            | Stage::Restarting(_) => Mandate::Closed,
        }
    }
}

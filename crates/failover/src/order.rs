use std::fmt;

use topology::{Epoch, Fork, NodeId};
use wire::{Lsn, TimelineId};

use crate::record::Record;

/// Names an order until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

/// Something for the shell to do, and to answer with [`crate::Manager::handle_answer`]. It sets the time limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// To be named in the answer.
    pub id: OrderId,
    /// What it is done for: a node that has served a higher epoch refuses.
    pub epoch: Epoch,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Store this record. Answered with [`Done::Done`] once it cannot be lost, in the order in which they were given.
    Store(Record),
    /// Cut this standby off from its upstream, for good until it is told to follow somebody, and find out how far it is
    /// when it has replayed everything it had received. Answered with [`Done::Position`], which also says that no
    /// `Promote` of a lower epoch can come into effect any more, not even one that the node has begun to carry out
    /// (`pg_promote` may return long before recovery has ended): the manager may let the old primary go on because of it.
    Recruit(NodeId),
    /// Have a standby that was cut off receive what another standby has, up to this position, and cut it off again.
    /// Answered with [`Done::Position`].
    CatchUp {
        /// The one that is behind.
        node: NodeId,
        /// The one that has it.
        upstream: NodeId,
        /// How far.
        lsn: Lsn,
    },
    /// Promote this standby, if it is still as the same epoch's `Recruit` left it. Answered with [`Done::Promoted`]; with
    /// [`Failure::Failed`] only if it is certain that nothing was done or will be, else with [`Failure::Uncertain`].
    Promote(NodeId),
    /// Have a standby follow this node. Answered with [`Done::Done`] when it was told to.
    Follow {
        /// The standby.
        node: NodeId,
        /// Whom it shall follow.
        upstream: NodeId,
    },
    /// What a new primary owes to those who will follow it: a checkpoint, by which pg_rewind knows its timeline, and
    /// replication slots.
    Settle(NodeId),
    /// Make a former primary, or a standby that has gone astray, a standby of this node: by rewinding, or else by a copy.
    Rejoin {
        /// The node, running or not.
        node: NodeId,
        /// Whom it shall follow.
        upstream: NodeId,
    },
    /// Have a former primary, which follows this node now, give up the replication slots of its reign that nobody uses
    /// there any more: they would hold its WAL back until its disk is full. Nothing depends on the answer.
    DropSlots {
        /// The former primary.
        node: NodeId,
        /// Whom it follows; a slot that is unknown there is none of those.
        upstream: NodeId,
    },
    /// Write a checkpoint, so that what follows is quick.
    Checkpoint(NodeId),
    /// Count what this proxy has under way on the primary. Answered with [`Done::Busy`].
    CountBusy(NodeId),
    /// Have the primary stop to take writes, from anybody: stop it cleanly, or where nobody can, let no commit succeed.
    /// Answered with [`Done::Halted`].
    Halt(NodeId),
    /// Undo a `Halt`.
    Resume(NodeId),
    /// Stop and start PostgreSQL on this node.
    Restart(NodeId),
    /// End what was kept for an epoch: sessions with nodes.
    Release,
}

/// How an order was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was.
    Done,
    /// How far a standby is.
    Position {
        /// The timeline it has followed.
        timeline: TimelineId,
        /// The end of the WAL that it has, replayed or not.
        received: Lsn,
        /// Where that timeline began, if the standby told it.
        began: Option<Fork>,
    },
    /// It is the primary now, on this timeline.
    Promoted(TimelineId),
    /// What is under way on the primary from here.
    Busy {
        /// Transactions that are open.
        transactions: u32,
        /// Requests that are under way, those of transactions too.
        requests: u32,
    },
    /// The primary takes no more writes; its WAL ends here.
    Halted {
        /// The end of what it wrote.
        lsn: Lsn,
        /// Whether its server was stopped, so that it can come back as a standby as it is.
        is_stopped: bool,
    },
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The node has been told to by a manager of a higher epoch.
    Superseded(Epoch),
    /// It may or may not have been done.
    Uncertain(String),
    /// It was not done.
    Failed(String),
    /// There is no way to do such a thing to this node: no agent, no hook.
    Impossible(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superseded(epoch) => write!(f, "a manager of epoch {epoch} has been there"),
            Self::Uncertain(why) | Self::Failed(why) | Self::Impossible(why) => f.write_str(why),
        }
    }
}

/// The end of an order.
pub type Answer = Result<Done, Failure>;

/// What an answer says that has nothing to tell but success.
pub(crate) fn outcome(answer: &Answer) -> Result<(), String> {
    match answer {
        Ok(
            Done::Done | Done::Position { .. } | Done::Promoted(_) | Done::Busy { .. } | Done::Halted { .. },
        ) => Ok(()),
        Err(failure) => Err(failure.to_string()),
    }
}

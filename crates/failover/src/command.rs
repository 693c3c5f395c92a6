use std::{fmt, sync::Arc};

use topology::NodeId;

/// Names a command until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Put another node in the place of a living primary, without an error for anybody.
    Switchover {
        /// Which; `None`: the best.
        to: Option<NodeId>,
    },
    /// Put this node in the place of the primary, whatever has become of that.
    Failover {
        /// Which.
        to: NodeId,
        /// Even if acknowledged writes are lost by it.
        force: bool,
    },
    /// Restart a node; clients wait meanwhile, or are served elsewhere.
    Restart(NodeId),
    /// The same of all that are not detached, one after the other, the primary last.
    RestartAll,
    /// Have all as it is configured: everybody follows, and the best placed node is the primary.
    Restore,
    /// Do nothing by itself from now on.
    MaintenanceOn,
    /// Act by itself again.
    MaintenanceOff,
}

/// Why a command is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Something else is under way.
    Busy,
    /// There is no primary to be replaced in good order.
    NoPrimary,
    /// There is one, and it was not said that it may be pushed aside.
    PrimaryThere(Arc<str>),
    /// No such node is configured (any more).
    NoNode,
    /// It is the primary already.
    IsPrimary(Arc<str>),
    /// It is no standby that could be promoted, for this reason.
    Unfit(Arc<str>, &'static str),
    /// Commits that were acknowledged may be lost by it, for this reason.
    Uncovered(Arc<str>, String),
    /// Whoever manages the cluster knows no such thing.
    Unknown(&'static str),
    /// Restarting it would not do, for this reason.
    NotRestarted(Arc<str>, &'static str),
    /// Some were restarted; then one was not.
    Halfway {
        /// Which.
        at: Arc<str>,
        /// Why.
        why: String,
        /// Those that were.
        done: Vec<Arc<str>>,
    },
    /// It was begun and has failed; nothing has changed.
    RolledBack(String),
    /// It was begun and has failed; the manager goes on trying to bring a primary about.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("a failover, switchover or restart is under way"),
            Self::NoPrimary => f.write_str("there is no primary"),
            Self::PrimaryThere(node) => write!(f, "{node} is the primary, and alive"),
            Self::NoNode => f.write_str("there is no such node"),
            Self::IsPrimary(node) => write!(f, "{node} is the primary already"),
            Self::Unfit(node, why) => write!(f, "{node} cannot become the primary: {why}"),
            Self::Uncovered(node, why) => {
                write!(f, "{node} cannot become the primary: {why}; FORCE accepts that")
            }
            Self::Unknown(why) => f.write_str(why),
            Self::NotRestarted(node, why) => write!(f, "{node} cannot be restarted: {why}"),
            Self::Halfway { at, why, done } if done.is_empty() => {
                write!(f, "{at} was not restarted, nor any other: {why}")
            }
            Self::Halfway { at, why, done } => {
                write!(f, "{at} was not restarted: {why}; restarted before it: {}", done.join(", "))
            }
            Self::RolledBack(why) => write!(f, "it was rolled back: {why}"),
            Self::Failed(why) => write!(f, "it has failed: {why}"),
        }
    }
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Which.
    pub ticket: Ticket,
    /// How it ended.
    pub result: Result<(), Refusal>,
}

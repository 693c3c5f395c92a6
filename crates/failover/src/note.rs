use std::{fmt, sync::Arc, time::Instant};

use topology::{Epoch, NodeId};

/// Something that was done, for the log and for the timeline of a failover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Instant,
    /// In which epoch.
    pub epoch: Epoch,
    /// To which node, if to one.
    pub node: Option<NodeId>,
    /// What.
    pub step: Step,
}

/// Why the primary is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is down.
    Automatic,
    /// An operator said SWITCHOVER.
    Switchover,
    /// An operator said FAILOVER.
    Failover,
    /// It is stopped and started in its place.
    Restart,
    /// It is not where the configuration places it.
    Failback,
}

impl Kind {
    /// The word in the console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Switchover => "switchover",
            Self::Failover => "failover",
            Self::Restart => "restart",
            Self::Failback => "failback",
        }
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It began; the node is the old primary.
    Begun(Kind),
    /// It was found begun by a predecessor of this manager.
    TakenUp,
    /// No transaction begins any more.
    Draining,
    /// Nothing is sent to the old primary any more.
    Closed,
    /// The old primary takes no writes.
    Halted,
    /// It is recorded that standbys are being cut off.
    Fenced,
    /// A standby is cut off and has said how far it is.
    Recruited,
    /// All that count have been, and this one is chosen.
    Chosen,
    /// It was promoted.
    Promoted,
    /// Clients are served by it.
    Serving,
    /// Its commits wait for standbys, as this value of `synchronous_standby_names` says.
    Waiting(Arc<str>),
    /// A standby was told to follow it.
    Followed,
    /// A node is being made a standby of it.
    Rejoining,
    /// A node was made a standby of it.
    Rejoined,
    /// A standby is about to be restarted: nothing is read from it any more.
    SetAside,
    /// It is back, and follows the primary.
    Restarted,
    /// An order to this node failed so.
    Failed(String),
    /// It is over.
    Ended(Outcome),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done,
    /// The old primary goes on, for this reason.
    RolledBack(String),
    /// It is to be tried again, for this reason.
    Abandoned(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun(kind) => write!(f, "{} begins", kind.as_str()),
            Self::TakenUp => f.write_str("was begun before a restart of pgherd"),
            Self::Draining => f.write_str("transactions are being drained"),
            Self::Closed => f.write_str("clients are held"),
            Self::Halted => f.write_str("the old primary takes no more writes"),
            Self::Fenced => f.write_str("recorded"),
            Self::Recruited => f.write_str("cut off from the old primary"),
            Self::Chosen => f.write_str("chosen"),
            Self::Promoted => f.write_str("promoted"),
            Self::Serving => f.write_str("serves clients"),
            Self::Waiting(names) => {
                write!(f, "commits wait until enough standbys follow: {names}")
            }
            Self::Followed => f.write_str("told to follow the new primary"),
            Self::Rejoining => f.write_str("being made a standby"),
            Self::Rejoined => f.write_str("made a standby"),
            Self::SetAside => f.write_str("set aside, to be restarted"),
            Self::Restarted => f.write_str("restarted"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Ended(Outcome::Done) => f.write_str("done"),
            Self::Ended(Outcome::RolledBack(why)) => write!(f, "rolled back: {why}"),
            Self::Ended(Outcome::Abandoned(why)) => write!(f, "to be tried again: {why}"),
        }
    }
}

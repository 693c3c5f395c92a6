use std::{fmt, sync::Arc, time::Duration};

use topology::{Epoch, NoPrimary, Unusable};

/// Why there is no failover although there is no primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hindrance {
    /// Somebody said MAINTENANCE ON.
    Maintenance,
    /// Another manager, of this epoch, has given orders to a node.
    Superseded(Epoch),
    /// It is not known who was the primary: nobody has been, since this manager began to remember.
    NeverKnown,
    /// Who is the primary is in doubt, not whether it lives.
    InDoubt(NoPrimary),
    /// The primary is not (yet) known to be down.
    NotDown(Arc<str>),
    /// It answers, but its state cannot be read.
    Unusable(Arc<str>, Unusable),
    /// Not every node that may be a candidate has been asked since.
    Asking(Arc<str>),
    /// No standby is up that may be promoted.
    NoCandidate,
    /// The node at this address may have been promoted, and is out of reach: until it is known the old primary must not
    /// go on, and nobody else can take its place.
    Unresolved(Arc<str>),
    /// This standby still hears the primary, which cannot be reached from here alone.
    StillHeard(Arc<str>),
    /// The last failover was so short a time ago, and the primary may merely be out of reach.
    Damped(Duration),
    /// The best candidate lacks so many bytes.
    WouldLose(Arc<str>, u64),
    /// Commits may be on nobody who is there; the best candidate, and who is missing.
    Uncovered(Arc<str>, String),
    /// The last attempt failed so.
    Failed(String),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maintenance => f.write_str("MAINTENANCE is on: nothing is done by itself"),
            Self::Superseded(epoch) => {
                write!(
                    f,
                    "another manager has acted in epoch {epoch}; is a second pgherd started with manage = \"single\"?"
                )
            }
            Self::NeverKnown => {
                f.write_str("it is not known who the primary was; FAILOVER TO a node decides it")
            }
            Self::InDoubt(why) => write!(f, "{why}"),
            Self::NotDown(node) => write!(f, "{node} is not known to be down"),
            Self::Unusable(node, why) => write!(f, "{node} is there, but {}", why.as_str()),
            Self::Asking(node) => write!(f, "{node} has not answered since"),
            Self::NoCandidate => f.write_str("no standby is up that may be promoted"),
            Self::Unresolved(address) => write!(
                f,
                "{address} may have been promoted and is out of reach; once it is certain that nobody will ever use it, \
                 FAILOVER TO the old primary FORCE lets that go on"
            ),
            Self::StillHeard(node) => {
                write!(f, "{node} still hears the primary, so the primary is out of reach from here alone")
            }
            Self::Damped(left) => {
                write!(f, "the last failover was too short a time ago; the next is possible in {left:.0?}")
            }
            Self::WouldLose(node, bytes) => write!(
                f,
                "{node} lacks {bytes} bytes of what the primary had, more than max_lost_bytes; FAILOVER TO {node} FORCE \
                 accepts that"
            ),
            Self::Uncovered(node, why) => write!(f, "{why}; FAILOVER TO {node} FORCE accepts that"),
            Self::Failed(why) => write!(f, "the last attempt failed: {why}"),
        }
    }
}

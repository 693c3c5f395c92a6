use std::time::{Duration, Instant};

use topology::Snapshot;
use wire::{Lsn, TimelineId};

use crate::settings::Policy;

/// What a statement, transaction or pipeline needs of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wants {
    /// A writable node: it writes, or is not known not to.
    Primary,
    /// A read: a replica will do.
    Replica,
    /// Answers the same everywhere, as `SHOW` and `SELECT 1` do: whatever is nearest, however far behind.
    Any,
}

/// Which node a hint asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// `primary`
    Primary,
    /// `replica`
    Replica,
}

/// What a client asked for in a comment, startup option or `SET pgherd.…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hint<'a> {
    /// `primary` or `replica`. A policy of the listener goes before.
    pub target: Option<Target>,
    /// `region=…`: replicas there come first, instead of those of the proxy's region.
    pub region: Option<&'a str>,
    /// `max_lag=…`: tightens the bound of the settings, and cannot loosen it.
    pub max_lag: Option<Duration>,
}

/// How far a session's own writes reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Its last write was answered at this instant; see [`resolve_written`].
    After(Instant),
    /// Its last write lies before this position.
    At {
        /// The position.
        lsn: Lsn,
        /// The timeline it is on.
        timeline: TimelineId,
    },
}

/// What is to be routed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What it needs.
    pub wants: Wants,
    /// What the listener or database is for.
    pub policy: Policy,
    /// The session's last write, if it wrote and reads must see it.
    pub written: Option<Written>,
    /// What the client asked for.
    pub hint: Option<Hint<'a>>,
}

/// Replaces an instant by the position that covers it, as soon as a sample of the primary shows one; and a position
/// on an older timeline by one on the present timeline that covers what survived of it. Sessions keep the result.
#[must_use]
pub fn resolve_written(written: Written, snapshot: &Snapshot) -> Written {
    let wal = &snapshot.primary_wal;
    let resolved = match written {
        Written::After(instant) => wal.first_sent_after(instant),
        // Any position of the new primary lies past the fork, and so covers all that it took over.
        Written::At { timeline, .. } if wal.timeline().is_some_and(|present| present > timeline) => {
            wal.first().map(|(_, lsn)| lsn)
        }
        Written::At { .. } => None,
    };
    resolved.zip(wal.timeline()).map_or(written, |(lsn, timeline)| Written::At { lsn, timeline })
}

//! Which transaction ids every reign found and which it gave out itself: what became of a commit whose answer was lost.
//!
//! A server that recovers, from a crash or by a promotion, goes on with the id after the last one in the WAL that it had;
//! ids beyond that were given out before, and are given out again. So of a transaction that was committed under an
//! earlier reign `pg_xact_status` tells the truth only if its id is below the first one that the new reign gave out.
//!
//! What is known of that id, and why:
//! - After a crash, and at every start, the server begins with a checkpoint of the kind that a shutdown makes, alone in
//!   that its redo position is its own. Its `next_xid` is the first id of the new run, exactly. It is also how a run is
//!   told from the one before: a client's transaction that read a flush position beyond the last checkpoint belongs to
//!   the run that this checkpoint belongs to.
//! - A standby's snapshots are above every id whose end it has replayed, so the first id of its reign is not below. If it
//!   had replayed all that its timeline has of the one before when the snapshot was taken, an id beyond it did not commit.
//! - The first snapshot that it takes as primary is above every id whose end it knows, its own first ones included.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use wire::{Lsn, TimelineId};

use crate::{history::History, node::NodeId, probe::Role};

/// A transaction id of 64 bits (`xid8`): it never wraps around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Xid(pub u64);

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a checkpoint came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckpointKind {
    /// At the end of a recovery or of a run that was shut down: nothing was running.
    Quiet,
    /// While transactions ran.
    Online,
}

/// The last checkpoint, as `pg_control_checkpoint()` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Where its record begins.
    pub lsn: Lsn,
    /// The timeline that it was written on.
    pub timeline: TimelineId,
    /// The next id that would have been given out.
    pub next: Xid,
    /// How it came about.
    pub kind: CheckpointKind,
}

/// What one probe read of a node's transaction ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XidSample {
    /// What the node said it is.
    pub role: Role,
    /// The timeline that it was on.
    pub timeline: TimelineId,
    /// `pg_snapshot_xmax`: above every id whose end the node knows.
    pub next: Xid,
    /// A standby: what it had replayed, read after `next`.
    pub replay_lsn: Lsn,
    /// Its last checkpoint, if it could be read.
    pub checkpoint: Option<Checkpoint>,
}

/// A commit whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InDoubt {
    /// Its transaction's id.
    pub xid: Xid,
    /// `pg_current_wal_flush_lsn()` of its server, read within the transaction.
    pub flushed: Lsn,
    /// The node that it ran on.
    pub node: NodeId,
    /// The timeline that the node was on.
    pub timeline: TimelineId,
}

/// A commit of which its client knows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubtful {
    /// The server may have come to it.
    Reached(InDoubt),
    /// The connection to this node ended, in order, before an answer had come that the server sends off before it looks at
    /// the commit. So it never did, unless somebody between proxy and server ended the connection. Then it may be known by
    /// its id.
    NotReached(NodeId, Option<InDoubt>),
}

/// What a primary says of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XidStatus {
    /// It committed.
    Committed,
    /// It did not.
    Aborted,
    /// It has not ended.
    InProgress,
    /// It is not below the node's `pg_snapshot_xmax`: it has not ended, or was not given out.
    Ahead,
    /// It is too old to be known.
    Forgotten,
}

/// What became of a commit in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It is part of the present primary's history.
    Committed,
    /// It is not, and never will be.
    Aborted,
    /// Nobody can tell.
    Unknown,
}

/// Floors that are kept; a commit is in doubt for seconds, and there is one for each reign.
const FLOORS_MAX: usize = 64;

/// How a reign began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// By a start, with a checkpoint at this position.
    Start(Lsn),
    /// By a promotion. When `lower` was read, everything up to `covered` had been replayed.
    Promotion { covered: Option<Lsn> },
}

/// What is known of the first id that a reign gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Floor {
    node: NodeId,
    timeline: TimelineId,
    beginning: Beginning,
    /// It is not below this one.
    lower: Xid,
    /// It is not above this one.
    upper: Xid,
}

/// What a node was when it was last heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Standby { next: Xid, covered: Option<Lsn>, replayed: Option<Lsn> },
    Primary(TimelineId),
}

/// Remembers what probes say of transaction ids, and judges commits in doubt by it.
#[derive(Debug, Default)]
pub struct XidBook {
    last: HashMap<NodeId, Last>,
    /// Oldest first.
    floors: VecDeque<Floor>,
}

impl XidBook {
    /// Takes in what a probe read. Of a node that becomes primary the first such sample has to come before anything is
    /// decided by it.
    pub fn observe(&mut self, node: NodeId, sample: &XidSample) {
        let last = self.last.get(&node).copied();
        let now = match sample.role {
            Role::Unknown => return,
            Role::Standby => {
                // what had been replayed before this sample's snapshot was taken
                let covered = match last {
                    Some(Last::Standby { replayed, .. }) => {
                        replayed.filter(|replayed| *replayed <= sample.replay_lsn)
                    }
                    Some(Last::Primary(_)) | None => None,
                };
                Last::Standby { next: sample.next, covered, replayed: Some(sample.replay_lsn) }
            }
            Role::Primary => {
                self.note_start(node, sample);
                self.note_promotion(node, sample, last);
                Last::Primary(sample.timeline)
            }
        };
        self.last.insert(node, now);
    }

    /// A node could not be asked. It may be another one behind the same address when it can be again.
    pub fn lose_sight(&mut self, node: NodeId) {
        if let Some(Last::Standby { replayed, .. }) = self.last.get_mut(&node) {
            *replayed = None;
        }
    }

    fn note_start(&mut self, node: NodeId, sample: &XidSample) {
        let Some(checkpoint) = sample.checkpoint else { return };
        if checkpoint.kind != CheckpointKind::Quiet || checkpoint.timeline != sample.timeline {
            return;
        }
        let beginning = Beginning::Start(checkpoint.lsn);
        let timeline = sample.timeline;
        let is_known =
            |floor: &Floor| (floor.node, floor.timeline, floor.beginning) == (node, timeline, beginning);
        if !self.floors.iter().any(is_known) {
            self.push(Floor { node, timeline, beginning, lower: checkpoint.next, upper: checkpoint.next });
        }
    }

    fn note_promotion(&mut self, node: NodeId, sample: &XidSample, last: Option<Last>) {
        let (lower, covered) = match last {
            Some(Last::Primary(timeline)) if timeline == sample.timeline => return,
            Some(Last::Standby { next, covered, .. }) => (next, covered),
            Some(Last::Primary(_)) | None => (Xid(0), None),
        };
        let beginning = Beginning::Promotion { covered };
        self.push(Floor { node, timeline: sample.timeline, beginning, lower, upper: sample.next });
    }

    fn push(&mut self, floor: Floor) {
        if self.floors.len() == FLOORS_MAX {
            self.floors.pop_front();
        }
        self.floors.push_back(floor);
    }

    /// What became of `doubt`, of which the primary `node` says `status`; `seen` was read in the same statement and has
    /// been observed. `history`: that of the primary's timeline, if it could be read. `None`: not decided yet, to be asked
    /// again.
    #[must_use]
    pub fn judge(
        &self,
        doubt: &InDoubt,
        node: NodeId,
        seen: &XidSample,
        history: Option<&History>,
        status: XidStatus,
    ) -> Option<Resolution> {
        if seen.role != Role::Primary || seen.timeline < doubt.timeline {
            return None;
        }
        if seen.timeline == doubt.timeline {
            return self.judge_on_same_timeline(doubt, node, seen, status);
        }
        let left = history.map(|history| history.left(doubt.timeline));
        match left {
            // not its descendant, for all that is known
            Some(None) => return Some(Resolution::Unknown),
            // a commit that came after that position lies beyond it
            Some(Some(left)) if left <= doubt.flushed => return Some(Resolution::Aborted),
            Some(Some(_)) | None => {}
        }
        let is_between = |timeline: TimelineId| {
            timeline == seen.timeline
                || timeline > doubt.timeline
                    && history.is_some_and(|history| history.left(timeline).is_some())
        };
        let later = self.floors.iter().filter(|floor| is_between(floor.timeline) || restarted(floor, doubt));
        let is_chain_known = match history {
            Some(history) => history
                .forks()
                .iter()
                .map(|fork| fork.timeline)
                .chain([seen.timeline])
                .filter(|timeline| *timeline > doubt.timeline)
                .all(|timeline| self.saw_promotion(timeline)),
            None => {
                seen.timeline.0 == doubt.timeline.0.saturating_add(1) && self.saw_promotion(seen.timeline)
            }
        };
        let exact = |floor: &Floor| {
            let fork = history.and_then(|history| history.began(seen.timeline, floor.timeline));
            match (floor.beginning, fork) {
                (Beginning::Promotion { covered: Some(covered) }, Some(fork)) => covered >= fork.switch_lsn,
                (Beginning::Promotion { .. } | Beginning::Start(_), _) => false,
            }
        };
        Some(by_floors(doubt, later, exact, is_chain_known, status))
    }

    fn judge_on_same_timeline(
        &self,
        doubt: &InDoubt,
        node: NodeId,
        seen: &XidSample,
        status: XidStatus,
    ) -> Option<Resolution> {
        if node != doubt.node {
            return Some(Resolution::Unknown);
        }
        // A recovery since would have ended with a checkpoint, and beyond what was flushed before.
        let same_run = seen.checkpoint.is_some_and(|last| last.lsn < doubt.flushed);
        let mut later = self.floors.iter().filter(|floor| restarted(floor, doubt)).peekable();
        if same_run || later.peek().is_none() {
            return match status {
                XidStatus::Aborted => Some(Resolution::Aborted),
                XidStatus::Committed if same_run => Some(Resolution::Committed),
                // a checkpoint came in between, and it is not known whether a start did
                XidStatus::Committed | XidStatus::Forgotten => Some(Resolution::Unknown),
                XidStatus::InProgress | XidStatus::Ahead => None,
            };
        }
        Some(by_floors(doubt, later, |_| false, true, status))
    }

    fn saw_promotion(&self, timeline: TimelineId) -> bool {
        let is_promotion = |floor: &Floor| matches!(floor.beginning, Beginning::Promotion { .. });
        self.floors.iter().any(|floor| floor.timeline == timeline && is_promotion(floor))
    }
}

/// Whether the server started again on its timeline after the commit.
fn restarted(floor: &Floor, doubt: &InDoubt) -> bool {
    let after = matches!(floor.beginning, Beginning::Start(lsn) if lsn >= doubt.flushed);
    after && (floor.node, floor.timeline) == (doubt.node, doubt.timeline)
}

/// Judges by all reigns since the commit. `exact`: that no id from its lower bound on committed before it. With
/// `is_chain_known` they are all there.
fn by_floors<'a>(
    doubt: &InDoubt,
    later: impl Iterator<Item = &'a Floor>,
    exact: impl Fn(&Floor) -> bool,
    is_chain_known: bool,
    status: XidStatus,
) -> Resolution {
    let mut is_old = is_chain_known;
    for floor in later {
        if doubt.xid >= floor.upper || doubt.xid >= floor.lower && exact(floor) {
            return Resolution::Aborted;
        }
        is_old &= doubt.xid < floor.lower;
    }
    match status {
        // whoever it belongs to: it did not commit under its first owner, nor does anybody recover into a transaction
        XidStatus::Aborted | XidStatus::InProgress | XidStatus::Ahead => Resolution::Aborted,
        XidStatus::Committed if is_old => Resolution::Committed,
        // it may be another transaction's by now
        XidStatus::Committed | XidStatus::Forgotten => Resolution::Unknown,
    }
}

#[cfg(test)]
mod tests;

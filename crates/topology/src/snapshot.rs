use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{Lsn, TimelineId};

use crate::{
    history::Fork,
    node::{DownReason, NodeId},
    probe::Role,
    replication::SyncState,
    synchrony::Synchrony,
    wal::PrimaryWal,
};

/// Counts the reigns of primaries, as this proxy saw them; it only grows.
///
/// It grows when another node, or the same node on another timeline, becomes the primary, and when the primary is
/// lost; so within one epoch at most one (node, timeline) is ever writable. A crash restart (57P03 within
/// `crash_grace`) keeps the epoch: nobody else can have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The cluster at one instant. Immutable; whoever serves a request reads one snapshot once.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The reign.
    pub epoch: Epoch,
    /// Who may be written to.
    pub writable: Writable,
    /// Whether the primary is about to be replaced, so that no transaction should begin on it.
    pub draining: bool,
    /// The timeline of the primary, or of the last good one while there is none; `None` before any was known.
    pub timeline: Option<TimelineId>,
    /// Where that timeline began; `None` if it was not read, and for timeline 1.
    pub fork: Option<Fork>,
    /// The nodes, in configured order.
    pub nodes: Box<[NodeView]>,
    /// How far that timeline was written at least, by what this run and earlier ones saw; `None` before any was known.
    pub written: Option<Lsn>,
    /// Where the WAL of the present or last primary was when.
    pub primary_wal: PrimaryWal,
    /// Whom its commits wait for; `None`: not known, of an earlier version's memory for example.
    pub synchrony: Option<Arc<Synchrony>>,
    /// When this was put together.
    pub built_at: Instant,
}

/// Who may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writable {
    /// This node: it said that it is not in recovery, on the expected timeline or a descendant of it.
    Primary(NodeId),
    /// Nobody.
    None {
        /// Since when.
        since: Instant,
        /// Why.
        reason: NoPrimary,
    },
}

/// Why nobody may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoPrimary {
    /// The proxy has just started, or no node was ever a primary.
    NotFoundYet,
    /// The last primary is gone: unreachable, stopped, or a standby now.
    Down,
    /// The primary is there and starts or recovers (57P03).
    Starting,
    /// Two nodes claim to be the primary and neither is known to descend from the other.
    SplitBrain,
    /// Only primaries of abandoned timelines are left.
    OnlyStale,
    /// The one claimant is not (yet) known to descend from the last good timeline.
    Unproven,
    /// The failover manager is putting another node in its place, or restarts it.
    Replacing,
}

impl NoPrimary {
    /// The word in the console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFoundYet => "not found yet",
            Self::Down => "down",
            Self::Starting => "starting",
            Self::SplitBrain => "split brain",
            Self::OnlyStale => "only stale primaries",
            Self::Unproven => "unproven claim",
            Self::Replacing => "being replaced",
        }
    }
}

impl fmt::Display for NoPrimary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFoundYet => "no primary has been found yet",
            Self::Down => "the primary is down",
            Self::Starting => "the primary is starting",
            Self::SplitBrain => "two nodes claim to be the primary",
            Self::OnlyStale => "only primaries of abandoned timelines are left",
            Self::Unproven => "the only claimant is not known to descend from the last primary",
            Self::Replacing => "the primary is being replaced",
        })
    }
}

/// How far a node can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// Not probed yet.
    Unknown,
    /// Its last probe was answered.
    Up,
    /// A probe failed, or the data path reported trouble; not yet known to be down.
    Suspect,
    /// Not to be reached, or of no use.
    Down,
    /// 57P03 for less than `crash_grace`.
    Recovering,
    /// A primary of an abandoned timeline: never written to, nor read from.
    Stale,
    /// It has another `system_identifier`: it belongs to another cluster and is never used.
    Foreign,
}

impl Health {
    /// The word in the console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Recovering => "recovering",
            Self::Stale => "stale",
            Self::Foreign => "foreign",
        }
    }
}

/// Whether a node may be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reads {
    /// Yes, if it is fit for it.
    #[default]
    Offered,
    /// No: somebody set it aside for other purposes (Patroni's tag `noloadbalance`), or it is a spare.
    Withheld,
    /// No: the failover manager restarts it.
    Resting,
    /// No: an operator detached it. Nor is it promoted.
    Detached,
}

impl Reads {
    /// The word in the console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "attached",
            Self::Withheld => "withheld",
            Self::Resting => "resting",
            Self::Detached => "detached",
        }
    }

    /// Whether what was under way on it is to end, too.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Offered | Self::Withheld => false,
            Self::Resting | Self::Detached => true,
        }
    }
}

/// What a node is there for, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Duty {
    /// It serves as long as it is fit.
    #[default]
    Member,
    /// It is a spare, and nobody needs it.
    Spare,
    /// It is a spare that has to be made a standby, to serve in place of this lost node.
    Called(NodeId),
    /// It is a spare that serves in place of this lost node.
    StandingIn(NodeId),
}

impl Duty {
    /// Whether it is a spare that does not serve: it is not read from, and promoted only if there is nobody else.
    #[must_use]
    pub fn is_idle(self) -> bool {
        match self {
            Self::Member | Self::StandingIn(_) => false,
            Self::Spare | Self::Called(_) => true,
        }
    }
}

/// One node at one instant.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its id, stable over reloads.
    pub id: NodeId,
    /// Its name for people.
    pub name: Arc<str>,
    /// Host name or address.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Where it stands.
    pub region: Arc<str>,
    /// The zone in its region, if zones are told apart.
    pub zone: Option<Arc<str>>,
    /// What it last said it is.
    pub role: Role,
    /// How far it can be relied on.
    pub health: Health,
    /// How it was found to be down, if it is.
    pub down: Option<DownReason>,
    /// How gladly it is made the primary; 0: never by itself.
    pub priority: u16,
    /// The timeline it last said; `TimelineId(0)` before that.
    pub timeline: TimelineId,
    /// A primary's insert position, a standby's receive position, as last sampled.
    pub wal_lsn: Lsn,
    /// What it had replayed, as last sampled; a primary: the same as `wal_lsn`.
    pub replay_lsn: Lsn,
    /// Bytes between the newest known position of the primary and `replay_lsn`; `None` on another timeline.
    pub lag_bytes: Option<u64>,
    /// How old its state was when it was sampled; `None`: unknown, which is not healthy.
    pub lag: Option<Duration>,
    /// Round trip of its probes, smoothed.
    pub rtt: Option<Duration>,
    /// When the last sample was asked for.
    pub sampled_at: Option<Instant>,
    /// A standby: its WAL receiver was streaming.
    pub streaming: bool,
    /// A standby: for how long its upstream had said nothing when it was sampled; `None` without a WAL receiver.
    pub upstream_silence: Option<Duration>,
    /// A standby: whether commits wait for it, as the present primary or, while there is none, the last one said last;
    /// `None`: it does not receive from that node, or cannot be told from another that does.
    pub sync_state: Option<SyncState>,
    /// `server_version_num`; 0 before it said.
    pub server_version: u32,
    /// Whether it may be read from at all.
    pub reads: Reads,
    /// What it is there for.
    pub duty: Duty,
}

impl NodeView {
    /// Whether a failover manager may promote it by itself.
    #[must_use]
    pub fn may_be_promoted(&self) -> bool {
        self.may_be_promoted_at_need() && !self.duty.is_idle()
    }

    /// Whether a failover manager may promote it by itself if there is nobody else: a spare is better than no primary.
    #[must_use]
    pub fn may_be_promoted_at_need(&self) -> bool {
        self.priority > 0 && self.reads != Reads::Detached
    }

    /// How old its state can be at `now`, at most: its lag when sampled and the age of that sample.
    #[must_use]
    pub fn staleness(&self, now: Instant) -> Option<Duration> {
        Some(self.lag? + now.saturating_duration_since(self.sampled_at?))
    }
}

/// What every server connection carries: whose it is and since which reign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The node it was dialed to.
    pub node: NodeId,
    /// The timeline the node was on.
    pub timeline: TimelineId,
    /// The epoch it was dialed in.
    pub epoch: Epoch,
}

impl Snapshot {
    /// The node with this id, if it is (still) configured.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeView> {
        // Ids are dealt in configured order, so without a reload the position is the id.
        self.nodes
            .get(usize::from(id.0))
            .filter(|node| node.id == id)
            .or_else(|| self.nodes.iter().find(|node| node.id == id))
    }

    /// The node that may be written to.
    #[must_use]
    pub fn primary(&self) -> Option<&NodeView> {
        match self.writable {
            Writable::Primary(id) => self.node(id),
            Writable::None { .. } => None,
        }
    }

    /// The stamp of a connection dialed to `node` under this snapshot.
    #[must_use]
    pub fn stamp(&self, node: NodeId) -> Stamp {
        let timeline = self.node(node).map_or(TimelineId(0), |node| node.timeline);
        Stamp { node, timeline, epoch: self.epoch }
    }

    /// Whether a connection with this stamp may still be used.
    ///
    /// For writes it must lead to the present primary and stem from its reign; a connection to a standby that was
    /// then promoted is stamped anew only after it has itself said `in_hot_standby = off`. For reads the node must
    /// be usable, and not set aside: connections to standbys outlive an epoch.
    #[must_use]
    pub fn admits(&self, stamp: &Stamp, for_writes: bool) -> bool {
        if for_writes {
            return self.writable == Writable::Primary(stamp.node)
                && stamp.epoch == self.epoch
                && Some(stamp.timeline) == self.timeline;
        }
        stamp.epoch <= self.epoch
            && self.node(stamp.node).is_some_and(|node| match node.role {
                Role::Standby => matches!(node.health, Health::Up | Health::Suspect) && !node.reads.is_over(),
                Role::Primary => self.writable == Writable::Primary(node.id),
                Role::Unknown => false,
            })
    }
}

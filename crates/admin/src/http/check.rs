//! The checks of Patroni's REST API ("Health check endpoints"), of one node and of all that this proxy leads to.

use std::{
    fmt,
    time::{Duration, Instant},
};

use routing::{Policy, Request, Unfit, Verdict, Wants};
use topology::{Health, NoPrimary, NodeView, Reads, Role, Snapshot, SyncState, Writable};

use super::question::{Demands, Mode};

/// A cluster of which nothing was found out for so long is not watched any more: its nodes are asked far more often.
const WATCH_LIMIT: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// It may be written to.
    Primary,
    /// It may be read from, and is no primary.
    Replica(Kind),
    /// It may be read from.
    ReadOnly(Kind),
    /// It runs.
    Health,
    /// It is watched.
    Liveness,
    /// It may be sent clients to.
    Readiness,
    /// Nothing: only how it is.
    Status,
}

/// Which replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// All.
    Any,
    /// Those that commits wait for.
    Sync,
    /// Those of which commits wait for some.
    Quorum,
    /// Those that no commit waits for.
    Async,
}

/// Why a check fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is a standby.
    NotPrimary,
    /// Nobody may be written to.
    NoPrimary(NoPrimary),
    /// No node is fit.
    NoneFit,
    /// It may not be read from.
    Unfit(Unfit),
    /// Commits wait for it, or do not.
    OtherKind(Option<SyncState>),
    /// It does not stream, or is said to have to do something else.
    ReplicationState,
    /// It has no such tag.
    Tag,
    /// Nothing was found out for a long time.
    Unwatched,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrimary => f.write_str("it is not the primary"),
            Self::NoPrimary(why) => why.fmt(f),
            Self::NoneFit => f.write_str("no node is fit"),
            Self::Unfit(why) => why.fmt(f),
            Self::OtherKind(Some(state)) => write!(f, "its sync_state is {}", state.as_str()),
            Self::OtherKind(None) => f.write_str("it does not receive from the primary"),
            Self::ReplicationState => f.write_str("it is not in the demanded state of replication"),
            Self::Tag => f.write_str("it does not have the demanded tag"),
            Self::Unwatched => f.write_str("nothing was found out for a long time"),
        }
    }
}

impl Check {
    /// By the path's last part; the empty one is Patroni's `/`.
    pub(super) fn find(word: &str) -> Option<Self> {
        Some(match word {
            "" | "primary" | "master" | "leader" | "read-write" => Self::Primary,
            "replica" => Self::Replica(Kind::Any),
            "sync" | "synchronous" => Self::Replica(Kind::Sync),
            "quorum" => Self::Replica(Kind::Quorum),
            "async" | "asynchronous" => Self::Replica(Kind::Async),
            "read-only" => Self::ReadOnly(Kind::Any),
            "read-only-sync" => Self::ReadOnly(Kind::Sync),
            "read-only-quorum" => Self::ReadOnly(Kind::Quorum),
            "health" => Self::Health,
            "liveness" => Self::Liveness,
            "readiness" => Self::Readiness,
            "patroni" => Self::Status,
            _ => return None,
        })
    }

    /// Whether it is asked for what a client would get, so that a proxy that is about to stop is none to go to.
    pub(super) fn is_about_serving(self) -> bool {
        match self {
            Self::Primary | Self::Replica(_) | Self::ReadOnly(_) | Self::Readiness => true,
            Self::Health | Self::Liveness | Self::Status => false,
        }
    }
}

/// What is known of a cluster, and by which settings it is read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) routing: &'a routing::Settings,
    pub(super) now: Instant,
}

impl Scene<'_> {
    /// Whether a node is as asked.
    ///
    /// # Errors
    /// [`Failure`]
    pub(super) fn check_node(&self, node: &NodeView, check: Check, demands: &Demands) -> Result<(), Failure> {
        let is_primary = self.snapshot.writable == Writable::Primary(node.id);
        match check {
            Check::Status => Ok(()),
            Check::Primary | Check::ReadOnly(_) | Check::Readiness if is_primary => Ok(()),
            Check::Primary => Err(Failure::NotPrimary),
            Check::Replica(kind) | Check::ReadOnly(kind) => self.check_replica(node, kind, demands),
            Check::Readiness => {
                let mut demands = demands.clone();
                demands.lag.get_or_insert(self.routing.max_lag_bytes);
                if self.snapshot.primary().is_some() {
                    demands.replication_state.get_or_insert_with(|| STREAMING.to_owned());
                }
                self.check_replica(node, Kind::Any, &demands)
            }
            Check::Health | Check::Liveness if node.health == Health::Up => Ok(()),
            Check::Health | Check::Liveness => Err(Failure::Unfit(Unfit::NotUp(node.health))),
        }
    }

    fn check_replica(&self, node: &NodeView, kind: Kind, demands: &Demands) -> Result<(), Failure> {
        if node.role != Role::Standby {
            return Err(Failure::Unfit(Unfit::NotStandby));
        }
        if node.health != Health::Up {
            return Err(Failure::Unfit(Unfit::NotUp(node.health)));
        }
        if node.reads == Reads::Withheld {
            return Err(Failure::Unfit(Unfit::Withheld));
        }
        let is_of_kind = match kind {
            Kind::Any => true,
            Kind::Sync => node.sync_state == Some(SyncState::Sync),
            Kind::Quorum => node.sync_state == Some(SyncState::Quorum),
            Kind::Async => !node.sync_state.is_some_and(SyncState::is_synchronous),
        };
        if !is_of_kind {
            return Err(Failure::OtherKind(node.sync_state));
        }
        if demands.replication_state.as_deref().is_some_and(|state| (state == STREAMING) != node.streaming) {
            return Err(Failure::ReplicationState);
        }
        let tagged = |(tag, value): &(String, String)| match tag.as_str() {
            "region" => *node.region == **value,
            "zone" => node.zone.as_deref() == Some(value),
            _ => false,
        };
        if !demands.tags.iter().all(tagged) {
            return Err(Failure::Tag);
        }
        let Some(most) = demands.lag else { return Ok(()) };
        match self.lag(node, demands.mode) {
            Some(lag) if lag <= most => Ok(()),
            Some(_) => Err(Failure::Unfit(Unfit::LagBytes)),
            None => Err(Failure::Unfit(Unfit::LagUnknown)),
        }
    }

    /// How many bytes a standby is behind the newest known position of the primary.
    pub(super) fn lag(&self, node: &NodeView, mode: Mode) -> Option<u64> {
        let applied = node.lag_bytes?;
        let newest = self.snapshot.primary_wal.last().map(|(_, lsn)| lsn);
        Some(match mode {
            Mode::Apply => applied,
            Mode::Write => newest.map_or(applied, |newest| newest.bytes_since(node.wal_lsn)),
        })
    }

    /// Whether this proxy can do for its clients what is asked.
    ///
    /// # Errors
    /// [`Failure`]
    pub(super) fn check_service(&self, check: Check, demands: &Demands) -> Result<(), Failure> {
        let writable = match self.snapshot.writable {
            Writable::Primary(_) => Ok(()),
            Writable::None { reason, .. } => Err(Failure::NoPrimary(reason)),
        };
        match check {
            Check::Status => Ok(()),
            Check::Primary => writable,
            Check::Replica(_) => self.any_fit(check, demands),
            Check::ReadOnly(_) => writable.or_else(|_| self.any_fit(check, demands)),
            Check::Readiness => writable.or_else(|_| self.any_fit(Check::Replica(Kind::Any), demands)),
            Check::Health => {
                let up = self.snapshot.nodes.iter().any(|node| node.health == Health::Up);
                up.then_some(()).ok_or(Failure::NoneFit)
            }
            Check::Liveness => {
                let age = self.now.saturating_duration_since(self.snapshot.built_at);
                let watched = age <= WATCH_LIMIT || self.snapshot.nodes.is_empty();
                watched.then_some(()).ok_or(Failure::Unwatched)
            }
        }
    }

    /// Whether reads would be sent to some replica that is as asked.
    fn any_fit(&self, check: Check, demands: &Demands) -> Result<(), Failure> {
        let request = Request { wants: Wants::Replica, policy: Policy::ReadOnly, written: None, hint: None };
        let found = routing::explain(&request, self.routing, self.snapshot, self.now)
            .filter(|found| matches!(found.verdict, Verdict::Fit(_)))
            .filter_map(|found| self.snapshot.node(found.node))
            .any(|node| self.check_node(node, check, demands).is_ok());
        found.then_some(()).ok_or(Failure::NoneFit)
    }
}

/// The state of a standby that receives from the primary or another standby.
pub(super) const STREAMING: &str = "streaming";

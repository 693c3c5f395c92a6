use std::{
    fmt,
    time::{Duration, Instant},
};

use topology::{Health, NodeView, Reads, Role, Snapshot};

use crate::{
    request::{Request, Written, resolve_written},
    settings::{Policy, ReadYourWrites, Settings},
};

/// Why a node may not answer a read as a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unfit {
    /// It is not a standby.
    NotStandby,
    /// It was set aside: nothing is to be read from it.
    Withheld,
    /// An operator detached it, or it is being restarted.
    Detached,
    /// It is not up.
    NotUp(Health),
    /// It is not on the primary's timeline.
    OtherTimeline,
    /// It never answered, or too long ago.
    SampleTooOld,
    /// It is not known how far behind it is.
    LagUnknown,
    /// It is too many bytes behind.
    LagBytes,
    /// It is behind for too long.
    Lag,
    /// Commits wait for it, or do not, as the policy would have it.
    SyncState,
    /// It is not known to have replayed the session's own writes.
    BehindOwnWrites,
}

impl Unfit {
    /// A stable word for `EXPLAIN ROUTE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStandby => "not_a_standby",
            Self::Withheld => "withheld",
            Self::Detached => "detached",
            Self::NotUp(_) => "not_up",
            Self::OtherTimeline => "other_timeline",
            Self::SampleTooOld => "sample_too_old",
            Self::LagUnknown => "lag_unknown",
            Self::LagBytes => "lag_bytes",
            Self::Lag => "lag",
            Self::SyncState => "sync_state",
            Self::BehindOwnWrites => "behind_own_writes",
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStandby => f.write_str("it is not a standby"),
            Self::Withheld => f.write_str("nothing is to be read from it (noloadbalance, or it is a spare)"),
            Self::Detached => f.write_str("it is detached or being restarted"),
            Self::NotUp(health) => write!(f, "it is {}", health.as_str()),
            Self::OtherTimeline => f.write_str("it is on another timeline than the primary"),
            Self::SampleTooOld => f.write_str("its last answer is too old"),
            Self::LagUnknown => f.write_str("it is not known how far behind it is"),
            Self::LagBytes => f.write_str("it is too many bytes behind"),
            Self::Lag => f.write_str("it is behind for too long"),
            Self::SyncState => {
                f.write_str("it is not of the kind (synchronous or not) that the policy asks for")
            }
            Self::BehindOwnWrites => f.write_str("it is not known to have replayed the session's own writes"),
        }
    }
}

/// How near a node stands; the nearer is the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proximity {
    /// In the proxy's zone.
    Zone,
    /// In the proxy's region, or the one a hint names.
    Region,
    /// Elsewhere.
    Elsewhere,
}

/// What a request demands of a replica, taken apart once per decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demands<'a> {
    settings: &'a Settings,
    snapshot: &'a Snapshot,
    now: Instant,
    region: &'a str,
    zone: Option<&'a str>,
    max_lag: Duration,
    policy: Policy,
    written: Option<Written>,
}

impl<'a> Demands<'a> {
    pub(crate) fn of(
        request: &Request<'a>,
        settings: &'a Settings,
        snapshot: &'a Snapshot,
        now: Instant,
    ) -> Self {
        let hint = request.hint.unwrap_or_default();
        let region = hint.region.unwrap_or(&settings.region);
        // A zone means something only in its region.
        let zone = settings.zone.as_deref().filter(|_| region == settings.region);
        let written = match settings.read_your_writes {
            ReadYourWrites::Off => None,
            ReadYourWrites::Session => request.written.map(|written| resolve_written(written, snapshot)),
        };
        let max_lag = hint.max_lag.map_or(settings.max_lag, |tighter| tighter.min(settings.max_lag));
        Self { settings, snapshot, now, region, zone, max_lag, policy: request.policy, written }
    }

    /// Whether `node` may answer the read. [`Unfit::BehindOwnWrites`] means that nothing else is wrong with it.
    pub(crate) fn check(&self, node: &NodeView) -> Result<(), Unfit> {
        match node.role {
            Role::Standby => {}
            Role::Primary | Role::Unknown => return Err(Unfit::NotStandby),
        }
        match node.reads {
            Reads::Offered => {}
            Reads::Withheld => return Err(Unfit::Withheld),
            Reads::Resting | Reads::Detached => return Err(Unfit::Detached),
        }
        if node.health != Health::Up {
            return Err(Unfit::NotUp(node.health));
        }
        if self.snapshot.timeline != Some(node.timeline) {
            return Err(Unfit::OtherTimeline);
        }
        let age = node.sampled_at.map(|at| self.now.saturating_duration_since(at));
        let Some(age) = age.filter(|age| *age <= self.settings.max_sample_age) else {
            return Err(Unfit::SampleTooOld);
        };
        let (Some(lag), Some(lag_bytes)) = (node.lag, node.lag_bytes) else { return Err(Unfit::LagUnknown) };
        if lag_bytes > self.settings.max_lag_bytes {
            return Err(Unfit::LagBytes);
        }
        // Nothing is known of it since the sample: it may have stood still, so the sample's age adds to its lag.
        if lag.saturating_add(age) > self.max_lag {
            return Err(Unfit::Lag);
        }
        if !self.policy.takes(node.sync_state) {
            return Err(Unfit::SyncState);
        }
        match self.written {
            None => Ok(()),
            Some(Written::At { lsn, timeline }) if timeline == node.timeline && node.replay_lsn >= lsn => {
                Ok(())
            }
            Some(Written::At { .. } | Written::After(_)) => Err(Unfit::BehindOwnWrites),
        }
    }

    pub(crate) fn proximity(&self, node: &NodeView) -> Proximity {
        if *node.region != *self.region {
            Proximity::Elsewhere
        } else if self.zone.is_some() && self.zone == node.zone.as_deref() {
            Proximity::Zone
        } else {
            Proximity::Region
        }
    }
}

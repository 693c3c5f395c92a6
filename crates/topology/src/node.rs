use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{Lsn, TimelineId};

use crate::{
    event::Named,
    history::History,
    probe::{ProbeResult, Role, Sample, Unusable},
    replication::Replication,
    settings::{NodeSettings, Service},
    snapshot::{Duty, Health, NodeView, Reads},
    wal::PrimaryWal,
};

/// Names a node for as long as the proxy runs: its index in the first `Settings::nodes`. A reload keeps the ids of
/// the nodes that stay (by host and port) and deals unused ones to newcomers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a node was found to be down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DownReason {
    /// Dials are refused: no postmaster.
    Refused,
    /// Probes go unanswered; it may still run, beyond a cut in the network.
    Silent,
    /// 57P03 for longer than `crash_grace`.
    StartsForTooLong,
    /// It answers, but its state cannot be read.
    Unusable(Unusable),
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connections are refused",
            Self::Silent => "probes go unanswered",
            Self::StartsForTooLong => "it has been starting for too long",
            Self::Unusable(why) => why.as_str(),
        })
    }
}

/// Dials refused in a row that mean "down".
const REFUSALS: u32 = 3;

/// Whether a node can be reached.
///   Unknown --> Up --failure--> Suspect --3 refusals or `down_after_probes` misses--> Down
///                |                 '--57P03--> Recovering --`crash_grace`--> Down
///   any --answer--> Up
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// No probe of it has ended yet.
    Unknown,
    /// The last probe was answered.
    Up,
    /// Failures in a row, of any kind, and the refusals at their end.
    Suspect { misses: u32, refusals: u32 },
    /// 57P03.
    Recovering { since: Instant, refusals: u32 },
    /// Down.
    Down(DownReason),
}

impl Reach {
    /// After a probe that was not answered.
    fn after_failure(self, failure: ProbeResult, down_after: u32, now: Instant) -> Self {
        let refused = failure == ProbeResult::Refused;
        if failure == ProbeResult::Starting {
            return match self {
                Self::Recovering { since, .. } => Self::Recovering { since, refusals: 0 },
                Self::Down(DownReason::StartsForTooLong) => self,
                Self::Unknown | Self::Up | Self::Suspect { .. } | Self::Down(_) => {
                    Self::Recovering { since: now, refusals: 0 }
                }
            };
        }
        let count = |refusals: u32| if refused { refusals.saturating_add(1) } else { 0 };
        let (misses, refusals) = match self {
            Self::Unknown | Self::Up => (1, count(0)),
            Self::Suspect { misses, refusals } => (misses.saturating_add(1), count(refusals)),
            // Silence while it recovers decides nothing: the grace period bounds it.
            Self::Recovering { since, refusals } if count(refusals) < REFUSALS => {
                return Self::Recovering { since, refusals: count(refusals) };
            }
            Self::Recovering { refusals, .. } => (1, count(refusals)),
            // Silence that becomes refusal is news: the postmaster is certainly gone.
            Self::Down(_) if refused => return Self::Down(DownReason::Refused),
            Self::Down(_) => return self,
        };
        if refusals >= REFUSALS {
            Self::Down(DownReason::Refused)
        } else if misses >= down_after.max(1) {
            Self::Down(match failure {
                ProbeResult::Unusable(why) => DownReason::Unusable(why),
                ProbeResult::Refused => DownReason::Refused,
                ProbeResult::NoAnswer | ProbeResult::Answered(_) | ProbeResult::Starting => {
                    DownReason::Silent
                }
            })
        } else {
            Self::Suspect { misses, refusals }
        }
    }
}

/// What we saw ourselves of where a node's timeline comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descent {
    /// Nothing.
    Unseen,
    /// It has been a standby since it last came up, and this is the highest timeline it was on. The highest, for
    /// without a WAL receiver PostgreSQL only tells the timeline of the last restartpoint.
    Followed { timeline: TimelineId, replayed: Lsn },
    /// It was a standby of `from` and became the primary of `to` before our eyes.
    Promoted { from: TimelineId, to: TimelineId },
}

/// What we read of the history of the timeline that a node claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ancestry {
    /// Not asked for.
    Unread,
    /// Asked for.
    Asked { timeline: TimelineId, since: Instant, again_at: Instant },
    /// Read.
    Read { timeline: TimelineId, history: History },
}

/// Probes beyond the periodic ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Burst {
    /// None.
    Idle,
    /// So many more, the next at this instant.
    Running { left: u32, next: Instant },
}

/// One node and all that is known of it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: Arc<str>,
    host: Arc<str>,
    port: u16,
    /// Both, in one word.
    pub(crate) address: Arc<str>,
    pub(crate) region: Arc<str>,
    zone: Option<Arc<str>>,
    pub(crate) priority: u16,
    pub(crate) service: Service,
    pub(crate) reach: Reach,
    /// The last answer, kept when the node goes down: its claim and its positions stay known.
    pub(crate) said: Option<Sample>,
    /// When what we know of it was true: the last answer's question, or the last failure.
    pub(crate) heard_at: Option<Instant>,
    rtt: Option<Duration>,
    pub(crate) descent: Descent,
    pub(crate) ancestry: Ancestry,
    pub(crate) burst: Burst,
    /// What it last said of its part in replication.
    pub(crate) replication: Replication,
    /// As of the last election.
    pub(crate) health: Health,
}

impl Node {
    pub(crate) fn new(id: NodeId, settings: &NodeSettings) -> Self {
        Self {
            id,
            name: settings.name.as_str().into(),
            host: settings.host.as_str().into(),
            port: settings.port,
            address: format!("{}:{}", settings.host, settings.port).into(),
            region: settings.region.as_str().into(),
            zone: settings.zone.as_deref().map(Into::into),
            priority: settings.priority,
            service: settings.service,
            reach: Reach::Unknown,
            said: None,
            heard_at: None,
            rtt: None,
            descent: Descent::Unseen,
            ancestry: Ancestry::Unread,
            burst: Burst::Idle,
            replication: Replication::default(),
            health: Health::Unknown,
        }
    }

    /// Whether these settings are of the same server.
    pub(crate) fn is_at(&self, settings: &NodeSettings) -> bool {
        *self.host == *settings.host && self.port == settings.port
    }

    /// Takes over what a reload may change of a server.
    pub(crate) fn rename(&mut self, settings: &NodeSettings) {
        self.name = settings.name.as_str().into();
        self.region = settings.region.as_str().into();
        self.zone = settings.zone.as_deref().map(Into::into);
        self.priority = settings.priority;
        self.service = settings.service;
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn named(&self) -> Named {
        Named { id: self.id, name: Arc::clone(&self.name) }
    }

    /// Takes in how a probe ended. False: an answer older than one already seen, which is ignored.
    pub(crate) fn probed(&mut self, result: ProbeResult, down_after: u32, now: Instant) -> bool {
        let ProbeResult::Answered(sample) = result else {
            self.heard_at = Some(now);
            self.set_reach(self.reach.after_failure(result, down_after, now));
            return true;
        };
        if self.said.is_some_and(|said| sample.sent_at < said.sent_at) {
            return false;
        }
        // The data directory behind the address may be another one, or a rewound one: its history is another, too.
        if matches!(self.reach, Reach::Down(_)) || sample.role == Role::Standby {
            self.ancestry = Ancestry::Unread;
        }
        self.set_reach(Reach::Up);
        self.descent = self.descent_after(&sample);
        // Smoothed as TCP does it (RFC 6298, alpha = 1/8).
        let rtt = sample.round_trip();
        self.rtt = Some(self.rtt.map_or(rtt, |old| (old * 7 + rtt) / 8));
        self.heard_at = Some(sample.sent_at);
        self.said = Some(sample);
        true
    }

    /// The data path had trouble with it.
    pub(crate) fn doubt(&mut self) {
        if self.reach == Reach::Up {
            self.reach = Reach::Suspect { misses: 0, refusals: 0 };
        }
    }

    pub(crate) fn set_reach(&mut self, reach: Reach) {
        // What stood behind the address may be another data directory when it comes back.
        if matches!(reach, Reach::Down(_)) && matches!(self.descent, Descent::Followed { .. }) {
            self.descent = Descent::Unseen;
        }
        self.reach = reach;
    }

    fn descent_after(&self, sample: &Sample) -> Descent {
        match (sample.role, self.descent) {
            (Role::Unknown, descent) => descent,
            (Role::Standby, Descent::Followed { timeline, .. }) => {
                Descent::Followed { timeline: timeline.max(sample.timeline), replayed: sample.replay_lsn }
            }
            (Role::Standby, Descent::Unseen | Descent::Promoted { .. }) => {
                Descent::Followed { timeline: sample.timeline, replayed: sample.replay_lsn }
            }
            (Role::Primary, Descent::Followed { timeline, replayed })
                if sample.timeline > timeline && sample.wal_lsn >= replayed =>
            {
                Descent::Promoted { from: timeline, to: sample.timeline }
            }
            (Role::Primary, Descent::Promoted { from, to }) if sample.timeline == to => {
                Descent::Promoted { from, to }
            }
            (Role::Primary, Descent::Unseen | Descent::Followed { .. } | Descent::Promoted { .. }) => {
                Descent::Unseen
            }
        }
    }

    /// What it last said it is.
    pub(crate) fn role(&self) -> Role {
        self.said.map_or(Role::Unknown, |said| said.role)
    }

    /// The timeline it is on, as far as known.
    pub(crate) fn timeline(&self) -> TimelineId {
        match self.descent {
            Descent::Followed { timeline, .. } => timeline,
            Descent::Unseen | Descent::Promoted { .. } => {
                self.said.map_or(TimelineId(0), |said| said.timeline)
            }
        }
    }

    /// The history of the timeline it is on, if read.
    pub(crate) fn history(&self) -> Option<&History> {
        match &self.ancestry {
            Ancestry::Read { timeline, history } if *timeline == self.timeline() => Some(history),
            Ancestry::Read { .. } | Ancestry::Asked { .. } | Ancestry::Unread => None,
        }
    }

    /// Whether the timeline it is on has the number `ancestor` or is known to descend from one that has.
    pub(crate) fn descends_from(&self, ancestor: TimelineId) -> bool {
        let timeline = self.timeline();
        timeline == ancestor
            || self.descent == Descent::Promoted { from: ancestor, to: timeline }
            || self.history().is_some_and(|history| history.left(ancestor).is_some())
    }

    /// Its part of a snapshot. `current`: the timeline of the present or last good primary; `vacant`: there is no
    /// primary now, so nobody falls further behind.
    pub(crate) fn view(&self, current: Option<TimelineId>, wal: &PrimaryWal, vacant: bool) -> NodeView {
        let said = self.said.as_ref();
        let comparable = said
            .filter(|_| current == Some(self.timeline()) && wal.timeline() == current)
            .filter(|_| !matches!(self.health, Health::Stale | Health::Foreign));
        let newest = wal.last();
        let lag = comparable.and_then(|said| {
            let last = newest.map_or(said.sent_at, |(at, _)| at);
            wal.age_of(said.replay_lsn, if vacant { said.sent_at.min(last) } else { said.sent_at })
        });
        NodeView {
            id: self.id,
            name: Arc::clone(&self.name),
            host: Arc::clone(&self.host),
            port: self.port,
            region: Arc::clone(&self.region),
            zone: self.zone.clone(),
            role: self.role(),
            health: self.health,
            down: match self.reach {
                Reach::Down(reason) => Some(reason),
                Reach::Unknown | Reach::Up | Reach::Suspect { .. } | Reach::Recovering { .. } => None,
            },
            priority: self.priority,
            timeline: self.timeline(),
            wal_lsn: said.map_or(Lsn(0), |said| said.wal_lsn),
            replay_lsn: said.map_or(Lsn(0), |said| said.replay_lsn),
            lag_bytes: comparable
                .and(newest)
                .map(|(_, lsn)| lsn.bytes_since(said.map_or(Lsn(0), |said| said.replay_lsn))),
            lag,
            rtt: self.rtt,
            sampled_at: said.map(|said| said.sent_at),
            streaming: said.is_some_and(|said| said.streaming),
            upstream_silence: said.and_then(|said| said.upstream_silence),
            sync_state: None,
            server_version: said.map_or(0, |said| said.server_version),
            reads: Reads::Offered,
            duty: Duty::Member,
        }
    }
}

/// Members that are kept of a view.
pub(crate) const MEMBERS_MAX: usize = 256;

/// The longest name or word that is kept, in bytes.
pub(crate) const NAME_MAX: usize = 255;

/// What Patroni says of a cluster. Nothing in it is proof of anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Who holds the leader key.
    pub leader: Leader,
    /// The members, by name; at most 256.
    pub members: Vec<Member>,
    /// Members that commits wait for, as the `/sync` key or their roles have it.
    pub synchronous: Vec<Box<str>>,
    /// Whether Patroni acts by itself.
    pub automation: Automation,
    /// A switchover to come.
    pub scheduled: Option<Scheduled>,
    /// The cluster's name, if it was told (version 4).
    pub scope: Option<Box<str>>,
}

/// Who holds the leader key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Leader {
    /// It was not told.
    #[default]
    Unknown,
    /// Nobody: an election is under way, or was lost, or Patroni is paused. It proves nothing about PostgreSQL.
    Nobody,
    /// This member.
    Member(Box<str>),
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name in Patroni.
    pub name: Box<str>,
    /// Host name or address of its PostgreSQL.
    pub host: Option<Box<str>>,
    /// The port of its PostgreSQL.
    pub port: u16,
    /// Where its REST API is.
    pub api: Option<crate::Endpoint>,
    /// What Patroni says it is.
    pub role: Role,
    /// What Patroni says it does: `running`, `streaming`, `stopped`, `start failed`, …
    pub state: Box<str>,
    /// Its timeline; written once in a `loop_wait`, so it may be old.
    pub timeline: Option<u32>,
    /// How far it is behind, in bytes; likewise.
    pub lag_bytes: Option<u64>,
    /// What was configured for it.
    pub tags: Vec<Tag>,
}

/// What Patroni says a member is, in any version's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It holds the leader key.
    Leader,
    /// It holds the leader key of a cluster that follows another one: in recovery, and never written to.
    StandbyLeader,
    /// It runs as a primary (`master` up to version 3).
    Primary,
    /// A standby that commits wait for.
    SyncStandby,
    /// One of the standbys of a quorum that commits wait for.
    QuorumStandby,
    /// Any other standby.
    Replica,
    /// A word that is not known here, or none.
    Other,
}

impl Role {
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "leader" => Self::Leader,
            "standby_leader" => Self::StandbyLeader,
            "master" | "primary" | "promoted" => Self::Primary,
            "sync_standby" => Self::SyncStandby,
            "quorum_standby" => Self::QuorumStandby,
            "replica" | "demoted" => Self::Replica,
            _ => Self::Other,
        }
    }

    /// The word of Patroni 4.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::StandbyLeader => "standby_leader",
            Self::Primary => "primary",
            Self::SyncStandby => "sync_standby",
            Self::QuorumStandby => "quorum_standby",
            Self::Replica => "replica",
            Self::Other => "other",
        }
    }
}

/// Whether Patroni acts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Automation {
    /// It elects a leader when there is none.
    #[default]
    Active,
    /// It is paused: it elects nobody, and leaves PostgreSQL as it is even without a leader key.
    Paused,
}

/// A switchover to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// When, as Patroni writes it (ISO 8601).
    pub at: Box<str>,
    /// From whom.
    pub from: Option<Box<str>>,
    /// To whom; `None`: the best then.
    pub to: Option<Box<str>>,
}

/// What was configured for a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// It never becomes the leader.
    NoFailover,
    /// Nothing is to be read from it.
    NoLoadBalance,
    /// No commit waits for it.
    NoSync,
    /// It gets its WAL from the archive alone.
    NoStream,
    /// Others are preferably made from it.
    CloneFrom,
    /// How gladly it is made the leader; 0 or less: never.
    FailoverPriority(i64),
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoFailover => f.write_str("nofailover"),
            Self::NoLoadBalance => f.write_str("noloadbalance"),
            Self::NoSync => f.write_str("nosync"),
            Self::NoStream => f.write_str("nostream"),
            Self::CloneFrom => f.write_str("clonefrom"),
            Self::FailoverPriority(priority) => write!(f, "failover_priority={priority}"),
        }
    }
}

impl View {
    /// The member of this name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| *member.name == *name)
    }

    /// The member that holds the leader key, if it is one of those told of.
    #[must_use]
    pub fn leading(&self) -> Option<&Member> {
        match &self.leader {
            Leader::Member(name) => self.member(name),
            Leader::Nobody | Leader::Unknown => None,
        }
    }
}

/// A name as it is kept: cut to 255 bytes, without control characters, which would confuse whoever reads it on a terminal.
pub(crate) fn word(text: &str) -> Box<str> {
    let mut kept = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if kept.len().saturating_add(c.len_utf8()) > NAME_MAX {
            break;
        }
        kept.push(c);
    }
    kept.into()
}

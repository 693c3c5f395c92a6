use std::time::{Duration, Instant};

use wire::{Lsn, TimelineId};

/// A node's role, from `pg_is_in_recovery()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// It has not said yet.
    #[default]
    Unknown,
    /// Not in recovery. Whether it may be written to is another question: see [`crate::Writable`].
    Primary,
    /// In recovery: replays another node's WAL and refuses writes with 25006.
    Standby,
}

impl Role {
    /// The word in the console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
}

/// What one probe read, in one query on a kept connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When the query was sent: what it says is at least as new as this.
    pub sent_at: Instant,
    /// When the answer was read.
    pub received_at: Instant,
    /// What the node says it is.
    pub role: Role,
    /// `system_identifier` of `pg_control_system()`: the same on every node of a cluster.
    pub system_id: u64,
    /// A primary: the timeline it writes. A standby: the one it receives, or else replays.
    pub timeline: TimelineId,
    /// A primary: `pg_current_wal_insert_lsn()`. A standby: `pg_last_wal_receive_lsn()`.
    pub wal_lsn: Lsn,
    /// A primary: the same as `wal_lsn`. A standby: `pg_last_wal_replay_lsn()`.
    pub replay_lsn: Lsn,
    /// A standby: its WAL receiver is streaming. A primary: false.
    pub streaming: bool,
    /// A standby: for how long its upstream has said nothing, by its own clock (`last_msg_receipt_time`); `None` without
    /// a WAL receiver, and for a primary.
    pub upstream_silence: Option<Duration>,
    /// `server_version_num`, as in 150020.
    pub server_version: u32,
}

impl Sample {
    /// How long the answer took.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.received_at.saturating_duration_since(self.sent_at)
    }
}

/// How one probe ended. The shell keeps at most one probe per node under way, so that misses are apart by a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// The node said what it is.
    Answered(Sample),
    /// The connection was refused: nobody listens there.
    Refused,
    /// 57P03: a postmaster is there and starts, recovers from a crash, or shuts down.
    Starting,
    /// Nothing within the probe's timeout.
    NoAnswer,
    /// Something answered that cannot be read from.
    Unusable(Unusable),
}

/// Why a server that answers is of no use to the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unusable {
    /// The probe's role or secret was refused.
    Authentication,
    /// No TLS as the settings demand it, or a certificate that does not verify.
    Tls,
    /// Not PostgreSQL, or not as the manual says.
    Protocol,
    /// 53300: no connection slot free.
    TooManyConnections,
    /// The probe's query was answered with an error, such as a missing grant.
    Query,
}

impl Unusable {
    /// A phrase for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "it refuses the monitor's login",
            Self::Tls => "TLS cannot be agreed",
            Self::Protocol => "it does not speak the protocol",
            Self::TooManyConnections => "it has no free connection",
            Self::Query => "it refuses the monitor's query",
        }
    }
}

/// What the data path learned about a node. None of these moves the primary: each only asks for probes, for a
/// terminated backend looks the same as a stopped server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Report {
    /// A dial was refused.
    DialRefused,
    /// FATAL 57P01 on a server connection.
    Shutdown,
    /// 57P02, or end of file without a word.
    Crashed,
    /// 57P03 as the answer to a startup packet.
    Starting,
    /// 25006 as the answer to a write.
    ReadOnly,
    /// ParameterStatus `in_hot_standby` differs from what the connection said before.
    RoleChanged,
}

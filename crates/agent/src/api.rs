//! What is said between a caller and an agent: JSON over HTTP/1.1 over mutual TLS, a path for each verb.
//!
//! `GET /status` answers a [`Status`]. All others are POST with a JSON object, or nothing, as body: `/start`, `/stop`,
//! `/restart`, `/rewind`, `/reinit`, `/fence`, `/unfence`. They answer 200 with a [`Report`], or another code with
//! `{"error": Refusal}`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What can be asked of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// How are things? Always answered.
    Status,
    /// Start PostgreSQL.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it.
    Restart,
    /// Go back to where the history of another server was left, by `pg_rewind`. Leaves it stopped.
    Rewind,
    /// Replace the data by a copy of another server's. Leaves it stopped.
    Reinit,
    /// Stop it, and do not start it any more.
    Fence,
    /// It may be started again.
    Unfence,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Status,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Rewind,
        Self::Reinit,
        Self::Fence,
        Self::Unfence,
    ];

    /// Its name, which is its path without the slash.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Rewind => "rewind",
            Self::Reinit => "reinit",
            Self::Fence => "fence",
            Self::Unfence => "unfence",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a server is stopped (manual, "Shutting Down the Server").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// Clients are disconnected, then it shuts down cleanly.
    #[default]
    Fast,
    /// It ends at once; the next start recovers.
    Immediate,
}

impl fmt::Display for StopMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        })
    }
}

/// Body of `start`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StartRequest {
    /// How long to wait until it accepts connections; `None`: as the agent is configured.
    pub timeout_ms: Option<u64>,
}

/// Body of `stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StopRequest {
    /// How.
    pub mode: StopMode,
    /// How long to wait until it is gone; `None`: as the agent is configured.
    pub timeout_ms: Option<u64>,
}

/// Body of `restart`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestartRequest {
    /// How it is stopped.
    pub mode: StopMode,
    /// How long to wait for each half; `None`: as the agent is configured.
    pub timeout_ms: Option<u64>,
}

/// Body of `rewind` and `reinit`: the server to take the data from. Role and password are the agent's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRequest {
    /// Its host name or IP address. The standby will stream from there too.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The timeline that it is on by now. A rewind waits until a checkpoint has told its files so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// The replication slot there that the standby will use; `None`: the one in its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Its `application_name` as a standby; `None`: the one in its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_name: Option<String>,
    /// How long it may take in all; `None`: as the agent is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Longest host name, in bytes.
const HOST_MAX: usize = 253;
/// Longest name of a slot or an application, in bytes.
const NAME_MAX: usize = 63;

impl SourceRequest {
    /// What is wrong with it, if anything: its values go into configuration files and to programs.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let is_of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        let is_of_slot = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let fits = |text: &str, max: usize, valid: &dyn Fn(char) -> bool| {
            (1..=max).contains(&text.len()) && text.chars().all(valid)
        };
        let fits_or_none = |text: &Option<String>, valid: &dyn Fn(char) -> bool| {
            text.as_ref().is_none_or(|text| fits(text, NAME_MAX, valid))
        };
        if !fits(&self.host, HOST_MAX, &is_of_host) || self.host.starts_with('-') {
            Some("host: expected a host name or an IP address")
        } else if self.port == 0 {
            Some("port: expected a number from 1 to 65535")
        } else if self.timeline == Some(0) {
            Some("timeline: expected a number from 1")
        } else if !fits_or_none(&self.slot, &is_of_slot) {
            Some("slot: expected 1 to 63 lower-case letters, digits or _")
        } else if !fits_or_none(&self.application_name, &|c| (' '..='~').contains(&c)) {
            Some("application_name: expected 1 to 63 printable ASCII characters")
        } else {
            None
        }
    }
}

/// What a node's server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// It accepts connections, or follows a primary without accepting any.
    Running,
    /// Its process is there and recovers, or waits for WAL before it is consistent.
    Starting,
    /// It is shutting down.
    Stopping,
    /// There is no process.
    Stopped,
    /// There is no data.
    NoData,
}

/// What `pg_controldata` says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// "in production", "shut down", "in archive recovery" and so on, in PostgreSQL's words.
    pub state: String,
    /// Who it is a copy of. A text, since JSON's numbers end before 64 bits do.
    pub system_identifier: String,
    /// Timeline of the last checkpoint: a primary that was promoted a moment ago may be on a later one.
    pub timeline: u32,
    /// Where the last checkpoint is.
    pub checkpoint_lsn: String,
    /// How far a standby has to recover before it is consistent; `0/0` for a primary.
    pub min_recovery_lsn: String,
    /// Whether `pg_rewind` can work: data checksums, or `wal_log_hints`.
    pub can_rewind: bool,
}

/// A verb at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Which.
    pub verb: Verb,
    /// What it does at the moment, for people.
    pub step: String,
    /// How long it has been at work, in milliseconds.
    pub for_ms: u64,
}

/// How the last changing verb ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Which.
    pub verb: Verb,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Why it failed; `None`: it did not.
    pub error: Option<Refusal>,
}

/// Answer to `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What the server does.
    pub server: ServerState,
    /// Its process id.
    pub pid: Option<u32>,
    /// Whether its files make it a standby; `None` without data.
    pub standby: Option<bool>,
    /// Whether it may not be started.
    pub fenced: bool,
    /// A verb that was interrupted and left data that must not be started: rewind or reinit again.
    pub unfinished: Option<Verb>,
    /// The changing verb that is at work.
    pub activity: Option<Activity>,
    /// The last one that ended since the agent started.
    pub last: Option<Last>,
    /// The data folder.
    pub data_dir: String,
    /// PostgreSQL's version, such as `15.14`; `None` if its programs are not found.
    pub version: Option<String>,
    /// What its control file says; `None` if it cannot be read.
    pub control: Option<Control>,
}

/// Answer to a changing verb that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which.
    pub verb: Verb,
    /// What was done, for people.
    pub steps: Vec<String>,
    /// How things are now.
    pub status: Status,
}

/// Why a verb did not succeed, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// There is no such verb.
    UnknownVerb,
    /// The request is not as `api` describes it.
    Malformed,
    /// Another changing verb is at work.
    Busy,
    /// The node is fenced; `unfence` comes first.
    Fenced,
    /// A rewind was interrupted; rewind or reinit first.
    Unfinished,
    /// There is no data folder.
    NoData,
    /// It did not happen within its time. What was begun may still come about.
    Timeout,
    /// The agent is shutting down.
    Ending,
    /// PostgreSQL did not start.
    StartFailed,
    /// PostgreSQL did not stop.
    StopFailed,
    /// The source cannot be reached or does not let the agent in.
    SourceUnreachable,
    /// The source is not on the timeline that it was said to be on.
    SourceBehind,
    /// Source and node were never the same system.
    OtherSystem,
    /// Neither data checksums nor `wal_log_hints`.
    NoHints,
    /// WAL that a rewind would have to read is gone.
    WalGone,
    /// The two histories have nothing in common that can be found.
    NoCommonHistory,
    /// The role may not do it.
    NotPermitted,
    /// The rewind failed half-way, or for a reason that is not known.
    RewindFailed,
    /// The copy failed.
    CopyFailed,
    /// The data lie in a way that cannot be copied by the agent: tablespaces, a mount point.
    Layout,
    /// A file could not be read or written, or a program is missing.
    Machine,
    /// Something that a newer agent knows.
    #[serde(other)]
    Other,
}

impl Kind {
    /// Whether a rewind that failed for this reason leaves a node that `reinit` can still save.
    #[must_use]
    pub fn needs_copy(self) -> bool {
        match self {
            Self::NoHints
            | Self::WalGone
            | Self::NoCommonHistory
            | Self::NotPermitted
            | Self::RewindFailed
            | Self::Unfinished
            | Self::NoData => true,
            Self::UnknownVerb
            | Self::Malformed
            | Self::Busy
            | Self::Fenced
            | Self::Timeout
            | Self::Ending
            | Self::StartFailed
            | Self::StopFailed
            | Self::SourceUnreachable
            | Self::SourceBehind
            | Self::OtherSystem
            | Self::CopyFailed
            | Self::Layout
            | Self::Machine
            | Self::Other => false,
        }
    }

    /// The HTTP status code that goes with it.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::UnknownVerb => 404,
            Self::Malformed => 400,
            Self::Busy | Self::Fenced | Self::Unfinished => 409,
            Self::NoHints
            | Self::WalGone
            | Self::NoCommonHistory
            | Self::OtherSystem
            | Self::Layout
            | Self::NoData => 422,
            Self::SourceUnreachable | Self::SourceBehind | Self::NotPermitted => 502,
            Self::Ending => 503,
            Self::Timeout => 504,
            Self::StartFailed
            | Self::StopFailed
            | Self::RewindFailed
            | Self::CopyFailed
            | Self::Machine
            | Self::Other => 500,
        }
    }
}

/// Why a verb did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub kind: Kind,
    /// For people; the last words of a program may be in it.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The body of every answer that is not 200.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: Refusal,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SourceRequest {
        SourceRequest { host: "10.0.0.1".to_owned(), port: 5432, ..SourceRequest::default() }
    }

    #[test]
    fn verbs_have_the_names_that_json_has() {
        for verb in Verb::ALL {
            assert_eq!(serde_json::to_string(&verb).unwrap(), format!("\"{verb}\""));
            assert_eq!(Verb::named(verb.name()), Some(verb));
        }
        assert_eq!(Verb::named("promote"), None);
    }

    #[test]
    fn hostile_values_of_a_source_are_refused() {
        assert_eq!(source().problem(), None);
        for host in ["", "a b", "a'b", "a\nb", "-h", "x,y", &"a".repeat(254)] {
            assert!(SourceRequest { host: host.to_owned(), ..source() }.problem().is_some(), "{host}");
        }
        for slot in ["", "A", "a-b", "a'b", &"a".repeat(64)] {
            assert!(SourceRequest { slot: Some(slot.to_owned()), ..source() }.problem().is_some(), "{slot}");
        }
        for name in ["", "a\nb", "ä"] {
            let application_name = Some(name.to_owned());
            assert!(SourceRequest { application_name, ..source() }.problem().is_some(), "{name}");
        }
        assert!(SourceRequest { port: 0, ..source() }.problem().is_some());
        assert!(SourceRequest { timeline: Some(0), ..source() }.problem().is_some());
    }

    #[test]
    fn a_kind_of_a_newer_agent_is_understood_as_some_other() {
        assert_eq!(serde_json::from_str::<Kind>("\"meteor\"").unwrap(), Kind::Other);
        assert_eq!(serde_json::from_str::<Kind>("\"wal_gone\"").unwrap(), Kind::WalGone);
    }
}

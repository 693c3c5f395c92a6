//! What a node says of itself.

mod ask;
mod hba;
mod read;

use std::{collections::BTreeMap, net::IpAddr};

use wire::{Lsn, TimelineId};

pub use ask::{Question, question};
pub use hba::{Access, Client, Encryption, HbaRule};
pub use read::read;

use crate::Privilege;

/// One node of the cluster, as configured and as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name for people.
    pub name: String,
    /// Host name, address or directory of a Unix-domain socket.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The region it stands in.
    pub region: String,
    /// Whether it is a spare, which need not run.
    pub spare: bool,
    /// The addresses of `host`, as far as they could be found out.
    pub addresses: Vec<IpAddr>,
    /// What it said.
    pub seen: Result<Facts, Refusal>,
    /// Whether the monitor could open a replication connection; `None`: not tried, since no other could be opened.
    pub replication: Option<Result<(), Refusal>>,
    /// Whether the query for secrets runs; `None`: there is none, or it was not tried.
    pub lookup: Option<Result<(), Refusal>>,
}

impl Node {
    /// What it said, if it said something.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.seen.as_ref().ok()
    }
}

/// Why a node told nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The server's SQLSTATE, if it was the server that refused.
    pub sqlstate: Option<String>,
    /// What happened, in words.
    pub message: String,
}

/// What may be closed to the monitor's role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readable<T> {
    /// What was read.
    Read(T),
    /// It may not be read: a privilege is missing, or this version has no such thing.
    Closed,
}

impl<T> Readable<T> {
    /// What was read.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Closed => None,
        }
    }
}

/// A parameter of the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setting {
    /// Its value, in its base unit (`pg_settings.setting`).
    pub value: String,
    /// A new value waits for a restart.
    pub restart_pending: bool,
    /// Where its value is from (`pg_settings.source`).
    pub source: String,
}

/// Everything that one node said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// `server_version_num`.
    pub version: u32,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Which cluster's files it has.
    pub system_id: u64,
    /// The timeline that it writes or receives.
    pub timeline: TimelineId,
    /// Whether its pages have checksums.
    pub checksums: bool,
    /// How far its clock is ahead of ours, in seconds; negative: behind.
    pub clock_ahead: f64,
    /// Of a standby: how far it has received and replayed.
    pub received: Lsn,
    /// See `received`.
    pub replayed: Lsn,
    /// Of a standby: whether somebody has paused its replay.
    pub replay_paused: bool,
    /// How many connections the monitor's role may have; -1: any number.
    pub role_connections: i64,
    /// Parameters by name; those that the role may not see are missing.
    pub settings: BTreeMap<String, Setting>,
    /// Its replication slots.
    pub slots: Vec<Slot>,
    /// Its WAL senders.
    pub senders: Vec<Sender>,
    /// Of a standby: its WAL receiver, if it has one.
    pub receiver: Option<Receiver>,
    /// What its archiver has done.
    pub archiver: Archiver,
    /// Tablespaces besides the two that every cluster has: names and places.
    pub tablespaces: Vec<(String, String)>,
    /// What the monitor's role may do.
    pub privileges: Vec<(Privilege, bool)>,
    /// The lines of pg_hba.conf.
    pub hba: Option<Readable<Vec<HbaRule>>>,
    /// Roles with LOGIN whose password is an MD5 hash.
    pub md5_roles: Option<Readable<Vec<String>>>,
}

impl Facts {
    /// The major version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// A parameter's value; empty if it is not there.
    #[must_use]
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| &setting.value)
    }

    /// A parameter's value as a number, in its base unit.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.settings.get(name)?.value.parse().ok()
    }

    /// Whether a parameter is `off`.
    #[must_use]
    pub fn is_off(&self, name: &str) -> bool {
        self.setting(name) == "off"
    }
}

/// A replication slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether it is a logical one.
    pub logical: bool,
    /// Whether somebody streams from it.
    pub active: bool,
    /// `wal_status`: reserved, extended, unreserved, lost; empty: it never reserved any.
    pub wal_status: String,
    /// How much WAL it holds back, in bytes.
    pub retained: u64,
    /// Whether a logical one is copied to standbys (17 and later), or is such a copy.
    pub failover: bool,
}

/// A WAL sender.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sender {
    /// `application_name` of who receives.
    pub name: String,
    /// `state`: streaming, catchup, backup…
    pub state: String,
    /// `sync_state`: async, potential, sync, quorum.
    pub sync_state: String,
    /// The role that it logged in as.
    pub user: String,
    /// Where from; empty: over a Unix-domain socket.
    pub address: String,
}

/// A WAL receiver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receiver {
    /// `status`: streaming, waiting…
    pub status: String,
    /// Host of the sender.
    pub host: String,
    /// Port of the sender.
    pub port: String,
    /// The slot on the sender; empty: none.
    pub slot: String,
}

/// What `pg_stat_archiver` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Archiver {
    /// Files that could not be archived since the statistics were reset.
    pub failed: u64,
    /// The last of them.
    pub failed_file: String,
    /// The last attempt failed.
    pub failing: bool,
}

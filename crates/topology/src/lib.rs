//! What the cluster looks like: probe results and reports in, events, actions and an immutable [`Snapshot`] out.
//!
//! Pure: no socket, no clock, no log; the time is an argument. A shell (`health`) runs the probes, carries out each
//! [`Action`], logs each [`Event`] and publishes the [`Snapshot`] after every `handle_*` call, so any failover
//! replays in a test. Order matters in one place: an [`Action::Remember`] is persisted before the snapshot that
//! follows it is published, or a restart could go back to an older timeline.
#![warn(clippy::wildcard_enum_match_arm)]

mod action;
mod aside;
mod branch;
mod cluster;
mod election;
mod event;
mod hint;
mod history;
mod mandate;
mod node;
mod probe;
mod replication;
mod settings;
mod snapshot;
mod sync_names;
mod synchrony;
mod toll;
mod wal;
mod xids;

pub use action::{Action, Remembered};
pub use aside::DetachError;
pub use branch::Branch;
pub use cluster::Cluster;
pub use event::{Event, Named};
pub use hint::{HintedLeader, LeaderHint};
pub use history::{Fork, History, ParseHistoryError};
pub use mandate::Mandate;
pub use node::{DownReason, NodeId};
pub use probe::{ProbeResult, Report, Role, Sample, Unusable};
pub use replication::{Receiver, Replication, SyncState};
pub use settings::*;
pub use snapshot::{Duty, Epoch, Health, NoPrimary, NodeView, Reads, Snapshot, Stamp, Writable};
pub use sync_names::{Fenced, SyncMethod, SyncNames, SyncNamesError};
pub use synchrony::{Synchrony, Uncovered};
pub use toll::Toll;
pub use wal::PrimaryWal;
pub use xids::{
    Checkpoint, CheckpointKind, Doubtful, InDoubt, Resolution, Xid, XidBook, XidSample, XidStatus,
};

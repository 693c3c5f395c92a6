//! Watches a cluster: probes its nodes, runs a [`topology::Cluster`] on what they say, publishes its snapshots.
//!
//! The shell around `topology`, on the control runtime. One task owns the cluster and nothing else may touch it; one
//! task per node keeps a connection to it, asks in turn and listens between; the data path reads snapshots through an
//! [`ArcSwap`](arc_swap::ArcSwap) and hands back what it learned on a bounded channel.

mod agreement;
mod attachment;
mod commits;
mod dialer;
mod events;
mod examination;
mod functions;
mod handle;
mod history;
mod journal;
mod lookup;
mod manage;
mod memory;
mod patroni;
mod probe;
mod settings;
mod shared;
mod standing;
mod state_file;
mod supervisor;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use agreement::ManagementState;
pub use attachment::{AttachError, Detached};
pub use commits::Question;
pub use events::EventRecord;
pub use examination::{check_replication, examine};
pub use functions::FunctionCatalog;
pub use handle::{Health, ManageError, Reload, StartError, Stopped};
pub use journal::{FailoverRecord, FailoverStep};
pub use lookup::LookupError;
pub use manage::{BoxFuture, Busy, Management, Traffic};
pub use memory::MemoryError;
pub use patroni::{PatroniReport, PatroniSource, node_of_member};
pub use settings::*;

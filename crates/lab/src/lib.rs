//! Local PostgreSQL clusters for the demo and the tests: a primary and streaming standbys as plain processes.
//!
//! Everything blocks and nothing needs a runtime. A [`Cluster`] owns its processes and its directory: when it is
//! dropped the servers are stopped and, unless it is kept, the directory is removed; should its owner be killed, a
//! small shell process does the same (see `warden.rs`).
//!
//! ```no_run
//! let cluster = lab::Cluster::start(lab::Options { standbys: 2, ..lab::Options::default() })?;
//! cluster.psql(0, "create table t (a int)")?;
//! cluster.wait_for_replay(1)?;
//! cluster.kill(0)?;
//! cluster.promote(1)?;
//! cluster.rejoin(0)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod account;
mod binaries;
mod cluster;
mod command;
mod directory;
mod node;
mod options;
mod port;
mod postmaster;
mod processes;
mod sandbox;
mod secret;
mod warden;

pub use binaries::Binaries;
pub use cluster::Cluster;
pub use directory::write_private;
pub use node::Node;
pub use options::{Login, Options};
pub use port::{Reservation, free_port, is_free};
pub use postmaster::StopMode;
pub use processes::{is_alive, signal};
pub use sandbox::Sandbox;
pub use secret::random_password;

pub use nix::sys::signal::Signal;

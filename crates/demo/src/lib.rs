//! `pgherd demo`: a PostgreSQL cluster of several regions on this machine with a pgherd in front of each.
//!
//! The demo starts real servers (crate `lab`) and real proxies (`pgherd run`, one process per region), shows what they
//! say about themselves, and offers to break things. It looks at the proxies from outside only, through their
//! console.

mod certificate;
mod command;
mod configuration;
mod console;
mod demo;
mod display;
mod environment;
mod events;
mod operations;
mod options;
mod proxies;
mod run;
mod shop;
mod status;
mod terminal;

pub use options::{MAX_REGIONS, Options};
pub use run::run;

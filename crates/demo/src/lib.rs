//! `pgherd demo`: a PostgreSQL cluster of several regions on this machine with a pgherd in front of each.
//!
//! The demo starts real servers (crate `lab`), an agent beside each (`pgherd agent`) and real proxies (`pgherd run`, one
//! process per region), of which the first manages the cluster. It shows what they say about themselves, and offers to
//! break things. It looks at them from outside only, through their console and the programs that every user has.

mod agents;
mod certificate;
mod command;
mod configuration;
mod console;
mod demo;
mod display;
mod environment;
mod events;
mod manager;
mod operations;
mod options;
mod process;
mod program;
mod proxies;
mod run;
mod shop;
mod status;
mod table;
mod terminal;

pub use options::{MAX_REGIONS, Options};
pub use run::run;

//! The SQL console: the database `pgherd` (or `pgbouncer`) on the ordinary port, where people and tools ask how
//! things are and tell the proxy what to do.
//!
//! Runs on the control runtime. What PgBouncer has is laid out as PgBouncer 1.25 lays it out, column by column,
//! because tools count columns; more is to be had by `SHOW EXTENDED` and by nouns of its own.

mod average;
mod check;
mod clock;
mod command;
mod console;
mod control;
mod extended;
mod http;
mod manage;
mod nodes;
mod serve;
mod set;
mod show;
mod stop;
mod table;
#[cfg(test)]
mod tests;

pub use console::{Console, ConsoleClient, ConsoleRole};
pub use control::{
    AgentState, BoxFuture, CannotCheck, Checked, Control, DropError, Endpoint, LoggedEvent, NewNode,
    ReloadRefused, Setting, ShutdownMode,
};
pub use http::{Readiness, answer_http};
pub use serve::serve;

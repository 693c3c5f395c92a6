//! Which node runs a request: what it wants, what its session may expect and the [`topology::Snapshot`] in, a
//! [`Decision`] with its reason out.
//!
//! Pure and without allocation: no socket, clock, log or global state; chance comes in as a number.
#![warn(clippy::wildcard_enum_match_arm)]

mod decide;
mod decision;
mod explain;
mod fitness;
mod request;
mod settings;
#[cfg(test)]
mod tests;

pub use decide::decide;
pub use decision::{Decision, HoldReason, Reason, RefuseReason};
pub use explain::{Explanation, Verdict, explain};
pub use fitness::{Proximity, Unfit};
pub use request::{Hint, Request, Target, Wants, Written, resolve_written};
pub use settings::*;

//! The failover manager: what the cluster looks like, answers of nodes, commands and time in; orders, notes and a
//! mandate for the topology out.
//!
//! Pure, like `topology`: no socket, no clock, no log. A shell (`health`) hands over each snapshot, carries out each
//! [`Order`] and brings its answer, gives the [`Mandate`](topology::Mandate) to the topology before the next snapshot is
//! published, and tells each [`Note`]. An [`Order`] to store a [`Record`] is answered only once the record is safe: what
//! follows it relies on that.
//!
//! A failover is recorded before it begins, and again before anybody is promoted, so that whoever comes after a manager
//! that died in the middle knows what may have happened. Standbys are first cut off from the old primary, then asked how
//! far they are: after that none of them can take in, nor vouch for, what the old primary still writes.
#![warn(clippy::wildcard_enum_match_arm)]

mod choice;
mod command;
mod hindrance;
mod keeper;
mod manager;
mod note;
mod order;
mod record;
mod settings;

pub use choice::{Candidates, Choice, Recruit, choose};
pub use command::{Command, Refusal, Reply, Ticket};
pub use hindrance::Hindrance;
pub use manager::Manager;
pub use note::{Kind, Note, Outcome, Step};
pub use order::{Answer, Done, Failure, Order, OrderId, Task};
pub use record::{Phase, Record};
pub use settings::{Settings, Window};

//! What may come next on a server connection: the replies it owes, whom they belong to, and where it stands.
//!
//! Pure: heads of messages in, verdicts out. This small machine is what keeps one client's rows from another.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![warn(clippy::wildcard_enum_match_arm)]

mod ledger;
mod unit;

pub use ledger::{
    Abandoned, AfterCommit, Ledger, Local, Origin, Owed, OwedCommit, Owner, Reached, Unowed, Untold, Verdict,
};
pub use unit::{UnitEnd, first_unit, unit_end};

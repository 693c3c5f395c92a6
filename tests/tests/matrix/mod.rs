//! The failure matrix: in each case clients are at work, something breaks, and what that cost them is measured and
//! printed as a row of a table. `make test-failover` runs all of it, many times where chance has a part; `make test` runs
//! what is quick. Times are printed beside their bars and never asserted: machines differ. All else is asserted.
//!
//! The columns: W, the longest time without an acknowledged write; E, what clients saw of errors; D, idle clients that were
//! disconnected or heard anything; L, acknowledged rows that were lost; X, rows of which nobody was told, or twice; R, the
//! longest time without a read.
//!
//! Cases that stand elsewhere: F7, F8 and F29 in `failover`, F14 to F17 in `topology` for promotions by others, F30 in
//! `topology::claims`, F31 in `patroni`.

mod case;
mod cast;
mod crash;
mod entry;
mod idle;
mod network;
mod resources;
mod sandbox;
mod silence;
mod standby;

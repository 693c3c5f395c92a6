//! The failover comparison: pgherd, HAProxy with Patroni and Pgpool-II, one after the other in one run, each before a
//! primary and two standbys of the same size with the same settings, whose primary is killed and moved again and
//! again. `make bench-failover` builds and runs it.
//!
//! Clients write all the time and log what was acknowledged; others only stay connected. What is measured is the longest
//! time without an acknowledged write, what clients were told, who lost the connection, and which acknowledged writes
//! the new primary does not have.

mod contest;
mod program;

use anyhow::Result;
use clap::Parser;

fn main() -> Result<()> {
    contest::run(&contest::Options::parse())
}

//! The load comparison: PostgreSQL directly, through PgBouncer, through HAProxy and through pgherd, in turns in one run,
//! so that whatever else the machine does meets all of them alike. `make bench` builds and runs it.
//!
//! Everything runs on this machine over TCP on 127.0.0.1. In `comparison`, `workload` has what clients do, `target` by what
//! way, `measure` what is read meanwhile, and `report` medians, tables and goals. The figures are medians over the rounds
//! with the lowest and highest one; the ratios are medians of the ratios within each round.

mod comparison;
mod program;

use anyhow::Result;
use clap::Parser;

fn main() -> Result<()> {
    comparison::run(&comparison::Options::parse())
}

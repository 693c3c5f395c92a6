//! The load comparison: PostgreSQL directly, through PgBouncer, through HAProxy and through pgherd, in turns in one run,
//! so that whatever else the machine does meets all of them alike. `make bench` builds and runs it.
//!
//! Everything runs on this machine over TCP on 127.0.0.1. What is compared is tps, the processor time of the proxy for
//! each transaction, the latency of a single client, and the memory of an idle client. The figures are medians over
//! the rounds with the lowest and highest one; the ratios are medians of the ratios within each round.
//!
//! Where other work shares the machine, `taskset -c 1 target/release/load` is steadier: all that it starts is then on one
//! core, and tps stand for the processor time of client, proxy and server together.

mod client_memory;
mod configuration;
mod load;
mod options;
mod process_usage;
mod program;
mod proxy;
mod report;
mod run;
mod through;

use anyhow::Result;
use clap::Parser;

fn main() -> Result<()> {
    run::run(&options::Options::parse())
}

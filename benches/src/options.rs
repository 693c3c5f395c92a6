//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

use crate::{program, through::Through};

/// Compare PostgreSQL directly, through PgBouncer, HAProxy and pgherd under the same load
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    /// 2 rounds of 3 seconds
    #[arg(long)]
    pub(crate) quick: bool,
    /// How many times everything is run [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// How long each load runs, in seconds [default: 5]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: Option<u16>,
    /// What to run through; ratios to the first two need them
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_enum, default_values_t = Through::ALL)]
    pub(crate) through: Vec<Through>,
    /// Clients of the load
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) clients: u16,
    /// Idle clients whose memory is measured
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=8000))]
    pub(crate) idle_clients: u16,
    /// pgbench's scale: 100,000 accounts each
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) scale: u16,
    /// The pgherd binary; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    pgherd: Option<PathBuf>,
    /// Where the figures go; by default `bench/load.json` in cargo's output folder
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Options {
    /// How many rounds.
    pub(crate) fn rounds(&self) -> u16 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    /// Seconds of each run.
    pub(crate) fn seconds(&self) -> u16 {
        self.seconds.unwrap_or(if self.quick { 3 } else { 5 })
    }

    /// The pgherd binary.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn pgherd(&self) -> Result<PathBuf> {
        program::pgherd(self.pgherd.as_deref())
    }

    /// The file for the figures.
    ///
    /// # Errors
    /// When this program does not know where it is.
    pub(crate) fn output(&self) -> Result<PathBuf> {
        match &self.output {
            Some(path) => Ok(path.clone()),
            None => {
                // target/release/load
                let own = program::own_path()?;
                let target =
                    own.ancestors().nth(2).context("this program is not in cargo's output folder")?;
                Ok(target.join("bench/load.json"))
            }
        }
    }
}

//! The command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;

use super::{
    measure::Placement,
    target::{Kind, Outsider},
    workload::{self, Workload},
};
use crate::program;

/// Compare PostgreSQL directly, through PgBouncer, HAProxy and pgherd under the same load
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    /// Only what the goals need, in 2 rounds of a second
    #[arg(long)]
    pub(super) quick: bool,
    /// List the workloads and end
    #[arg(long)]
    pub(super) list: bool,
    /// How many times everything is run [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// How long each load runs, in seconds
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(super) seconds: u16,
    /// Which workloads to run [default: all]
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',', value_parser = workload::find)]
    pub(super) only: Vec<&'static Workload>,
    /// Where everything runs
    #[arg(long, value_name = "PLACEMENT", value_delimiter = ',', value_enum, default_values_t = Placement::ALL)]
    pub(super) placement: Vec<Placement>,
    /// What to run through; ratios and goals need what they compare with
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_enum, default_values_t = Kind::OURS)]
    pub(super) through: Vec<Kind>,
    /// Another proxy that already runs: name=host:port,pid. It leads to the cluster of --cluster, whose role and password
    /// its clients have
    #[arg(long, value_name = "TARGET", requires = "cluster")]
    pub(super) target: Vec<Outsider>,
    /// A folder for PostgreSQL that is kept, so that ports and passwords are the same next time; they are printed
    #[arg(long, value_name = "FOLDER")]
    pub(super) cluster: Option<PathBuf>,
    /// pgbench's scale: 100,000 accounts each
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) scale: u16,
    /// Worker threads of pgherd: a number or auto
    #[arg(long, value_name = "N", default_value = "auto", value_parser = workers)]
    pub(super) workers: String,
    /// The pgherd binary; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    pgherd: Option<PathBuf>,
    /// The PgBouncer binary; by default the one that `scripts/need load` unpacked, or the installed one
    #[arg(long, value_name = "FILE")]
    pgbouncer: Option<PathBuf>,
    /// Where the figures go; by default `bench/load.json` in cargo's output folder
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn workers(text: &str) -> Result<String, &'static str> {
    match text.parse::<u16>() {
        Ok(1..=64) => Ok(text.to_owned()),
        Err(_) if text == "auto" => Ok(text.to_owned()),
        _ => Err("it should be auto or a number from 1 to 64"),
    }
}

impl Options {
    /// How many rounds.
    pub(super) fn rounds(&self) -> u16 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 4 })
    }

    /// The pgherd binary.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn pgherd(&self) -> Result<PathBuf> {
        program::pgherd(self.pgherd.as_deref())
    }

    /// The PgBouncer binary.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn pgbouncer(&self) -> Result<PathBuf> {
        let unpacked =
            Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".cache/peers/pgbouncer/pgbouncer");
        match &self.pgbouncer {
            Some(path) => path.canonicalize().with_context(|| format!("{} is not there", path.display())),
            None if unpacked.is_file() => Ok(unpacked),
            None => program::installed("pgbouncer"),
        }
    }

    /// The file for the figures.
    ///
    /// # Errors
    /// When this program does not know where it is.
    pub(super) fn output(&self) -> Result<PathBuf> {
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

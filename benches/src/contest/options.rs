//! The command line.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::program;

/// Kill and move the primary under load, by pgherd, HAProxy with Patroni and Pgpool-II
#[derive(Debug, Parser)]
#[command(name = "failover")]
pub(crate) struct Options {
    /// How often each event happens to each contender
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: u16,
    /// Who takes part
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_enum, default_values_t = Contender::ALL)]
    pub(crate) only: Vec<Contender>,
    /// What happens
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_enum,
          default_values_t = [Event::NodeKilled, Event::Switchover])]
    pub(crate) events: Vec<Event>,
    /// Clients that write
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=40))]
    pub(crate) writers: u16,
    /// Clients that only stay connected
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(0..=80))]
    pub(crate) idle_clients: u16,
    /// How long an event may take, and the recovery after it, in seconds
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u16).range(10..=3600))]
    patience: u16,
    /// The pgherd binary; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    pgherd: Option<PathBuf>,
    /// Let nobody play at the same time as another one: without this the two Patronis do, which mostly wait
    #[arg(long)]
    pub(crate) apart: bool,
    /// Print every round as JSON instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Contender {
    /// pgherd with an agent beside each node.
    #[value(name = "pgherd")]
    Pgherd,
    /// HAProxy and Patroni with Patroni's default times.
    #[value(name = "patroni-30")]
    Patroni30,
    /// HAProxy and Patroni with shorter ones.
    #[value(name = "patroni-20")]
    Patroni20,
    /// Pgpool-II.
    #[value(name = "pgpool")]
    Pgpool,
}

/// What happens to the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Event {
    /// The postmaster is killed, and what looks after it on the same node (an agent, Patroni) as well; that node comes
    /// back once another one takes writes.
    #[value(name = "crash")]
    NodeKilled,
    /// The postmaster alone is killed. Whoever looks after it may start it again.
    #[value(name = "postmaster")]
    PostmasterKilled,
    /// The contender is asked to move the primary.
    #[value(name = "switchover")]
    Switchover,
}

impl Options {
    /// How long an event may take, and the recovery after it.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.patience))
    }

    /// The pgherd binary.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn pgherd(&self) -> Result<PathBuf> {
        program::pgherd(self.pgherd.as_deref())
    }
}

impl Contender {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 4] = [Self::Pgherd, Self::Patroni30, Self::Patroni20, Self::Pgpool];

    /// The name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pgherd => "pgherd",
            Self::Patroni30 => "HAProxy + Patroni, ttl 30, loop_wait 10",
            Self::Patroni20 => "HAProxy + Patroni, ttl 20, loop_wait 5",
            Self::Pgpool => "Pgpool-II",
        }
    }
}

impl Event {
    /// The name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NodeKilled => "node killed",
            Self::PostmasterKilled => "postmaster killed",
            Self::Switchover => "switchover",
        }
    }
}

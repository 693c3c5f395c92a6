//! What clients do.

mod bulky;
mod copy;
mod door;
mod idle;
mod list;
mod logins;
mod pgbench;
mod tables;

use std::time::Duration;

use anyhow::Result;
use lab::Cluster;
use serde::Serialize;

pub(crate) use idle::ClientMemory;
use idle::IdleClients;
pub(crate) use list::{ALL, find};
pub(crate) use pgbench::{Script, transactions};
pub(crate) use tables::initialise;

use super::{
    measure::{Latency, Usage},
    target::{Entry, Pool, Target},
};

/// Something that clients do, with its circumstances.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    /// The name, for the command line and the figures.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// What they do.
    pub(crate) job: Job,
    /// How many clients do it at a time.
    pub(crate) clients: u16,
    /// Over how many server connections.
    pub(crate) pool: Pool,
    /// Whether over TLS.
    pub(crate) encryption: Encryption,
    /// Other clients that are connected meanwhile and do nothing.
    pub(crate) idle: u16,
    /// When it is run.
    pub(crate) when: When,
}

/// What the clients of a workload do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// pgbench runs a script.
    Pgbench(Script),
    /// They send rows with COPY.
    Copy,
    /// They connect, ask for one row and leave.
    Logins(Entry),
    /// They do little; what is measured is the proxy's memory.
    Memory(Held),
}

/// What a proxy holds for each client when its memory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Held {
    /// An idle connection.
    Idle,
    /// An idle connection through which a message of 64 MiB went.
    Burst,
    /// A long result that the client does not read.
    Unread,
}

impl Held {
    /// The name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Burst => "after a message of 64 MiB",
            Self::Unread => "10 MB unread",
        }
    }
}

/// Whether clients speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encryption {
    /// They do not.
    Plain,
    /// They do, and trust whatever certificate they are shown.
    Tls,
}

/// When a workload is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// In both placements.
    Both,
    /// In both placements, and in both by `--quick`.
    QuickBoth,
    /// In both placements, and by `--quick` on one core.
    QuickOneCpu,
    /// On one core only: the figure that counts is the proxy's own.
    OneCpu,
    /// On one core only, by `--quick` too.
    OnlyQuickOneCpu,
    /// On all cores only, by three nodes.
    Nodes,
}

/// What a workload needs of a way to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// Statements that are prepared once.
    Prepared,
    /// More clients than PostgreSQL has connections.
    ManyClients,
    /// A proxy, of whatever kind.
    Proxy,
    /// To let clients in without a password.
    Trust,
    /// That reads may go elsewhere than writes.
    Nodes,
}

impl Workload {
    /// What it needs.
    pub(crate) fn needs(&self) -> Needs {
        match self.job {
            _ if self.idle > 0 => Needs::ManyClients,
            Job::Pgbench(Script::Prepared) => Needs::Prepared,
            Job::Pgbench(Script::Split) => Needs::Nodes,
            Job::Logins(Entry::Trust) => Needs::Trust,
            Job::Memory(_) => Needs::Proxy,
            Job::Pgbench(_) | Job::Logins(Entry::Scram) | Job::Copy => Needs::Nothing,
        }
    }

    /// Bytes of rows that one unit moves, if that is what it is about.
    pub(crate) fn bytes(&self) -> Option<u64> {
        match self.job {
            Job::Pgbench(script) => script.bytes(),
            Job::Copy => Some(copy::BYTES),
            Job::Logins(_) | Job::Memory(_) => None,
        }
    }

    /// How they come in.
    pub(crate) fn entry(&self) -> Entry {
        match self.job {
            Job::Logins(entry) => entry,
            Job::Pgbench(_) | Job::Copy | Job::Memory(_) => Entry::Scram,
        }
    }

    /// Does it for so many seconds, once through this way.
    ///
    /// # Errors
    /// When clients do not start, or what they say is not understood, or the proxy is gone.
    pub(crate) fn run(
        &self,
        cluster: &Cluster,
        target: &Target,
        seconds: u16,
        overhead: &Overhead,
    ) -> Result<Figures> {
        let idle =
            (self.idle > 0).then(|| IdleClients::connect(cluster, target, Encryption::Plain, self.idle));
        let idle = idle.transpose()?;
        let figures = match self.job {
            Job::Pgbench(_) => pgbench::run(cluster, target, self, seconds, overhead)?,
            Job::Copy => copy::run(cluster, target, self, seconds)?,
            Job::Logins(_) => logins::run(cluster, target, self, seconds)?,
            Job::Memory(_) => anyhow::bail!("memory is measured on its own"),
        };
        if let Some(idle) = idle {
            idle.close(target)?;
        }
        Ok(figures)
    }
}

/// Reads the memory of a fresh proxy as a workload says.
///
/// # Errors
/// When a client is refused or the proxy is gone.
pub(crate) fn measure_memory(
    cluster: &Cluster,
    target: &Target,
    workload: &Workload,
) -> Result<Vec<ClientMemory>> {
    match workload.job {
        Job::Memory(Held::Idle) => idle::measure(cluster, target, workload.encryption),
        Job::Memory(held) => Ok(vec![bulky::measure(cluster, target, workload, held)?]),
        Job::Pgbench(_) | Job::Copy | Job::Logins(_) => {
            anyhow::bail!("{} is not about memory", workload.name)
        }
    }
}

/// What a proxy used for logins and first transactions, which is not of the steady state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Overhead {
    /// What it used.
    pub(crate) used: Option<Usage>,
    /// Units that were done.
    pub(crate) units: u64,
    /// How long it took.
    pub(crate) took: Duration,
}

/// The figures of one run. A unit is a transaction, a result, a COPY or a connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    /// Units per second, connecting not counted (unless that is the unit).
    pub(crate) per_second: f64,
    /// The proxy's processor time for each unit in µs.
    pub(crate) cpu_us: Option<f64>,
    /// The proxy's context switches for each unit.
    pub(crate) switches: Option<f64>,
    /// How long a unit took its client.
    pub(crate) latency: Option<Latency>,
    /// Units that failed.
    pub(crate) failed: u64,
    /// Why clients gave up, if they did: then some ended early.
    pub(crate) error: Option<String>,
}

impl Figures {
    /// From what was used for so many units in so many seconds.
    #[expect(clippy::cast_precision_loss, reason = "units and context switches of some seconds")]
    pub(crate) fn new(units: u64, seconds: f64, used: Option<Usage>, overhead: &Overhead) -> Self {
        let before = overhead.used.unwrap_or_default();
        // Where logins are most of it, as on a machine that is too busy, the rest says nothing.
        let told = used.filter(|used| used.processor >= before.processor * 2);
        let steady = told.map(|used| used.since(before));
        let count = units.saturating_sub(overhead.units).max(1) as f64;
        Self {
            per_second: units as f64 / seconds,
            cpu_us: steady.map(|used| used.processor.as_secs_f64() * 1e6 / count),
            switches: steady.map(|used| used.switches as f64 / count),
            latency: None,
            failed: 0,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_taken_off_the_processor_time() {
        let usage = |micros, switches| Some(Usage { processor: Duration::from_micros(micros), switches });
        let overhead = Overhead { used: usage(1_000, 40), units: 10, took: Duration::ZERO };
        let figures = Figures::new(110, 2.0, usage(2_500, 240), &overhead);
        assert_eq!((figures.cpu_us, figures.switches), (Some(15.0), Some(2.0)));
        assert!((figures.per_second - 55.0).abs() < f64::EPSILON);
        assert_eq!(Figures::new(0, 1.0, None, &Overhead::default()).cpu_us, None);
        assert_eq!(Figures::new(20, 1.0, usage(1_900, 50), &overhead).cpu_us, None);
    }
}

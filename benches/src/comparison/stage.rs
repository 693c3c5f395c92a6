//! PostgreSQL and the ways to it.

use anyhow::{Context, Result};
use lab::Cluster;

use super::{
    measure::{Machine, Placement},
    options::Options,
    target::{Certificate, Kind, Target, make_certificate, start, start_outsider},
    workload::{find, initialise, transactions},
};

/// Transactions of each client that nobody measures: fresh server processes have no page of the tables mapped yet.
const WARM_UP: u64 = 1000;

/// A cluster with its tables, and what leads to it. All of it ends when this is dropped, the ways first.
#[derive(Debug)]
pub(super) struct Stage {
    /// The ways that serve.
    pub(super) targets: Vec<Target>,
    /// The cluster.
    pub(super) cluster: Cluster,
    certificate: Certificate,
}

impl Stage {
    /// Starts a primary with so many standbys, without the work in the background that would meet some and not others.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(options: &Options, standbys: usize) -> Result<Self> {
        let settings = [
            ("shared_buffers", "256MB"),
            ("autovacuum", "off"),
            ("checkpoint_timeout", "1h"),
            ("max_wal_size", "16GB"),
        ];
        let kept = options.cluster.clone().filter(|_| standbys == 0);
        let cluster = Cluster::start(lab::Options {
            standbys,
            max_connections: 400,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            keep: kept.is_some(),
            directory: kept.clone(),
            ..lab::Options::default()
        })?;
        if kept.is_some() {
            let login = cluster.application();
            eprintln!(
                "PostgreSQL is on port {}, database {}, role {}, password {}",
                cluster.node(0).port(),
                cluster.database(),
                login.user,
                login.password
            );
        }
        let certificate = make_certificate(&cluster)?;
        initialise(&cluster, options.scale)?;
        if standbys > 0 {
            cluster.wait_for_all()?;
        }
        Ok(Self { targets: Vec::new(), cluster, certificate })
    }

    /// Opens a way of our own, besides those that are open.
    ///
    /// # Errors
    /// When it does not serve.
    pub(super) fn open(&self, kind: Kind, options: &Options) -> Result<Target> {
        start(kind, &self.cluster, &self.certificate, options)
    }

    /// Opens all of these ways.
    ///
    /// # Errors
    /// When one does not serve.
    pub(super) fn open_all(&mut self, kinds: &[Kind], options: &Options) -> Result<()> {
        for &kind in kinds {
            self.targets.push(self.open(kind, options)?);
        }
        Ok(())
    }

    /// Takes in the proxies that somebody else started.
    ///
    /// # Errors
    /// When one does not serve.
    pub(super) fn open_outsiders(
        &mut self,
        options: &Options,
        machine: &Machine,
        placement: Placement,
    ) -> Result<()> {
        for outsider in &options.target {
            if let Some(pid) = outsider.pid {
                machine.place_processes(pid, placement);
            }
            let target = start_outsider(outsider, &self.cluster);
            self.targets.push(target.with_context(|| format!("target {}", outsider.name))?);
        }
        Ok(())
    }

    /// Lets some transactions through each way.
    ///
    /// # Errors
    /// When they fail.
    pub(super) fn warm_up(&self) -> Result<()> {
        let usual = find("simple-16").map_err(anyhow::Error::msg)?;
        for target in &self.targets {
            transactions(&self.cluster, target, usual, WARM_UP)?;
        }
        Ok(())
    }
}

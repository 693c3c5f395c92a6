//! The ways to PostgreSQL that are compared.

mod configuration;
mod files;
mod kind;
mod outsider;
mod start;

use std::process::Child;

pub(crate) use files::{Certificate, make_certificate};
pub(crate) use kind::Kind;
pub(crate) use outsider::Outsider;
pub(crate) use start::{start, start_outsider};

use super::workload::Needs;

/// Server connections that PostgreSQL has for a way that gives each client one of its own.
pub(crate) const UNPOOLED_CLIENTS: u16 = 250;

/// Most server connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    /// 8, fewer than clients.
    Eight,
    /// 20.
    Twenty,
}

impl Pool {
    /// How many.
    pub(crate) fn size(self) -> u16 {
        match self {
            Self::Eight => 8,
            Self::Twenty => 20,
        }
    }
}

/// How a client comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// With a password, by SCRAM-SHA-256.
    Scram,
    /// Without any proof.
    Trust,
}

/// A way to PostgreSQL that is open. The proxy's process, if we started it, is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is.
    pub(crate) kind: Kind,
    /// The name for people, and in the figures.
    pub(crate) name: String,
    /// The host that clients connect to.
    pub(crate) host: String,
    /// And the port.
    pub(crate) port: u16,
    /// The proxy's version; empty where there is none.
    pub(crate) version: String,
    /// The database's name on the servers.
    database: String,
    prepared: Prepared,
    pid: Option<u32>,
    process: Option<Child>,
}

/// Whether a proxy shares server connections and still knows its clients' prepared statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prepared {
    Works,
    Unsupported,
}

impl Target {
    /// The proxy's process, if it is known.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The database that clients ask for to get such a pool in such a way.
    pub(crate) fn database(&self, pool: Pool, entry: Entry) -> String {
        let database = &self.database;
        match (self.kind, pool, entry) {
            (Kind::PgBouncer | Kind::Pgherd, Pool::Eight, Entry::Scram) => format!("{database}_eight"),
            (Kind::PgBouncer, _, Entry::Trust) => format!("{database}_trust"),
            _ => database.clone(),
        }
    }

    /// Whether clients share server connections.
    pub(crate) fn is_pool(&self) -> bool {
        matches!(self.kind, Kind::PgBouncer | Kind::Pgherd | Kind::Outsider)
    }

    /// Why this cannot do what a workload needs, if it cannot.
    pub(crate) fn lacks(&self, needs: Needs) -> Option<&'static str> {
        match (needs, self.kind) {
            (Needs::Prepared, Kind::PgBouncer) if self.prepared == Prepared::Unsupported => {
                Some("this version has no prepared statements in transaction mode")
            }
            (Needs::ManyClients, _) if !self.is_pool() => {
                Some("it would need a server connection for each client")
            }
            (Needs::Proxy, Kind::Direct) => Some("there is no proxy"),
            (Needs::Trust, Kind::Direct | Kind::HaProxy) => {
                Some("PostgreSQL is set up to ask for a password")
            }
            (Needs::Trust, Kind::Pgherd) => Some("it lets nobody in without a proof"),
            (Needs::Nodes, Kind::PgBouncer | Kind::HaProxy | Kind::Outsider) => {
                Some("it does not split reads and writes over nodes")
            }
            _ => None,
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

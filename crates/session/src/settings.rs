use std::{sync::Arc, time::Duration};

use routing::Policy;

/// Bounds on clients, and how long they are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Most clients at a time (default 10,000); one more is refused with 53300.
    pub max_clients: u32,
    /// From accept to the end of login (default 15 s).
    pub login_timeout: Duration,
    /// How long requests wait for a primary that is gone (default 30 s).
    pub max_hold: Duration,
    /// Most clients that are held at a time (default 10,000); the newest is refused with 57P03.
    pub max_held: u32,
    /// Most bytes kept of one client's unforwarded input (default 1 MiB).
    pub input_limit: u32,
    /// Most bytes kept of notifications that one client has not read (default 1 MiB); more are dropped, and it is told.
    pub notification_limit: u32,
    /// Most named prepared statements of one client (default 100,000); one more is refused with 53400.
    pub max_statements: u32,
    /// Most bytes of one client's named prepared statements (default 64 MiB), as if no other client had the same; one
    /// more is refused with 53400.
    pub max_statement_bytes: u32,
    /// How long in-flight statements may finish on a primary that was replaced (default 3 s).
    pub drain_timeout: Duration,
    /// How long a shutdown goes on to take clients in (default 0).
    pub shutdown_delay: Duration,
    /// How long clients may stay when another process has taken over; `None`, the default: until they leave.
    pub takeover_timeout: Option<Duration>,
    /// How long a shutdown waits for open transactions (default 30 s).
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_clients: 10_000,
            login_timeout: Duration::from_secs(15),
            max_hold: Duration::from_secs(30),
            max_held: 10_000,
            input_limit: 1 << 20,
            notification_limit: 1 << 20,
            max_statements: 100_000,
            max_statement_bytes: 64 << 20,
            drain_timeout: Duration::from_secs(3),
            shutdown_delay: Duration::ZERO,
            takeover_timeout: None,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// A database as clients name it. The first entry whose name fits wins; `*` fits every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// What clients ask for, or `*`.
    pub name: String,
    /// The name on the servers; `None`: the same.
    pub server_name: Option<String>,
    /// The cluster it lives in: an index into the configured clusters.
    pub cluster: usize,
    /// What it may be used for; `None`: what the listener says.
    pub policy: Option<Policy>,
    /// Its pools.
    pub pool: pool::Settings,
    /// How long its clients may take.
    pub timeouts: Timeouts,
    /// Most server connections of it, over all users and nodes; `None`, the default: as many as pools allow.
    pub max_server_connections: Option<u32>,
    /// Roles for which something else holds in it; `*`, every other role, comes last.
    pub users: Arc<[DatabaseUserSettings]>,
}

impl DatabaseSettings {
    /// What is set for this role in it.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&DatabaseUserSettings> {
        self.users.iter().find(|user| user.name == name || user.name == "*")
    }

    /// What holds in it for the clients of this role.
    #[must_use]
    pub fn for_user(&self, name: &str) -> Self {
        let settings = self.clone();
        match self.user(name) {
            Some(user) => Self { pool: user.pool.clone(), timeouts: user.timeouts, ..settings },
            None => settings,
        }
    }
}

/// What holds for a role in a database, with all that it has from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUserSettings {
    /// Its name, or `*`.
    pub name: String,
    /// Its pools.
    pub pool: pool::Settings,
    /// How long its clients may take.
    pub timeouts: Timeouts,
    /// Most server connections of it in the database; `None`, the default: as many as pools allow.
    pub max_server_connections: Option<u32>,
}

/// A role. The first entry whose name fits wins; `*` fits every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSettings {
    /// Its name, or `*`.
    pub name: String,
    /// Most server connections of it, over all databases and nodes; `None`, the default: as many as pools allow.
    pub max_server_connections: Option<u32>,
    /// Its mode, whatever the database; this and the next are for the console, `DatabaseSettings::users` has what holds.
    pub mode: Option<pool::PoolMode>,
    /// The size of its pools.
    pub size: Option<u32>,
    /// The size of their reserve.
    pub reserve_size: Option<u32>,
}

/// How long clients may take for what; `None`, the default of each: as long as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// A statement that a server runs for longer is cancelled (57014).
    pub query: Option<Duration>,
    /// A client that lets a server wait for longer in a transaction is disconnected (25P03).
    pub idle_transaction: Option<Duration>,
    /// A client without transaction that asks for nothing for longer is disconnected (57P05).
    pub client_idle: Option<Duration>,
}

use std::{sync::Arc, time::Duration};

use conn::{DialError, Login, ServerConnection, ServerTlsConfig, Target, TlsFileError};
use tokio::time::timeout;

use crate::Settings;

/// What connections of the monitor say they are.
const APPLICATION_NAME: &str = "pgherd";

/// What a connection of the monitor is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// Probes, in the monitor's own database.
    Probe,
    /// Look-ups in this database. Read-only, and names mean what `pg_catalog` says (CVE-2025-12819).
    Lookup { database: &'a str },
    /// Orders of the failover manager, in the monitor's own database.
    Manage { application_name: &'a str },
    /// Commands of the replication protocol, which is how a timeline's history is told.
    Replication,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialFailure {
    /// Not within the time allowed.
    #[error("no login within {0:?}")]
    Timeout(Duration),
    /// The dialing failed.
    #[error(transparent)]
    Dial(#[from] DialError),
}

/// Logs in to any node of the cluster as the monitor.
#[derive(Debug)]
pub(crate) struct Dialer {
    user: Box<str>,
    database: Box<str>,
    secret: Option<Arc<auth::Secret>>,
    tls: ServerTlsConfig,
}

impl Dialer {
    /// Reads the certificate files.
    pub(crate) fn new(settings: &Settings) -> Result<Self, TlsFileError> {
        Ok(Self {
            user: settings.user.as_str().into(),
            database: settings.database.as_str().into(),
            secret: settings.secret.clone(),
            tls: ServerTlsConfig::load(&settings.tls)?,
        })
    }

    pub(crate) async fn dial(
        &self,
        target: &Target,
        purpose: Purpose<'_>,
        limit: Duration,
    ) -> Result<ServerConnection, DialFailure> {
        let name = ("application_name", APPLICATION_NAME);
        let path = ("search_path", "pg_catalog");
        let (database, parameters): (&str, &[(&str, &str)]) = match purpose {
            Purpose::Probe => (&self.database, &[name, path]),
            Purpose::Lookup { database } => {
                (database, &[name, path, ("default_transaction_read_only", "on")])
            }
            Purpose::Manage { application_name } => {
                (&self.database, &[("application_name", application_name), path])
            }
            Purpose::Replication => (&self.database, &[name, ("replication", "true")]),
        };
        let login = Login { user: &self.user, database, secret: self.secret.as_deref(), parameters };
        match timeout(limit, conn::dial(target, &self.tls, &login)).await {
            Ok(dialed) => Ok(dialed?),
            Err(_) => Err(DialFailure::Timeout(limit)),
        }
    }
}

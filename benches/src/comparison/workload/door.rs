//! How clients of ours come in. pgbench derives a key from the password for each login, which takes more processor time
//! than any proxy does; ours do it but once, as an application's pool of connections may.

use anyhow::Result;
use auth::Secret;
use conn::{Login, ServerConnection, ServerTls, ServerTlsConfig, ServerTlsMode, Target as Address, dial};
use lab::Cluster;

use super::Encryption;
use crate::comparison::target::{Entry, Pool, Target};

/// Where and how clients come in.
#[derive(Debug)]
pub(super) struct Door {
    address: Address,
    user: String,
    database: String,
    secret: Option<Secret>,
    tls: ServerTlsConfig,
}

impl Door {
    /// That of a proxy, or of PostgreSQL.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn of(
        cluster: &Cluster,
        target: &Target,
        encryption: Encryption,
        entry: Entry,
    ) -> Result<Self> {
        let login = cluster.application();
        let secret = (entry == Entry::Scram).then(|| Secret::parse(&login.password)).transpose()?;
        let tls = match encryption {
            Encryption::Plain => ServerTlsConfig::disabled(),
            Encryption::Tls => {
                ServerTlsConfig::load(&ServerTls { mode: ServerTlsMode::Require, root_certificate: None })?
            }
        };
        Ok(Self {
            address: Address { host: target.host.clone(), port: target.port },
            user: login.user.clone(),
            database: target.database(Pool::Twenty, entry),
            secret,
            tls,
        })
    }

    /// Logs in and asks for one row.
    ///
    /// # Errors
    /// When the client is refused.
    pub(super) async fn enter(&self) -> Result<ServerConnection> {
        let Self { user, database, secret, .. } = self;
        let login = Login { user, database, secret: secret.as_ref(), parameters: &[] };
        let mut connection = dial(&self.address, &self.tls, &login).await?;
        connection.simple_query("select 1").await?;
        Ok(connection)
    }
}

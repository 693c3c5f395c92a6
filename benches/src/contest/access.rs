//! Where somebody logs in, and asking there.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::{runtime::Handle, time::timeout};
use tokio_postgres::{Client, Config, Connection, NoTls, SimpleQueryMessage, Socket, tls::NoTlsStream};

/// How long a look at a server may take. One that is going down may leave a question unanswered.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// Who logs in, at which port of 127.0.0.1.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    runtime: Handle,
    /// The port.
    pub(crate) port: u16,
    config: Config,
}

impl Access {
    /// `login` is user and password.
    pub(crate) fn new(runtime: &Handle, port: u16, login: (&str, &str), database: &str) -> Self {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user(login.0).password(login.1).dbname(database);
        Self { runtime: runtime.clone(), port, config }
    }

    /// Logs in.
    ///
    /// # Errors
    /// Those of the server, or of the socket.
    pub(crate) async fn connect(
        &self,
    ) -> Result<(Client, Connection<Socket, NoTlsStream>), tokio_postgres::Error> {
        self.config.connect(NoTls).await
    }

    /// Runs one statement over a connection of its own and gives its rows; NULL is the empty text.
    ///
    /// # Errors
    /// When there is no answer within 5 s, or an error.
    pub(crate) fn look(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        self.ask(sql, LOOK_PATIENCE)
    }

    /// The same for what takes its time.
    ///
    /// # Errors
    /// When there is no answer in time, or an error.
    pub(crate) fn ask(&self, sql: &str, patience: Duration) -> Result<Vec<Vec<String>>> {
        self.runtime.block_on(async {
            match timeout(patience, self.answer(sql)).await {
                Ok(answer) => answer,
                Err(_) => bail!("no answer within {patience:?} at port {} to {sql}", self.port),
            }
        })
    }

    async fn answer(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let (client, connection) = self.connect().await.with_context(|| format!("at port {}", self.port))?;
        let driver = tokio::spawn(connection);
        let messages = client.simple_query(sql).await;
        drop(client);
        driver.abort();
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        };
        let messages = messages.with_context(|| format!("at port {}: {sql}", self.port))?;
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// The first value of the first row.
    ///
    /// # Errors
    /// As for [`Access::look`], and when there is none.
    pub(crate) fn value(&self, sql: &str) -> Result<String> {
        let rows = self.look(sql)?;
        rows.into_iter().flatten().next().with_context(|| format!("{sql} gave nothing"))
    }
}

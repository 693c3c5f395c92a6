//! Clients: some write and log what was acknowledged, others only stay connected.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::{
    runtime::Handle,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{Client, Error};

use super::access::Access;

/// Between two writes of a client, and before it connects again.
const PAUSE: Duration = Duration::from_millis(5);
/// Before an idle client connects again.
const IDLE_PAUSE: Duration = Duration::from_millis(500);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(150);

/// The table of keys, in the application's database.
pub(crate) const LEDGER: &str = "create table ledger (id bigint primary key)";

/// What moves a connection's bytes.
type Driver = JoinHandle<std::result::Result<(), Error>>;

/// Clients at work. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    idle_clients: usize,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    access: Access,
    next_key: AtomicI64,
    idle: AtomicUsize,
    record: Mutex<Record>,
}

/// What clients saw since the last [`Load::begin`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// When each acknowledgement came, and of which key.
    pub(crate) acknowledged: Vec<(Instant, i64)>,
    /// Statements that failed and connections that ended, by SQLSTATE, or "disconnected".
    pub(crate) errors: BTreeMap<String, u64>,
    /// Attempts to connect again that failed.
    pub(crate) refused: u64,
    /// The idle clients that lost their connections.
    pub(crate) idle_dropped: BTreeSet<usize>,
}

impl Load {
    /// Starts that many clients of either kind.
    pub(crate) fn start(runtime: &Handle, access: Access, writers: u16, idle_clients: u16) -> Self {
        let shared = Arc::new(Shared {
            access,
            next_key: AtomicI64::new(1),
            idle: AtomicUsize::new(0),
            record: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            tasks.spawn_on(write(Arc::clone(&shared)), runtime);
        }
        for number in 0..usize::from(idle_clients) {
            tasks.spawn_on(idle(Arc::clone(&shared), number), runtime);
        }
        Self { shared, idle_clients: usize::from(idle_clients), _tasks: tasks }
    }

    /// Forgets what was seen until now. Gives a key below all that follow.
    pub(crate) fn begin(&self) -> i64 {
        *self.shared.record() = Record::default();
        // those under way may be told of later
        self.shared.next_key.load(Ordering::Relaxed) - 1
    }

    /// What was seen until now.
    pub(crate) fn seen(&self) -> Record {
        self.shared.record().clone()
    }

    /// When the last acknowledgement came.
    pub(crate) fn last_write(&self) -> Option<Instant> {
        self.shared.record().acknowledged.last().map(|(time, _)| *time)
    }

    /// Whether all idle clients are connected.
    ///
    /// # Errors
    /// When some are not.
    pub(crate) fn check_idle(&self) -> Result<()> {
        let (there, all) = (self.shared.idle.load(Ordering::Relaxed), self.idle_clients);
        ensure!(there == all, "{there} of {all} are");
        Ok(())
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        // counters are right after a panic elsewhere, too
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_error(&self, what: &str) {
        *self.record().errors.entry(what.to_owned()).or_default() += 1;
    }

    async fn connect(&self) -> Option<(Client, Driver)> {
        let (client, connection) = timeout(PATIENCE, self.access.connect()).await.ok()?.ok()?;
        Some((client, tokio::spawn(connection)))
    }
}

/// Writes over one connection after the other.
async fn write(shared: Arc<Shared>) {
    loop {
        match shared.connect().await {
            Some((client, driver)) => write_over(&shared, client, driver).await,
            None => shared.record().refused += 1,
        }
        sleep(PAUSE).await;
    }
}

/// Writes until the connection is lost.
async fn write_over(shared: &Shared, client: Client, driver: Driver) {
    loop {
        let key = shared.next_key.fetch_add(1, Ordering::Relaxed);
        let sql = format!("insert into ledger values ({key})");
        match timeout(PATIENCE, client.batch_execute(&sql)).await {
            Ok(Ok(())) => shared.record().acknowledged.push((Instant::now(), key)),
            Ok(Err(error)) => match error.code() {
                Some(code) => shared.note_error(code.code()),
                // the reason may have come before the end
                None => break,
            },
            Err(_) => {
                shared.note_error("no answer");
                driver.abort();
                return;
            }
        }
        sleep(PAUSE).await;
    }
    drop(client);
    let last_word = driver.await.ok().and_then(std::result::Result::err);
    let code = last_word.as_ref().and_then(Error::code).map(|code| code.code());
    shared.note_error(code.unwrap_or("disconnected"));
}

/// Stays connected.
async fn idle(shared: Arc<Shared>, number: usize) {
    loop {
        if let Some((client, driver)) = shared.connect().await
            && client.batch_execute("select 1").await.is_ok()
        {
            shared.idle.fetch_add(1, Ordering::Relaxed);
            // it ends when the other side hangs up
            let _ = driver.await;
            shared.idle.fetch_sub(1, Ordering::Relaxed);
            shared.record().idle_dropped.insert(number);
        }
        sleep(IDLE_PAUSE).await;
    }
}

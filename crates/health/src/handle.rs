use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwap, ArcSwapOption};
use conn::{Parameter, Row, TlsFileError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use topology::{Cluster, NodeId, Report, Snapshot, Toll, XidBook};

use crate::{
    EventRecord, FailoverRecord, FunctionCatalog, LookupError, ManagementState, MemoryError, Question,
    Settings,
    commits::{self, QUESTIONS_LIMIT},
    dialer::Dialer,
    events::Events,
    functions::{self, Catalogs, WANTED_LIMIT},
    journal::{self, Journal, TOLLS_LIMIT},
    lookup::Lookups,
    manage::{Managed, store},
    memory,
    patroni::{Following, PatroniReport},
    shared::Shared,
    standing::{self, Standing},
    supervisor::{Command, Supervisor},
};

/// Reports of the data path that may wait. More are dropped: the probes will find out.
const REPORTS_LIMIT: usize = 1024;

/// Commands that may wait.
const COMMANDS_LIMIT: usize = 16;

/// Why a cluster is not watched.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A certificate file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// What an earlier run remembered cannot be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Settings to go on with, for which everything has been read that may be missing or wrong.
#[derive(Debug)]
pub struct Reload {
    pub(crate) settings: Settings,
    pub(crate) topology: topology::Settings,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) following: Option<Following>,
}

impl Reload {
    /// Reads the certificate files.
    ///
    /// # Errors
    /// [`TlsFileError`] if one cannot be used.
    pub fn prepare(settings: Settings, topology: topology::Settings) -> Result<Self, TlsFileError> {
        let dialer = Arc::new(Dialer::new(&settings)?);
        let following = settings.patroni.as_ref().map(Following::start).transpose()?;
        Ok(Self { settings, topology, dialer, following })
    }
}

/// A cluster that is not watched any more.
#[derive(Debug, thiserror::Error)]
#[error("the cluster is not watched any more")]
pub struct Stopped;

/// Why a command to the failover manager was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManageError {
    /// This process is not the manager.
    NotManaged,
    /// The manager refused, or it has failed.
    Refused(failover::Refusal),
}

impl From<failover::Refusal> for ManageError {
    fn from(refusal: failover::Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A cluster that is being watched. Dropping it ends the watch.
#[derive(Debug)]
pub struct Health {
    shared: Arc<Shared>,
    cluster: Box<str>,
    reports: mpsc::Sender<(NodeId, Report)>,
    questions: mpsc::Sender<Question>,
    tolls: mpsc::Sender<Toll>,
    commands: mpsc::Sender<Command>,
}

impl Health {
    /// Begins to watch. To be called on the control runtime; reads the state file and the certificate files.
    ///
    /// # Errors
    /// [`StartError`] names the file that is wrong.
    pub fn start(settings: Settings, topology: topology::Settings) -> Result<Self, StartError> {
        let dialer = Arc::new(Dialer::new(&settings)?);
        let following = settings.patroni.as_ref().map(Following::start).transpose()?;
        let remembered = settings.state_file.as_deref().map_or(Ok(None), memory::read)?;
        let standing = settings.state_file.as_deref().map(standing::path);
        let standing = standing.map_or(Ok(Standing::default()), |path| standing::read(&path))?;
        let name = topology.cluster.clone();
        let now = Instant::now().into_std();
        let cluster = Cluster::new(topology, remembered, now);
        let snapshot = Arc::new(cluster.snapshot(now));
        let managed = match &settings.management {
            Some(management) => {
                let record = store::read(&management.record_file)?;
                let snapshot = Arc::clone(&snapshot);
                Some(Managed::new(management, record, &name, Arc::clone(&dialer), snapshot, now))
            }
            None => None,
        };
        let snapshots = Arc::new(ArcSwap::new(snapshot));
        let lookups = Arc::new(Lookups::new(Arc::clone(&snapshots), Arc::clone(&dialer)));
        let (wanted_in, wanted) = mpsc::channel(WANTED_LIMIT);
        let catalogs = Arc::new(Catalogs::new(wanted_in));
        let shared = Arc::new(Shared {
            snapshots,
            changes: watch::Sender::new(0),
            events: Events::default(),
            journal: Journal::default(),
            management: ArcSwapOption::empty(),
            parameters: ArcSwapOption::empty(),
            patroni: ArcSwapOption::empty(),
            control: ArcSwapOption::from(
                following.as_ref().map(|following| Arc::new(following.control.clone())),
            ),
            lookups: Arc::clone(&lookups),
            catalogs: Arc::clone(&catalogs),
            xids: Mutex::new(XidBook::default()),
            dialer: ArcSwap::new(Arc::clone(&dialer)),
            direct: Mutex::default(),
        });
        let (questions, questions_out) = mpsc::channel(QUESTIONS_LIMIT);
        let resolving = commits::resolve_all(Arc::clone(&shared), questions_out);
        let (tolls, tolls_out) = mpsc::channel(TOLLS_LIMIT);
        let counting = journal::count_tolls(Arc::clone(&shared), tolls_out);
        let (reports, reports_out) = mpsc::channel(REPORTS_LIMIT);
        let (commands, commands_out) = mpsc::channel(COMMANDS_LIMIT);
        let supervisor =
            Supervisor::new(cluster, &name, settings, dialer, Arc::clone(&shared), reports_out, commands_out)
                .managed_by(managed)
                .with_following(following)
                .with_standing(standing);
        let loading = functions::load_all(Arc::downgrade(&catalogs), lookups, wanted);
        // Both end with what they listen to, and `stop` waits for the one that has connections to servers at work.
        tokio::spawn(async move {
            tokio::select! {
                () = supervisor.run() => {}
                () = loading => {}
                () = resolving => {}
                () = counting => {}
            }
        });
        Ok(Self { shared, cluster: name.into(), reports, questions, tolls, commands })
    }

    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(crate) async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// Where the newest snapshot is.
    #[must_use]
    pub fn snapshots(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.shared.snapshots)
    }

    /// Changes whenever a snapshot was published that differs in more than positions and times.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Takes what the data path learned. Use `try_send`: if it is full, the probes will find out.
    #[must_use]
    pub fn reports(&self) -> mpsc::Sender<(NodeId, Report)> {
        self.reports.clone()
    }

    /// Takes commits whose answers were lost, each with where to say what became of it. The answer comes once there is a
    /// primary to ask, however long that takes; whoever asks drops the receiver when it has waited long enough.
    #[must_use]
    pub fn questions(&self) -> mpsc::Sender<Question> {
        self.questions.clone()
    }

    /// Takes what the loss of a primary costs clients. Use `try_send`, and add up what finds no place.
    #[must_use]
    pub fn tolls(&self) -> mpsc::Sender<Toll> {
        self.tolls.clone()
    }

    /// The last 1000 events, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<EventRecord> {
        self.shared.events.all()
    }

    /// The last failovers, oldest first.
    #[must_use]
    pub fn failovers(&self) -> Vec<FailoverRecord> {
        self.shared.journal.all()
    }

    /// How this process manages the cluster; `None`: it does not.
    #[must_use]
    pub fn management(&self) -> Option<Arc<ManagementState>> {
        self.shared.management.load_full()
    }

    /// Does what an operator asks for, and waits until it has ended.
    ///
    /// # Errors
    /// [`ManageError`]: why it was not done.
    ///
    /// # Cancel safety
    /// It goes on.
    pub async fn manage(&self, command: failover::Command) -> Result<(), ManageError> {
        let (answer, answered) = oneshot::channel();
        self.command(Command::Manage(command, answer)).await.map_err(|_| ManageError::NotManaged)?;
        Ok(answered.await.map_err(|_| ManageError::NotManaged)??)
    }

    /// What Patroni says of the cluster; `None` if it does not manage it, or has not answered yet.
    #[must_use]
    pub fn patroni(&self) -> Option<Arc<PatroniReport>> {
        self.shared.patroni.load_full()
    }

    /// What to ask Patroni to do something with; `None` if it does not manage the cluster.
    #[must_use]
    pub fn patroni_control(&self) -> Option<Arc<::patroni::Control>> {
        self.shared.control.load_full()
    }

    /// What the primary, or else some node, reported of itself at the monitor's last login: names and values, those
    /// of the session included. `None` before the first.
    #[must_use]
    pub fn server_parameters(&self) -> Option<Arc<Vec<Parameter>>> {
        self.shared.parameters.load_full()
    }

    /// Runs one statement in `database` as the monitor, read-only and under `search_path = pg_catalog`, on the primary
    /// or, while there is none, on a standby. `parameters` are `$1`, `$2`, …: never put what a client said into `sql`.
    ///
    /// # Errors
    /// [`LookupError`]; it waits at most 5 s for a login and 5 s for the answer, one statement per database at a time.
    ///
    /// # Cancel safety
    /// The statement may run; its connection is closed.
    pub async fn query(
        &self,
        database: &str,
        sql: &str,
        parameters: &[Option<&str>],
    ) -> Result<Vec<Row>, LookupError> {
        self.shared.lookups.query(database, sql, parameters).await
    }

    /// What is known by now of the functions of `database`, and a version that grows with each change: 0, and nothing,
    /// until they were read for the first time, which this call sets off. Read again every minute. Never waits.
    #[must_use]
    pub fn functions(&self, database: &str) -> (u64, Arc<FunctionCatalog>) {
        self.shared.catalogs.functions(database)
    }

    /// Whether what is known of the functions of `database` is what there is, or all that will be known of them: false
    /// until they were read for the first time or cannot be. Never waits.
    #[must_use]
    pub fn are_functions_known(&self, database: &str) -> bool {
        self.shared.catalogs.is_known(database)
    }

    /// Has the functions of `database` read again soon.
    pub fn refresh_functions(&self, database: &str) {
        self.shared.catalogs.refresh(database);
    }

    /// Goes on with other settings. Nodes that stay keep their ids and all that is known of them; every probe
    /// connection is made anew.
    ///
    /// # Errors
    /// [`Stopped`] if it has been stopped.
    pub async fn reload(&self, reload: Reload) -> Result<(), Stopped> {
        let (answer, answered) = oneshot::channel();
        self.command(Command::Reload(Box::new(reload), answer)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Ends the watch, and waits until its tasks have ended. The last snapshot stays.
    pub async fn stop(&self) {
        let (answer, answered) = oneshot::channel();
        if self.command(Command::Stop(answer)).await.is_ok() {
            // An error means that it had ended already.
            let _ = answered.await;
        }
    }
}

//! PostgreSQL on this machine, and who may change it when.
//!
//! One changing verb is at work at a time; it is a task of its own and goes on when its caller goes away. Status is
//! always answered, and a fence never waits for its turn: its marker is up before anything else, a start that is
//! under way gives up, and rewinds and copies only ever leave a stopped server behind.

mod auto_conf;
mod conninfo;
mod control;
mod fence;
mod lifecycle;
mod own;
mod places;
mod processes;
mod programs;
mod reinit;
mod rewind;
mod source;

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    api::{
        Activity, Kind, Last, Refusal, Report, RestartRequest, ServerState, SourceRequest, StartRequest,
        Status, StopRequest, Verb,
    },
    settings::Settings,
};

use places::Places;
use processes::{Postmaster, Says};

/// How often a state that has no event is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A changing verb with its request.
#[derive(Debug)]
pub(crate) enum Task {
    Start(StartRequest),
    Stop(StopRequest),
    Restart(RestartRequest),
    Rewind(SourceRequest),
    Reinit(SourceRequest),
    Fence,
    Unfence,
}

impl Task {
    fn verb(&self) -> Verb {
        match self {
            Self::Start(_) => Verb::Start,
            Self::Stop(_) => Verb::Stop,
            Self::Restart(_) => Verb::Restart,
            Self::Rewind(_) => Verb::Rewind,
            Self::Reinit(_) => Verb::Reinit,
            Self::Fence => Verb::Fence,
            Self::Unfence => Verb::Unfence,
        }
    }
}

/// Why an agent cannot look after a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The folder around the data folder.
    #[error("data_dir {0}: the folder around it cannot be used")]
    Place(PathBuf, #[source] io::Error),
    /// Another agent.
    #[error("{0} cannot be locked; does another agent look after this data folder?")]
    Locked(PathBuf, #[source] io::Error),
    /// Somebody else's data.
    #[error("{0} belongs to the user with number {1}; the agent has to run as the user who runs PostgreSQL")]
    Owner(PathBuf, u32),
}

/// The node that an agent looks after.
#[derive(Debug)]
pub(crate) struct Node {
    settings: Settings,
    places: Places,
    turn: Mutex<Turn>,
    /// A changing verb has ended.
    turn_over: Notify,
    /// Held while the server is started or stopped, rewound or swapped.
    server: tokio::sync::Mutex<()>,
    /// Whether the fence is up.
    fenced: watch::Sender<bool>,
    /// Whether the agent is about to end.
    ending: watch::Sender<bool>,
    version: Mutex<Option<String>>,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Who changes the node, and who did last.
#[derive(Debug, Default)]
struct Turn {
    busy: Option<Busy>,
    last: Option<Last>,
}

#[derive(Debug)]
struct Busy {
    verb: Verb,
    step: String,
    since: Instant,
}

impl Node {
    /// Takes charge of a data folder and brings what an agent before left into order.
    ///
    /// # Errors
    /// [`NodeError`].
    pub(crate) fn open(settings: Settings) -> Result<Arc<Self>, NodeError> {
        use std::os::unix::fs::MetadataExt as _;
        let wished = settings.postgres.data_dir.clone();
        let places = Places::of(&wished).map_err(|error| NodeError::Place(wished.clone(), error))?;
        let owner = fs::metadata(&places.data).map(|metadata| metadata.uid()).ok();
        if let Some(owner) = owner.filter(|owner| *owner != nix::unistd::Uid::effective().as_raw()) {
            return Err(NodeError::Owner(places.data, owner));
        }
        let path = places.lock();
        let lock = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(|error| NodeError::Place(wished.clone(), error))?;
        lock.try_lock().map_err(|error| NodeError::Locked(path, error.into()))?;
        end_leftover_copiers(&places);
        match places.settle() {
            Ok(None) => {}
            Ok(Some(what)) => tracing::warn!("{what}"),
            Err(error) => return Err(NodeError::Place(wished, error)),
        }
        let fenced = watch::Sender::new(places.fence().exists());
        let node = Self {
            settings,
            places,
            turn: Mutex::default(),
            turn_over: Notify::new(),
            server: tokio::sync::Mutex::default(),
            fenced,
            ending: watch::Sender::new(false),
            version: Mutex::default(),
            _lock: lock,
        };
        Ok(Arc::new(node))
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what a changing verb says, in its turn. The work goes on if this future is dropped.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn perform(self: &Arc<Self>, task: Task) -> Result<Report, Refusal> {
        let ticket = Ticket::take(Arc::clone(self), task.verb())?;
        let working = tokio::spawn(async move {
            let mut ticket = ticket;
            let verb = ticket.verb;
            let done = ticket.perform(task).await;
            let result = match done {
                Ok(()) => Ok(Report {
                    verb,
                    steps: std::mem::take(&mut ticket.steps),
                    status: ticket.node.status().await,
                }),
                Err(refusal) => Err(refusal),
            };
            ticket.end(result.as_ref().err().cloned());
            result.map(|report| {
                let activity = report.status.activity.filter(|activity| activity.verb != verb);
                Report { status: Status { activity, ..report.status }, ..report }
            })
        });
        working
            .await
            .unwrap_or_else(|_| Err(Refusal::new(Kind::Machine, "the agent failed in the middle of it")))
    }

    /// How things are.
    pub(crate) async fn status(&self) -> Status {
        let postmaster = Postmaster::find(&self.places.data);
        let has_data = self.places.has_data();
        let server = match postmaster.map(|postmaster| postmaster.says) {
            Some(Says::Ready | Says::Standby) => ServerState::Running,
            Some(Says::Starting) => ServerState::Starting,
            Some(Says::Stopping) => ServerState::Stopping,
            None if has_data => ServerState::Stopped,
            None => ServerState::NoData,
        };
        let control = if has_data { self.control().await.ok() } else { None };
        let version = self.version().await;
        let turn = self.turn();
        Status {
            server,
            pid: postmaster.map(|postmaster| postmaster.pid),
            standby: has_data.then(|| self.places.is_standby()),
            fenced: *self.fenced.borrow(),
            unfinished: self.places.own().exists().then_some(Verb::Rewind),
            activity: turn.busy.as_ref().map(|busy| Activity {
                verb: busy.verb,
                step: busy.step.clone(),
                for_ms: millis(busy.since.elapsed()),
            }),
            last: turn.last.clone(),
            data_dir: self.places.data.display().to_string(),
            version,
            control,
        }
    }

    /// Lets nobody begin any more, and waits until what is at work has ended, for `patience` at most.
    pub(crate) async fn finish(&self, patience: Duration) {
        self.ending.send_replace(true);
        let idle = async {
            loop {
                let over = self.turn_over.notified();
                if self.turn().busy.is_none() {
                    return;
                }
                over.await;
            }
        };
        if tokio::time::timeout(patience, idle).await.is_err() {
            tracing::warn!("a verb is still at work; what it leaves is brought into order at the next start");
        }
    }

    /// Completes when the agent is about to end.
    async fn until_the_end(&self) {
        // the sender lives as long as the node
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }

    /// Completes when the fence is up.
    async fn until_fenced(&self) {
        let _ = self.fenced.subscribe().wait_for(|fenced| *fenced).await;
    }
}

/// Programs that an agent which was killed has left copying would go on to write.
fn end_leftover_copiers(places: &Places) {
    for pid in processes::copiers_into(&[&places.data, &places.copying()]) {
        tracing::warn!(pid, "ending a copy that an agent before has left behind");
        let _ = processes::signal(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn limit(asked_ms: Option<u64>, otherwise: Duration) -> Duration {
    asked_ms.map_or(otherwise, Duration::from_millis)
}

fn machine(what: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Kind::Machine, format!("{what}: {error}"))
}

/// The turn of a changing verb, and what it has done. The turn ends with it.
#[derive(Debug)]
struct Ticket {
    node: Arc<Node>,
    verb: Verb,
    since: Instant,
    steps: Vec<String>,
}

impl Ticket {
    /// A fence takes none: it may come at any time.
    fn take(node: Arc<Node>, verb: Verb) -> Result<Self, Refusal> {
        let since = Instant::now();
        if verb != Verb::Fence {
            if *node.ending.borrow() {
                return Err(Refusal::new(Kind::Ending, "the agent is shutting down"));
            }
            let mut turn = node.turn();
            if let Some(busy) = &turn.busy {
                let message = format!("{} is at work: {}", busy.verb, busy.step);
                return Err(Refusal::new(Kind::Busy, message));
            }
            turn.busy = Some(Busy { verb, step: "begins".to_owned(), since });
        }
        tracing::info!(%verb, "asked");
        Ok(Self { node, verb, since, steps: Vec::new() })
    }

    /// Says what is being done.
    fn begin(&self, step: &str) {
        tracing::info!(verb = %self.verb, "{step}");
        if let Some(busy) = self.node.turn().busy.as_mut().filter(|busy| busy.verb == self.verb) {
            step.clone_into(&mut busy.step);
        }
    }

    /// Notes what was done.
    fn did(&mut self, step: impl Into<String>) {
        let step = step.into();
        tracing::info!(verb = %self.verb, "{step}");
        self.steps.push(step);
    }

    async fn perform(&mut self, task: Task) -> Result<(), Refusal> {
        let node = Arc::clone(&self.node);
        let postgres = &node.settings.postgres;
        match task {
            Task::Start(request) => self.start(limit(request.timeout_ms, postgres.start_timeout)).await,
            Task::Stop(request) => {
                self.stop(request.mode, limit(request.timeout_ms, postgres.stop_timeout)).await
            }
            Task::Restart(request) => {
                node.refuse_start()?;
                self.stop(request.mode, limit(request.timeout_ms, postgres.stop_timeout)).await?;
                self.start(limit(request.timeout_ms, postgres.start_timeout)).await
            }
            Task::Rewind(request) => self.rewind(&request).await,
            Task::Reinit(request) => self.reinit(&request).await,
            Task::Fence => self.fence().await,
            Task::Unfence => self.unfence().await,
        }
    }

    fn end(self, error: Option<Refusal>) {
        let took_ms = millis(self.since.elapsed());
        match &error {
            None => tracing::info!(verb = %self.verb, took_ms, "done"),
            Some(error) => tracing::warn!(verb = %self.verb, took_ms, kind = ?error.kind, "failed: {error}"),
        }
        self.node.turn().last = Some(Last { verb: self.verb, took_ms, error });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.verb != Verb::Fence {
            self.node.turn().busy = None;
            self.node.turn_over.notify_waiters();
        }
    }
}

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use session::{ClientId, Command as WorkerCommand, PauseScope, WorkerHandle, WorkerReport};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};
use wire::{SqlState, message::error::ErrorMessage};

use crate::{
    Control, ReloadRefused, ShutdownMode,
    average::{Averages, PERIOD, by_database},
    clock::wall_clock,
    command::{Command, Constant, Noun},
    show::{self, View},
    stop::Paused,
    table::{ROWS_MAX, Table},
};

/// How long a worker may take to report; one that takes longer is left out, and the client is told so.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of the console, logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleClient {
    /// Its id, of the same series as other clients' ids.
    pub id: u64,
    /// Its role.
    pub user: Box<str>,
    /// What it may do.
    pub role: ConsoleRole,
}

/// What a console client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsoleRole {
    /// Everything.
    Admin,
    /// Look.
    Stats,
}

/// What all console clients share.
pub struct Console {
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) control: Arc<dyn Control>,
    averages: Mutex<Averages>,
    pub(crate) paused: Mutex<Paused>,
}

/// What a command is answered with, if it is not an error.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) notices: Vec<ErrorMessage>,
    pub(crate) table: Option<Table>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Console {
    /// A console over these workers.
    #[must_use]
    pub fn new(workers: Vec<WorkerHandle>, control: Arc<dyn Control>) -> Self {
        let averages = Mutex::new(Averages::new(Instant::now().into_std()));
        Self { workers, control, averages, paused: Mutex::default() }
    }

    /// Takes the samples that averages are made of. Runs for ever; to be spawned once.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn keep_averages(&self) {
        let mut ticks = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
        loop {
            ticks.tick().await;
            let (reports, silent) = self.reports().await;
            // Without a worker the sums would seem to fall: rather keep the older sample for another period.
            if silent == 0 {
                lock(&self.averages).sample(Instant::now().into_std(), by_database(&reports));
            }
        }
    }

    /// Does what a command asks for.
    pub(crate) async fn execute(
        &self,
        command: &Command,
        client: &ConsoleClient,
    ) -> Result<Answer, ErrorMessage> {
        if client.role == ConsoleRole::Stats && !command.only_looks() {
            return Err(ErrorMessage::error(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("{} needs an administrator", command.name()),
            )
            .with_detail("This role may look, and so use SHOW."));
        }
        if !command.only_looks() {
            info!(client = client.id, user = %client.user, command = command.name(), "console command");
        }
        match command {
            Command::Help => Ok(Answer { notices: vec![show::help()], table: None }),
            Command::Show(_) | Command::ShowExtended(_) | Command::ExplainRoute { .. } => {
                self.show(command).await
            }
            Command::ShowParameter(parameter) => Ok(Answer::table(show::parameter(parameter))),
            Command::Select(constant) => Ok(Answer::table(select(constant, client))),
            Command::Ignore(_) | Command::Begin | Command::EndTransaction(_) => Ok(Answer::default()),
            Command::Set { name, value } => self.set(name, value.as_deref(), client).await,
            Command::Reload => self.reload().await,
            Command::Pause(scope) => self.pause(scope).await,
            Command::Resume(scope) => self.resume(scope).await,
            Command::Reconnect(scope) => {
                self.check_database(scope)?;
                self.tell_all(|| WorkerCommand::Reconnect(scope.clone())).await;
                Ok(Answer::default())
            }
            Command::Kill(scope) => self.kill(scope).await,
            Command::Disable(name) => self.disable(name),
            Command::Enable(name) => self.enable(name),
            Command::Suspend => self.suspend().await,
            Command::WaitClose(scope) => {
                self.check_database(scope)?;
                self.when_all(|done| WorkerCommand::WaitClose(scope.clone(), done)).await;
                Ok(Answer::default())
            }
            Command::CheckCluster => self.check_cluster().await,
            Command::CheckReplication(wait) => self.check_replication(*wait).await,
            Command::KillClient(id) => self.kill_client(*id).await,
            Command::Switchover(to) => self.switchover(to.as_deref()).await,
            Command::Failover { to, force } => self.failover(to, *force).await,
            Command::Nodes(command) => self.manage_nodes(command).await,
            Command::Maintenance(on) => self.maintenance(*on).await,
            Command::Shutdown(mode) => Ok(self.shutdown(*mode)),
        }
    }

    async fn show(&self, command: &Command) -> Result<Answer, ErrorMessage> {
        let (reports, silent) = match command {
            Command::Show(Noun::Prepared) => self.ask(WorkerCommand::ReportStatements).await,
            _ => self.reports().await,
        };
        let agents = match command {
            Command::Show(Noun::Agents) => self.control.agents().await,
            _ => Vec::new(),
        };
        let view = View {
            world: self.control.world(),
            reports,
            agents,
            control: &*self.control,
            averages: lock(&self.averages).clone(),
            paused: lock(&self.paused).clone(),
            now: wall_clock(),
            instant: Instant::now().into_std(),
        };
        let table = show::table(command, &view)?;
        let mut notices = Vec::new();
        if silent > 0 {
            let text =
                format!("{silent} of {} workers did not answer in time and are left out", self.workers.len());
            notices.push(ErrorMessage::notice(text));
        }
        if table.cut {
            notices.push(ErrorMessage::notice(format!("only the first {ROWS_MAX} rows are shown")));
        }
        Ok(Answer { notices, table: Some(table) })
    }

    /// What the workers tell, and how many did not.
    async fn reports(&self) -> (Vec<WorkerReport>, usize) {
        self.ask(WorkerCommand::Report).await
    }

    async fn ask(
        &self,
        question: fn(oneshot::Sender<WorkerReport>) -> WorkerCommand,
    ) -> (Vec<WorkerReport>, usize) {
        let deadline = Instant::now() + REPORT_TIMEOUT;
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (reply, answer) = oneshot::channel();
            // A full inbox must not hold up the others for ever either.
            if timeout_at(deadline, worker.tell(question(reply))).await.is_ok_and(|told| told.is_ok()) {
                answers.push(answer);
            }
        }
        let mut reports = Vec::new();
        for answer in answers {
            if let Ok(Ok(report)) = timeout_at(deadline, answer).await {
                reports.push(report);
            }
        }
        let silent = self.workers.len() - reports.len();
        (reports, silent)
    }

    async fn reload(&self) -> Result<Answer, ErrorMessage> {
        match self.control.reload().await {
            Ok(changes) if changes.is_empty() => Ok(Answer::notice("nothing has changed")),
            Ok(changes) => {
                Ok(Answer { notices: changes.into_iter().map(ErrorMessage::notice).collect(), table: None })
            }
            Err(refused) => {
                warn!(mistakes = refused.mistakes.len(), "RELOAD refused");
                Err(configuration_refused(&refused))
            }
        }
    }

    async fn kill_client(&self, id: ClientId) -> Result<Answer, ErrorMessage> {
        let mut found = false;
        for worker in &self.workers {
            let (reply, answer) = oneshot::channel();
            if worker.tell(WorkerCommand::KillClient(id, reply)).await.is_ok() {
                found |= answer.await.unwrap_or(false);
            }
        }
        if found {
            return Ok(Answer::default());
        }
        Err(ErrorMessage::error(SqlState::UNDEFINED_OBJECT, format!("there is no client {}", id.0))
            .with_hint("SHOW CLIENTS shows ids in its last column."))
    }

    fn shutdown(&self, mode: ShutdownMode) -> Answer {
        self.control.shutdown(mode);
        Answer::notice(format!("shutting down {mode}"))
    }

    pub(crate) async fn tell_all(&self, command: impl Fn() -> WorkerCommand) {
        for worker in &self.workers {
            // A worker that has ended has nothing left to do it to.
            let _ = worker.tell(command()).await;
        }
    }

    pub(crate) fn check_database(&self, scope: &PauseScope) -> Result<(), ErrorMessage> {
        match scope {
            PauseScope::Database(name) if self.control.world().database(name).is_none() => {
                Err(no_database(name))
            }
            PauseScope::Database(_) | PauseScope::All => Ok(()),
        }
    }
}

pub(crate) fn configuration_refused(refused: &ReloadRefused) -> ErrorMessage {
    /// config_file_error, as PgBouncer answers.
    const CONFIG_FILE_ERROR: &[u8] = b"F0000";
    let code = SqlState::from_bytes(CONFIG_FILE_ERROR).unwrap_or(SqlState::INTERNAL_ERROR);
    ErrorMessage::error(code, refused.to_string())
        .with_detail(refused.mistakes.join("\n"))
        .with_hint("The configuration that was in force still is.")
}

pub(crate) fn no_database(name: &str) -> ErrorMessage {
    ErrorMessage::error(SqlState::INVALID_CATALOG_NAME, format!("there is no database \"{name}\""))
        .with_hint("SHOW DATABASES shows those there are.")
}

impl Answer {
    pub(crate) fn table(table: Table) -> Self {
        Self { notices: Vec::new(), table: Some(table) }
    }

    pub(crate) fn notice(text: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self { notices: vec![ErrorMessage::notice(text)], table: None }
    }
}

fn select(constant: &Constant, client: &ConsoleClient) -> Table {
    let mut table = Table::new(show::constant_columns(constant));
    table.push([match constant {
        Constant::Int(value) => (*value).into(),
        Constant::Text(text) => text.clone().into(),
        Constant::Version => show::VERSION.into(),
        Constant::Database => "pgherd".into(),
        Constant::User => client.user.to_string().into(),
        Constant::InRecovery => false.into(),
    }]);
    table
}

/// What these locks guard is replaced as a whole, so a panic elsewhere leaves it whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

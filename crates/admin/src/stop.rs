//! What stops things for a while, and lets them go on.

use std::collections::BTreeSet;

use session::{Command as WorkerCommand, PauseScope};
use tokio::sync::oneshot;
use tracing::warn;
use wire::{SqlState, message::error::ErrorMessage};

use crate::{
    command::Command,
    console::{Answer, Console, lock},
};

/// What is stopped by the console's word.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paused {
    pub(crate) all: bool,
    pub(crate) suspended: bool,
    pub(crate) databases: BTreeSet<Box<str>>,
}

impl Paused {
    fn add(&mut self, scope: &PauseScope) {
        match scope {
            PauseScope::All => self.all = true,
            PauseScope::Database(name) => drop(self.databases.insert(name.clone())),
        }
    }

    /// Whether there was something to remove.
    fn remove(&mut self, scope: &PauseScope) -> bool {
        match scope {
            PauseScope::All => {
                let any = self.all || self.suspended || !self.databases.is_empty();
                *self = Self::default();
                any
            }
            PauseScope::Database(name) => self.databases.remove(name),
        }
    }

    pub(crate) fn covers(&self, database: &str) -> bool {
        self.all || self.databases.contains(database)
    }
}

impl Console {
    /// Answers when no server connection is in use any more.
    pub(crate) async fn pause(&self, scope: &PauseScope) -> Result<Answer, ErrorMessage> {
        self.check_database(scope)?;
        lock(&self.paused).add(scope);
        self.when_all(|done| WorkerCommand::Pause(scope.clone(), done)).await;
        Ok(Answer::default())
    }

    /// Answers when nothing is left in any buffer.
    pub(crate) async fn suspend(&self) -> Answer {
        lock(&self.paused).suspended = true;
        self.when_all(WorkerCommand::Suspend).await;
        Answer::default()
    }

    pub(crate) async fn resume(&self, scope: &PauseScope) -> Result<Answer, ErrorMessage> {
        self.check_database(scope)?;
        if !lock(&self.paused).remove(scope) {
            let what = match scope {
                PauseScope::All => "nothing is paused".to_owned(),
                PauseScope::Database(name) => format!("database \"{name}\" was not paused by itself"),
            };
            return Err(ErrorMessage::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, what)
                .with_hint("SHOW DATABASES and SHOW STATE show what is paused."));
        }
        self.tell_all(|| WorkerCommand::Resume(scope.clone())).await;
        Ok(Answer::default())
    }

    /// Ends clients and server connections. New clients wait until RESUME, as in PgBouncer: so that a database can
    /// be dropped or moved meanwhile.
    pub(crate) async fn kill(&self, scope: &PauseScope) -> Result<Answer, ErrorMessage> {
        self.check_database(scope)?;
        lock(&self.paused).add(scope);
        // whether all is quiet already is not waited for: clients that are ended do not finish first
        self.tell_all(|| WorkerCommand::Pause(scope.clone(), oneshot::channel().0)).await;
        self.tell_all(|| WorkerCommand::Kill(scope.clone())).await;
        self.tell_all(|| WorkerCommand::Reconnect(scope.clone())).await;
        Ok(Answer::default())
    }

    pub(crate) fn disable(&self, name: &str) -> Result<Answer, ErrorMessage> {
        self.check_database(&PauseScope::Database(name.into()))?;
        self.control.world().disabled.disable(name);
        Ok(Answer::default())
    }

    pub(crate) fn enable(&self, name: &str) -> Result<Answer, ErrorMessage> {
        self.check_database(&PauseScope::Database(name.into()))?;
        self.control.world().disabled.enable(name);
        Ok(Answer::default())
    }

    /// A client left while it waited for what it stopped: nobody would let it go on.
    pub(crate) async fn abandon(&self, command: &Command) {
        let scope = match command {
            Command::Pause(scope) => scope,
            Command::Suspend => &PauseScope::All,
            _ => return,
        };
        warn!("a console client left during {}: resuming", command.name());
        let _ = self.resume(scope).await; // somebody else may have resumed it meanwhile
    }

    /// Tells all workers and waits until all have answered.
    pub(crate) async fn when_all(&self, command: impl Fn(oneshot::Sender<()>) -> WorkerCommand) {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (done, when_done) = oneshot::channel();
            if worker.tell(command(done)).await.is_ok() {
                answers.push(when_done);
            }
        }
        for when_done in answers {
            let _ = when_done.await; // a worker that has ended has nothing left to wait for
        }
    }
}

//! What stops things for a while, and lets them go on.

use std::collections::BTreeSet;

use session::{Command as WorkerCommand, PauseScope, Resumption};
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

    /// Whether this very thing was stopped.
    fn has(&self, scope: &PauseScope) -> bool {
        match scope {
            PauseScope::All => self.all,
            PauseScope::Database(name) => self.databases.contains(name),
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
        self.until_stopped(|done| WorkerCommand::Pause(scope.clone(), done)).await
    }

    /// Answers when nothing is left in any buffer.
    pub(crate) async fn suspend(&self) -> Result<Answer, ErrorMessage> {
        lock(&self.paused).suspended = true;
        self.until_stopped(WorkerCommand::Suspend).await
    }

    async fn until_stopped(
        &self,
        command: impl Fn(oneshot::Sender<()>) -> WorkerCommand,
    ) -> Result<Answer, ErrorMessage> {
        match self.when_all(command).await {
            Answered::ByAll => Ok(Answer::default()),
            Answered::NotByAll => {
                let text = "it was resumed before everything had stopped";
                Err(ErrorMessage::error(SqlState::QUERY_CANCELED, text).with_hint(
                    "Somebody else used RESUME. SHOW STATE and SHOW DATABASES show what is paused.",
                ))
            }
        }
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
        let what = match scope {
            PauseScope::All => Resumption::All,
            PauseScope::Database(_) => Resumption::Pause(scope.clone()),
        };
        self.tell_all(|| WorkerCommand::Resume(what.clone())).await;
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

    /// What is stopped at present.
    pub(crate) fn stopped(&self) -> Paused {
        lock(&self.paused).clone()
    }

    /// A client left while it waited for what it stopped: nobody would let that go on. What was stopped `before` stays so.
    pub(crate) async fn abandon(&self, command: &Command, before: &Paused) {
        let what = {
            let mut paused = lock(&self.paused);
            match command {
                Command::Pause(scope) if !before.has(scope) && paused.has(scope) => {
                    match scope {
                        PauseScope::All => paused.all = false,
                        PauseScope::Database(name) => drop(paused.databases.remove(name)),
                    }
                    Resumption::Pause(scope.clone())
                }
                Command::Suspend if !before.suspended && paused.suspended => {
                    paused.suspended = false;
                    Resumption::Suspension
                }
                _ => return,
            }
        };
        warn!("a console client left during {}: resuming", command.name());
        self.tell_all(|| WorkerCommand::Resume(what.clone())).await;
    }

    /// Tells all workers and waits until all have answered, or will not any more.
    pub(crate) async fn when_all(&self, command: impl Fn(oneshot::Sender<()>) -> WorkerCommand) -> Answered {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (done, when_done) = oneshot::channel();
            if worker.tell(command(done)).await.is_ok() {
                answers.push(when_done);
            }
        }
        let mut answered = Answered::ByAll;
        for when_done in answers {
            if when_done.await.is_err() {
                answered = Answered::NotByAll;
            }
        }
        answered
    }
}

/// How a question to all workers was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// As it was meant.
    ByAll,
    /// By some not at all: what they were asked for will not come about.
    NotByAll,
}

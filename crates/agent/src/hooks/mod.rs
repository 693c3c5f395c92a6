//! Commands of the operator's, for what an agent would do, or for what only the operator knows how to do.

mod template;

pub use template::{Template, UnknownPlaceholder};

use std::{env, fmt, future::pending, time::Duration};

use tokio::process::Command;

use crate::program::{self, ProgramError};

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Another node has become the primary.
    Failover,
    /// A standby has to follow another primary.
    FollowPrimary,
    /// A node that fell behind or away has to come back as a standby.
    Rejoin,
    /// PostgreSQL has to be started.
    Start,
    /// PostgreSQL has to be stopped.
    Stop,
    /// PostgreSQL has to be restarted.
    Restart,
    /// A node must not take writes any more, by whatever it takes.
    Fence,
    /// It may again.
    Unfence,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Failover,
        Self::FollowPrimary,
        Self::Rejoin,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Fence,
        Self::Unfence,
    ];

    /// Its key in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failover => "failover_command",
            Self::FollowPrimary => "follow_primary_command",
            Self::Rejoin => "rejoin_command",
            Self::Start => "start_command",
            Self::Stop => "stop_command",
            Self::Restart => "restart_command",
            Self::Fence => "fence_command",
            Self::Unfence => "unfence_command",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A node, as commands are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Its position in the configuration, from 0.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// PostgreSQL's TCP port.
    pub port: u16,
    /// Its data folder; empty if that is not configured.
    pub data_directory: String,
}

/// What a command is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// The cluster's name.
    pub cluster: String,
    /// The node that it is about: the one that failed, has to follow, or has to be started.
    pub node: Party,
    /// The primary from now on, if there is one.
    pub new_primary: Option<Party>,
    /// The primary before.
    pub old_primary: Option<Party>,
}

/// Which commands there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookSettings {
    /// Each hook at most once.
    pub commands: Vec<(Hook, Template)>,
    /// How long a command may take.
    pub timeout: Duration,
}

/// Runs commands.
#[derive(Debug, Clone, Default)]
pub struct Hooks(HookSettings);

/// What a command has printed, at the end of each of its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Why a command did not do what it is for.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// There is none.
    #[error("there is no {0}")]
    Missing(Hook),
    /// It says so itself.
    #[error("{hook} ended with {status}: {words}")]
    Failed {
        /// Which.
        hook: Hook,
        /// Its exit status, in words.
        status: String,
        /// What it said last.
        words: String,
    },
    /// It did not come to its end.
    #[error("{hook}: {why}")]
    Unended {
        /// Which.
        hook: Hook,
        /// Why, in words.
        why: String,
    },
}

impl Hooks {
    /// These.
    #[must_use]
    pub fn new(settings: HookSettings) -> Self {
        Self(settings)
    }

    /// The command for something.
    #[must_use]
    pub fn command(&self, hook: Hook) -> Option<&Template> {
        self.0.commands.iter().find(|(its, _)| *its == hook).map(|(_, template)| template)
    }

    /// What a command would be, for the eyes of an operator.
    #[must_use]
    pub fn script(&self, hook: Hook, scene: &Scene) -> Option<String> {
        Some(self.command(hook)?.render(scene).script)
    }

    /// Runs a command by `sh -c`, as Pgpool-II does, for as long as it may take and `limit` lasts. What it prints is
    /// logged.
    ///
    /// # Errors
    /// [`HookError`]; an exit status other than 0 is one.
    ///
    /// # Cancel safety
    /// A dropped future kills the shell, but not what that has started.
    pub async fn run(&self, hook: Hook, scene: &Scene, limit: Duration) -> Result<Output, HookError> {
        let template = self.command(hook).ok_or(HookError::Missing(hook))?;
        let rendered = template.render(scene);
        let mut command = Command::new("sh");
        command.arg("-c").arg(&rendered.script).envs(rendered.variables);
        for (variable, _) in env::vars_os() {
            // settings of ours may be secrets
            let name = variable.to_string_lossy();
            if name.starts_with("PGHERD__") || name == "DATABASE_URL" {
                command.env_remove(&variable);
            }
        }
        let name = |party: &Option<Party>| party.as_ref().map(|party| party.name.clone()).unwrap_or_default();
        command
            .env("PGHERD_HOOK", hook.name())
            .env("PGHERD_CLUSTER", &scene.cluster)
            .env("PGHERD_NODE", &scene.node.name)
            .env("PGHERD_NEW_PRIMARY", name(&scene.new_primary))
            .env("PGHERD_OLD_PRIMARY", name(&scene.old_primary));
        tracing::info!(%hook, node = scene.node.name, "running");
        let finished = program::run(command, limit.min(self.0.timeout), pending()).await;
        let finished = finished.map_err(|error| unended(hook, &error))?;
        for line in finished.stdout.lines().chain(finished.stderr.lines()) {
            tracing::info!(%hook, node = scene.node.name, "{line}");
        }
        if finished.status.success() {
            return Ok(Output { stdout: finished.stdout, stderr: finished.stderr });
        }
        let (status, words) = (finished.status.to_string(), finished.last_words());
        Err(HookError::Failed { hook, status, words })
    }
}

fn unended(hook: Hook, error: &ProgramError) -> HookError {
    HookError::Unended { hook, why: error.to_string() }
}

//! The programs that PostgreSQL brings along.

use std::{env, future::pending, path::PathBuf, sync::PoisonError, time::Duration};

use tokio::process::Command;

use super::{Node, control, machine};
use crate::{
    api::{Control, Kind, Refusal},
    program::{self, Finished, ProgramError},
};

/// How long a program may take that only looks at files.
const LOOK: Duration = Duration::from_secs(10);

impl Node {
    /// Where a program is: in `bin_dir`, else in Debian's folder for the version of the data, else where `PATH` leads.
    pub(super) fn program_path(&self, name: &str) -> PathBuf {
        if let Some(folder) = &self.settings.postgres.bin_dir {
            return folder.join(name);
        }
        let debian =
            self.places.major_version().map(|major| format!("/usr/lib/postgresql/{major}/bin/{name}"));
        debian.map(PathBuf::from).filter(|path| path.is_file()).unwrap_or_else(|| name.into())
    }

    /// A program, free of the agent's own `PG…` variables, that prints what can be read by programs.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program_path(name));
        for (variable, _) in env::vars_os() {
            if variable.to_str().is_some_and(|text| text.starts_with("PG")) {
                command.env_remove(variable);
            }
        }
        command.env("LC_ALL", "C").current_dir(self.places.parent());
        command
    }

    /// A shell command of the operator's.
    pub(super) fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(self.places.parent());
        command.env("PGHERD_DATA_DIR", &self.places.data);
        command
    }

    /// Runs a program that only looks at files to its end.
    async fn look(&self, command: Command) -> Result<String, Refusal> {
        let finished = program::run(command, LOOK, pending()).await.map_err(refused)?;
        if finished.status.success() {
            Ok(finished.stdout)
        } else {
            Err(machine("PostgreSQL's program failed", &finished.last_words()))
        }
    }

    /// What the control file says.
    pub(super) async fn control(&self) -> Result<Control, Refusal> {
        let mut command = self.command("pg_controldata");
        command.arg("-D").arg(&self.places.data);
        let text = self.look(command).await?;
        control::parse(&text)
            .ok_or_else(|| Refusal::new(Kind::Machine, "pg_controldata does not say what is expected"))
    }

    /// The programs' version, such as `15.14`. Asked for once.
    pub(super) async fn version(&self) -> Option<String> {
        let known = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return known;
        }
        let mut command = self.command("postgres");
        command.arg("--version");
        let text = self.look(command).await.ok()?;
        let version = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?.to_owned();
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.clone());
        Some(version)
    }

    /// The value of a setting in the node's own configuration files, whether the server runs or not.
    pub(super) async fn configured(&self, setting: &str) -> Result<String, Refusal> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(&self.places.data);
        if let Some(path) = &self.settings.postgres.config_file {
            command.arg("-c").arg(format!("config_file={}", path.display()));
        }
        command.args(["-C", setting]);
        Ok(self.look(command).await?.trim_end_matches('\n').to_owned())
    }

    /// Runs something that may take long. It is ended when the agent is.
    pub(super) async fn run_long(&self, command: Command, limit: Duration) -> Result<Finished, Refusal> {
        program::run(command, limit, self.until_the_end()).await.map_err(refused)
    }
}

/// A program that did not come to its own end.
pub(super) fn refused(error: ProgramError) -> Refusal {
    let kind = match error {
        ProgramError::Timeout(_) => Kind::Timeout,
        ProgramError::Stopped => Kind::Ending,
        ProgramError::Spawn(..) | ProgramError::Wait(_) => Kind::Machine,
    };
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    Refusal::new(kind, format!("{error}{source}"))
}

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use lab::Cluster;

/// The pgherd binary, as its users run it.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    binary: PathBuf,
    directory: PathBuf,
    /// Where the user whom the servers run as can reach it.
    for_servers: PathBuf,
}

impl Program {
    /// Sees to it that the servers' user can run it too: where it was built may be closed to them.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub(crate) fn prepare(binary: &Path, cluster: &Cluster) -> Result<Self> {
        let directory = cluster.directory().to_owned();
        let mut program = Self { binary: binary.to_owned(), for_servers: binary.to_owned(), directory };
        let mut trial = program.as_server(cluster);
        let is_reached = trial.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
        if !is_reached.is_ok_and(|status| status.success()) {
            let copy = program.directory.join("pgherd");
            // of an earlier run of a kept demo
            let _ = fs::remove_file(&copy);
            // a copy has the permissions of the original too
            fs::hard_link(binary, &copy)
                .or_else(|_| fs::copy(binary, &copy).map(drop))
                .with_context(|| format!("could not copy {}", binary.display()))?;
            program.for_servers = copy;
        }
        Ok(program)
    }

    /// A command, to be given arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        forget_overrides(&mut command);
        command.current_dir(&self.directory);
        command
    }

    /// The same, to be run as the user whom the servers run as.
    pub(crate) fn as_server(&self, cluster: &Cluster) -> Command {
        let mut command = Command::new(&self.for_servers);
        forget_overrides(&mut command);
        cluster.run_as_server(&mut command);
        command
    }

    /// Runs it to its end and gives what it prints.
    ///
    /// # Errors
    /// When it fails, with what it says about that.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command();
        let output = command.args(arguments).stdin(Stdio::null()).process_group(0).output();
        let output = output.with_context(|| format!("could not start {}", self.binary.display()))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("{}", words.trim().trim_start_matches("pgherd: "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Overrides that are meant for another pgherd would go over the demo's configuration.
fn forget_overrides(command: &mut Command) {
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PGHERD__")) {
        command.env_remove(name);
    }
}

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{account::Account, directory::Directory, signal, warden::Warden};

/// A directory for programs other than PostgreSQL's that run beside it or start it themselves, such as Patroni and
/// etcd. It belongs to the user that servers run as. When it is dropped, or its owner killed, the processes in it are
/// ended (those begun by [`Sandbox::spawn`], and PostgreSQL's) and it is removed.
#[derive(Debug)]
pub struct Sandbox {
    path: PathBuf,
    account: Account,
    // Last: it removes the directory.
    _warden: Warden,
}

impl Sandbox {
    /// Makes one in the system's temporary directory.
    ///
    /// # Errors
    /// When it cannot be made, or the servers' user cannot enter it.
    pub fn new() -> Result<Self> {
        let account = Account::choose()?;
        let directory = Directory::prepare(None)?;
        let path = directory.path().to_owned();
        let warden = Warden::post(&path, false, directory.into_lock())?;
        account.check_reach(&path)?;
        account.give(&path)?;
        Ok(Self { path, account, _warden: warden })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that belongs to the servers' user and that nobody else can read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        crate::write_private(&path, content)?;
        self.account.give(&path)?;
        Ok(path)
    }

    /// A program that runs as the servers' user in the directory, in a process group of its own and without the caller's
    /// `PG…` and `PATRONI…` variables.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (variable, _) in env::vars_os() {
            if variable.to_str().is_some_and(|text| text.starts_with("PG") || text.starts_with("PATRONI")) {
                command.env_remove(variable);
            }
        }
        self.account.apply(&mut command);
        command
            .env("HOME", &self.path)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Starts a program whose output goes to `name.log`.
    ///
    /// # Errors
    /// When it does not start, or cannot enter its own folder (a folder below /root, say).
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Child> {
        let log =
            fs::File::options().create(true).append(true).open(self.path.join(format!("{name}.log")))?;
        let program = command.get_program().to_owned();
        let errors = log.try_clone()?;
        let child = command.stdout(log).stderr(errors).spawn();
        let child = child.with_context(|| format!("{} does not start", Path::new(&program).display()))?;
        // The warden ends what these files name if the owner is killed.
        fs::write(self.path.join(format!("{name}.pid")), format!("{}\n", child.id()))?;
        Ok(child)
    }

    /// The end of what a program has logged, for whoever wonders why it failed.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Sends a signal to the PostgreSQL whose data directory is `name`; false: there is none.
    ///
    /// # Errors
    /// When it is somebody else's.
    pub fn signal_postgres(&self, name: &str, which: crate::Signal) -> Result<bool> {
        let file = self.path.join(name).join("postmaster.pid");
        let Ok(text) = fs::read_to_string(file) else { return Ok(false) };
        let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()) else {
            return Ok(false);
        };
        signal(pid, which)?;
        Ok(true)
    }
}

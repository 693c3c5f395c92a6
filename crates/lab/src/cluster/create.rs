use std::{fs, thread};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    Accounts, Cluster,
    record::{Record, new_nodes},
};
use crate::{
    account::Account,
    binaries::Binaries,
    command::{connect_to, program, run},
    directory::{Directory, Origin, write_private},
    node::Node,
    options::{Login, Options},
    port::Reservation,
    secret::random_password,
    warden::Warden,
};

impl Cluster {
    /// Makes a cluster, or starts a kept one again, and waits until all standbys stream.
    ///
    /// # Errors
    /// When no PostgreSQL server programs are found, the directory is not usable, or a server does not start.
    /// Nothing is left behind then (a kept directory stays as it was).
    pub fn start(mut options: Options) -> Result<Self> {
        let binaries = Binaries::find()?;
        let account = Account::choose()?;
        let directory = Directory::prepare(options.directory.as_deref())?;
        let path = directory.path().to_owned();
        let is_kept = directory.origin() == Origin::Kept;
        // First of all, so that whatever fails from here on is cleaned up.
        let warden = Warden::post(&path, is_kept, directory.into_lock())?;
        account.check_reach(&path)?;
        let (nodes, reservations, accounts) = if is_kept {
            let record = Record::read(&path)?;
            let (nodes, reservations) = record.nodes(&path)?;
            options.database = record.database;
            (nodes, reservations, record.accounts)
        } else {
            let (nodes, reservations) = new_nodes(&options, &path)?;
            (nodes, reservations, Accounts::generate(&options.role)?)
        };
        let keep = std::mem::replace(&mut options.keep, is_kept);
        let mut cluster = Self { binaries, account, directory: path, options, accounts, nodes, warden };
        cluster.make_socket_directory()?;
        if is_kept {
            cluster.open(reservations)?;
        } else {
            cluster.create(reservations)?;
        }
        cluster.write_record()?;
        cluster.options.keep = keep;
        cluster.warden.tell_keep(keep)?;
        Ok(cluster)
    }

    /// Makes the first primary and copies the standbys from it.
    fn create(&self, reservations: Vec<Reservation>) -> Result<()> {
        let mut reservations = reservations.into_iter();
        self.initdb(self.node(0))?;
        reservations.next().map(Reservation::release);
        self.start_node(0)?;
        self.psql(0, &self.bootstrap_sql())?;
        self.in_parallel(1..self.nodes.len(), reservations.collect(), |index, reservation| {
            self.copy_from(index, 0)?;
            reservation.release();
            self.start_node(index)?;
            self.wait_for_streaming(index, 0)
        })
    }

    /// Starts what a kept directory holds, in the roles it was left in.
    fn open(&self, reservations: Vec<Reservation>) -> Result<()> {
        let is_standby = |index: usize| self.node(index).data().join("standby.signal").exists();
        let (standbys, primaries): (Vec<_>, Vec<_>) =
            reservations.into_iter().enumerate().partition(|&(index, _)| is_standby(index));
        for (index, reservation) in primaries {
            self.write_lab_conf(self.node(index), None)?;
            reservation.release();
            self.start_node(index)?;
        }
        let primary = self.primary().context("the kept cluster has no primary")?;
        let (indices, reservations): (Vec<_>, Vec<_>) = standbys.into_iter().unzip();
        self.in_parallel(indices, reservations, |index, reservation| {
            reservation.release();
            self.write_lab_conf(self.node(index), Some(self.node(primary)))?;
            self.rejoin(index)
        })?;
        // A second one that was left without the signal is an old primary that nobody had brought back.
        for index in 0..self.nodes.len() {
            if index != primary && !is_standby(index) {
                self.rejoin(index)?;
            }
        }
        Ok(())
    }

    /// Does one thing for each of some nodes at a time, and reports the first failure.
    fn in_parallel(
        &self,
        indices: impl IntoIterator<Item = usize>,
        reservations: Vec<Reservation>,
        work: impl Fn(usize, Reservation) -> Result<()> + Sync,
    ) -> Result<()> {
        thread::scope(|scope| {
            let work = &work;
            let pairs = indices.into_iter().zip(reservations);
            let threads: Vec<_> =
                pairs.map(|(index, port)| (index, scope.spawn(move || work(index, port)))).collect();
            let results = threads.into_iter().map(|(index, thread)| {
                let result = thread.join().unwrap_or_else(|_| Err(anyhow!("the thread panicked")));
                result.with_context(|| format!("standby {}", self.node(index).name()))
            });
            results.fold(Ok(()), Result::and)
        })
    }

    /// Makes a new data directory with the superuser and no trust.
    fn initdb(&self, node: &Node) -> Result<()> {
        let password_file = self.directory.join("superuser.password");
        write_private(&password_file, &self.superuser().password)?;
        self.account.give(&password_file)?;
        let make = |locale: &str| {
            self.make_data_directory(node)?;
            let mut command = program(&self.binaries, "initdb", &self.account, &self.directory);
            command.arg("-D").arg(node.data()).arg("-U").arg(&self.superuser().user);
            command.arg("--pwfile").arg(&password_file);
            command.args(["--auth-local=scram-sha-256", "--auth-host=scram-sha-256"]);
            command.args(["--encoding=UTF8", &format!("--locale={locale}")]);
            if !self.options.fsync {
                command.arg("--no-sync");
            }
            run(&mut command)
        };
        // Not every system has C.UTF-8; every one has C.
        let made = make("C.UTF-8").or_else(|_| make("C"));
        fs::remove_file(&password_file).context("could not remove the password file")?;
        made?;
        self.include_lab_conf(node)?;
        self.write_lab_conf(node, None)
    }

    /// Replaces a node's data directory with a copy of the primary's, ready to start as a standby.
    pub(super) fn copy_from(&self, index: usize, primary: usize) -> Result<()> {
        let (node, primary_node) = (self.node(index), self.node(primary));
        self.make_data_directory(node)?;
        self.ensure_slot(index, primary)?;
        if self.binaries.program("pg_basebackup").is_file() {
            self.base_backup(node, primary_node)?;
        } else {
            self.copy_files(index, primary)?;
        }
        self.write_lab_conf(node, Some(primary_node))?;
        self.write_standby_signal(node)
    }

    fn base_backup(&self, node: &Node, primary_node: &Node) -> Result<()> {
        let mut command = program(&self.binaries, "pg_basebackup", &self.account, &self.directory);
        connect_to(&mut command, primary_node.port(), self.monitor(), "postgres");
        command.arg("-D").arg(node.data()).args(["--slot", &node.slot()]);
        command.args(["--wal-method=stream", "--checkpoint=fast", "--no-password"]);
        if !self.options.fsync {
            command.arg("--no-sync");
        }
        run(&mut command).map(drop)
    }

    /// Copies a running primary's data directory as the manual's "Making a Base Backup Using the Low Level API" does.
    /// The WAL is left out: the slot keeps it, and the standby streams it.
    fn copy_files(&self, index: usize, primary: usize) -> Result<()> {
        let [from, to] = [primary, index].map(|index| self.node(index).data().to_string_lossy().into_owned());
        if from.contains(['\'', '\\', '\n']) {
            bail!(
                "without pg_basebackup a cluster in {from} cannot get standbys: its path would need quoting"
            );
        }
        let (start, stop) = if self.binaries.major() < 15 {
            ("pg_start_backup('lab', true, false)", "pg_stop_backup(false, false)")
        } else {
            ("pg_backup_start('lab', true)", "pg_backup_stop(false)")
        };
        // Both calls in one session. Files may vanish under cp; recovery makes up for that.
        let script = format!(
            "set client_min_messages = warning;\nselect {start};\n\
             \\! cp -a '{from}/.' '{to}/' 2>/dev/null\n\
             \\! cd '{to}' && rm -rf postmaster.pid postmaster.opts pg_wal/* pg_replslot/* pg_dynshmem/*\n\
             select labelfile from {stop} \\g '{to}/backup_label'\n"
        );
        self.psql(primary, &script).map(drop)
    }

    /// Roles and the database; the monitor may do all that following takes (`pgherd init-sql`). Passwords are hexadecimal and names checked, so nothing needs quoting.
    fn bootstrap_sql(&self) -> String {
        let (application, monitor) = (self.application(), self.monitor());
        let database = self.database();
        format!(
            "create role {} login replication password '{}';\n\
             grant pg_monitor to {};\n\
             grant select on pg_hba_file_rules to {};\n\
             grant execute on function pg_hba_file_rules() to {};\n\
             create role {} login password '{}';\n\
             create database {database} owner {};\n",
            monitor.user,
            monitor.password,
            monitor.user,
            monitor.user,
            monitor.user,
            application.user,
            application.password,
            application.user,
        )
    }
}

impl Accounts {
    /// New passwords for all.
    fn generate(role: &str) -> Result<Self> {
        let login = |user: &str| -> Result<Login> {
            Ok(Login { user: user.to_owned(), password: random_password()? })
        };
        Ok(Self { superuser: login("postgres")?, application: login(role)?, monitor: login("pgherd")? })
    }
}

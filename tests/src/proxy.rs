use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use lab::{Cluster, Login, Reservation, Signal};
use testkit::{Client, ConnectionParameters};
use tokio::time::{Instant, sleep};
use wire::message::startup::PROTOCOL_3_0;

use crate::{Configuration, eventually, pgherd, shared, wait::POLL};

/// How long a proxy may take to serve.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long a proxy may take to end; tests configure a shutdown timeout of 2 s.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How much of its log is shown when a test fails.
const LOG_LINES: usize = 60;

/// One pgherd process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    cluster: Arc<Cluster>,
    admin: Login,
    database: String,
    region: String,
    /// A port for each listener: its policy's name and its number.
    ports: Vec<(String, u16)>,
    /// Path of all its files, apart from the extension.
    files: PathBuf,
    environment: Vec<(String, String)>,
    configuration: Mutex<Configuration>,
    process: Mutex<Option<Child>>,
}

impl Proxy {
    pub(crate) fn start(
        cluster: &Arc<Cluster>,
        database: &str,
        admin: &Login,
        region: &str,
        policies: &[String],
        mut configuration: Configuration,
        environment: &[(String, String)],
    ) -> Self {
        let reserve = |_: &String| Reservation::any().expect("a port is free");
        let reservations: Vec<Reservation> = policies.iter().map(reserve).collect();
        configuration.set("proxy.region", region);
        for (at, (policy, reservation)) in policies.iter().zip(&reservations).enumerate() {
            configuration.set(&format!("listen.{at}.address"), format!("127.0.0.1:{}", reservation.port()));
            configuration.set(&format!("listen.{at}.policy"), policy.as_str());
        }
        let ports =
            policies.iter().cloned().zip(reservations.into_iter().map(Reservation::release)).collect();
        let name = format!("proxy-{}-{region}", shared::next_number());
        let proxy = Self {
            cluster: Arc::clone(cluster),
            admin: admin.clone(),
            database: database.to_owned(),
            region: region.to_owned(),
            ports,
            files: cluster.directory().join(name),
            environment: environment.to_vec(),
            configuration: Mutex::new(configuration),
            process: Mutex::new(None),
        };
        proxy.write_configuration(|_| {});
        proxy.spawn();
        proxy
    }

    /// Starts the process, which must not run, with the file as it is. Does not wait until it serves.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(&self) {
        let previous = self.launch(&[]);
        assert!(previous.is_none(), "the proxy runs already");
    }

    /// Starts a new process that takes over from the present one, and waits until it has. Gives the old one, which goes
    /// on to serve its clients.
    ///
    /// # Panics
    /// When none runs, or the new one does not take over in time.
    #[must_use]
    pub fn replace(&self) -> Predecessor {
        let taken = || self.log().matches("took over").count();
        let before = taken();
        let previous = self.launch(&["--takeover"]).expect("the proxy runs");
        let previous = Predecessor(previous);
        eventually("the new process has taken over", START_PATIENCE, || {
            assert!(self.pid().is_some(), "the proxy has ended:\n{}", self.log());
            (taken() > before).then_some(())
        });
        previous
    }

    /// Starts a process in the place of the present one.
    fn launch(&self, arguments: &[&str]) -> Option<Child> {
        let log =
            File::options().create(true).append(true).open(self.log_file()).expect("the folder is ours");
        let errors = log.try_clone().expect("descriptors are left");
        let mut command = Command::new(pgherd());
        command
            .arg("run")
            .args(arguments)
            .arg("-c")
            .arg(self.file("toml"))
            .current_dir(self.cluster.directory());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = command.spawn().expect("the binary was built");
        // The cluster's warden ends what these files name if the tests are killed.
        fs::write(self.file("pid"), format!("{}\n", child.id())).expect("the folder is ours");
        self.process().replace(child)
    }

    /// Waits until all its ports accept connections.
    ///
    /// # Panics
    /// When that takes too long, or the process ends instead.
    pub fn wait_until_listening(&self) {
        eventually("the proxy listens", START_PATIENCE, || {
            assert!(self.pid().is_some(), "the proxy has ended:\n{}", self.log());
            self.ports.iter().all(|&(_, port)| TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(())
        });
    }

    /// Waits until a client is served.
    ///
    /// # Panics
    /// When that takes too long, or the process ends instead.
    pub fn wait_until_ready(&self) {
        eventually("the proxy serves", START_PATIENCE, || {
            assert!(self.pid().is_some(), "the proxy has ended:\n{}", self.log());
            self.cluster.psql_at(self.port(), self.cluster.application(), &self.database, "select 1").ok()
        });
    }

    /// Waits until it has heard of all nodes, and of how far behind each standby is: until then reads go to the primary.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_until_standbys_are_known(&self) {
        /// Columns of SHOW NODES.
        const HEALTH: usize = 7;
        const LAG_BYTES: usize = 11;
        const LAG_MS: usize = 12;
        let is_known = |line: &str| {
            let cells: Vec<&str> = line.split('|').collect();
            cells[HEALTH] != "unknown" && (cells[LAG_BYTES].is_empty() || !cells[LAG_MS].is_empty())
        };
        eventually("the lag of all standbys is known", START_PATIENCE, || {
            let nodes = self.cluster.psql_at(self.port(), &self.admin, "pgherd", "show nodes").ok()?;
            nodes.lines().all(is_known).then_some(())
        });
    }

    /// Its region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The port of its listener with the policy `smart`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port_of("smart")
    }

    /// The port of its listener with a policy: `smart`, `read-write` or `read-only`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn port_of(&self, policy: &str) -> u16 {
        let found = self.ports.iter().find(|(its, _)| its == policy);
        found.unwrap_or_else(|| panic!("no listener is {policy}")).1
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let mut process = self.process();
        let child = process.as_mut()?;
        child.try_wait().expect("the process is ours").is_none().then(|| child.id())
    }

    /// How the role `app` connects to the herd's database.
    #[must_use]
    pub fn app(&self) -> ConnectionParameters {
        parameters(self.port(), self.cluster.application(), &self.database)
    }

    /// How any role connects to any database.
    #[must_use]
    pub fn login(&self, login: &Login, database: &str) -> ConnectionParameters {
        parameters(self.port(), login, database)
    }

    /// The role `app` in the herd's database.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn connect(&self) -> Client {
        self.app().connect().await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// The same through the listener with this policy.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn connect_to(&self, policy: &str) -> Client {
        let parameters = parameters(self.port_of(policy), self.cluster.application(), &self.database);
        parameters.connect().await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// Who may do everything in the console.
    #[must_use]
    pub fn admin_login(&self) -> &Login {
        &self.admin
    }

    /// The console, as administrator.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn admin(&self) -> Client {
        let parameters = parameters(self.port(), &self.admin, "pgherd");
        parameters.connect().await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// Waits until at least `count` clients of the herd's database wait for a server connection.
    ///
    /// # Panics
    /// When they do not in time.
    pub async fn until_waiting(&self, count: u32) {
        let mut admin = self.admin().await;
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let rows = admin.rows("SHOW POOLS").await.expect("the console answers");
            // database, user, cl_active, cl_waiting, …
            let of_herd = rows.iter().filter(|row| row[0].as_deref() == Some(&self.database));
            let waiting: u32 = of_herd.filter_map(|row| row[3].as_deref()?.parse::<u32>().ok()).sum();
            if waiting >= count {
                return;
            }
            assert!(Instant::now() < deadline, "{waiting} clients wait instead of {count}: {rows:?}");
            sleep(POLL).await;
        }
    }

    /// Changes the configuration file. [`Proxy::signal`] with SIGHUP, or RELOAD, make the proxy read it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_configuration(&self, change: impl FnOnce(&mut Configuration)) {
        let mut configuration = self.configuration.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut configuration);
        self.write_configuration_text(&configuration.to_text());
    }

    /// Replaces the configuration file by any text.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_configuration_text(&self, text: &str) {
        use std::io::Write;
        // It holds secrets.
        let file =
            File::options().create(true).write(true).truncate(true).mode(0o600).open(self.file("toml"));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the folder is ours");
    }

    /// The path of its configuration file.
    #[must_use]
    pub fn configuration_file(&self) -> PathBuf {
        self.file("toml")
    }

    /// All that it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Sends a signal to the process, if it runs.
    ///
    /// # Panics
    /// Never for one's own process.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            lab::signal(pid, signal).expect("the process is ours");
        }
    }

    /// Waits until the process has ended; gives how it did.
    ///
    /// # Panics
    /// When it does not run, or does not end in time.
    pub fn wait_for_end(&self) -> ExitStatus {
        let status = eventually("the proxy ends", STOP_PATIENCE, || {
            let mut process = self.process();
            process.as_mut().expect("the proxy was started").try_wait().expect("the process is ours")
        });
        *self.process() = None;
        status
    }

    /// Ends the process at once, if it runs.
    pub fn kill(&self) {
        if let Some(mut child) = self.process().take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Prints the end of its log.
    pub(crate) fn show_log(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        let state = if self.pid().is_some() { "runs" } else { "has ended" };
        eprintln!("--- the proxy in {} {state}; the end of its log:\n{tail}\n---", self.region);
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.files.with_extension(extension)
    }

    fn log_file(&self) -> PathBuf {
        self.file("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that another one has taken over from. It is killed when this is dropped.
#[derive(Debug)]
pub struct Predecessor(Child);

impl Predecessor {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// Never for one's own process.
    pub fn end(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("the process is ours")
    }
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show_log();
        }
        self.kill();
        // The folder goes with the cluster; the warden must not take this id for that of somebody who comes later.
        let _ = fs::remove_file(self.file("pid"));
    }
}

/// How a role connects to a port of 127.0.0.1.
pub(crate) fn parameters(port: u16, login: &Login, database: &str) -> ConnectionParameters {
    ConnectionParameters {
        address: ([127, 0, 0, 1], port).into(),
        user: login.user.clone(),
        password: login.password.clone(),
        database: database.to_owned(),
        more: Vec::new(),
        version: PROTOCOL_3_0,
    }
}

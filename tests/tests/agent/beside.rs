use std::{
    fs::{self, File},
    io::Read as _,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use agent::{Address, Client, ClientTls, SourceRequest, TlsFiles};
use e2e::{eventually, pgherd};
use lab::{Cluster, Options};

use super::PATIENCE;

/// An agent beside one node of a cluster. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Beside {
    cluster: Arc<Cluster>,
    node: usize,
    folder: PathBuf,
    process: Option<Child>,
    address: Option<SocketAddr>,
}

/// A new cluster whose nodes can have agents: their user may write beside the data, and may rewind.
pub(crate) fn cluster(standbys: usize) -> Arc<Cluster> {
    let cluster = Cluster::start(Options { standbys, ..Options::default() }).unwrap();
    cluster.give_to_server(cluster.directory()).unwrap();
    let user = &cluster.monitor().user;
    let functions = [
        "pg_ls_dir(text, boolean, boolean)",
        "pg_stat_file(text, boolean)",
        "pg_read_binary_file(text)",
        "pg_read_binary_file(text, bigint, bigint, boolean)",
    ];
    for function in functions {
        cluster.psql(0, &format!("grant execute on function pg_catalog.{function} to {user}")).unwrap();
    }
    if cluster.binaries().major() >= 15 {
        cluster.psql(0, &format!("grant pg_checkpoint to {user}")).unwrap();
    }
    // for proxies in front of it
    cluster.psql(0, &format!("grant select on pg_authid to {user}")).unwrap();
    cluster.wait_for_all().unwrap();
    Arc::new(cluster)
}

/// Puts pgherd where the servers' user can run it: where it was built may be closed to them.
pub(super) fn place_binary(path: &Path) {
    // a link shares its owner and its content with what was built, so it is never written to
    if !path.exists() && fs::hard_link(pgherd(), path).is_err() {
        fs::copy(pgherd(), path).unwrap();
    }
}

impl Beside {
    /// Starts an agent with its defaults.
    pub(crate) fn start(cluster: &Arc<Cluster>, node: usize) -> Self {
        Self::start_with(cluster, node, "")
    }

    /// Starts an agent; `postgres` are further lines of `[postgres]`.
    pub(crate) fn start_with(cluster: &Arc<Cluster>, node: usize, postgres: &str) -> Self {
        let folder = cluster.directory().join(format!("agent-{}", cluster.node(node).name()));
        fs::create_dir_all(&folder).unwrap();
        let mut beside = Self { cluster: Arc::clone(cluster), node, folder, process: None, address: None };
        beside.prepare(postgres);
        beside.spawn();
        beside
    }

    /// Makes keys with `pgherd keygen`, and the file.
    fn prepare(&self, postgres: &str) {
        let (cluster, name) = (&self.cluster, self.cluster.node(self.node).name());
        let made = Command::new(pgherd())
            .args(["keygen", "--agent", &format!("{name}=127.0.0.1,localhost"), "--dir"])
            .arg(self.keys())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        self.give(&self.keys());
        fs::write(self.folder.join("password"), format!("{}\n", cluster.monitor().password)).unwrap();
        let text = format!(
            "[agent]\nlisten = \"127.0.0.1:{}\"\n\
             [tls]\ncertificate = \"../keys/{name}.crt\"\nkey = \"../keys/{name}.key\"\n\
             root_certificate = \"../keys/ca.crt\"\n\
             [postgres]\ndata_dir = {:?}\nbin_dir = {:?}\nlog_file = {:?}\n{postgres}\n\
             [source]\nuser = {:?}\npassword_file = \"password\"\nsslmode = \"disable\"\n",
            // the same one after it was killed
            lab::free_port().unwrap(),
            cluster.node(self.node).data(),
            cluster.binaries().directory(),
            // the usual place is the lab's own file
            self.folder.join("server.log"),
            cluster.monitor().user,
        );
        fs::write(self.folder.join("agent.toml"), text).unwrap();
        place_binary(&self.binary());
        fs::set_permissions(self.folder.join("password"), fs::Permissions::from_mode(0o600)).unwrap();
        self.give(&self.folder);
    }

    fn give(&self, path: &Path) {
        self.cluster.give_to_server(path).unwrap();
        if path.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| self.give(&entry.unwrap().path()));
        }
    }

    /// Where the keys of all of the cluster's agents are, and those of their callers.
    fn keys(&self) -> PathBuf {
        self.cluster.directory().join("keys")
    }

    fn binary(&self) -> PathBuf {
        self.cluster.directory().join("pgherd")
    }

    /// How it is started.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(self.binary());
        self.cluster.run_as_server(&mut command);
        command.arg("agent").arg("-c").arg(self.folder.join("agent.toml")).stdin(Stdio::null());
        command
    }

    /// Starts the process, which must not run, and waits until it answers.
    pub(crate) fn spawn(&mut self) {
        let log = File::create(self.log_file()).unwrap();
        let errors = log.try_clone().unwrap();
        let child = self.command().stdout(log).stderr(errors).spawn().unwrap();
        let pid_file = self.cluster.directory().join(format!("agent-{}.pid", self.node));
        fs::write(pid_file, format!("{}\n", child.id())).unwrap();
        self.process = Some(child);
        self.address = Some(eventually("the agent is ready", PATIENCE, || {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the agent has ended:\n{}", self.log());
            let log = self.log();
            let line = log.lines().find(|line| line.contains("ready address="))?;
            line.rsplit_once("address=")?.1.trim().parse().ok()
        }));
    }

    /// Kills the process.
    pub(crate) fn kill(&mut self) {
        let mut child = self.process.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until the process has ended by itself.
    pub(super) fn wait_for_end(&mut self) {
        eventually("the agent has ended", PATIENCE, || self.process.as_mut().unwrap().try_wait().unwrap());
        self.process = None;
    }

    /// Replaces a text in its file; gives the file as it was.
    pub(super) fn replace_in_file(&self, from: &str, to: &str) -> String {
        let text = fs::read_to_string(self.folder.join("agent.toml")).unwrap();
        assert!(text.contains(from), "{text}");
        self.write_file(&text.replace(from, to));
        text
    }

    /// Writes its file.
    pub(super) fn write_file(&self, text: &str) {
        fs::write(self.folder.join("agent.toml"), text).unwrap();
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        File::open(self.log_file()).and_then(|mut file| file.read_to_string(&mut text)).unwrap();
        text
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// The files of "proxy", which calls agents, or of "agent", which is this one.
    pub(crate) fn tls(&self, name: &str) -> TlsFiles {
        let name = if name == "agent" { self.cluster.node(self.node).name() } else { name };
        let file = |name: String| self.keys().join(name);
        TlsFiles {
            certificate: file(format!("{name}.crt")),
            key: file(format!("{name}.key")),
            root_certificate: file("ca.crt".to_owned()),
        }
    }

    /// A caller with the proxies' certificate.
    pub(crate) fn client(&self) -> Client {
        self.client_with(&self.tls("proxy"))
    }

    pub(super) fn client_with(&self, files: &TlsFiles) -> Client {
        let address = Address { host: "127.0.0.1".to_owned(), port: self.address().port() };
        Client::new(address, ClientTls::load(files).unwrap())
    }

    /// What to rewind to or copy from: another node of the cluster, on its timeline of now.
    pub(super) fn source(&self, node: usize) -> SourceRequest {
        let sql = "select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int";
        let timeline = self.cluster.psql(node, sql).unwrap().parse().unwrap();
        SourceRequest {
            host: "127.0.0.1".to_owned(),
            port: self.cluster.node(node).port(),
            timeline: Some(timeline),
            slot: None,
            application_name: Some(self.cluster.node(self.node).name().to_owned()),
            timeout_ms: None,
        }
    }

    /// A file or folder beside the data.
    pub(super) fn place(&self, ending: &str) -> PathBuf {
        let data = self.cluster.node(self.node).data();
        data.with_file_name(format!("{}{ending}", data.file_name().unwrap().to_string_lossy()))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the agent:\n{}", self.log());
        }
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

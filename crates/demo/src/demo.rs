use std::{collections::VecDeque, path::Path, sync::Arc, thread, time::Duration};

use anyhow::{Result, bail};
use lab::{Cluster, Login, Reservation, random_password};
use tokio::time::Instant;

use crate::{
    certificate::Certificate,
    configuration,
    display::{Display, Frame},
    environment::Environment,
    options::{MAX_REGIONS, Options},
    proxies::{Proxy, choose_ports, stop_all},
    shop,
    status::{NodeReport, Report, Watcher},
};

/// How long a proxy may take until a client gets an answer through it.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// How long the first table waits for the proxies' consoles.
const FIRST_REPORT_PATIENCE: Duration = Duration::from_secs(3);
/// How many events and notes are remembered for the display.
const REMEMBERED: usize = 100;
/// Each proxy has up to 20 connections per role and database to a node, and there are up to five proxies.
const MAX_CONNECTIONS: u32 = 300;

/// The running demo: a cluster, its proxies, and those who watch them.
pub(crate) struct Demo {
    proxies: Vec<Proxy>,
    watchers: Vec<Watcher>,
    cluster: Arc<Cluster>,
    environment: Environment,
    admin: Login,
    tls: Certificate,
    keep: bool,
    recent: VecDeque<String>,
    last_event: Option<String>,
}

impl Demo {
    /// Starts everything and tells about it; returns when clients are served.
    pub(crate) fn start(options: &Options, binary: &Path, display: &mut Display) -> Result<Self> {
        if !(1..=MAX_REGIONS).contains(&options.regions) {
            bail!("a demo has 1 to {MAX_REGIONS} regions, not {}", options.regions);
        }
        // The proxies' ports come first: the servers take any others.
        let (ports, words) = choose_ports(options.base_port, usize::from(options.regions))?;
        display.print(&words);
        display.print(&[format!("starting PostgreSQL in {} regions", options.regions)]);
        let cluster = Cluster::start(lab::Options {
            standbys: usize::from(options.regions) - 1,
            directory: options.dir.clone(),
            keep: options.keep,
            fsync: true,
            max_connections: MAX_CONNECTIONS,
            database: shop::DATABASE.to_owned(),
            ..lab::Options::default()
        })?;
        shop::prepare(&cluster)?;
        let environment = Environment::open(cluster.directory());
        let password = environment.value("PGHERD_ADMIN_PASSWORD").map_or_else(random_password, Ok)?;
        let mut demo = Self {
            proxies: Vec::new(),
            watchers: Vec::new(),
            tls: Certificate::prepare(cluster.directory())?,
            cluster: Arc::new(cluster),
            environment,
            admin: Login { user: "admin".to_owned(), password },
            keep: options.keep,
            recent: VecDeque::new(),
            last_event: None,
        };
        demo.start_proxies(binary, ports, options.base_port)?;
        demo.write_environment()?;
        display.print(&demo.introduction());
        Ok(demo)
    }

    /// Starts one proxy per node and waits until each serves. A kept demo may have another number of nodes than was
    /// asked for now.
    fn start_proxies(&mut self, binary: &Path, mut ports: Vec<Reservation>, base_port: u16) -> Result<()> {
        let count = self.cluster.nodes().len();
        if ports.len() != count {
            drop(ports);
            ports = choose_ports(base_port, count)?.0;
        }
        for (node, port) in self.cluster.nodes().iter().zip(ports) {
            let text = configuration::text(&self.cluster, node.region(), port.port(), &self.admin, &self.tls);
            self.proxies.push(Proxy::start(binary, self.cluster.directory(), node.region(), port, &text)?);
        }
        let deadline = Instant::now() + READY_PATIENCE;
        for proxy in &mut self.proxies {
            wait_until_served(proxy, &self.cluster, deadline)?;
        }
        for proxy in &self.proxies {
            let (cluster, admin, port) = (Arc::clone(&self.cluster), self.admin.clone(), proxy.port());
            self.watchers.push(Watcher::start(move || cluster.psql_command(port, &admin, "pgherd")));
        }
        // So that the first table is a full one; proxies whose console is slow show up later.
        let deadline = Instant::now() + FIRST_REPORT_PATIENCE;
        while self.watchers.iter().any(|watcher| watcher.latest().is_none()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The cluster, for operations on it.
    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.cluster)
    }

    /// Notices what has changed, keeps demo.env current, and yields what is new in words.
    pub(crate) fn look_after(&mut self) -> Vec<String> {
        let mut words: Vec<String> = self.proxies.iter_mut().filter_map(Proxy::supervise).collect();
        words.extend(self.new_events());
        if let Err(error) = self.write_environment() {
            words.push(format!("{error:#}"));
        }
        for word in &words {
            self.remember(word.clone());
        }
        words
    }

    /// Keeps a line for the display.
    pub(crate) fn remember(&mut self, line: String) {
        self.recent.push_back(line);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }

    /// The events since the last time. All proxies watch the same nodes, so those of one suffice.
    fn new_events(&mut self) -> Vec<String> {
        let Some(report) = self.watchers.iter().find_map(Watcher::latest) else { return Vec::new() };
        let Some(latest) = report.events.last() else { return Vec::new() };
        if self.last_event.as_ref() == Some(latest) {
            return Vec::new();
        }
        let known =
            self.last_event.as_ref().and_then(|last| report.events.iter().rposition(|event| event == last));
        // When the last one is not known any more, another proxy answers now, and only its latest is told.
        let first_new = match (known, &self.last_event) {
            (Some(position), _) => position + 1,
            (None, None) => 0,
            (None, Some(_)) => report.events.len() - 1,
        };
        self.last_event = Some(latest.clone());
        report.events[first_new..].to_vec()
    }

    /// How things are at this moment.
    pub(crate) fn frame(&self, prompt: String) -> Frame {
        let reports: Vec<Option<Report>> = self.watchers.iter().map(Watcher::latest).collect();
        let mut proxies = vec![row(["proxy", "port", "pid", "clients", "waiting", "servers active", "idle"])];
        for (proxy, report) in self.proxies.iter().zip(&reports) {
            let start = [proxy.region().to_owned(), proxy.port().to_string(), number_or_dash(proxy.pid())];
            let pools = report.as_ref().map(|report| report.pools);
            let numbers = pools.map_or_else(
                || ["-"; 4].map(str::to_owned),
                |pools| {
                    [pools.clients, pools.waiting, pools.servers_active, pools.servers_idle]
                        .map(|n| n.to_string())
                },
            );
            proxies.push(start.into_iter().chain(numbers).collect());
        }
        let mut nodes = vec![row([
            "node", "region", "port", "server", "role", "health", "timeline", "lag", "reads", "writes",
        ])];
        let mut roles = String::new();
        for (index, node) in self.cluster.nodes().iter().enumerate() {
            let seen = Seen::of(&reports, node.name());
            let server = if node.is_running() { "runs" } else { "down" };
            roles.push_str(&format!("{server} {} {}\n", seen.report.role, seen.report.health));
            nodes.push(vec![
                (index + 1).to_string(),
                node.region().to_owned(),
                node.port().to_string(),
                server.to_owned(),
                text_or_dash(seen.report.role),
                text_or_dash(seen.report.health),
                text_or_dash(seen.report.timeline),
                text_or_dash(seen.report.lag),
                seen.reads.to_string(),
                seen.writes.to_string(),
            ]);
        }
        Frame { proxies, nodes, recent: self.recent.iter().cloned().collect(), prompt, roles }
    }

    /// What scripts need to know, in the order of the manual.
    fn write_environment(&mut self) -> Result<()> {
        let (application, superuser) = (self.cluster.application(), self.cluster.superuser());
        let mut all: Vec<(String, String)> = Vec::new();
        let mut set = |name: String, value: &str| all.push((name, value.to_owned()));
        set("PGHERD_USER".into(), &application.user);
        set("PGHERD_PASSWORD".into(), &application.password);
        set("PGHERD_DATABASE".into(), self.cluster.database());
        set("PGHERD_SUPERUSER".into(), &superuser.user);
        set("PGHERD_SUPERUSER_PASSWORD".into(), &superuser.password);
        set("PGHERD_ADMIN_USER".into(), &self.admin.user);
        set("PGHERD_ADMIN_PASSWORD".into(), &self.admin.password);
        set("PGHERD_PG_BIN".into(), &self.cluster.binaries().directory().to_string_lossy());
        set("PGHERD_TLS_CA".into(), &self.tls.authority.to_string_lossy());
        for (index, proxy) in self.proxies.iter().enumerate() {
            let prefix = format!("PGHERD_PROXY_{}", index + 1);
            set(format!("{prefix}_PORT"), &proxy.port().to_string());
            set(format!("{prefix}_PID"), &proxy.pid().map_or_else(String::new, |pid| pid.to_string()));
            set(format!("{prefix}_REGION"), proxy.region());
        }
        let reports: Vec<Option<Report>> = self.watchers.iter().map(Watcher::latest).collect();
        for (index, node) in self.cluster.nodes().iter().enumerate() {
            let prefix = format!("PGHERD_NODE_{}", index + 1);
            set(format!("{prefix}_PORT"), &node.port().to_string());
            set(format!("{prefix}_DATA"), &node.data().to_string_lossy());
            set(format!("{prefix}_REGION"), node.region());
            set(format!("{prefix}_PID"), &node.pid().map_or_else(String::new, |pid| pid.to_string()));
            set(format!("{prefix}_ROLE"), &Seen::of(&reports, node.name()).report.role);
        }
        self.environment.update(&all)
    }

    /// What people need to know.
    fn introduction(&self) -> Vec<String> {
        let url = |login: &Login, hosts: &str, database: &str| {
            format!("psql 'postgresql://{}:{}@{hosts}/{database}'", login.user, login.password)
        };
        let hosts: Vec<String> =
            self.proxies.iter().map(|proxy| format!("127.0.0.1:{}", proxy.port())).collect();
        let (application, database) = (self.cluster.application(), self.cluster.database());
        let first = hosts.first().cloned().unwrap_or_default();
        let mut lines = vec![
            String::new(),
            format!("one proxy    {}", url(application, &first, database)),
            format!("any proxy    {}", url(application, &hosts.join(","), database)),
            format!("superuser    {}", url(self.cluster.superuser(), &first, "postgres")),
            format!("console      {}", url(&self.admin, &first, "pgherd")),
            format!("TLS          add '?sslmode=verify-full&sslrootcert={}'", self.tls.authority.display()),
            format!("for scripts  . {}", self.environment.path().display()),
        ];
        if self.keep {
            lines.push(format!(
                "kept         pgherd demo --keep --dir {}",
                self.cluster.directory().display()
            ));
        }
        lines
    }

    /// Stops the proxies, and then those who ask them.
    pub(crate) fn stop_proxies(&mut self) {
        stop_all(&mut self.proxies);
        self.watchers.clear();
    }

    /// Stops everything else; yields the last words.
    pub(crate) fn end(self) -> String {
        let directory = self.cluster.directory().display();
        if self.keep {
            format!("stopped; kept in {directory}")
        } else {
            format!("stopped; {directory} is removed")
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop_proxies();
    }
}

/// Waits until a client gets an answer through a proxy.
fn wait_until_served(proxy: &mut Proxy, cluster: &Cluster, deadline: Instant) -> Result<()> {
    loop {
        let answer = cluster.psql_at(proxy.port(), cluster.application(), cluster.database(), "select 1");
        let Err(error) = answer else { return Ok(()) };
        if let Some(end) = proxy.supervise() {
            bail!("{end}:\n{}", proxy.log_tail());
        }
        if Instant::now() >= deadline {
            let region = proxy.region();
            return Err(
                error.context(format!("proxy {region} does not serve; its log:\n{}", proxy.log_tail()))
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// One node as all proxies together see it.
#[derive(Default)]
struct Seen {
    /// By the first proxy that answers.
    report: NodeReport,
    /// Through all proxies.
    reads: u64,
    writes: u64,
}

impl Seen {
    fn of(reports: &[Option<Report>], name: &str) -> Self {
        let views =
            || reports.iter().flatten().flat_map(|report| &report.nodes).filter(|node| node.name == name);
        Self {
            report: views().next().cloned().unwrap_or_default(),
            reads: views().map(|node| node.reads).sum(),
            writes: views().map(|node| node.writes).sum(),
        }
    }
}

fn row<const N: usize>(values: [&str; N]) -> Vec<String> {
    values.map(str::to_owned).to_vec()
}

fn text_or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn number_or_dash(number: Option<u32>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

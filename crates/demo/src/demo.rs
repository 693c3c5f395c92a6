use std::{
    collections::VecDeque,
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use lab::{Cluster, Login, Reservation, random_password};
use tokio::time::Instant;

use crate::{
    agents::{self, Agent},
    certificate::Certificate,
    configuration::{Common, Manage, proxy_file},
    display::{Display, Frame},
    environment::Environment,
    manager::Manager,
    operations::Operator,
    options::{MAX_REGIONS, Options},
    process::{Process, stop_all},
    program::Program,
    proxies::{Proxy, choose_ports},
    shop,
    status::{Questions, Report, Watcher},
    table::{Seen, nodes_table, proxies_table},
};

/// How long a proxy may take until a client gets an answer through it.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// How long the first table waits for the proxies' consoles.
const FIRST_REPORT_PATIENCE: Duration = Duration::from_secs(3);
/// How long processes may take to stop; proxies let their clients finish for 2 s, as their configuration says.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long an agent may take to end a rewind that would leave data of which nothing can be made.
const REWIND_PATIENCE: Duration = Duration::from_secs(60);
/// How many events and notes are remembered for the display.
const REMEMBERED: usize = 100;
/// Each proxy has up to 20 connections per role and database to a node, and there are up to five proxies.
const MAX_CONNECTIONS: u32 = 300;

/// The proxy that decides who is the primary. The others follow: there is no agreement among several.
const MANAGER: usize = 0;

/// The running demo: a cluster, its proxies and agents, and those who watch them.
pub(crate) struct Demo {
    program: Program,
    proxies: Vec<Proxy>,
    agents: Vec<Agent>,
    watchers: Vec<Watcher>,
    cluster: Arc<Cluster>,
    environment: Environment,
    admin: Login,
    tls: Certificate,
    keep: bool,
    recent: VecDeque<String>,
    last_event: Option<String>,
    /// The steps of failovers as they were told last.
    known_steps: Vec<String>,
    /// As it was told last.
    manager: Manager,
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
        let cluster = Arc::new(cluster);
        let program = Program::prepare(binary, &cluster)?;
        let environment = Environment::open(cluster.directory());
        let password = environment.value("PGHERD_ADMIN_PASSWORD").map_or_else(random_password, Ok)?;
        let mut demo = Self {
            program,
            proxies: Vec::new(),
            agents: Vec::new(),
            watchers: Vec::new(),
            tls: Certificate::prepare(cluster.directory())?,
            cluster,
            environment,
            admin: Login { user: "admin".to_owned(), password },
            keep: options.keep,
            recent: VecDeque::new(),
            last_event: None,
            known_steps: Vec::new(),
            manager: Manager::Idle,
        };
        let keys = demo.start_agents()?;
        demo.start_proxies(&keys, ports, options.base_port)?;
        demo.write_environment()?;
        display.print(&demo.introduction());
        Ok(demo)
    }

    /// Starts an agent beside each node; gives the folder with the keys by which they are called.
    fn start_agents(&mut self) -> Result<PathBuf> {
        // An agent keeps files beside the data, which it replaces as a whole.
        self.cluster.give_to_server(self.cluster.directory())?;
        let keys = agents::make_keys(&self.program, &self.cluster)?;
        for node in self.cluster.nodes() {
            let port = Reservation::any()?;
            self.agents.push(Agent::start(&self.program, &self.cluster, node, &keys, port)?);
        }
        Ok(keys)
    }

    /// Starts one proxy per node and waits until each serves. A kept demo may have another number of nodes than was
    /// asked for now.
    fn start_proxies(&mut self, keys: &Path, mut ports: Vec<Reservation>, base_port: u16) -> Result<()> {
        let count = self.cluster.nodes().len();
        if ports.len() != count {
            drop(ports);
            ports = choose_ports(base_port, count)?.0;
        }
        let agents: Vec<u16> = self.agents.iter().map(Agent::port).collect();
        let common =
            Common { cluster: &self.cluster, admin: &self.admin, tls: &self.tls, keys, agents: &agents };
        for (index, (node, port)) in self.cluster.nodes().iter().zip(&ports).enumerate() {
            let manage = if index == MANAGER { Manage::Single } else { Manage::Off };
            let text = common.proxy(node.region(), port.port(), manage);
            lab::write_private(&proxy_file(self.cluster.directory(), node.region()), &text)?;
        }
        shop::grant(&self.cluster, &self.program, self.cluster.node(MANAGER).region())?;
        for (node, port) in self.cluster.nodes().iter().zip(ports) {
            self.proxies.push(Proxy::start(&self.program, &self.cluster, node.region(), port)?);
        }
        let deadline = Instant::now() + READY_PATIENCE;
        for proxy in &mut self.proxies {
            wait_until_served(proxy, &self.cluster, deadline)?;
        }
        for (index, proxy) in self.proxies.iter().enumerate() {
            let (cluster, admin, port) = (Arc::clone(&self.cluster), self.admin.clone(), proxy.port());
            let questions = if index == MANAGER { Questions::All } else { Questions::Usual };
            self.watchers
                .push(Watcher::start(questions, move || cluster.psql_command(port, &admin, "pgherd")));
        }
        // So that the first table is a full one; proxies whose console is slow show up later.
        let deadline = Instant::now() + FIRST_REPORT_PATIENCE;
        while self.watchers.iter().any(|watcher| watcher.latest().is_none()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The cluster, for stopping it.
    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.cluster)
    }

    /// What operations on the cluster are done with.
    pub(crate) fn operator(&self) -> Operator {
        let manager = &self.proxies[MANAGER];
        Operator::new(
            Arc::clone(&self.cluster),
            self.program.clone(),
            self.admin.clone(),
            manager.region(),
            manager.port(),
        )
    }

    /// Notices what has changed, keeps demo.env current, and yields what is new in words.
    pub(crate) fn look_after(&mut self) -> Vec<String> {
        let mut words: Vec<String> = self.processes().filter_map(Process::supervise).collect();
        words.extend(self.new_manager());
        words.extend(self.new_events());
        words.extend(self.new_steps());
        if let Err(error) = self.write_environment() {
            words.push(format!("{error:#}"));
        }
        for word in &words {
            self.remember(word);
        }
        words
    }

    fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        let proxies = self.proxies.iter_mut().map(Proxy::process_mut);
        proxies.chain(self.agents.iter_mut().map(Agent::process_mut))
    }

    /// Keeps something for the display, which counts lines.
    pub(crate) fn remember(&mut self, text: &str) {
        self.recent.extend(text.lines().map(str::to_owned));
        self.recent.drain(..self.recent.len().saturating_sub(REMEMBERED));
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

    fn manager(&self) -> Manager {
        Manager::of(self.proxies[MANAGER].process(), self.watchers.get(MANAGER).and_then(Watcher::latest))
    }

    /// That nobody manages any more, or somebody does again.
    fn new_manager(&mut self) -> Option<String> {
        let present = self.manager();
        let former = mem::replace(&mut self.manager, present);
        let is_news = former.is_there() != self.manager.is_there();
        is_news.then(|| self.manager.line(self.proxies[MANAGER].region()))
    }

    /// What the managing proxy has done since the last time.
    fn new_steps(&mut self) -> Vec<String> {
        let Some(report) = self.watchers.get(MANAGER).and_then(Watcher::latest) else { return Vec::new() };
        let is_new = |step: &&String| !self.known_steps.contains(step);
        let new = report.steps.iter().filter(is_new).cloned().collect();
        self.known_steps = report.steps;
        new
    }

    /// How things are at this moment.
    pub(crate) fn frame(&self, prompt: String) -> Frame {
        let reports: Vec<Option<Report>> = self.watchers.iter().map(Watcher::latest).collect();
        let (nodes, roles) = nodes_table(self.cluster.nodes(), &reports);
        Frame {
            proxies: proxies_table(&self.proxies, &reports),
            nodes,
            manager: self.manager().line(self.proxies[MANAGER].region()),
            recent: self.recent.iter().cloned().collect(),
            prompt,
            roles,
        }
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
            set(
                format!("{prefix}_PID"),
                &proxy.process().pid().map_or_else(String::new, |pid| pid.to_string()),
            );
            set(format!("{prefix}_REGION"), proxy.region());
        }
        set("PGHERD_MANAGER".into(), &(MANAGER + 1).to_string());
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

    /// Stops proxies and agents, and then those who ask them.
    pub(crate) fn stop_processes(&mut self) {
        // First those who ask: an agent that is at work goes on to the end of a rewind. Data that are removed need not be
        // whole.
        stop_all(self.proxies.iter_mut().map(Proxy::process_mut), STOP_PATIENCE);
        let patience = if self.keep { REWIND_PATIENCE } else { STOP_PATIENCE };
        stop_all(self.agents.iter_mut().map(Agent::process_mut), patience);
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
        self.stop_processes();
    }
}

/// Waits until a client gets an answer through a proxy.
fn wait_until_served(proxy: &mut Proxy, cluster: &Cluster, deadline: Instant) -> Result<()> {
    loop {
        let answer = cluster.psql_at(proxy.port(), cluster.application(), cluster.database(), "select 1");
        let Err(error) = answer else { return Ok(()) };
        if let Some(end) = proxy.process_mut().supervise() {
            bail!("{end}:\n{}", proxy.process().log_tail());
        }
        if Instant::now() >= deadline {
            let region = proxy.region();
            return Err(error.context(format!(
                "proxy {region} does not serve; its log:\n{}",
                proxy.process().log_tail()
            )));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

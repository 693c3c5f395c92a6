//! Real Patroni and real etcd around real PostgreSQL.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use e2e::eventually;
use lab::{Binaries, Reservation, Sandbox, Signal};
use testkit::ConnectionParameters;
use wire::message::startup::PROTOCOL_3_0;

/// How long a cluster may take to come up, and to change.
const PATIENCE: Duration = Duration::from_secs(90);

/// Seconds between two looks of Patroni at the world.
const LOOP_WAIT: u32 = 1;

/// Seconds that a leader key lasts without its leader; Patroni takes no fewer.
const TTL: u32 = 20;

/// Which Patroni.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Debian's 3.0.
    Three,
    /// 4.x from PyPI.
    Four,
}

impl Version {
    /// Its programs, if `scripts/need patroni` has installed them.
    pub(super) fn folder(self) -> Option<PathBuf> {
        let folder = match self {
            Self::Three => PathBuf::from("/usr/bin"),
            Self::Four => Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join(".cache/patroni/bin"),
        };
        (folder.join("patroni").is_file() && Path::new(ETCD).is_file()).then_some(folder)
    }
}

/// Debian's place for it.
const ETCD: &str = "/usr/bin/etcd";

/// An etcd and the members of one cluster. Everything ends with it.
#[derive(Debug)]
pub(super) struct PatroniCluster {
    pub(super) members: Vec<Member>,
    etcd: Child,
    pub(super) etcd_port: u16,
    folder: PathBuf,
    pub(super) sandbox: Sandbox,
}

/// A member. Its name is `n1` and so on.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) api_port: u16,
    process: Option<Child>,
}

impl PatroniCluster {
    /// Starts a cluster and waits until all members run and one leads. `tags` are those of the last member.
    pub(super) fn start(version: Version, members: usize, tags: &str) -> Self {
        let folder = version.folder().expect("run `scripts/need patroni`");
        let sandbox = Sandbox::new().unwrap();
        let port = || Reservation::any().unwrap();
        let (client, peer) = (port(), port());
        let names: Vec<(String, Reservation, Reservation)> =
            (1..=members).map(|number| (format!("n{number}"), port(), port())).collect();
        let etcd_port = client.release();
        let etcd = start_etcd(&sandbox, etcd_port, peer.release());
        let mut cluster = Self { members: Vec::new(), etcd, etcd_port, folder, sandbox };
        for (at, (name, port, api_port)) in names.into_iter().enumerate() {
            let (port, api_port) = (port.release(), api_port.release());
            cluster.members.push(Member { name, port, api_port, process: None });
            cluster.configure(at, if at + 1 == members { tags } else { "" });
            cluster.begin(at);
            if at == 0 {
                // The others are copied from it.
                cluster.wait("the first member leads", || cluster.leader());
            }
        }
        cluster.wait("all members run", || {
            let state = cluster.api(0, "GET", "/cluster", "")?.1;
            let running = state.matches("\"running\"").count() + state.matches("\"streaming\"").count();
            (running == members && cluster.standbys_stream()).then_some(())
        });
        let leader = cluster.leader().unwrap();
        cluster.psql(leader, "create role app login password 'app'").unwrap();
        cluster.psql(leader, "create database shop owner app").unwrap();
        cluster
            .psql_in(
                leader,
                "shop",
                "create table ledger (id bigint primary key); alter table ledger owner to app",
            )
            .unwrap();
        let sql = "create table moves (id bigint primary key); alter table moves owner to app";
        cluster.psql_in(leader, "shop", sql).unwrap();
        cluster
    }

    /// Waits until a condition holds.
    #[track_caller]
    pub(super) fn wait<T>(&self, what: &str, ready: impl FnMut() -> Option<T>) -> T {
        eventually(what, PATIENCE, ready)
    }

    fn configure(&self, at: usize, tags: &str) {
        let Member { name, port, api_port, .. } = &self.members[at];
        let folder = self.sandbox.path().display();
        let programs = Binaries::find().unwrap().directory().display().to_string();
        let etcd = self.etcd_port;
        let text = format!(
            r#"
scope: main
name: {name}
restapi: {{listen: "127.0.0.1:{api_port}", connect_address: "127.0.0.1:{api_port}"}}
etcd3: {{hosts: ["127.0.0.1:{etcd}"]}}
bootstrap:
  dcs:
    ttl: {TTL}
    loop_wait: {LOOP_WAIT}
    retry_timeout: 3
    maximum_lag_on_failover: 104857600
    primary_start_timeout: 0
    postgresql: {{use_pg_rewind: true, parameters: {{max_connections: 100}}}}
  initdb: [{{encoding: UTF8}}, {{locale: C}}, "no-sync"]
postgresql:
  listen: "127.0.0.1:{port}"
  connect_address: "127.0.0.1:{port}"
  data_dir: {folder}/{name}
  bin_dir: {programs}
  pgpass: {folder}/{name}.pgpass
  pg_hba: ["host replication all 127.0.0.1/32 trust", "host all all 127.0.0.1/32 trust"]
  authentication:
    superuser: {{username: postgres, password: x}}
    replication: {{username: replicator, password: x}}
    rewind: {{username: rewind, password: x}}
  parameters: {{unix_socket_directories: "{folder}", fsync: "off", shared_buffers: 16MB, password_encryption: scram-sha-256}}
tags: {{{tags}}}
"#
        );
        self.sandbox.write(&format!("{name}.yml"), &text).unwrap();
    }

    /// Starts a member's Patroni.
    pub(super) fn begin(&mut self, at: usize) {
        let name = &self.members[at].name;
        let mut command = self.sandbox.command(self.folder.join("patroni"));
        command.arg(self.sandbox.path().join(format!("{name}.yml")));
        let child = self.sandbox.spawn(name, &mut command).unwrap();
        self.members[at].process = Some(child);
    }

    /// The whole node is gone: Patroni and PostgreSQL are killed at once.
    pub(super) fn kill_node(&mut self, at: usize) {
        self.kill_patroni(at);
        self.kill_postgres(at);
    }

    /// Patroni alone is killed; PostgreSQL runs on.
    pub(super) fn kill_patroni(&mut self, at: usize) {
        end(&mut self.members[at].process);
    }

    /// PostgreSQL alone is killed.
    pub(super) fn kill_postgres(&self, at: usize) {
        assert!(self.sandbox.signal_postgres(&self.members[at].name, Signal::SIGKILL).unwrap());
    }

    /// The keys in etcd go, as if it had been wiped, or the lease of the leader had run out.
    pub(super) fn remove_leader_key(&self) {
        let key = "L3NlcnZpY2UvbWFpbi9sZWFkZXI="; // /service/main/leader
        let (status, answer) =
            http(self.etcd_port, "POST", "/v3/kv/deleterange", &format!("{{\"key\":\"{key}\"}}")).unwrap();
        assert!(status == 200 && answer.contains("deleted"), "{status} {answer}");
    }

    /// Stops etcd, which takes the store from Patroni.
    pub(super) fn stop_etcd(&mut self) {
        lab::signal(self.etcd.id(), Signal::SIGSTOP).unwrap();
    }

    /// Lets it go on.
    pub(super) fn resume_etcd(&mut self) {
        lab::signal(self.etcd.id(), Signal::SIGCONT).unwrap();
    }

    /// Asks a member's REST API; status and body.
    pub(super) fn api(&self, at: usize, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        http(self.members[at].api_port, method, path, body)
    }

    /// The member that holds the leader key and runs as the primary.
    pub(super) fn leader(&self) -> Option<usize> {
        (0..self.members.len())
            .find(|at| self.api(*at, "GET", "/leader", "").is_some_and(|(status, _)| status == 200))
    }

    /// A member that does not lead.
    pub(super) fn follower(&self) -> usize {
        let leader = self.leader().unwrap();
        (0..self.members.len()).find(|at| *at != leader).unwrap()
    }

    fn standbys_stream(&self) -> bool {
        let count = self
            .leader()
            .and_then(|leader| self.psql(leader, "select count(*) from pg_stat_replication").ok());
        count.is_some_and(|count| count.trim() == (self.members.len() - 1).to_string())
    }

    /// Runs SQL on a member as the superuser.
    pub(super) fn psql(&self, at: usize, sql: &str) -> Result<String, String> {
        self.psql_in(at, "postgres", sql)
    }

    /// The same in a database.
    pub(super) fn psql_in(&self, at: usize, database: &str, sql: &str) -> Result<String, String> {
        let program = Binaries::find().unwrap().program("psql");
        let port = self.members[at].port.to_string();
        output(self.sandbox.command(program).args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-d",
            database,
            "-v",
            "ON_ERROR_STOP=1",
            "-XAtq",
            "-c",
            sql,
        ]))
    }

    /// Runs `patronictl`.
    pub(super) fn patronictl(&self, arguments: &[&str]) -> Result<String, String> {
        let name = &self.members[0].name;
        let mut command = self.sandbox.command(self.folder.join("patronictl"));
        output(command.arg("-c").arg(self.sandbox.path().join(format!("{name}.yml"))).args(arguments))
    }

    /// How the superuser connects to a member, around every proxy.
    pub(super) fn directly(&self, at: usize) -> ConnectionParameters {
        ConnectionParameters {
            address: ([127, 0, 0, 1], self.members[at].port).into(),
            user: "postgres".to_owned(),
            password: "x".to_owned(),
            database: "postgres".to_owned(),
            more: Vec::new(),
            version: PROTOCOL_3_0,
        }
    }

    /// The rows of the ledger on a member.
    pub(super) fn rows_on(&self, at: usize) -> BTreeSet<i64> {
        let text = self.psql_in(at, "shop", "select id from ledger").unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

impl Drop for PatroniCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for member in &self.members {
                let log = self.sandbox.log(&member.name);
                let lines: Vec<&str> = log.lines().collect();
                eprintln!(
                    "--- Patroni of {}:\n{}",
                    member.name,
                    lines[lines.len().saturating_sub(25)..].join("\n")
                );
            }
        }
        for member in &mut self.members {
            end(&mut member.process);
            let _ = self.sandbox.signal_postgres(&member.name, Signal::SIGKILL);
        }
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}

fn end(process: &mut Option<Child>) {
    if let Some(mut process) = process.take() {
        let _ = process.kill();
        let _ = process.wait();
    }
}

fn start_etcd(sandbox: &Sandbox, port: u16, peer: u16) -> Child {
    let (own, peers) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
    let mut command = sandbox.command(ETCD);
    command.arg("--data-dir").arg(sandbox.path().join("etcd")).args([
        "--unsafe-no-fsync",
        "--logger",
        "zap",
        "--log-level",
        "warn",
    ]);
    command.args(["--listen-client-urls", &own, "--advertise-client-urls", &own]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("default={peers}")]);
    let child = sandbox.spawn("etcd", &mut command).unwrap();
    eventually("etcd serves", PATIENCE, || {
        http(port, "POST", "/v3/kv/range", "{\"key\":\"YQ==\"}").filter(|(status, _)| *status == 200)
    });
    child
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// One HTTP request to 127.0.0.1; status and body. `None`: no whole answer.
pub(super) fn http(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

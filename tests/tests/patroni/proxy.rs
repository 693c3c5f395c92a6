//! A pgherd in front of a Patroni cluster.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    time::Duration,
};

use e2e::{Configuration, eventually, pgherd};
use lab::Reservation;
use testkit::{Client, ConnectionParameters};
use wire::message::startup::PROTOCOL_3_0;

use super::cluster::PatroniCluster;

/// How long it may take to find out what it is shown.
const PATIENCE: Duration = Duration::from_secs(60);

/// How it hears of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Members' REST APIs alone.
    Rest,
    /// Those, and a watch on etcd.
    Etcd,
}

/// One pgherd. It ends with this.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) by: By,
    port: u16,
    name: String,
    log: std::path::PathBuf,
    process: Child,
}

impl Follower {
    /// Starts it and waits until it serves.
    pub(super) fn start(cluster: &PatroniCluster, by: By) -> Self {
        let name = format!("pgherd-{by:?}").to_lowercase();
        let port = Reservation::any().unwrap();
        let configuration = configuration(cluster, by, port.port());
        let file = cluster.sandbox.path().join(format!("{name}.toml"));
        lab::write_private(&file, &configuration.to_text()).unwrap();
        let log = cluster.sandbox.path().join(format!("{name}.log"));
        let mut command = Command::new(pgherd());
        command.arg("run").arg("-c").arg(file).current_dir(cluster.sandbox.path()).stdin(Stdio::null());
        let port = port.release();
        let process = cluster.sandbox.spawn(&name, &mut command).unwrap();
        let follower = Self { by, port, name, log, process };
        eventually("pgherd serves", PATIENCE, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let served = runtime.block_on(async {
                let mut client = follower.app().connect().await.ok()?;
                client.rows("select count(*) from ledger").await.ok()
            });
            // And Patroni was heard.
            served.filter(|_| !follower.show("PATRONI").is_empty())
        });
        follower
    }

    /// How the role `app` connects to the database with the ledger.
    pub(super) fn app(&self) -> ConnectionParameters {
        self.parameters("app", "app", "shop")
    }

    fn parameters(&self, user: &str, password: &str, database: &str) -> ConnectionParameters {
        ConnectionParameters {
            address: ([127, 0, 0, 1], self.port).into(),
            user: user.to_owned(),
            password: password.to_owned(),
            database: database.to_owned(),
            more: Vec::new(),
            version: PROTOCOL_3_0,
        }
    }

    /// What the console shows: rows by column name are looked up by the caller.
    pub(super) fn show(&self, noun: &str) -> Vec<Vec<Option<String>>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut admin: Client = self.parameters("admin", "admin", "pgherd").connect().await.unwrap();
            admin.rows(&format!("SHOW {noun}")).await.unwrap()
        })
    }

    /// Has the console do something.
    pub(super) fn command(&self, command: &str) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut admin: Client = self.parameters("admin", "admin", "pgherd").connect().await.unwrap();
            admin.rows(command).await.map(drop)
        })
    }

    /// Names and texts of its events, oldest first.
    pub(super) fn events(&self) -> Vec<(String, String)> {
        let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
        self.show("EVENTS").iter().map(|row| (text(&row[3]), text(&row[4]))).collect()
    }

    /// How often each event has happened.
    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (name, _) in self.events() {
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    /// The name of the node that it writes to.
    pub(super) fn primary(&self) -> Option<String> {
        let rows = self.show("NODES");
        rows.iter().find(|row| row[6].as_deref() == Some("primary")).and_then(|row| row[0].clone())
    }

    /// Waits until it writes to this node.
    pub(super) fn wait_for_primary(&self, name: &str) {
        eventually(&format!("{} writes to {name}", self.name), PATIENCE, || {
            (self.primary().as_deref() == Some(name)).then_some(())
        });
    }

    /// When it logged that this node was promoted, in microseconds since midnight.
    pub(super) fn promoted_at(&self, node: &str) -> Option<u64> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let found = |line: &&str| {
            line.contains("event=\"promoted\"") && line.contains(&format!("{node} was promoted"))
        };
        log.lines().rev().find(found).and_then(|line| microseconds(line.split(' ').next()?))
    }

    /// The part of its log that tests look into.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- {}:\n{}", self.name, lines[lines.len().saturating_sub(60)..].join("\n"));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(cluster: &PatroniCluster, by: By, port: u16) -> Configuration {
    let mut configuration = Configuration::default();
    let mut set = |path: &str, value: toml::Value| configuration.set(path, value);
    set("listen.0.address", format!("127.0.0.1:{port}").into());
    set("auth.query", "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin".into());
    set("user.0.name", "admin".into());
    set("user.0.secret", "admin".into());
    set("admin.users", toml::Value::Array(vec!["admin".into()]));
    set("session.shutdown_timeout", "2s".into());
    set("cluster.0.monitor.user", "postgres".into());
    set("cluster.0.tls.mode", "disable".into());
    for (at, member) in cluster.members.iter().enumerate() {
        set(&format!("cluster.0.nodes.{at}.address"), format!("127.0.0.1:{}", member.port).into());
        set(&format!("cluster.0.nodes.{at}.name"), member.name.as_str().into());
        set(&format!("cluster.0.patroni.urls.{at}"), format!("http://127.0.0.1:{}", member.api_port).into());
    }
    set("cluster.0.patroni.scope", "main".into());
    if by == By::Etcd {
        set("cluster.0.patroni.etcd.0", format!("http://127.0.0.1:{}", cluster.etcd_port).into());
    }
    configuration
}

/// Microseconds since midnight of a time such as `2026-11-21T19:51:00.035087Z`.
fn microseconds(time: &str) -> Option<u64> {
    let clock = time.split('T').nth(1)?.trim_end_matches('Z');
    let mut parts = clock.split([':', '.']).map(|part| part.parse::<u64>().ok());
    let mut next = || parts.next().flatten();
    let (hours, minutes, seconds, micros) = (next()?, next()?, next()?, next()?);
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

//! HAProxy before a cluster that Patroni manages, with one etcd.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lab::{Binaries, Sandbox, Signal, random_password};
use tokio::runtime::Handle;

use super::{
    access::Access,
    load::LEDGER,
    patroni_configuration::{Place, Times, haproxy, member},
    process::{Process, tail, wait_for},
    stack::{NODES, Stack, primaries},
};
use crate::program::{installed, version};

/// How long the cluster may take to come up, and a switchover.
const PATIENCE: Duration = Duration::from_secs(120);

/// The application's role and database.
const APPLICATION: &str = "app";

/// The contender.
pub(crate) struct Patroni {
    // what the clients connect to ends first
    haproxy: Option<Process>,
    members: Vec<Member>,
    _etcd: Process,
    program: PathBuf,
    times: Times,
    versions: String,
    application: Access,
    nodes: Vec<Access>,
    sandbox: Sandbox,
}

struct Member {
    name: String,
    port: u16,
    api_port: u16,
    process: Option<Process>,
}

impl Patroni {
    /// Starts everything. 4.x is taken if it is there, else Debian's.
    ///
    /// # Errors
    /// When something is not installed or does not start.
    pub(crate) fn start(runtime: &Handle, times: Times) -> Result<Self> {
        let newer = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".cache/patroni/bin/patroni");
        let program = if newer.is_file() { newer } else { installed("patroni")? };
        let (balancer, etcd) = (installed("haproxy")?, installed("etcd")?);
        let versions = format!(
            "Patroni {}, HAProxy {}, etcd {}",
            version(&program, "--version")?,
            version(&balancer, "-v")?,
            version(&etcd, "--version")?
        );
        let sandbox = Sandbox::new()?;
        let etcd_port = lab::free_port()?;
        let etcd = start_etcd(&sandbox, &etcd, etcd_port)?;
        let password = random_password()?;
        let members = (1..=NODES).map(|number| {
            let (port, api_port) = (lab::free_port()?, lab::free_port()?);
            Ok(Member { name: format!("n{number}"), port, api_port, process: None })
        });
        let members: Vec<Member> = members.collect::<Result<_>>()?;
        let superuser = |member: &Member, database: &str| {
            Access::new(runtime, member.port, ("postgres", &password), database)
        };
        let port = lab::free_port()?;
        let mut patroni = Self {
            haproxy: None,
            _etcd: etcd,
            program,
            times,
            versions,
            application: Access::new(runtime, port, (APPLICATION, &password), APPLICATION),
            nodes: members.iter().map(|member| superuser(member, APPLICATION)).collect(),
            members,
            sandbox,
        };
        let before: Vec<Access> =
            patroni.members.iter().map(|member| superuser(member, "postgres")).collect();
        patroni.start_members(&before, &password, etcd_port).with_context(|| patroni.logs())?;
        let leader = primaries(&before).into_iter().next().context("there is no primary")?;
        before[leader].look(&format!("create role {APPLICATION} login password '{password}'"))?;
        before[leader].look(&format!("create database {APPLICATION} owner {APPLICATION}"))?;
        patroni.nodes[leader].look(&format!("set role {APPLICATION}; {LEDGER}"))?;
        let ports: Vec<_> = patroni
            .members
            .iter()
            .map(|member| (member.name.clone(), member.port, member.api_port))
            .collect();
        let file = patroni.sandbox.write("haproxy.cfg", &haproxy(port, &ports))?;
        let mut command = patroni.sandbox.command(balancer);
        command.arg("-db").arg("-f").arg(file);
        patroni.haproxy =
            Some(Process::start(patroni.sandbox.path(), "haproxy", &mut command, Signal::SIGTERM)?);
        Ok(patroni)
    }

    fn start_members(&mut self, nodes: &[Access], password: &str, etcd_port: u16) -> Result<()> {
        let folder = self.sandbox.path().display().to_string();
        let programs = Binaries::find()?.directory().display().to_string();
        for at in 0..NODES {
            let Member { name, port, api_port, .. } = &self.members[at];
            let place = Place {
                name,
                folder: &folder,
                programs: &programs,
                password,
                port: *port,
                api_port: *api_port,
                etcd_port,
            };
            self.sandbox.write(&format!("{name}.yml"), &member(&place, self.times))?;
            self.begin(at)?;
            if at == 0 {
                // the others are copied from it
                wait_for("the first member leads", PATIENCE, || {
                    ensure!(self.api(0, "GET", "/leader", "")?.0 == 200, "it does not");
                    Ok(())
                })?;
            }
        }
        wait_for("all members run", PATIENCE, || {
            let sql = "select count(*) from pg_stat_replication where state = 'streaming'";
            ensure!(nodes[0].value(sql)? == (NODES - 1).to_string(), "not all standbys stream");
            self.check_members()
        })
    }

    fn begin(&mut self, at: usize) -> Result<()> {
        let name = self.members[at].name.clone();
        let mut command = self.sandbox.command(&self.program);
        command.arg(self.sandbox.path().join(format!("{name}.yml")));
        self.members[at].process =
            Some(Process::start(self.sandbox.path(), &name, &mut command, Signal::SIGKILL)?);
        Ok(())
    }

    fn api(&self, at: usize, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        http(self.members[at].api_port, method, path, body)
    }

    fn check_members(&self) -> Result<()> {
        let (_, state) = self.api(0, "GET", "/cluster", "")?;
        let running = state.matches("\"running\"").count() + state.matches("\"streaming\"").count();
        ensure!(running == NODES, "/cluster says: {state}");
        Ok(())
    }
}

impl Stack for Patroni {
    fn versions(&self) -> String {
        self.versions.clone()
    }

    fn remarks(&self) -> Vec<String> {
        let Times { ttl, loop_wait, retry_timeout } = self.times;
        vec![format!(
            "HAProxy + Patroni: ttl {ttl}, loop_wait {loop_wait}, retry_timeout {retry_timeout}; HAProxy checks /primary \
             with inter 3s fall 3 rise 2 on-marked-down shutdown-sessions; one etcd. A killed node's Patroni is started \
             again as an init system would, and brings the node back."
        )]
    }

    fn application(&self) -> Access {
        self.application.clone()
    }

    fn nodes(&self) -> &[Access] {
        &self.nodes
    }

    fn kill(&mut self, node: usize, companion: bool) -> Result<()> {
        if companion && let Some(process) = self.members[node].process.take() {
            process.kill();
        }
        let killed = self.sandbox.signal_postgres(&self.members[node].name, Signal::SIGKILL)?;
        ensure!(killed, "it does not run");
        Ok(())
    }

    fn bring_back(&mut self, node: usize) -> Result<()> {
        self.begin(node)
    }

    fn switch_over(&mut self, from: usize) -> Result<()> {
        let (leader, candidate) = (&self.members[from].name, &self.members[(from + 1) % NODES].name);
        let body = format!("{{\"leader\": \"{leader}\", \"candidate\": \"{candidate}\"}}");
        let (status, answer) = self.api(from, "POST", "/switchover", &body)?;
        ensure!(status == 200, "{status} {answer}");
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        self.check_members()
    }

    fn logs(&self) -> String {
        let logs = self.members.iter().map(|member| tail(self.sandbox.path(), &member.name));
        logs.collect::<Vec<_>>().join("\n---\n")
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        drop(self.haproxy.take());
        for member in &mut self.members {
            drop(member.process.take());
            // what it has started is not its child any more
            let _ = self.sandbox.signal_postgres(&member.name, Signal::SIGQUIT);
        }
    }
}

fn start_etcd(sandbox: &Sandbox, program: &Path, port: u16) -> Result<Process> {
    let (own, peers) =
        (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", lab::free_port()?));
    let mut command = sandbox.command(program);
    command.arg("--data-dir").arg(sandbox.path().join("etcd"));
    command.args(["--unsafe-no-fsync", "--logger", "zap", "--log-level", "warn"]);
    command.args(["--listen-client-urls", &own, "--advertise-client-urls", &own]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("default={peers}")]);
    let etcd = Process::start(sandbox.path(), "etcd", &mut command, Signal::SIGTERM)?;
    wait_for("etcd serves", PATIENCE, || {
        let (status, _) = http(port, "POST", "/v3/kv/range", "{\"key\":\"YQ==\"}")?;
        ensure!(status == 200, "{status}");
        Ok(())
    })?;
    Ok(etcd)
}

/// One HTTP request to 127.0.0.1; status and body.
fn http(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = "Host: localhost\r\nContent-Type: application/json\r\nConnection: close";
    write!(stream, "{method} {path} HTTP/1.0\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status.context("no answer of HTTP")?, body.to_owned()))
}

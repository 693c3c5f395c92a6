//! `pgherd demo`, as somebody uses it who has just cloned the repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use e2e::{eventually, pgherd};
use lab::Signal;
use testkit::ConnectionParameters;
use wire::message::startup::PROTOCOL_3_0;

use crate::load::Load;

/// How long anything in the demo may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running demo.
struct Demo {
    process: Child,
    commands: ChildStdin,
    folder: PathBuf,
    output: PathBuf,
}

impl Demo {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let output = folder.with_extension("out");
        let log = File::create(&output).unwrap();
        let mut command = Command::new(pgherd());
        command.arg("demo").arg("--dir").arg(folder).args(arguments);
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = command.spawn().unwrap();
        let commands = process.stdin.take().unwrap();
        let demo = Self { process, commands, folder: folder.to_owned(), output };
        demo.wait_for("for scripts");
        demo
    }

    /// All that it has printed.
    fn text(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    /// Waits until it has printed this.
    fn wait_for(&self, text: &str) {
        eventually(&format!("{text:?} in {}", self.output.display()), PATIENCE, || {
            self.text().contains(text).then_some(())
        });
    }

    /// Types a line.
    fn tell(&mut self, line: &str) {
        writeln!(self.commands, "{line}").unwrap();
    }

    /// What demo.env says, by the shell's understanding.
    fn environment(&self) -> BTreeMap<String, String> {
        let script = format!("set -a; . '{}/demo.env'; env", self.folder.display());
        let output = Command::new("sh").args(["-c", &script]).env_clear().output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .filter(|(name, _)| name.starts_with("PGHERD_"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn value(&self, name: &str) -> String {
        self.environment().remove(name).unwrap_or_else(|| panic!("demo.env has no {name}"))
    }

    /// Runs SQL with psql at some port.
    fn psql_at(&self, port: &str, user: (&str, &str), database: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new(Path::new(&self.value("PGHERD_PG_BIN")).join("psql"));
        command.args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.value(port));
        command.env("PGUSER", user.0).env("PGPASSWORD", user.1).env("PGDATABASE", database);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Runs SQL through one of the proxies.
    fn psql(&self, proxy: usize, user: (&str, &str), database: &str, sql: &str) -> Result<String, String> {
        self.psql_at(&format!("PGHERD_PROXY_{proxy}_PORT"), user, database, sql)
    }

    /// The same as the role `app` in its database.
    fn as_app(&self, proxy: usize, sql: &str) -> Result<String, String> {
        let (user, password) = (self.value("PGHERD_USER"), self.value("PGHERD_PASSWORD"));
        self.psql(proxy, (&user, &password), &self.value("PGHERD_DATABASE"), sql)
    }

    /// The same on the console.
    fn as_admin(&self, proxy: usize, sql: &str) -> Result<String, String> {
        let (user, password) = (self.value("PGHERD_ADMIN_USER"), self.value("PGHERD_ADMIN_PASSWORD"));
        self.psql(proxy, (&user, &password), "pgherd", sql)
    }

    /// Runs SQL on a node, around the proxies, as superuser in the application's database.
    fn directly(&self, node: usize, sql: &str) -> Result<String, String> {
        let (user, password) = (self.value("PGHERD_SUPERUSER"), self.value("PGHERD_SUPERUSER_PASSWORD"));
        let port = format!("PGHERD_NODE_{node}_PORT");
        self.psql_at(&port, (&user, &password), &self.value("PGHERD_DATABASE"), sql)
    }

    /// The rows of the table that clients have written to.
    fn ledger_on(&self, node: usize) -> BTreeSet<i64> {
        let text = self.directly(node, "select id from ledger").unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// How the application logs in through a proxy.
    fn app(&self, proxy: usize) -> ConnectionParameters {
        let port = self.value(&format!("PGHERD_PROXY_{proxy}_PORT"));
        ConnectionParameters {
            address: format!("127.0.0.1:{port}").parse().unwrap(),
            user: self.value("PGHERD_USER"),
            password: self.value("PGHERD_PASSWORD"),
            database: self.value("PGHERD_DATABASE"),
            more: Vec::new(),
            version: PROTOCOL_3_0,
        }
    }

    /// Waits until demo.env says this of the two nodes.
    fn wait_for_roles(&self, first: &str, second: &str) {
        eventually("demo.env is kept current", PATIENCE, || {
            let role = |node: usize| self.value(&format!("PGHERD_NODE_{node}_ROLE"));
            (role(1) == first && role(2) == second).then_some(())
        });
    }

    /// Waits until it has ended; gives how it did.
    fn wait_for_end(&mut self) -> ExitStatus {
        eventually("the demo ends", PATIENCE, || self.process.try_wait().unwrap())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            // Kindly, so that it takes its servers with it.
            let _ = lab::signal(self.process.id(), Signal::SIGTERM);
            let _ = self.process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the demo's output:\n{}---", self.text());
        }
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(&self.output);
    }
}

/// A folder that does not exist yet and is no other test's.
fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pgherd-e2e-demo-{name}-{}", std::process::id()))
}

/// Processes whose command line names something in this folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    processes.filter(|line| line.contains(folder)).collect()
}

#[test]
fn a_newcomer_plays_with_it_and_nothing_is_left_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_port = taken.local_addr().unwrap().port().min(60_000);
    let is_taken = base_port == taken.local_addr().unwrap().port();
    let folder = folder("play");
    let mut demo = Demo::start(&folder, &["--regions", "2", "--base-port", &base_port.to_string()]);
    if is_taken {
        assert!(demo.text().contains(&base_port.to_string()), "the port that was taken is named");
        assert_ne!(demo.value("PGHERD_PROXY_1_PORT"), base_port.to_string());
    }
    check_environment(&demo);
    check_logins(&demo);
    check_management(&mut demo);
    check_promotion_by_hand(&mut demo);
    check_loss_of_the_manager(&demo);
    lab::signal(demo.process.id(), Signal::SIGTERM).unwrap();
    assert!(demo.wait_for_end().success());
    assert_eq!(processes_in(&folder), [""; 0]);
    assert!(!folder.exists(), "files are left");
}

/// demo.env has all that it promises.
fn check_environment(demo: &Demo) {
    let environment = demo.environment();
    for name in [
        "USER",
        "PASSWORD",
        "DATABASE",
        "SUPERUSER",
        "SUPERUSER_PASSWORD",
        "ADMIN_USER",
        "ADMIN_PASSWORD",
        "PG_BIN",
        "PROXY_1_PORT",
        "PROXY_1_PID",
        "PROXY_2_PORT",
        "PROXY_2_PID",
        "NODE_1_PORT",
        "NODE_1_DATA",
        "NODE_1_REGION",
        "NODE_2_PORT",
        "NODE_2_DATA",
        "NODE_2_REGION",
    ] {
        let value = environment.get(&format!("PGHERD_{name}"));
        assert!(value.is_some_and(|value| !value.is_empty()), "PGHERD_{name} is {value:?}");
    }
    assert!(!environment.contains_key("PGHERD_PROXY_3_PORT"));
    assert_eq!(
        (demo.value("PGHERD_NODE_1_REGION"), demo.value("PGHERD_NODE_2_REGION")),
        ("eu".into(), "us".into())
    );
}

/// Everybody gets in, through each proxy.
fn check_logins(demo: &Demo) {
    let environment = demo.environment();
    let superuser =
        (environment["PGHERD_SUPERUSER"].as_str(), environment["PGHERD_SUPERUSER_PASSWORD"].as_str());
    demo.psql(1, superuser, "postgres", "create role late login password 'later'").unwrap();
    demo.psql(1, superuser, "postgres", "create database late_one owner late").unwrap();
    for proxy in [1, 2] {
        assert_eq!(demo.as_app(proxy, "select count(*) from customers where name <> 'me'").unwrap(), "100");
        assert_eq!(demo.psql(proxy, superuser, "postgres", "select current_user").unwrap(), "postgres");
        let sql = format!("create table in_late_{proxy} (a int)");
        eventually("the new role and its database", PATIENCE, || {
            demo.psql(proxy, ("late", "later"), "late_one", &sql).ok()
        });
        assert!(demo.psql(proxy, ("late", "wrong"), "late_one", "select 1").is_err());
        assert_eq!(demo.as_admin(proxy, "SHOW NODES").unwrap().lines().count(), 2);
        demo.as_app(proxy, "insert into customers (name, country) values ('me', 'DE')").unwrap();
    }
}

/// The primary is killed, and comes back as a standby by itself; then it is made the primary again.
fn check_management(demo: &mut Demo) {
    demo.as_app(2, "create table ledger (id bigint primary key)").unwrap();
    eventually("the standby has the table", PATIENCE, || demo.directly(2, "select id from ledger").ok());
    let load = Load::of(demo.app(2), 4, 2);
    demo.tell("k");
    demo.wait_for("node 1 (eu), the primary, was killed");
    demo.wait_for("eu: made a standby");
    load.wait_for_writes(100);
    let ledger = load.stop();
    demo.wait_for_roles("standby", "primary");
    ledger.report("k in the demo", ledger.count_missing_among(&demo.ledger_on(2)));
    ledger.assert_only_doubts();
    let receiver = "select status, received_tli, sender_port from pg_stat_wal_receiver";
    let expected = format!("streaming|2|{}", demo.value("PGHERD_NODE_2_PORT"));
    assert_eq!(demo.directly(1, receiver).unwrap(), expected);

    demo.as_app(1, "truncate ledger").unwrap();
    let load = Load::of(demo.app(2), 4, 2);
    demo.tell("s 1");
    demo.wait_for("node 1 (eu) is the primary now");
    demo.wait_for("us: made a standby");
    let ledger = load.stop();
    ledger.assert_no_errors();
    assert_eq!(ledger.count_missing_among(&demo.ledger_on(1)), 0);
    demo.wait_for_roles("primary", "standby");
}

/// Somebody promotes the other node behind pgherd's back; the old primary goes on until it is brought back.
fn check_promotion_by_hand(demo: &mut Demo) {
    demo.tell("p 2");
    demo.wait_for("node 2 (us) was promoted by hand");
    // Until the proxy notices, the old primary goes on to take writes, which are lost.
    let insert =
        "insert into customers (name, country) values ('after p', 'DE') returning current_setting('port')";
    let promoted = demo.value("PGHERD_NODE_2_PORT");
    eventually("the promoted node is written to", PATIENCE, || {
        (demo.as_app(1, insert).unwrap() == promoted).then_some(())
    });
    demo.tell("b 1");
    demo.wait_for("node 1 (eu) is a standby of node 2 (us)");
    demo.wait_for_roles("standby", "primary");
    demo.tell("nonsense");
    demo.tell("t");
    demo.wait_for("\"nonsense\" is no command");
}

/// Exactly one proxy manages, and people are told when it does not.
fn check_loss_of_the_manager(demo: &Demo) {
    assert_eq!(demo.value("PGHERD_MANAGER"), "1");
    let refused = demo.as_admin(2, "SWITCHOVER").unwrap_err();
    assert!(refused.contains("does not manage the cluster"), "{refused}");
    let pid = demo.value("PGHERD_PROXY_1_PID").parse().unwrap();
    lab::signal(pid, Signal::SIGKILL).unwrap();
    demo.wait_for("nobody manages the cluster now: proxy eu");
    demo.wait_for("proxy eu runs again");
}

#[test]
fn a_kept_demo_ends_by_itself_and_goes_on_where_it_was() {
    let folder = folder("kept");
    let base_port = lab::free_port().unwrap().min(60_000).to_string();
    let arguments = ["--regions", "1", "--base-port", &base_port, "--keep", "--seconds", "4"];
    let mut demo = Demo::start(&folder, &arguments);
    let password = demo.value("PGHERD_PASSWORD");
    demo.as_app(1, "create table kept as select 42 as a").unwrap();
    assert!(demo.wait_for_end().success());
    assert_eq!(processes_in(&folder), [""; 0]);
    assert!(folder.join("demo.env").is_file(), "it was to be kept");

    let mut again = Demo::start(&folder, &arguments);
    assert_eq!(again.value("PGHERD_PASSWORD"), password);
    assert_eq!(again.as_app(1, "select a from kept").unwrap(), "42");
    assert!(again.wait_for_end().success());
    assert_eq!(processes_in(&folder), [""; 0]);
}

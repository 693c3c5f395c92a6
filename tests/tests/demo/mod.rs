//! `pgherd demo`, as somebody uses it who has just cloned the repository.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use e2e::{eventually, pgherd};
use lab::Signal;

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

    /// Runs SQL with psql through one of the proxies.
    fn psql(&self, proxy: usize, user: (&str, &str), database: &str, sql: &str) -> Result<String, String> {
        let environment = self.environment();
        let mut command = Command::new(Path::new(&environment["PGHERD_PG_BIN"]).join("psql"));
        command.args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", &environment[&format!("PGHERD_PROXY_{proxy}_PORT")]);
        command.env("PGUSER", user.0).env("PGPASSWORD", user.1).env("PGDATABASE", database);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// The same as the role `app` in its database.
    fn as_app(&self, proxy: usize, sql: &str) -> Result<String, String> {
        let (user, password) = (self.value("PGHERD_USER"), self.value("PGHERD_PASSWORD"));
        self.psql(proxy, (&user, &password), &self.value("PGHERD_DATABASE"), sql)
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
    check_commands(&mut demo);
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
    let admin = (environment["PGHERD_ADMIN_USER"].as_str(), environment["PGHERD_ADMIN_PASSWORD"].as_str());
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
        assert_eq!(demo.psql(proxy, admin, "pgherd", "SHOW NODES").unwrap().lines().count(), 2);
        demo.as_app(proxy, "insert into customers (name, country) values ('me', 'DE')").unwrap();
    }
}

/// Somebody promotes the other node; the old primary comes back; then a crash.
fn check_commands(demo: &mut Demo) {
    demo.tell("p 2");
    demo.wait_for("node 2 (us) was promoted");
    // Until the proxy notices, the old primary goes on to take writes, which are lost.
    let insert =
        "insert into customers (name, country) values ('after p', 'DE') returning current_setting('port')";
    let promoted = demo.value("PGHERD_NODE_2_PORT");
    eventually("the promoted node is written to", PATIENCE, || {
        (demo.as_app(1, insert).unwrap() == promoted).then_some(())
    });
    demo.tell("b 1");
    demo.wait_for("node 1 (eu) is a standby of node 2 (us)");
    demo.tell("k");
    demo.wait_for("node 2 (us), the primary, was killed");
    demo.tell("p 1");
    demo.wait_for("node 1 (eu) was promoted");
    for proxy in [1, 2] {
        demo.as_app(proxy, "insert into customers (name, country) values ('after k', 'DE')").unwrap();
    }
    demo.tell("b 2");
    demo.wait_for("node 2 (us) is a standby of node 1 (eu)");
    eventually("demo.env is kept current", PATIENCE, || {
        (demo.value("PGHERD_NODE_1_ROLE") == "primary" && demo.value("PGHERD_NODE_2_ROLE") == "standby")
            .then_some(())
    });
    let count = "select count(distinct name) from customers where name like 'after %'";
    assert_eq!(demo.as_app(1, &format!("/* pgherd: primary */ {count}")).unwrap(), "2");
    demo.tell("nonsense");
    demo.tell("s");
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

//! The ways in besides plain TCP: Unix sockets, and load balancers that say whom they stand for.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener, process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use e2e::{Herd, Setup, eventually, eventually_async};
use lab::Signal;
use testkit::{Client, Refused};
use tokio::net::TcpSocket;
use toml::{Table, Value};
use wire::message::startup::{self, PROTOCOL_3_0};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// A port that nobody listens at over TCP; it is only part of a name.
const SOCKET_PORT: u16 = 5432;

/// A folder for a socket: the cluster's own has a path that may be too long for one.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pgherd-e2e-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join(format!(".s.PGSQL.{SOCKET_PORT}"))
    }

    /// A herd whose fourth listener is the socket.
    fn setup(&self) -> Setup {
        let listener =
            format!("{{ address = \"{}:{SOCKET_PORT}\", socket_mode = \"0700\" }}", self.0.display());
        Setup::shared().set("listen", list(&format!("[{{}}, {{}}, {{}}, {listener}]")))
    }

    fn psql(&self, herd: &Herd, sql: &str) -> Command {
        let mut command = herd.program("psql", SOCKET_PORT);
        command.env("PGHOST", &self.0).args(["-X", "-A", "-t", "-c", sql]);
        command
    }

    fn answer(&self, herd: &Herd, sql: &str) -> String {
        let output = self.psql(herd, sql).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A value of TOML.
fn list(text: &str) -> Value {
    let table: Table = format!("x = {text}").parse().unwrap();
    table["x"].clone()
}

/// Where the clients of the herd's database come from, by SHOW CLIENTS.
async fn addresses(herd: &Herd) -> Vec<String> {
    let mut admin = herd.proxy(0).admin().await;
    let rows = admin.rows("SHOW CLIENTS").await.unwrap();
    let of_herd = rows.iter().filter(|row| row[2].as_deref() == Some(herd.database()));
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    of_herd.map(|row| format!("{}:{}", text(&row[5]), text(&row[6]))).collect()
}

#[tokio::test]
async fn a_unix_socket_serves_psql_and_is_gone_with_the_proxy() {
    let folder = Folder::new();
    // What a killed process has left.
    drop(UnixListener::bind(folder.socket()).unwrap());
    let herd = folder.setup().start();
    assert_eq!(folder.answer(&herd, "select 40 + 2"), "42");
    assert_eq!(fs::metadata(folder.socket()).unwrap().permissions().mode() & 0o777, 0o700);
    // libpq asks for no TLS here, whatever it is told.
    let mut demanding = folder.psql(&herd, "select 1");
    assert!(demanding.env("PGSSLMODE", "require").output().unwrap().status.success());
    herd.proxy(0).signal(Signal::SIGTERM);
    herd.proxy(0).wait_for_end();
    assert!(!folder.socket().exists());
}

#[tokio::test]
async fn a_query_over_a_unix_socket_is_cancelled_over_it() {
    let folder = Folder::new();
    let herd = folder.setup().start();
    let sql = "select 'over unix', pg_sleep(60)";
    let mut command = folder.psql(&herd, sql);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    eventually("the query runs", PATIENCE, || {
        let count = "select count(*) from pg_stat_activity where query like 'select ''over unix''%' and state = 'active'";
        let nodes = 0..herd.cluster().nodes().len();
        { nodes }.any(|node| herd.cluster().psql(node, count).unwrap() == "1").then_some(())
    });
    assert_eq!(addresses(&herd).await, ["unix:0"]);
    lab::signal(child.id(), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("canceling statement due to user request"), "{error}");
}

#[tokio::test]
async fn a_second_proxy_does_not_take_a_socket_from_the_first() {
    let folder = Folder::new();
    let herd = folder.setup().start();
    let second = Command::new(e2e::pgherd())
        .args(["run", "-c"])
        .arg(herd.proxy(0).configuration_file())
        .env("PGHERD__LISTEN", format!("[{{ address = \"{}\" }}]", folder.socket().display()))
        .output()
        .unwrap();
    assert!(!second.status.success());
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(error.contains("somebody listens there already"), "{error}");
    assert_eq!(folder.answer(&herd, "select 'still here'"), "still here");
}

#[tokio::test]
async fn a_cancel_over_a_unix_socket_hits_its_own_query_alone() {
    let folder = Folder::new();
    let herd = folder.setup().set("pool.size", 3).start();
    let sleep = |name: &str| {
        let sql = format!("select '{name}', pg_sleep(60)");
        let mut command = folder.psql(&herd, &sql);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn().unwrap()
    };
    let mut others = ["other 1", "other 2"].map(sleep);
    let running = || {
        let sql = "select count(*) from pg_stat_activity where query like 'select ''%'', pg_sleep(60)' and state = 'active'
                   and datname = ";
        let sql = format!("{sql}'{}'", herd.database());
        let count = |node| herd.cluster().psql(node, &sql).unwrap().parse::<usize>().unwrap();
        (0..herd.cluster().nodes().len()).map(count).sum::<usize>()
    };
    for _ in 0..3 {
        let victim = sleep("victim");
        eventually("all run", PATIENCE, || (running() == 3).then_some(()));
        lab::signal(victim.id(), Signal::SIGINT).unwrap();
        let error = victim.wait_with_output().unwrap().stderr;
        let error = String::from_utf8_lossy(&error);
        assert!(error.contains("canceling statement due to user request"), "{error}");
        assert_eq!(running(), 2);
    }
    for other in &mut others {
        assert!(other.try_wait().unwrap().is_none(), "it still runs");
        lab::signal(other.id(), Signal::SIGINT).unwrap();
        other.wait().unwrap();
    }
}

#[tokio::test]
async fn a_unix_socket_goes_over_to_a_new_process() {
    let folder = Folder::new();
    let herd = folder.setup().set("proxy.takeover_socket", "takeover-unix").start();
    // A session of the old process that is cancelled by way of the new one.
    let sql = "select 'of old', pg_sleep(60)";
    let mut command = folder.psql(&herd, sql);
    let old = command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    eventually("the query runs", PATIENCE, || {
        let count = "select count(*) from pg_stat_activity where query like 'select ''of old''%' and state = 'active'";
        let nodes = 0..herd.cluster().nodes().len();
        { nodes }.any(|node| herd.cluster().psql(node, count).unwrap() == "1").then_some(())
    });
    let mut process = herd.proxy(0).replace();
    assert_eq!(folder.answer(&herd, "select 'new'"), "new");
    assert!(process.end().is_none(), "it has a client");
    lab::signal(old.id(), Signal::SIGINT).unwrap();
    let error = String::from_utf8_lossy(&old.wait_with_output().unwrap().stderr).into_owned();
    assert!(error.contains("canceling statement due to user request"), "{error}");
    assert!(eventually("the old process ends", PATIENCE, || process.end()).success());
    assert_eq!(folder.answer(&herd, "select 'after it'"), "after it");
    assert_eq!(fs::metadata(folder.socket()).unwrap().permissions().mode() & 0o777, 0o700);
    herd.proxy(0).signal(Signal::SIGTERM);
    herd.proxy(0).wait_for_end();
    assert!(!folder.socket().exists());
}

/// A connection from where the herd expects a load balancer, beginning with `header`.
async fn balanced(herd: &Herd, header: &[u8]) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut client = Client::over(socket.connect(herd.app().address).await.unwrap()).unwrap();
    client.send(header).await.unwrap();
    client
}

async fn log_in(herd: &Herd, client: &mut Client) -> Result<(), Refused> {
    let app = herd.app();
    let mut packet = Vec::new();
    let pairs = [(&b"user"[..], app.user.as_bytes()), (b"database", app.database.as_bytes())];
    startup::session(PROTOCOL_3_0, &pairs, &mut packet);
    client.send(&packet).await.map_err(|_| Refused(None))?;
    client.log_in(&app.password).await.map(drop)
}

fn balanced_herd() -> Herd {
    Setup::shared().set("listen", list("[{ proxy_protocol = [\"127.0.0.2\"] }, {}, {}]")).start()
}

/// A header of version 2 with the command and family, and addresses.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length, rest].concat()
}

#[tokio::test]
async fn a_client_behind_a_load_balancer_is_shown_with_its_own_address() {
    let herd = balanced_herd();
    let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 0x0f, 0xa0, 0x15, 0x38];
    let v6: Vec<u8> =
        [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x0f, 0xa1, 0, 1], &[4, 0, 0]].concat();
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 5432\r\n".to_vec(), "192.0.2.7:4000"),
        (b"PROXY TCP6 2001:db8::9 ::1 4001 5432\r\n".to_vec(), "2001:db8::9:4001"),
        (binary(1, 0x11, &v4), "198.51.100.7:4000"),
        (binary(1, 0x21, &v6), "2001:db8::7:4001"),
    ] {
        let mut client = balanced(&herd, &header).await;
        log_in(&herd, &mut client).await.unwrap();
        assert_eq!(client.value("select 'served'").await, "served");
        assert_eq!(addresses(&herd).await, [expected]);
        client.terminate().await;
        eventually_async("the client has gone", PATIENCE, || async {
            addresses(&herd).await.is_empty().then_some(())
        })
        .await;
    }
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), binary(0, 0, &[])] {
        let mut balancer = balanced(&herd, &header).await;
        log_in(&herd, &mut balancer).await.unwrap();
        let shown = addresses(&herd).await;
        assert!(shown.iter().any(|address| address.starts_with("127.0.0.2:")), "{shown:?}");
    }
}

#[tokio::test]
async fn a_balancer_must_send_a_header_and_nobody_else_may() {
    let herd = balanced_herd();
    let mut silent = balanced(&herd, b"").await;
    let refused = log_in(&herd, &mut silent).await.unwrap_err();
    assert_eq!(refused.sqlstate().as_deref(), Some("08P01"), "{refused}");
    let mut liar = Client::open(herd.app().address).await.unwrap();
    liar.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 5432\r\n").await.unwrap();
    assert!(liar.next().await.is_none());
    let mut direct = herd.connect().await;
    assert_eq!(direct.value("select 'as ever'").await, "as ever");
    let shown = addresses(&herd).await;
    assert!(shown.iter().all(|address| address.starts_with("127.0.0.1:")), "{shown:?}");
    for hostile in [
        &b"PROXY TCP4 x\r\n....."[..],
        b"PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        &binary(1, 0x11, &[0; 60_000]),
    ] {
        let mut client = balanced(&herd, hostile).await;
        let answer = client.next().await;
        assert!(answer.is_none_or(|message| message.sqlstate().as_deref() == Some("08P01")));
    }
}

#[tokio::test]
async fn cancels_through_a_load_balancer_hit_their_own_queries_alone() {
    let herd = balanced_herd();
    let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 5432\r\n"; // the same for all
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = balanced(&herd, header).await;
        log_in(&herd, &mut client).await.unwrap();
        client.send(testkit::Batch::new().query("select pg_sleep(60)").bytes()).await.unwrap();
        clients.push(client);
    }
    let active = format!(
        "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active' and datname = '{}'",
        herd.database()
    );
    let running = || -> usize {
        let nodes = 0..herd.cluster().nodes().len();
        nodes.map(|node| herd.cluster().psql(node, &active).unwrap().parse::<usize>().unwrap()).sum()
    };
    eventually("all run", PATIENCE, || (running() == 4).then_some(()));
    for left in (0..4).rev() {
        let mut client = clients.remove(left / 2);
        let (pid, secret) = client.key();
        let mut request = header.to_vec();
        startup::cancel_request(pid, secret, &mut request);
        assert!(balanced(&herd, &request).await.next().await.is_none());
        let messages = client.until_ready().await;
        assert!(
            messages.iter().any(|message| message.sqlstate().as_deref() == Some("57014")),
            "{messages:?}"
        );
        assert_eq!(running(), left);
        assert_eq!(client.value("select 'alive'").await, "alive");
    }
}

#[tokio::test]
async fn a_cancel_through_a_load_balancer_reaches_its_query() {
    let herd = balanced_herd();
    let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 5432\r\n";
    let mut client = balanced(&herd, header).await;
    log_in(&herd, &mut client).await.unwrap();
    client.send(testkit::Batch::new().query("select pg_sleep(60)").bytes()).await.unwrap();
    let (pid, secret) = client.key();
    let mut request = header.to_vec();
    startup::cancel_request(pid, secret, &mut request);
    // A cancel that comes before the query does cancels nothing, so it is repeated.
    let first = loop {
        let mut canceller = balanced(&herd, &request).await;
        assert!(canceller.next().await.is_none());
        if let Ok(message) = client.next_within(Duration::from_millis(500)).await {
            break message.unwrap();
        }
    };
    let messages = [vec![first], client.until_ready().await].concat();
    let error = messages.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.sqlstate().as_deref(), Some("57014"), "{messages:?}");
}

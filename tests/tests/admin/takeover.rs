//! A new process takes over from an old one.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{Predecessor, Setup, eventually};
use lab::Signal;
use testkit::{Batch, Client};
use tokio::task::JoinSet;

fn setup(name: &str) -> Setup {
    Setup::shared().set("proxy.takeover_socket", name)
}

fn wait_for_end(mut process: Predecessor) {
    let end = eventually("the old process ends", Duration::from_secs(20), || process.end());
    assert!(end.success(), "{end}");
}

/// Starts what takes a while and can be cancelled.
async fn begin_to_sleep(client: &mut Client) {
    client.send(Batch::new().query("select pg_sleep(60)").bytes()).await.unwrap();
}

/// The code that it ends with.
async fn how_it_ended(client: &mut Client) -> Option<String> {
    let messages = client.until_ready().await;
    messages.iter().find_map(testkit::Message::sqlstate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_connect_all_the_time_do_not_notice_that_the_process_is_replaced_twice() {
    let herd = setup("takeover-twice").start();
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut connecting = JoinSet::new();
    for _ in 0..4 {
        let (app, stop, served) = (herd.app(), Arc::clone(&stop), Arc::clone(&served));
        connecting.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let mut client = app.connect().await.unwrap_or_else(|error| panic!("refused: {error}"));
                assert_eq!(client.value("select 'served'").await, "served");
                client.terminate().await;
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let until_served = |more: usize| {
        let goal = served.load(Ordering::Relaxed) + more;
        eventually("clients are served", Duration::from_secs(60), || {
            (served.load(Ordering::Relaxed) >= goal).then_some(())
        });
    };
    tokio::task::block_in_place(|| {
        until_served(20);
        let first = herd.proxy(0).replace();
        until_served(20);
        let second = herd.proxy(0).replace();
        until_served(20);
        wait_for_end(first);
        wait_for_end(second);
        until_served(20);
    });
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = connecting.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn an_old_session_finishes_on_the_old_process_and_is_cancelled_through_the_new_one() {
    let herd = setup("takeover-old-session").set("session.shutdown_timeout", "20s").start();
    herd.psql("create table over (a int)").unwrap();
    let mut old = herd.proxy(0).connect_to("read-write").await;
    old.execute("begin").await;
    old.execute("insert into over values (1)").await;
    let mut first = herd.proxy(0).replace();
    let mut middle = herd.proxy(0).connect_to("read-write").await;
    assert_eq!(middle.value("select 'new'").await, "new");
    let mut second = herd.proxy(0).replace();
    assert!(first.end().is_none() && second.end().is_none(), "they have clients");

    // Each is cancelled at the port, where only the newest process accepts.
    middle.execute("begin").await;
    for client in [&mut old, &mut middle] {
        client.execute("savepoint s").await;
        begin_to_sleep(client).await;
        eventually("it sleeps", Duration::from_secs(10), || {
            let sql = "select count(*) from pg_stat_activity where query like 'select pg_sleep(60)%'
                       and state = 'active' and datname = current_database()";
            (herd.psql_directly(sql).unwrap() == "1").then_some(())
        });
        client.cancel().await.unwrap();
        assert_eq!(how_it_ended(client).await.as_deref(), Some("57014"));
        client.execute("rollback to s").await;
    }
    old.execute("insert into over values (2)").await;
    old.execute("commit").await;
    assert_eq!(herd.psql_directly("select count(*) from over").unwrap(), "2");
    old.terminate().await;
    wait_for_end(first);
    assert!(second.end().is_none(), "it has a client");
    middle.execute("commit").await;
    middle.terminate().await;
    wait_for_end(second);
    assert_eq!(herd.connect().await.value("select 'newest'").await, "newest");
}

#[tokio::test]
async fn old_processes_end_with_their_clients_when_told_to_or_when_the_time_is_over() {
    let herd = setup("takeover-end").set("session.takeover_timeout", "3s").start();
    herd.psql("create table ended (a int)").unwrap();
    // Its last client leaves.
    let leaving = herd.connect().await;
    let process = herd.proxy(0).replace();
    leaving.terminate().await;
    wait_for_end(process);
    // It is told to stop: transactions end first.
    let mut open = herd.proxy(0).connect_to("read-write").await;
    open.execute("begin").await;
    open.execute("insert into ended values (1)").await;
    let process = herd.proxy(0).replace();
    lab::signal(process.pid(), Signal::SIGTERM).unwrap();
    open.execute("commit").await;
    assert_eq!(open.next().await.and_then(|message| message.sqlstate()).as_deref(), Some("57P01"));
    wait_for_end(process);
    assert_eq!(herd.psql_directly("select count(*) from ended").unwrap(), "1");
    // Its client stays for too long.
    let mut idle = herd.connect().await;
    let process = herd.proxy(0).replace();
    assert_eq!(idle.value("select 'still here'").await, "still here");
    assert_eq!(idle.next().await.and_then(|message| message.sqlstate()).as_deref(), Some("57P01"));
    wait_for_end(process);
    assert_eq!(herd.connect().await.value("select 1").await, "1");
}

#[tokio::test]
async fn a_socket_that_systemd_passes_stays_open_over_a_restart() {
    let herd = setup("takeover-systemd").start();
    let proxy = herd.proxy(0);
    proxy.signal(Signal::SIGTERM);
    assert!(proxy.wait_for_end().success());
    let socket = std::net::TcpListener::bind(("127.0.0.1", proxy.port())).unwrap();
    // Descriptors from 3 on, as systemd passes them; LISTEN_PID is the process itself.
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let log = herd.cluster().directory().join("systemd.log");
    for round in 0..2 {
        // It waits in the socket until there is a process.
        let app = herd.app();
        let early = tokio::spawn(async move { app.connect().await.unwrap().value("select 'served'").await });
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script, "sh"]).arg(e2e::pgherd()).arg("run").arg("-c");
        command.arg(proxy.configuration_file()).current_dir(herd.cluster().directory());
        command.stdin(std::os::fd::OwnedFd::from(socket.try_clone().unwrap()));
        command.stdout(std::process::Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let mut process = command.spawn().unwrap();
        assert_eq!(early.await.unwrap(), "served", "round {round}");
        lab::signal(process.id(), Signal::SIGTERM).unwrap();
        let end = eventually("it ends", Duration::from_secs(20), || process.try_wait().unwrap());
        assert!(end.success(), "{}", std::fs::read_to_string(&log).unwrap());
    }
}

/// What `/readyz` answers.
fn readiness(port: u16) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_http_listener_goes_over_as_well() {
    let port = lab::Reservation::any().unwrap().release();
    let herd = setup("takeover-http").set("health.listen", format!("127.0.0.1:{port}")).start();
    let mut old = herd.connect().await;
    let _process = herd.proxy(0).replace();
    for _ in 0..20 {
        assert_eq!(readiness(port), "200", "only the new process answers");
    }
    assert_eq!(old.value("select 1").await, "1");
}

#[tokio::test]
async fn a_process_that_breaks_off_takes_nothing_over_and_strangers_get_nothing() {
    let herd = setup("takeover-broken").start();
    let path = herd.cluster().directory().join("takeover-broken");
    use std::os::unix::{fs::PermissionsExt, net::UnixStream};
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for words in ["takeover 1\n", "takeover 9\n", "accepting\n", "cancel 1 zz\n", "cancel 1 00\n", "\n", ""] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
    }
    assert_eq!(herd.connect().await.value("select 1").await, "1");
    let old = herd.proxy(0).replace();
    assert_eq!(herd.connect().await.value("select 2").await, "2");
    wait_for_end(old);
}

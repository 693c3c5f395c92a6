//! What stops things, and lets them go on.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use e2e::{Setup, eventually};
use lab::Signal;
use testkit::{Batch, Client, ConnectionParameters};

use crate::load::Load;

/// A cell of the row of SHOW whose first cell is `name`.
async fn shown(admin: &mut Client, noun: &str, name: &str, column: usize) -> String {
    let rows = admin.rows(&format!("SHOW {noun}")).await.unwrap();
    let row = rows.iter().find(|row| row[0].as_deref() == Some(name));
    row.unwrap_or_else(|| panic!("no {name} in {rows:?}"))[column].clone().unwrap_or_default()
}

#[test]
fn suspend_and_reconnect_cycles_lose_and_double_nothing() {
    let herd = Setup::shared().set("pool.size", 4).set("proxy.workers", 2).start();
    let load = Load::start(&herd, 6, 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut admin = runtime.block_on(herd.proxy(0).admin());
    let mut tell = |command: &str| runtime.block_on(admin.execute(command));
    for round in 0..5 {
        tell("SUSPEND");
        if round % 2 == 0 {
            tell("RECONNECT");
        }
        tell("RESUME");
        load.wait_for_writes(30);
        tell("RECONNECT; WAIT_CLOSE");
        tell("PAUSE; SUSPEND; RESUME");
        load.wait_for_writes(30);
        tell(&format!("DISABLE {0}; ENABLE {0}", herd.database()));
    }
    let ledger = load.stop();
    ledger.report("SUSPEND, RESUME, RECONNECT, WAIT_CLOSE", ledger.count_missing(&herd, 0));
    ledger.assert_no_errors();
    assert_eq!(ledger.count_missing(&herd, 0), 0);
}

#[tokio::test]
async fn a_suspended_proxy_leaves_clients_waiting_and_loses_none_of_their_bytes() {
    let herd = Setup::shared().set("pool.client_idle_timeout", "500ms").start();
    herd.psql("create table kept (a int)").unwrap();
    let mut admin = herd.proxy(0).admin().await;
    let mut idle = herd.connect().await;
    let mut open = herd.connect().await;
    open.execute("begin").await;
    open.execute("insert into kept values (1)").await;
    admin.execute("SUSPEND").await;
    assert_eq!(shown(&mut admin, "STATE", "suspended", 1).await, "yes");
    assert_eq!(shown(&mut admin, "STATE", "active", 1).await, "no");
    idle.send(Batch::new().query("select 'late'").bytes()).await.unwrap();
    open.send(Batch::new().query("insert into kept values (2)").query("commit").bytes()).await.unwrap();
    let app = herd.app();
    let newcomer = tokio::spawn(async move { app.connect().await.map(drop).is_ok() });
    let silence = idle.next_within(Duration::from_millis(700)).await;
    assert!(silence.is_err(), "{silence:?}");
    assert_eq!(herd.psql_directly("select count(*) from kept").unwrap(), "0");
    admin.execute("RESUME").await;
    assert_eq!(idle.until_ready().await[1].row(), [Some("late".to_owned())]);
    open.until_ready().await;
    open.until_ready().await;
    assert!(newcomer.await.unwrap(), "whoever came meanwhile is let in");
    assert_eq!(herd.psql_directly("select count(*) from kept").unwrap(), "2");
    assert_eq!(shown(&mut admin, "STATE", "suspended", 1).await, "no");
}

#[tokio::test]
async fn suspend_waits_until_a_message_is_whole() {
    let herd = Setup::shared().start();
    let mut admin = herd.proxy(0).admin().await;
    let mut client = herd.connect().await;
    client.execute("begin").await;
    let batch = Batch::new().query("select 'whole'");
    let (first, rest) = batch.bytes().split_at(9);
    client.send(first).await.unwrap();
    let mut watcher = herd.proxy(0).admin().await;
    admin.send(Batch::new().query("SUSPEND").bytes()).await.unwrap();
    while shown(&mut watcher, "STATE", "suspended", 1).await != "yes" {}
    client.send(rest).await.unwrap();
    admin.until_ready().await;
    admin.execute("RESUME").await;
    assert_eq!(client.until_ready().await[1].row(), [Some("whole".to_owned())]);
    client.execute("commit").await;
}

#[tokio::test]
async fn a_disabled_database_takes_no_new_clients_and_keeps_those_it_has() {
    let herd = Setup::shared().start();
    let mut admin = herd.proxy(0).admin().await;
    let mut client = herd.connect().await;
    client.execute("select 1").await;
    admin.execute(&format!("DISABLE {}", herd.database())).await;
    assert_eq!(shown(&mut admin, "DATABASES", herd.database(), 16).await, "1");
    let refused = herd.app().connect().await.expect_err("it is disabled");
    assert_eq!(refused.sqlstate().as_deref(), Some("57P03"), "{refused}");
    assert_eq!(client.value("select 1").await, "1");
    let login = herd.cluster().application().clone();
    herd.proxy(0).login(&login, "postgres").connect().await.unwrap();
    herd.proxy(0).write_configuration(|configuration| configuration.set("pool.size", 9));
    admin.execute("RELOAD").await;
    assert!(herd.app().connect().await.is_err(), "a reload does not enable it");
    admin.execute(&format!("ENABLE {}", herd.database())).await;
    assert_eq!(shown(&mut admin, "DATABASES", herd.database(), 16).await, "0");
    herd.connect().await.execute("select 1").await;
}

#[tokio::test]
async fn wait_close_answers_when_replaced_connections_are_closed() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    let mut admin = herd.proxy(0).admin().await;
    client.execute("begin").await;
    let before = client.value("select pg_backend_pid()").await;
    admin.execute("RECONNECT").await;
    admin.send(Batch::new().query("WAIT_CLOSE").bytes()).await.unwrap();
    let early = admin.next_within(Duration::from_millis(500)).await;
    assert!(early.is_err(), "{early:?}");
    client.execute("commit").await;
    admin.until_ready().await;
    let alive = format!("select count(*) from pg_stat_activity where pid = {before}");
    eventually("the old connection ends", Duration::from_secs(10), || {
        (herd.cluster().psql(0, &alive).unwrap() == "0").then_some(())
    });
    admin.execute("WAIT_CLOSE").await;
}

#[tokio::test]
async fn after_kill_newcomers_wait_until_resume() {
    let herd = Setup::shared().start();
    let mut admin = herd.proxy(0).admin().await;
    let mut client = herd.connect().await;
    client.execute("begin").await;
    admin.execute(&format!("KILL {}", herd.database())).await;
    assert_eq!(client.next().await.and_then(|message| message.sqlstate()).as_deref(), Some("57P01"));
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = '{}' and usename = 'app'",
        herd.database()
    );
    eventually("no server connection is left", Duration::from_secs(10), || {
        (herd.cluster().psql(0, &sql).unwrap() == "0").then_some(())
    });
    let app = herd.app();
    let newcomer = tokio::spawn(async move {
        let mut client = app.connect().await.unwrap();
        client.value("select 1").await
    });
    herd.proxy(0).until_waiting(1).await;
    admin.execute(&format!("RESUME {}", herd.database())).await;
    assert_eq!(newcomer.await.unwrap(), "1");
}

/// KILL ends those too that are just logging in.
async fn connect_in_the_end(app: &ConnectionParameters) -> Client {
    loop {
        match app.connect().await {
            Ok(client) => return client,
            Err(refused) => assert_eq!(refused.sqlstate().as_deref(), Some("57P01"), "{refused}"),
        }
    }
}

#[test]
fn kill_under_load_doubles_and_loses_no_acknowledged_row() {
    let herd = Setup::shared().set("pool.size", 3).start();
    herd.psql("create table killed_load (id bigint)").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..4_i64 {
            let app = herd.app();
            writers.spawn(async move {
                let (mut acknowledged, mut client) = (Vec::new(), connect_in_the_end(&app).await);
                for n in 0..400_i64 {
                    let id = number * 1000 + n;
                    client
                        .send(Batch::new().query(&format!("insert into killed_load values ({id})")).bytes())
                        .await
                        .ok();
                    let mut completed = false;
                    loop {
                        match client.next().await {
                            Some(message) if message.tag == b'Z' => break,
                            Some(message) => completed |= message.tag == b'C',
                            None => {
                                client = connect_in_the_end(&app).await;
                                break;
                            }
                        }
                    }
                    if completed {
                        acknowledged.push(id);
                    }
                }
                acknowledged
            });
        }
        let mut admin = herd.proxy(0).admin().await;
        for _ in 0..5 {
            admin.execute("KILL; RESUME").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut acknowledged = BTreeSet::new();
        while let Some(done) = writers.join_next().await {
            acknowledged.extend(done.unwrap());
        }
        let rows = herd.psql_directly("select id from killed_load").unwrap();
        let all: Vec<i64> = rows.lines().map(|line| line.parse().unwrap()).collect();
        let once: BTreeSet<i64> = all.iter().copied().collect();
        assert_eq!(all.len(), once.len(), "a row was written twice");
        assert!(acknowledged.is_subset(&once), "an acknowledged row is lost");
    });
}

/// In the middle of a login a client's socket moves to another thread, which cannot write to it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_while_logging_in_is_told_so() {
    let herd = Setup::shared().start();
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (app, over) = (herd.app(), Arc::clone(&over));
        clients.spawn(async move {
            let mut told = 0;
            while !over.load(Ordering::Relaxed) {
                if let Err(refused) = app.connect().await {
                    assert_eq!(refused.sqlstate().as_deref(), Some("57P01"), "{refused}");
                    told += 1;
                }
            }
            told
        });
    }
    let mut admin = herd.proxy(0).admin().await;
    for _ in 0..300 {
        admin.execute("KILL; RESUME").await;
    }
    over.store(true, Ordering::Relaxed);
    let told: u32 = clients.join_all().await.into_iter().sum();
    println!("{told} clients were told in the middle of their login");
}

#[tokio::test]
async fn set_changes_a_setting_until_the_next_reload() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut admin = herd.proxy(0).admin().await;
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    let mut other = herd.proxy(0).connect_to("read-write").await;
    owner.execute("begin").await;
    other.send(Batch::new().query("select 1").bytes()).await.unwrap();
    herd.proxy(0).until_waiting(1).await;
    admin.execute("SET pool.size = 2").await;
    assert!(
        other.until_ready().await.iter().any(|message| message.tag == b'D'),
        "who waits is served at once"
    );
    assert_eq!(shown(&mut admin, "CONFIG", "pool.size", 1).await, "2");
    owner.execute("commit").await;

    admin.execute("SET query_timeout = 0.3").await;
    assert_eq!(shown(&mut admin, "CONFIG", "pool.query_timeout", 1).await, "300ms");
    assert_eq!(shown(&mut admin, "CONFIG", "pool.size", 1).await, "2", "what was set before stays");
    assert_eq!(other.failure("select pg_sleep(60)").await.as_deref(), Some("57014"));

    for (command, why) in [
        ("SET pool.size = many", "a whole number"),
        ("SET pool.siz = 3", "did you mean"),
        ("SET proxy.workers = 2", "takes a restart"),
        ("SET pool.size = 3, 4", "one value"),
    ] {
        let messages = admin.query(command).await;
        let error = messages.iter().find(|message| message.tag == b'E').unwrap();
        assert_eq!(error.sqlstate().as_deref(), Some("22023"), "{command}");
        assert!(String::from_utf8_lossy(&error.body).contains(why), "{command}: {messages:?}");
    }
    admin.execute("SET application_name = 'noise'").await;
    admin.execute("RELOAD").await;
    assert_eq!(shown(&mut admin, "CONFIG", "pool.size", 1).await, "1", "the file holds again");
    assert_eq!(shown(&mut admin, "CONFIG", "pool.query_timeout", 1).await, "0s");
}

#[tokio::test]
async fn a_signal_lets_a_transaction_end_with_its_commit_and_tells_the_client_at_the_boundary() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let herd = Setup::shared().set("session.shutdown_timeout", "20s").start();
        herd.psql("create table drained (a int)").unwrap();
        let mut idle = herd.connect().await;
        let mut open = herd.connect().await;
        idle.execute("select 1").await;
        open.execute("begin").await;
        open.execute("insert into drained values (1)").await;
        herd.proxy(0).signal(signal);
        assert_eq!(idle.next().await.and_then(|message| message.sqlstate()).as_deref(), Some("57P01"));
        open.execute("insert into drained values (2)").await;
        open.execute("commit").await;
        assert_eq!(open.next().await.and_then(|message| message.sqlstate()).as_deref(), Some("57P01"));
        assert_eq!(open.next().await, None);
        assert!(herd.proxy(0).wait_for_end().success());
        assert_eq!(herd.psql_directly("select count(*) from drained").unwrap(), "2");
    }
}

/// What `[health]` answers to a path: the status and the word.
fn asked(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap_or_default();
    format!("{status} {}", text.lines().last().unwrap_or_default())
}

#[tokio::test]
async fn a_shutdown_is_not_ready_first_and_takes_clients_in_until_its_delay_is_over() {
    let port = lab::Reservation::any().unwrap().release();
    let address = format!("127.0.0.1:{port}");
    let herd = Setup::shared()
        .set("health.listen", address.as_str())
        .set("session.shutdown_delay", "2s")
        .set("session.shutdown_timeout", "20s")
        .start();
    assert_eq!(asked(&address, "/readyz"), "200 ready");
    assert_eq!(asked(&address, "/livez"), "200 alive");
    assert!(asked(&address, "/metric").starts_with("404 there are /livez, /readyz, /startupz, /primary"));
    let mut idle = herd.connect().await;
    herd.proxy(0).signal(Signal::SIGTERM);
    eventually("it is not ready any more", Duration::from_secs(5), || {
        (asked(&address, "/readyz") == "503 draining").then_some(())
    });
    assert_eq!(asked(&address, "/startupz"), "200 started");
    let mut late = herd.connect().await;
    assert_eq!(late.value("select 'served'").await, "served");
    assert_eq!(idle.value("select 'still'").await, "still");
    for client in [&mut idle, &mut late] {
        assert_eq!(client.next().await.and_then(|message| message.sqlstate()).as_deref(), Some("57P01"));
    }
    assert!(herd.proxy(0).wait_for_end().success());
}

//! What administrators do while clients work.

use std::time::Duration;

use e2e::{Setup, eventually};
use testkit::{Batch, Client, Message};

use crate::load::Load;

/// The value of a key in SHOW CONFIG.
async fn setting(admin: &mut Client, key: &str) -> String {
    let rows = admin.rows("SHOW CONFIG").await.unwrap();
    rows.iter().find(|row| row[0].as_deref() == Some(key)).unwrap()[1].clone().unwrap()
}

fn notices(messages: &[Message]) -> Vec<String> {
    messages.iter().filter(|message| message.tag == b'N').map(Message::complaint).collect()
}

#[tokio::test]
async fn reload_applies_a_configuration_whole_or_not_at_all() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let proxy = herd.proxy(0);
    let mut client = herd.connect().await;
    client.execute("set work_mem = '9MB'").await;
    let mut admin = proxy.admin().await;
    proxy.write_configuration(|configuration| {
        configuration.set("pool.size", 5);
        configuration.set("session.max_hold", "7s");
    });
    let messages = admin.query("RELOAD").await;
    let told = notices(&messages);
    assert!(told.iter().any(|text| text.contains("pool.size")), "{messages:?}");
    assert_eq!(setting(&mut admin, "pool.size").await, "5");

    // One mistake, and nothing else of it counts either.
    proxy.write_configuration(|configuration| {
        configuration.set("pool.size", 6);
        configuration.set("session.max_holt", "7s");
    });
    let messages = admin.query("RELOAD").await;
    let error = messages.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.sqlstate().as_deref(), Some("F0000"), "{messages:?}");
    let whole = String::from_utf8_lossy(&error.body).into_owned();
    assert!(whole.contains("max_holt") && whole.contains("max_hold"), "{whole:?}");
    assert_eq!(setting(&mut admin, "pool.size").await, "5");
    proxy.write_configuration_text("this is = no [ TOML");
    assert_eq!(admin.failure("RELOAD").await.as_deref(), Some("F0000"));
    assert_eq!(setting(&mut admin, "pool.size").await, "5");
    assert_eq!(client.value("show work_mem").await, "9MB");

    proxy.write_configuration(|configuration| configuration.remove("session.max_holt"));
    admin.execute("RELOAD").await;
    assert_eq!(setting(&mut admin, "pool.size").await, "6");
    let messages = admin.query("RELOAD").await;
    assert_eq!(notices(&messages), ["NOTICE: nothing has changed"]);
    assert_eq!(client.value("show work_mem").await, "9MB");
}

#[test]
fn pause_resume_reconnect_and_reload_lose_and_double_nothing() {
    let herd = Setup::shared().set("pool.size", 4).start();
    let load = Load::start(&herd, 6, 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut admin = runtime.block_on(herd.proxy(0).admin());
    let mut tell = |command: &str| runtime.block_on(admin.execute(command));
    let in_use = || {
        let sql = format!(
            "select count(*) from pg_stat_activity where datname = '{}' and state <> 'idle'",
            herd.database()
        );
        herd.cluster().psql(0, &sql).unwrap()
    };
    for scope in ["", herd.database()] {
        tell(&format!("PAUSE {scope}"));
        assert_eq!(in_use(), "0", "PAUSE answers when no server is in use any more");
        let before = herd.psql_directly("select count(*) from ledger").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(herd.psql_directly("select count(*) from ledger").unwrap(), before, "paused");
        tell(&format!("RESUME {scope}"));
        load.wait_for_writes(100);
        tell(&format!("RECONNECT {scope}"));
        load.wait_for_writes(100);
    }
    for size in [2, 6] {
        herd.proxy(0).write_configuration(|configuration| configuration.set("pool.size", size));
        tell("RELOAD");
        load.wait_for_writes(100);
    }
    let ledger = load.stop();
    ledger.report("PAUSE, RESUME, RECONNECT, RELOAD", ledger.count_missing(&herd, 0));
    ledger.assert_no_errors();
    assert_eq!(ledger.count_missing(&herd, 0), 0);
}

#[tokio::test]
async fn reconnect_replaces_every_server_connection() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    let mut admin = herd.proxy(0).admin().await;
    client.execute("begin").await;
    let before = client.value("select pg_backend_pid()").await;
    admin.execute("RECONNECT").await;
    assert_eq!(client.value("select pg_backend_pid()").await, before, "not in the middle of a transaction");
    client.execute("commit").await;
    assert_ne!(client.value("select pg_backend_pid()").await, before);
}

#[tokio::test]
async fn kill_ends_the_clients_of_a_database_and_kill_client_one() {
    let herd = Setup::shared().start();
    let login = herd.cluster().application().clone();
    let mut own = [herd.connect().await, herd.connect().await];
    let mut other = herd.proxy(0).login(&login, "postgres").connect().await.unwrap();
    own[0].execute("begin").await;
    own[0].execute("create table killed (a int)").await;
    let mut admin = herd.proxy(0).admin().await;

    let rows = admin.rows("SHOW CLIENTS").await.unwrap();
    let is_victim = |row: &&Vec<Option<String>>| {
        row[2].as_deref() == Some(herd.database()) && row[4].as_deref() == Some("idle")
    };
    let victim = rows.iter().find(is_victim).unwrap()[20].clone().unwrap();
    admin.execute(&format!("KILL_CLIENT {victim}")).await;
    let farewell = own[1].next().await.expect("it is told why");
    assert_eq!(farewell.sqlstate().as_deref(), Some("57P01"), "{farewell:?}");
    assert_eq!(own[1].next().await, None);
    assert_eq!(admin.failure(&format!("KILL_CLIENT {victim}")).await.as_deref(), Some("42704"));
    own[0].execute("select 1").await;

    admin.execute(&format!("KILL {}", herd.database())).await;
    let farewell = own[0].next().await.expect("it is told why");
    assert_eq!(farewell.sqlstate().as_deref(), Some("57P01"), "{farewell:?}");
    assert_eq!(own[0].next().await, None);
    assert_eq!(other.value("select 1").await, "1");
    // As with PgBouncer, newcomers wait until the administrator is done.
    admin.execute(&format!("RESUME {}", herd.database())).await;
    let mut again = herd.connect().await;
    assert_eq!(again.value("select to_regclass('killed') is null").await, "t", "what it had begun is undone");
    assert_eq!(admin.failure("KILL nowhere, too").await.as_deref(), Some("42601"));
}

#[tokio::test]
async fn shutdown_lets_open_transactions_end() {
    for command in ["SHUTDOWN WAIT_FOR_SERVERS", "SHUTDOWN WAIT_FOR_CLIENTS"] {
        let herd = Setup::shared().set("session.shutdown_timeout", "20s").start();
        herd.psql("create table ended (a int)").unwrap();
        let mut client = herd.connect().await;
        let mut admin = herd.proxy(0).admin().await;
        client.execute("begin").await;
        client.execute("insert into ended values (1)").await;
        // The console may be gone before it answers.
        admin.send(Batch::new().query(command).bytes()).await.unwrap();
        eventually("the proxy refuses newcomers", Duration::from_secs(10), || herd.psql("select 1").err());
        client.execute("insert into ended values (2)").await;
        client.execute("commit").await;
        client.terminate().await;
        let status = herd.proxy(0).wait_for_end();
        assert!(status.success(), "{command}: {status}");
        assert_eq!(herd.psql_directly("select count(*) from ended").unwrap(), "2", "{command}");
    }
}

#[tokio::test]
async fn a_plain_shutdown_ends_at_once() {
    let herd = Setup::shared().set("session.shutdown_timeout", "20s").start();
    let mut client = herd.connect().await;
    client.execute("begin").await;
    let mut admin = herd.proxy(0).admin().await;
    admin.send(Batch::new().query("SHUTDOWN").bytes()).await.unwrap();
    assert!(herd.proxy(0).wait_for_end().success());
    let last = client.next().await;
    assert!(last.is_none() || last.and_then(|message| message.sqlstate()).as_deref() == Some("57P01"));
}

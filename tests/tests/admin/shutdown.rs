//! Who is told what, and when, while a proxy ends.

use std::time::Duration;

use e2e::{Herd, Setup, eventually};
use lab::{Login, Signal};
use testkit::{Batch, Client};

/// The code of the error that is all that comes before the end of the connection.
async fn last_words(client: &mut Client) -> Option<String> {
    let code = client.next().await.and_then(|message| message.sqlstate());
    assert_eq!(client.next().await, None);
    code
}

/// A role that may log in and that no other herd has.
fn role(herd: &Herd, name: &str) -> Login {
    let login = Login { user: format!("{}_{name}", herd.database()), password: "secret".to_owned() };
    let sql = format!("create role {} login password '{}'", login.user, login.password);
    herd.cluster().psql(0, &sql).unwrap();
    login
}

#[tokio::test]
async fn clients_of_every_worker_are_told_while_transactions_of_others_are_open() {
    let herd = Setup::shared().set("proxy.workers", 2).set("session.shutdown_timeout", "20s").start();
    let (mut idle, mut open) = (Vec::new(), Vec::new());
    for n in 0..8 {
        let parameters = herd.proxy(0).login(&role(&herd, &n.to_string()), herd.database());
        idle.push(parameters.connect().await.unwrap());
        let mut client = parameters.connect().await.unwrap();
        client.execute("begin").await;
        client.execute("select 1").await;
        open.push(client);
    }
    herd.proxy(0).signal(Signal::SIGTERM);
    for client in &mut idle {
        assert_eq!(last_words(client).await.as_deref(), Some("57P01"));
    }
    for client in &mut open {
        client.execute("commit").await;
        assert_eq!(last_words(client).await.as_deref(), Some("57P01"));
    }
    assert!(herd.proxy(0).wait_for_end().success());
}

#[tokio::test]
async fn a_client_that_keeps_its_server_is_told_when_it_has_no_transaction() {
    for mode in ["transaction", "session"] {
        let herd = Setup::shared().set("pool.mode", mode).set("session.shutdown_timeout", "60s").start();
        let mut idle = herd.connect().await;
        let mut open = herd.connect().await;
        idle.execute("create temp table kept (a int)").await;
        open.execute("create temp table kept (a int)").await;
        open.execute("begin").await;
        herd.proxy(0).signal(Signal::SIGTERM);
        assert_eq!(last_words(&mut idle).await.as_deref(), Some("57P01"), "{mode}");
        open.execute("insert into kept values (1)").await;
        open.execute("commit").await;
        assert_eq!(last_words(&mut open).await.as_deref(), Some("57P01"), "{mode}");
        assert!(herd.proxy(0).wait_for_end().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_just_logging_in_does_not_hold_the_end_up() {
    let slow = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin
                AND (rolname NOT LIKE '%\\_late' OR pg_sleep(2) IS NOT NULL)";
    let herd = Setup::shared().set("auth.query", slow).set("session.shutdown_timeout", "60s").start();
    let late = herd.proxy(0).login(&role(&herd, "late"), herd.database());
    let mut open = herd.connect().await;
    open.execute("begin").await;
    let newcomer = tokio::spawn(async move {
        match late.connect().await {
            Ok(mut client) => last_words(&mut client).await,
            Err(refused) => refused.sqlstate(),
        }
    });
    eventually("its role is looked up", Duration::from_secs(10), || {
        let sql =
            "select count(*) from pg_stat_activity where query like '%pg_sleep(2)%' and state = 'active'
                   and pid <> pg_backend_pid()";
        (herd.cluster().psql(0, sql).unwrap() != "0").then_some(())
    });
    herd.proxy(0).signal(Signal::SIGTERM);
    assert_eq!(newcomer.await.unwrap().as_deref(), Some("57P01"));
    open.execute("commit").await;
    assert_eq!(last_words(&mut open).await.as_deref(), Some("57P01"));
    assert!(herd.proxy(0).wait_for_end().success());
}

#[tokio::test]
async fn whose_transaction_outlives_the_time_is_told_so() {
    let herd = Setup::shared().set("session.shutdown_timeout", "500ms").start();
    let mut open = herd.connect().await;
    open.execute("begin").await;
    herd.proxy(0).signal(Signal::SIGTERM);
    assert_eq!(last_words(&mut open).await.as_deref(), Some("57P01"));
    assert!(herd.proxy(0).wait_for_end().success());
}

#[tokio::test]
async fn a_second_shutdown_replaces_the_first() {
    let herd = Setup::shared().set("session.shutdown_timeout", "60s").start();
    let mut idle = herd.connect().await;
    let mut open = herd.connect().await;
    open.execute("begin").await;
    let mut admins = [herd.proxy(0).admin().await, herd.proxy(0).admin().await, herd.proxy(0).admin().await];
    admins[0].execute("SHUTDOWN WAIT_FOR_CLIENTS").await;
    assert_eq!(idle.value("select 1").await, "1");
    admins[1].execute("SHUTDOWN WAIT_FOR_SERVERS").await;
    assert_eq!(last_words(&mut idle).await.as_deref(), Some("57P01"));
    assert_eq!(open.value("select 1").await, "1");
    // the console may be gone before it answers
    admins[2].send(Batch::new().query("SHUTDOWN").bytes()).await.unwrap();
    assert_eq!(last_words(&mut open).await.as_deref(), Some("57P01"));
    assert!(herd.proxy(0).wait_for_end().success());
}

#[tokio::test]
async fn a_process_that_was_taken_over_from_obeys_its_console() {
    let herd = Setup::shared().set("proxy.takeover_socket", "shutdown-taken-over").start();
    let mut idle = herd.connect().await;
    let mut admin = herd.proxy(0).admin().await;
    let mut process = herd.proxy(0).replace();
    assert_eq!(idle.value("select 1").await, "1");
    admin.send(Batch::new().query("SHUTDOWN").bytes()).await.unwrap();
    assert_eq!(last_words(&mut idle).await.as_deref(), Some("57P01"));
    let end = eventually("the old process ends", Duration::from_secs(20), || process.end());
    assert!(end.success(), "{end}");
}

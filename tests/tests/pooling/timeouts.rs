//! How long a client may take.

use std::time::Duration;

use e2e::{Setup, eventually};
use testkit::{Batch, Client};

/// How many sessions of the herd's clients are in this state, as the server sees them.
fn sessions(herd: &e2e::Herd, state: &str) -> String {
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = '{}' and usename = 'app' and state = '{state}'",
        herd.database()
    );
    herd.cluster().psql(0, &sql).unwrap()
}

/// The FATAL error that the client is told before it is disconnected.
async fn last_words(client: &mut Client) -> String {
    let last = client.next().await.expect("it is told why");
    assert!(last.complaint().starts_with("FATAL"), "{last:?}");
    assert_eq!(client.next().await, None, "it is disconnected");
    last.sqlstate().unwrap()
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_cancelled_and_the_session_goes_on() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.query_timeout", "300ms").start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("set work_mem = '5MB'").await;
    let messages = client.query("select pg_sleep(60)").await;
    let error = messages.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.sqlstate().as_deref(), Some("57014"), "{messages:?}");
    assert_eq!(error.complaint(), "ERROR: canceling statement due to query timeout");
    assert_eq!(sessions(&herd, "active"), "0", "it runs no more");
    assert_eq!(client.value("show work_mem").await, "5MB");

    // In a transaction, over the extended protocol: the transaction fails, and is the client's to end.
    client.execute("begin").await;
    let sleep = Batch::new().parse("", "select pg_sleep(60)").bind("", "", &[]).execute("", 0).sync();
    let messages = client.run(&sleep).await;
    assert!(messages.iter().any(|message| message.sqlstate().as_deref() == Some("57014")), "{messages:?}");
    assert_eq!(client.failure("select 1").await.as_deref(), Some("25P02"));
    client.execute("rollback").await;
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn the_time_of_a_statement_is_its_own() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.query_timeout", "1s").start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    // Together they take longer than each may: in a transaction, in a pipeline, and with a client that dawdles.
    client.execute("begin").await;
    for _ in 0..3 {
        client.execute("select pg_sleep(0.4)").await;
    }
    client.execute("commit").await;
    let mut pipeline = Batch::new();
    for _ in 0..3 {
        pipeline = pipeline.parse("", "select pg_sleep(0.4)").bind("", "", &[]).execute("", 0).sync();
    }
    client.send(pipeline.bytes()).await.unwrap();
    for _ in 0..3 {
        let messages = client.until_ready().await;
        assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");
    }
    let part = Batch::new().parse("", "select 1").bind("", "", &[]).execute("", 0).flush();
    client.send(part.bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.send(part.bytes()).await.unwrap();
    client.send(Batch::new().sync().bytes()).await.unwrap();
    let messages = client.until_ready().await;
    assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");
}

#[tokio::test]
async fn waiting_for_a_connection_is_not_the_statements_time() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.query_timeout", "400ms").start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    let mut waiting = herd.proxy(0).connect_to("read-write").await;
    owner.execute("begin").await;
    waiting.send(Batch::new().query("select 'at last'").bytes()).await.unwrap();
    herd.proxy(0).until_waiting(1).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    owner.execute("commit").await;
    let messages = waiting.until_ready().await;
    assert!(messages.iter().any(|message| message.tag == b'D'), "{messages:?}");
}

#[tokio::test]
async fn a_copy_that_its_client_abandons_is_ended() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.query_timeout", "300ms").start();
    herd.psql("create table copied (a int)").unwrap();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.send(Batch::new().query("copy copied from stdin").bytes()).await.unwrap();
    assert_eq!(client.next().await.unwrap().tag, b'G');
    // A server that waits for COPY data does not obey a cancel.
    assert_eq!(last_words(&mut client).await, "57014");
    let mut next = herd.proxy(0).connect_to("read-write").await;
    assert_eq!(next.value("select count(*) from copied").await, "0");
}

#[tokio::test]
async fn a_client_that_is_idle_in_a_transaction_is_disconnected_and_its_transaction_rolled_back() {
    for failed in [false, true] {
        let herd = Setup::shared().set("pool.size", 1).set("pool.idle_transaction_timeout", "300ms").start();
        herd.psql("create table half_done (a int)").unwrap();
        let mut idle = herd.proxy(0).connect_to("read-write").await;
        let mut next = herd.proxy(0).connect_to("read-write").await;
        idle.execute("begin").await;
        idle.execute("insert into half_done values (1)").await;
        if failed {
            assert_eq!(idle.failure("select 1/0").await.as_deref(), Some("22012"));
        }
        assert_eq!(last_words(&mut idle).await, "25P03", "failed: {failed}");
        assert_eq!(next.value("select count(*) from half_done").await, "0");
        // Running is not idling.
        next.execute("begin").await;
        next.execute("select pg_sleep(0.8)").await;
        next.execute("commit").await;
    }
}

#[tokio::test]
async fn an_idle_client_is_disconnected_and_a_busy_one_is_not() {
    for mode in ["transaction", "session"] {
        let herd = Setup::shared().set("pool.mode", mode).set("pool.client_idle_timeout", "1500ms").start();
        let mut idle = herd.connect().await;
        let mut busy = herd.connect().await;
        let mut open = herd.connect().await;
        idle.execute("select 1").await;
        open.execute("begin").await;
        let chatting = async {
            for _ in 0..20 {
                busy.execute("select 1").await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let (last, ()) = tokio::join!(last_words(&mut idle), chatting);
        assert_eq!(last, "57P05", "{mode}");
        assert_eq!(open.value("select 1").await, "1", "a transaction has a limit of its own");
        open.execute("commit").await;
    }
}

#[tokio::test]
async fn timeouts_can_differ_by_database_and_change_with_a_reload() {
    let herd = Setup::shared().start();
    let proxy = herd.proxy(0);
    let mut client = herd.connect().await;
    client.execute("select 1").await;
    proxy.write_configuration(|configuration| {
        configuration.set("pool.client_idle_timeout", "0s");
        configuration.set("database.0.pool.query_timeout", "300ms");
    });
    proxy.admin().await.execute("RELOAD").await;
    assert_eq!(client.failure("select pg_sleep(60)").await.as_deref(), Some("57014"));
    assert_eq!(client.value("select 1").await, "1");
}

#[tokio::test]
async fn a_client_that_dies_while_its_time_runs_leaves_nothing_behind() {
    let herd = Setup::shared().set("pool.size", 2).set("pool.query_timeout", "300ms").start();
    for _ in 0..3 {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        client.send(Batch::new().query("select pg_sleep(60)").bytes()).await.unwrap();
        client.reset();
    }
    eventually("nothing runs", Duration::from_secs(10), || (sessions(&herd, "active") == "0").then_some(()));
    assert_eq!(herd.proxy(0).connect_to("read-write").await.value("select 1").await, "1");
}

//! Whether clients may leave state on a server connection at all, and how many may keep one for it.

use e2e::{Herd, Setup};
use testkit::{Batch, Client, Message};
use wire::message::backend::TxStatus;

fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

/// The error among `messages`: its SQLSTATE and all it says.
fn error(messages: &[Message]) -> (String, String) {
    let error = messages.iter().find(|message| message.tag == b'E').expect("an error");
    (error.sqlstate().unwrap(), error.complaint())
}

async fn connect(herd: &Herd) -> Client {
    herd.proxy(0).connect_to("read-write").await
}

#[tokio::test]
async fn a_pool_that_refuses_session_state_says_what_it_was_and_runs_nothing_of_it() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.session_state", "refuse").start();
    herd.psql("create table plain (x int)").unwrap();
    let mut client = connect(&herd).await;
    for (sql, effect) in [
        ("create temp table t (x int)", "temporary table"),
        ("insert into plain values (1); create temp table t (x int)", "temporary table"),
        ("select pg_advisory_lock(1)", "advisory lock"),
        ("prepare p as select 1; create table t (x int)", "SQL PREPARE"),
        ("load 'auto_explain'", "LOAD"),
    ] {
        let messages = client.query(sql).await;
        let (code, text) = error(&messages);
        assert_eq!((code.as_str(), tags(&messages).as_str()), ("0A000", "EZ"), "{sql}: {text}");
        assert!(text.contains(effect), "{sql}: {text}");
        assert_eq!(client.value("select count(*) from plain").await, "0");
    }
    // what is followed, or ends with the transaction, works
    client.execute("set work_mem = '7MB'").await;
    client.execute("prepare p as select 1").await;
    client.execute("listen news").await;
    client.execute("begin; declare c cursor for select 1; commit").await;
    client.execute("select pg_advisory_xact_lock(1)").await;
    assert_eq!(client.value("show work_mem").await, "7MB");
    // nobody is pinned
    assert_eq!(connect(&herd).await.value("show work_mem").await, "4MB");
}

#[tokio::test]
async fn a_refused_statement_fails_its_transaction() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.session_state", "refuse").start();
    herd.psql("create table plain (x int)").unwrap();
    let mut client = connect(&herd).await;
    client.execute("begin").await;
    client.execute("insert into plain values (1)").await;
    let messages = client.query("create temp table t (x int)").await;
    assert_eq!(error(&messages).0, "0A000");
    assert_eq!(messages.last().unwrap().status(), TxStatus::Failed);
    assert_eq!(client.failure("create temp table t (x int)").await.as_deref(), Some("25P02"));
    assert_eq!(client.failure("select 1").await.as_deref(), Some("25P02"));
    client.execute("commit").await;
    assert_eq!(client.value("select count(*) from plain").await, "0");
}

#[tokio::test]
async fn a_refused_statement_of_a_pipeline_is_skipped_with_all_behind_it_to_the_sync() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.session_state", "refuse").start();
    herd.psql("create table plain (x int)").unwrap();
    let mut client = connect(&herd).await;
    let lock = |batch: Batch, name: &str| {
        batch
            .parse("", "insert into plain values (1)")
            .bind("", "", &[])
            .execute("", 0)
            .parse(name, "select pg_advisory_lock($1::int)")
            .bind("", name, &[Some("1")])
            .describe_portal("")
            .execute("", 0)
            .parse("", "insert into plain values (2)")
            .bind("", "", &[])
            .execute("", 0)
            .sync()
    };
    for name in ["", "lock"] {
        let messages = client.run(&lock(Batch::new(), name)).await;
        assert_eq!((error(&messages).0.as_str(), tags(&messages).as_str()), ("0A000", "12C1EZ"), "{name:?}");
        assert_eq!(client.value("select count(*) from plain").await, "0");
    }
    // prepared it is, and refused again each time it is bound; what a client runs under that name itself is its own
    let batch = Batch::new().bind("", "lock", &[Some("1")]).execute("", 0).sync().query("select 1");
    client.send(batch.bytes()).await.unwrap();
    assert_eq!(error(&client.until_ready().await).0, "0A000");
    assert_eq!(tags(&client.until_ready().await), "TDCZ");
    assert_eq!(client.failure("execute pgherd_refused").await.as_deref(), Some("26000"));
}

#[tokio::test]
async fn a_pool_that_allows_session_state_pins_nobody() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.session_state", "allow").start();
    let (mut client, mut other) = (connect(&herd).await, connect(&herd).await);
    client.execute("create temp table t as select 1 as x").await;
    client.execute("select pg_advisory_lock(1)").await;
    // as with other poolers, it is there for everybody
    assert_eq!(other.value("select x from t").await, "1");
    assert_eq!(other.value("select pg_advisory_unlock(1)").await, "t");
}

#[tokio::test]
async fn a_database_has_its_own_policy() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.session_state", "refuse");
    let herd = herd.set("database.0.name", "*").set("database.0.pool.session_state", "pin").start();
    let mut client = connect(&herd).await;
    client.execute("create temp table t as select 1 as x").await;
    assert_eq!(client.value("select x from t").await, "1");
}

#[tokio::test]
async fn pinned_clients_leave_connections_to_others() {
    let herd = Setup::shared().set("pool.size", 3).set("pool.max_pinned", 2).start();
    let (mut a, mut b, mut c) = (connect(&herd).await, connect(&herd).await, connect(&herd).await);
    a.execute("select pg_advisory_lock(1)").await;
    b.execute("create temp table t (x int)").await;
    c.execute("begin").await;
    let messages = c.query("create temp table t (x int)").await;
    let (code, text) = error(&messages);
    assert_eq!((code.as_str(), messages.last().unwrap().status()), ("53400", TxStatus::Failed), "{text}");
    c.execute("rollback").await;
    // those who are pinned may leave more behind
    a.execute("create temp table t (x int)").await;
    // the console tells who they are
    let mut admin = herd.proxy(0).admin().await;
    let mut reasons: Vec<_> =
        admin.rows("SHOW PINNED").await.unwrap().into_iter().map(|row| row[6].clone().unwrap()).collect();
    reasons.sort();
    assert_eq!(reasons, ["temporary table", "temporary table, advisory lock"]);
    let pinned: u32 = admin
        .rows("SHOW EXTENDED POOLS")
        .await
        .unwrap()
        .iter()
        .map(|row| row.last().unwrap().as_ref().unwrap().parse::<u32>().unwrap())
        .sum();
    assert_eq!(pinned, 2);
    // there is room again as soon as a pin ends, and when a client leaves
    b.execute("drop table t").await;
    assert_eq!(b.value("select 1").await, "1");
    c.execute("create temp table t (x int)").await;
    assert_eq!(b.failure("create temp table t (x int)").await.as_deref(), Some("53400"));
    c.terminate().await;
    e2e::eventually_async("room for one more", std::time::Duration::from_secs(20), || {
        let herd = &herd;
        async move {
            let mut one = connect(herd).await;
            one.failure("create temp table t (x int)").await.is_none().then_some(())
        }
    })
    .await;
}

#[tokio::test]
async fn who_would_be_one_pinned_client_too_many_waits_for_another_to_be_done() {
    let herd = Setup::shared().set("pool.size", 3).set("pool.max_pinned", 1).start();
    let (mut a, mut b, mut c) = (connect(&herd).await, connect(&herd).await, connect(&herd).await);
    let statement =
        Batch::new().parse("", "select pg_advisory_lock(2)").bind("", "", &[]).execute("", 0).sync();
    for (unlock, request) in [
        ("select pg_advisory_unlock(1)", Batch::new().query("select pg_advisory_lock(2)")),
        ("discard all", statement),
    ] {
        a.execute("select pg_advisory_lock(1)").await;
        b.send(request.bytes()).await.unwrap();
        c.send(request.bytes()).await.unwrap();
        herd.proxy(0).until_waiting(2).await;
        // nobody else has to
        assert_eq!(connect(&herd).await.value("select 'as ever'").await, "as ever");
        a.execute(unlock).await;
        for client in [&mut b, &mut c] {
            let messages = client.until_ready().await;
            assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");
            client.execute("discard all").await;
        }
    }
}

#[tokio::test]
async fn waiting_for_others_to_keep_fewer_connections_has_an_end() {
    let herd = Setup::shared()
        .set("pool.size", 3)
        .set("pool.max_pinned", 1)
        .set("pool.wait_timeout", "300ms")
        .start();
    let (mut a, mut b) = (connect(&herd).await, connect(&herd).await);
    a.execute("create temp table t (x int)").await;
    let messages = b.query("create temp table t (x int)").await;
    let (code, text) = error(&messages);
    assert_eq!((code.as_str(), messages.last().unwrap().status()), ("53400", TxStatus::Idle), "{text}");
    assert_eq!(b.value("select 'goes on'").await, "goes on");
    a.terminate().await;
    b.execute("create temp table t (x int)").await;
}

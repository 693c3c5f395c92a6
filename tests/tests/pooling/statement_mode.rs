//! Statement pooling: each statement may run on another server.

use e2e::{Herd, Setup};
use testkit::Batch;

fn herd() -> Herd {
    Setup::shared().set("pool.mode", "statement").set("pool.size", 2).start()
}

#[tokio::test]
async fn a_transaction_is_refused_and_the_session_goes_on() {
    let herd = herd();
    let mut client = herd.connect().await;
    for begin in
        ["begin", "start transaction", "BEGIN READ ONLY", "/* x */ begin isolation level serializable"]
    {
        assert_eq!(client.failure(begin).await.as_deref(), Some("0A000"), "{begin}");
        assert_eq!(client.value("select 1").await, "1");
    }
    let batch = Batch::new().parse("b", "begin").bind("", "b", &[]).execute("", 0).sync();
    let messages = client.run(&batch).await;
    assert_eq!(messages[0].sqlstate().as_deref(), Some("0A000"), "{messages:?}");
    assert_eq!(messages.len(), 2, "an error and ReadyForQuery: {messages:?}");
    assert_eq!(client.value("select 2").await, "2");
}

#[tokio::test]
async fn what_was_sent_before_a_refused_begin_is_answered() {
    let herd = herd();
    let mut client = herd.connect().await;
    let batch = Batch::new().query("select 'before'").query("begin").query("select 'after'");
    client.send(batch.bytes()).await.unwrap();
    assert_eq!(client.until_ready().await[1].row(), [Some("before".to_owned())]);
    let refused = client.until_ready().await;
    assert_eq!(refused[0].sqlstate().as_deref(), Some("0A000"), "{refused:?}");
    assert_eq!(client.until_ready().await[1].row(), [Some("after".to_owned())]);
}

#[tokio::test]
async fn a_transaction_within_one_text_works_and_one_that_is_left_open_ends_the_session() {
    let herd = herd();
    herd.psql("create table whole (a int)").unwrap();
    let mut client = herd.connect().await;
    client.execute("begin; insert into whole values (1); commit").await;
    client
        .send(Batch::new().query("insert into whole values (2); begin; insert into whole values (3)").bytes())
        .await
        .unwrap();
    let mut last = None;
    while let Some(message) = client.next().await {
        last = Some(message);
    }
    assert_eq!(last.unwrap().sqlstate().as_deref(), Some("0A000"));
    let mut next = herd.proxy(0).connect_to("read-write").await;
    // What comes before BEGIN in one text is part of its transaction (manual, "Multiple Statements in a Simple Query").
    assert_eq!(next.value("select string_agg(a::text, ',') from whole").await, "1");
}

#[tokio::test]
async fn statements_of_many_clients_share_servers_and_settings_follow_them() {
    let herd = herd();
    let mut clients = tokio::task::JoinSet::new();
    for id in 0..8 {
        let mut client = herd.connect().await;
        clients.spawn(async move {
            client.execute(&format!("set work_mem = '{}MB'", 10 + id)).await;
            for n in 0..20 {
                assert_eq!(client.value("show work_mem").await, format!("{}MB", 10 + id));
                let batch = Batch::new()
                    .parse("", "select $1::int")
                    .bind("", "", &[Some(&n.to_string())])
                    .execute("", 0)
                    .sync();
                let messages = client.run(&batch).await;
                assert!(messages.iter().any(|message| message.tag == b'D'), "{messages:?}");
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_that_was_open_when_the_mode_changed_comes_to_its_end() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let proxy = herd.proxy(0);
    let mut client = proxy.connect_to("read-write").await;
    client.execute("begin").await;
    proxy.write_configuration(|configuration| configuration.set("pool.mode", "statement"));
    proxy.admin().await.execute("RELOAD").await;
    let mut other = proxy.connect_to("read-write").await;
    let refused = || async {
        let mut client = proxy.connect_to("smart").await;
        client.failure("begin").await.as_deref() == Some("0A000")
    };
    client.execute("create table t (a int)").await;
    client.execute("insert into t values (1)").await;
    client.execute("commit").await;
    assert_eq!(other.value("select count(*) from t").await, "1");
    assert!(refused().await);
    assert_eq!(client.failure("begin").await.as_deref(), Some("0A000"));
    assert_eq!(client.value("select count(*) from t").await, "1");
}

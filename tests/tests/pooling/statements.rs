//! Prepared statements belong to clients, whichever server they are prepared on.

use e2e::Setup;
use testkit::{Batch, Client};
use tokio::task::JoinSet;

fn call(name: &str, value: &str) -> Batch {
    Batch::new().bind("", name, &[Some(value)]).execute("", 0).sync()
}

/// The one value that a prepared statement gives.
async fn result(client: &mut Client, name: &str, value: &str) -> String {
    let messages = client.run(&call(name, value)).await;
    let row =
        messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{name}: {messages:?}"));
    row.row()[0].clone().unwrap()
}

async fn prepare(client: &mut Client, name: &str, sql: &str) {
    let messages = client.run(&Batch::new().parse(name, sql).sync()).await;
    assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");
}

#[tokio::test]
async fn statements_of_the_same_name_are_different_for_each_client() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let mut clients = JoinSet::new();
    for id in 0..30_u32 {
        let mut client = herd.connect().await;
        clients.spawn(async move {
            prepare(&mut client, "S_1", &format!("select 'client {id}: ' || $1::text")).await;
            prepare(&mut client, "S_2", &format!("select ($1::int * {id})::text")).await;
            for n in 0..20_u32 {
                assert_eq!(result(&mut client, "S_1", "x").await, format!("client {id}: x"));
                assert_eq!(result(&mut client, "S_2", &n.to_string()).await, (n * id).to_string());
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn statements_survive_the_server_they_were_prepared_on() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    prepare(&mut client, "lasting", "select $1::int + 1").await;
    for _ in 0..5 {
        assert_eq!(result(&mut client, "lasting", "1").await, "2");
        herd.psql_directly(
            "select pg_terminate_backend(pid, 1000) from pg_stat_activity
             where datname = current_database() and usename = 'app'",
        )
        .unwrap();
    }
    let mut admin = herd.proxy(0).admin().await;
    admin.rows("RECONNECT").await.unwrap();
    assert_eq!(result(&mut client, "lasting", "2").await, "3");
}

#[tokio::test]
async fn a_server_keeps_no_more_statements_than_allowed() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.max_prepared_statements", 5).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    for n in 0..20 {
        prepare(&mut client, &format!("s{n}"), &format!("select {n} + $1::int")).await;
    }
    for round in 0..3 {
        for n in 0..20 {
            assert_eq!(
                result(&mut client, &format!("s{n}"), "100").await,
                (100 + n).to_string(),
                "round {round}"
            );
        }
    }
    let kept: u32 = client.value("select count(*) from pg_prepared_statements").await.parse().unwrap();
    assert!((1..=5).contains(&kept), "{kept} statements on the server");
    // A pipeline with more statements than fit at a time.
    let pipeline =
        (0..20).fold(Batch::new(), |batch, n| batch.bind("", &format!("s{n}"), &[Some("0")]).execute("", 0));
    let messages = client.run(&pipeline.sync()).await;
    let rows = messages
        .iter()
        .filter(|message| message.tag == b'D')
        .map(|message| message.row()[0].clone().unwrap());
    assert_eq!(rows.collect::<Vec<_>>(), (0..20).map(|n| n.to_string()).collect::<Vec<_>>(), "{messages:?}");
}

#[tokio::test]
async fn a_statement_that_does_not_parse_leaves_no_trace() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let (mut a, mut b) = (herd.connect().await, herd.connect().await);
    for client in [&mut a, &mut b] {
        let messages = client.run(&Batch::new().parse("bad", "select * from not_there").sync()).await;
        assert_eq!(messages[0].sqlstate().as_deref(), Some("42P01"));
        let messages = client.run(&call("bad", "1")).await;
        assert_eq!(messages[0].sqlstate().as_deref(), Some("26000"), "{messages:?}");
    }
    a.execute("create table not_there (a int)").await;
    prepare(&mut a, "bad", "select count(*) from not_there where $1::int is not null").await;
    assert_eq!(result(&mut a, "bad", "1").await, "0");
}

#[tokio::test]
async fn what_stands_beside_a_deallocate_in_one_query_is_run_or_refused_and_never_left_out() {
    let herd = Setup::shared().start();
    herd.psql("create table beside (a int)").unwrap();
    let mut client = herd.connect().await;
    client.run(&Batch::new().parse("one", "select 1").sync()).await;
    let outcome = client.query("deallocate one; insert into beside values (1)").await;
    let failed = outcome.iter().any(|message| message.tag == b'E');
    let rows = client.value("/* pgherd: primary */ select count(*) from beside").await;
    assert_eq!(rows, if failed { "0" } else { "1" }, "{outcome:?}");
}

#[tokio::test]
async fn deallocate_and_discard_take_the_clients_statements_and_no_others() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut a = herd.proxy(0).connect_to("read-write").await;
    let mut b = herd.proxy(0).connect_to("read-write").await;
    for client in [&mut a, &mut b] {
        prepare(client, "one", "select 1 + $1::int").await;
        prepare(client, "two", "select 2 + $1::int").await;
    }
    a.execute("deallocate one").await;
    assert_eq!(a.run(&call("one", "1")).await[0].sqlstate().as_deref(), Some("26000"));
    assert_eq!(result(&mut a, "two", "1").await, "3");
    assert_eq!(result(&mut b, "one", "1").await, "2");
    a.execute("discard all").await;
    assert_eq!(a.run(&call("two", "1")).await[0].sqlstate().as_deref(), Some("26000"));
    assert_eq!(result(&mut b, "two", "1").await, "3");
    a.execute("deallocate all").await;
    assert_eq!(result(&mut b, "one", "1").await, "2");
}

#[tokio::test]
async fn a_changed_table_does_not_spoil_prepared_statements_for_longer_than_without_a_proxy() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("create table altered (a int); insert into altered values (1)").await;
    prepare(&mut client, "all", "select * from altered where a = $1::int").await;
    assert_eq!(result(&mut client, "all", "1").await, "1");
    client.execute("alter table altered add b int").await;
    // PostgreSQL's own answer: "cached plan must not change result type"; drivers prepare again.
    assert_eq!(
        client.run(&call("all", "1")).await.iter().find_map(|m| m.sqlstate()).as_deref(),
        Some("0A000")
    );
    let messages = client.run(&Batch::new().close_statement("all").sync()).await;
    assert_eq!(messages[0].tag, b'3');
    prepare(&mut client, "all", "select * from altered where a = $1::int").await;
    let messages = client.run(&call("all", "1")).await;
    assert!(messages.iter().any(|message| message.tag == b'D'), "{messages:?}");
}

#[tokio::test]
async fn the_same_text_under_another_search_path_is_another_statement() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut a = herd.proxy(0).connect_to("read-write").await;
    let mut b = herd.proxy(0).connect_to("read-write").await;
    a.execute("create schema sa; create schema sb").await;
    a.execute(
        "create table sa.who as select 'a'::text as name; create table sb.who as select 'b'::text as name",
    )
    .await;
    a.execute("set search_path = sa").await;
    b.execute("set search_path = sb").await;
    for client in [&mut a, &mut b] {
        prepare(client, "who", "select name from who where $1::int = 1").await;
    }
    for _ in 0..3 {
        assert_eq!(result(&mut a, "who", "1").await, "a");
        assert_eq!(result(&mut b, "who", "1").await, "b");
    }
}

#[tokio::test]
async fn what_is_prepared_after_a_table_was_altered_is_planned_for_the_new_table() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut first = herd.proxy(0).connect_to("read-write").await;
    first.execute("create table altered (a int); insert into altered values (1)").await;
    prepare(&mut first, "s", "select * from altered where a = $1").await;
    assert_eq!(result(&mut first, "s", "1").await, "1");
    first.execute("alter table altered add b text").await;
    // In a transaction nothing could be run again.
    let mut second = herd.proxy(0).connect_to("read-write").await;
    second.execute("begin").await;
    prepare(&mut second, "s", "select * from altered where a = $1").await;
    assert_eq!(result(&mut second, "s", "1").await, "1");
    second.execute("commit").await;
}

#[tokio::test]
async fn a_client_has_no_more_statements_than_it_may() {
    let setup = Setup::shared().set("pool.size", 1).set("session.max_statements", 3);
    let herd = setup.set("session.max_statement_bytes", "16kB").start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    let refused = |messages: &[testkit::Message]| messages.iter().find_map(|message| message.sqlstate());
    for n in 0..3 {
        prepare(&mut client, &format!("s{n}"), "select 1 + $1::int").await;
    }
    // one that is known to be right, and one that is not
    for sql in ["select 1 + $1::int", "select 2 + $1::int"] {
        let messages = client.run(&Batch::new().parse("s3", sql).sync()).await;
        assert_eq!(refused(&messages).as_deref(), Some("53400"), "{messages:?}");
        assert_eq!(client.failure(&format!("prepare s3 (int) as {sql}")).await.as_deref(), Some("53400"));
    }
    assert_eq!(result(&mut client, "s0", "1").await, "2");
    assert_eq!(client.failure("prepare s0 as select 1").await.as_deref(), Some("42P05"));
    client.execute("deallocate s0").await;
    prepare(&mut client, "s3", "select 3 + $1::int").await;
    assert_eq!(result(&mut client, "s3", "1").await, "4");
    client.execute("deallocate all").await;
    let long = format!("select '{}'", "x".repeat(10_000));
    prepare(&mut client, "long", &long).await;
    client.execute("begin").await;
    let messages = client.run(&Batch::new().parse("longer", &long).sync()).await;
    assert_eq!(refused(&messages).as_deref(), Some("53400"), "{messages:?}");
    let messages = client.run(&Batch::new().parse("longer", &long).sync()).await;
    assert_eq!(refused(&messages).as_deref(), Some("25P02"), "{messages:?}");
    client.execute("rollback").await;
    // others have their own bounds, and the unnamed statement has none
    let mut other = herd.proxy(0).connect_to("read-write").await;
    prepare(&mut other, "long", &long).await;
    prepare(&mut client, "", &long).await;
    assert_eq!(client.value("select 'fine'").await, "fine");
}

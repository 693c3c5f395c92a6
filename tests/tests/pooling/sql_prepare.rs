//! SQL PREPARE and EXECUTE on whatever server connection comes.

use e2e::{Herd, Setup};
use testkit::{Batch, Client, Message};

use super::LOSE;

fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

/// A field of the first error.
fn field(messages: &[Message], code: u8) -> Option<String> {
    let error = messages.iter().find(|message| message.tag == b'E')?;
    let field = error.body.split(|&b| b == 0).find(|field| field.first() == Some(&code))?;
    Some(String::from_utf8_lossy(&field[1..]).into_owned())
}

/// The value in the first row.
fn value(messages: &[Message]) -> String {
    let row = messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{messages:?}"));
    row.row()[0].clone().unwrap()
}

fn start(size: u32) -> Herd {
    Setup::shared().set("pool.size", size).set("pool.wait_timeout", "20s").start()
}

async fn on_primary(herd: &Herd) -> Client {
    herd.proxy(0).connect_to("read-write").await
}

async fn assert_free(herd: &Herd) {
    assert_eq!(herd.proxy(0).admin().await.rows("SHOW PINNED").await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_prepared_statement_follows_its_client_and_pins_nothing() {
    let herd = start(1);
    let (mut a, mut b) = (on_primary(&herd).await, on_primary(&herd).await);
    assert_eq!(tags(&a.query("prepare Plan (int, text) as select ($1 + 1)::text || $2").await), "CZ");
    assert_eq!(tags(&b.query("PREPARE plan AS SELECT 'b''s'").await), "CZ");
    assert_free(&herd).await;
    for _ in 0..3 {
        assert_eq!(a.value("execute plan(1, 'x')").await, "2x");
        assert_eq!(b.value("execute \"plan\";").await, "b's");
        herd.proxy(0).admin().await.rows("RECONNECT").await.unwrap();
    }
    assert_eq!(a.failure("execute \"Plan\"(1, 'x')").await.as_deref(), Some("26000"));
    assert_eq!(tags(&a.query("deallocate plan").await), "CZ");
    assert_eq!(a.failure("execute plan(1, 'x')").await.as_deref(), Some("26000"));
    assert_eq!(b.value("execute plan").await, "b's");
    b.execute("discard plans").await;
    assert_eq!(b.value("execute plan").await, "b's");
    let mut stranger = on_primary(&herd).await;
    assert_eq!(stranger.failure("execute plan").await.as_deref(), Some("26000"));
    b.execute("deallocate all").await;
    assert_eq!(b.failure("execute plan").await.as_deref(), Some("26000"));
    b.execute("prepare plan as select 2").await;
    b.execute("discard all").await;
    assert_eq!(b.failure("execute plan").await.as_deref(), Some("26000"));
    assert_free(&herd).await;
}

#[tokio::test]
async fn clients_that_prepare_the_same_share_it() {
    let herd = start(1);
    let mut clients = Vec::new();
    for n in 0..3 {
        let mut client = on_primary(&herd).await;
        client.execute(&format!("prepare p{n} (int) as select $1 + 41")).await;
        assert_eq!(client.value(&format!("execute p{n}(1)")).await, "42");
        clients.push(client);
    }
    let known = "select count(*) from pg_prepared_statements where statement = 'select $1 + 41'";
    assert_eq!(clients[0].value(known).await, "1");
}

#[tokio::test]
async fn both_protocols_have_one_namespace() {
    let herd = start(1);
    let (mut client, mut other) = (on_primary(&herd).await, on_primary(&herd).await);
    client.execute("prepare by_sql (int) as select $1 * 2").await;
    let messages = client.run(&Batch::new().parse("by_parse", "select $1::int * 3").sync()).await;
    assert_eq!(tags(&messages), "1Z");
    for _ in 0..2 {
        other.execute("deallocate all").await;
        let bind = Batch::new().bind("", "by_sql", &[Some("2")]).execute("", 0).sync();
        assert_eq!(value(&client.run(&bind).await), "4");
        assert_eq!(client.value("execute by_parse(2)").await, "6");
    }
    let messages = client.query("prepare by_parse as select 1").await;
    assert_eq!((field(&messages, b'C').as_deref(), tags(&messages).as_str()), (Some("42P05"), "EZ"));
    assert_eq!(field(&messages, b'M').unwrap(), "prepared statement \"by_parse\" already exists");
    let messages = client.run(&Batch::new().parse("by_sql", "select 1").sync()).await;
    assert_eq!(field(&messages, b'C').as_deref(), Some("42P05"));
    assert_eq!(client.value("execute by_parse(3)").await, "9");
    let messages = client.run(&Batch::new().close_statement("by_sql").sync()).await;
    assert_eq!(tags(&messages), "3Z");
    assert_eq!(client.failure("execute by_sql(1)").await.as_deref(), Some("26000"));
    assert_free(&herd).await;
}

#[tokio::test]
async fn what_fails_is_not_prepared_and_what_is_rolled_back_is() {
    let herd = start(1);
    let mut client = on_primary(&herd).await;
    assert_eq!(client.failure("prepare p as select * from nowhere").await.as_deref(), Some("42P01"));
    assert_eq!(client.failure("prepare p as create table t ()").await.as_deref(), Some("42601"));
    assert_eq!(client.failure("execute p").await.as_deref(), Some("26000"));
    client.execute("prepare before as select 'before'").await;
    client.execute("begin").await;
    assert_eq!(client.failure("select 1 / 0").await.as_deref(), Some("22012"));
    assert_eq!(client.failure("prepare p as select 1").await.as_deref(), Some("25P02"));
    // of the same text: the server has it
    assert_eq!(client.failure("prepare p as select 'before'").await.as_deref(), Some("25P02"));
    assert_eq!(client.failure("execute before").await.as_deref(), Some("25P02"));
    client.execute("rollback").await;
    assert_eq!(client.failure("execute p").await.as_deref(), Some("26000"));
    client.execute("begin").await;
    client.execute("prepare p as select 'in a transaction'").await;
    assert_eq!(client.value("execute p").await, "in a transaction");
    client.execute("rollback").await;
    assert_eq!(client.value("execute p").await, "in a transaction");
    client.execute("begin").await;
    herd.psql_directly("select 1").unwrap();
    assert_eq!(client.value("execute before").await, "before");
    client.execute("commit").await;
    assert_free(&herd).await;
}

#[tokio::test]
async fn explain_and_create_table_as_execute_what_was_prepared() {
    let herd = start(1);
    let (mut client, mut other) = (on_primary(&herd).await, on_primary(&herd).await);
    client.execute("prepare p (int) as select generate_series(1, $1) as n").await;
    for n in 0..2 {
        other.execute("deallocate all").await;
        assert!(value(&client.query("explain (costs off) execute p(3)").await).contains("ProjectSet"));
        client.execute(&format!("create table made{n} as execute p(3)")).await;
        assert_eq!(client.value(&format!("select count(*) from made{n}")).await, "3");
    }
    client.execute("create temp table kept as execute p(4)").await;
    assert_eq!(client.value("select count(*) from kept").await, "4");
}

#[tokio::test]
async fn errors_in_a_pipeline_of_queries_speak_of_what_the_client_wrote() {
    let herd = start(1);
    let mut client = on_primary(&herd).await;
    client.execute("prepare one (int) as select 1 / $1").await;
    client.execute("prepare two (int) as select 2 / $1").await;
    let batch = Batch::new().query("execute one").query("execute two").query("execute one(1)");
    client.send(batch.bytes()).await.unwrap();
    for name in ["one", "two"] {
        let message = field(&client.until_ready().await, b'M').unwrap();
        assert_eq!(message, format!("wrong number of parameters for prepared statement \"{name}\""));
    }
    assert_eq!(value(&client.until_ready().await), "1");
}

#[tokio::test]
async fn errors_speak_of_what_the_client_wrote() {
    let herd = start(1);
    let mut client = on_primary(&herd).await;
    let mut direct = herd.connect_directly(0).await;
    let all = [
        "prepare p (int) as select $1 + nothing",
        "prepare p (int) as select $1 + 1",
        "execute p",
        "execute p(1, 2)",
        "execute p(nothing)",
        "explain execute p('x' || nothing)",
        "execute p('x')",
        "prepare p as select 1",
        "prepare p as select",
        "execute nobody",
        "prepare fails as select 1 / n from generate_series(0, 1) n",
        "execute fails",
        "deallocate p",
        "deallocate p",
    ];
    for sql in all {
        let (through, without) = (client.query(sql).await, direct.query(sql).await);
        assert_eq!(tags(&through), tags(&without), "{sql}: {through:?}");
        for code in *b"CMDHP" {
            assert_eq!(field(&through, code), field(&without, code), "{sql}: {}", char::from(code));
        }
    }
}

#[tokio::test]
async fn a_read_that_was_prepared_runs_on_a_replica_and_a_write_on_the_primary() {
    let herd = Setup::own(1).start();
    herd.proxy(0).wait_until_standbys_are_known();
    herd.psql("create sequence s").unwrap();
    let mut client = herd.connect().await;
    client.execute("prepare place (int) as select current_setting('in_hot_standby')").await;
    client.execute("prepare write as select current_setting('in_hot_standby') from nextval('s')").await;
    assert_eq!(client.value("execute place(1)").await, "on");
    assert_eq!(client.value("execute write").await, "off");
    assert_eq!(client.value("execute place(txid_current()::text::int)").await, "off");
}

#[tokio::test]
async fn what_names_statements_in_other_ways_finds_them() {
    let herd = start(2);
    let mut client = on_primary(&herd).await;
    client.execute("prepare p (int) as select $1 + 1").await;
    client.execute("prepare q as select 'q'").await;
    // several statements in one text
    let messages = client.query("begin; execute p(1); commit").await;
    assert_eq!((tags(&messages).as_str(), value(&messages).as_str()), ("CTDCCZ", "2"));
    // the extended protocol
    let execute = |sql: &str| Batch::new().parse("", sql).bind("", "", &[]).execute("", 0).sync();
    assert_eq!(value(&client.run(&execute("execute q")).await), "q");
    assert_eq!(client.value("execute p(2)").await, "3");
    client.query("deallocate p; prepare p as select 'another'").await;
    assert_eq!(client.value("execute p").await, "another");
    assert_eq!(tags(&client.run(&execute("deallocate q")).await), "12CZ");
    assert_eq!(client.failure("execute q").await.as_deref(), Some("26000"));
    assert_eq!(tags(&client.run(&execute("prepare r as select 'r'")).await), "12CZ");
    assert_eq!(client.value("execute r").await, "r");
    // types that only the server knows
    let mut other = on_primary(&herd).await;
    other.execute("create type mood as enum ('good')").await;
    other.execute("prepare feel (mood) as select $1").await;
    assert_eq!(other.value("execute feel('good')").await, "good");
    for client in [&mut client, &mut other] {
        client.execute("discard all").await;
    }
    assert_free(&herd).await;
}

#[tokio::test]
async fn code_in_a_text_finds_what_was_prepared() {
    let herd = start(2);
    herd.psql(
        "create function run(text) returns setof text language plpgsql \
         as 'begin return query execute $1; end'",
    )
    .unwrap();
    let batch = |sql: &str| Batch::new().parse("", sql).bind("", "", &[]).execute("", 0).sync();
    for (run, expected) in [
        ("select run('execute p (1)')", "p2"),
        ("select run('EXECUTE \"Q\"')", "q"),
        ("begin; select run('execute p (2)'); commit", "p3"),
        ("do $$ begin execute 'execute note(7)'; end $$; select n::text from notes", "7"),
        ("select run(format('execute %I', 'Q'))", "q"),
    ] {
        for extended in [false, true].into_iter().filter(|extended| !extended || !run.contains(';')) {
            herd.psql("drop table if exists notes; create table notes (n int)").unwrap();
            let mut client = herd.connect().await;
            client.execute("prepare p (int) as select 'p' || $1 + 1").await;
            client.execute("prepare \"Q\" as select 'q'").await;
            client.execute("prepare note (int) as insert into notes values ($1)").await;
            let messages = if extended { client.run(&batch(run)).await } else { client.query(run).await };
            assert_eq!(value(&messages), expected, "{run}");
            assert_eq!(client.value("execute p(2)").await, "p3");
            client.execute("discard all").await;
        }
    }
    // words alone do not make a client keep its connection
    let mut client = herd.connect().await;
    client.execute("prepare p as select 'p'").await;
    assert_eq!(
        client.value("select 'let us execute plans, or execute p1'").await,
        "let us execute plans, or execute p1"
    );
    assert_free(&herd).await;
}

#[tokio::test]
async fn in_session_pooling_it_is_the_servers_own() {
    let herd = Setup::shared().set("pool.mode", "session").set("pool.size", 1).start();
    for _ in 0..2 {
        let mut client = herd.connect().await;
        client.execute("prepare p (int) as select 'p' || $1 + 1").await;
        let seen = "select name || statement from pg_prepared_statements where from_sql";
        assert_eq!(client.value(seen).await, "pprepare p (int) as select 'p' || $1 + 1");
        assert_eq!(client.value("execute p(2)").await, "p3");
        let bind = Batch::new().bind("", "p", &[Some("3")]).execute("", 0).sync();
        assert_eq!(value(&client.run(&bind).await), "p4");
        client.run(&Batch::new().parse("b", "select 'b'").sync()).await;
        assert_eq!(client.value("execute b").await, "b");
        assert_eq!(client.failure("prepare p as select 1").await.as_deref(), Some("42P05"));
        assert_eq!(client.failure("prepare b as select 1").await.as_deref(), Some("42P05"));
        client.execute("deallocate p").await;
        assert_eq!(client.failure("execute p(2)").await.as_deref(), Some("26000"));
        client.execute("prepare p as select 'closed by the other protocol'").await;
        assert_eq!(tags(&client.run(&Batch::new().close_statement("p").sync()).await), "3Z");
        client.execute("prepare p as select 'left behind'").await;
        client.terminate().await;
    }
}

#[tokio::test]
async fn statements_in_a_pipeline_of_queries_come_one_after_the_other() {
    let herd = start(1);
    let mut client = on_primary(&herd).await;
    for round in 0..3 {
        let batch = Batch::new()
            .query("prepare p (int) as select $1 + 1")
            .query("execute p(1)")
            .query("prepare p as select 'twice'")
            .query("deallocate p")
            .query("execute p(1)")
            .query("select 'last'");
        client.send(batch.bytes()).await.unwrap();
        for expected in ["CZ", "TDCZ", "EZ", "CZ", "EZ", "TDCZ"] {
            let messages = client.until_ready().await;
            assert_eq!(tags(&messages), expected, "round {round}: {messages:?}");
        }
    }
}

#[tokio::test]
async fn preparing_needs_no_primary_but_locks_do() {
    let herd = Setup::shared().set("routing.read_your_writes", "off").start();
    herd.proxy(0).wait_until_standbys_are_known();
    let mut client = herd.connect().await;
    client.execute("prepare lock as select pg_advisory_xact_lock(42)").await;
    client.execute("begin read only").await;
    assert_eq!(client.value("select pg_is_in_recovery()").await, "t");
    client.execute("prepare place as select current_setting('in_hot_standby')").await;
    assert_eq!(client.value("execute place").await, "on");
    assert_eq!(client.failure("execute lock").await.as_deref(), Some("0A000"));
    client.execute("rollback").await;
    assert_eq!(client.value("execute place").await, "on");
}

#[tokio::test]
async fn a_pool_that_refuses_session_state_has_prepared_statements() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.session_state", "refuse").start();
    let mut client = on_primary(&herd).await;
    client.execute("prepare p as select 'p'").await;
    assert_eq!(client.value("execute p").await, "p");
    client.execute("prepare lock as select pg_advisory_lock(1)").await;
    assert_eq!(client.failure("execute lock").await.as_deref(), Some("0A000"));
    // where only a connection of the client's own would do
    let execute = |sql: &str| Batch::new().parse("", sql).bind("", "", &[]).execute("", 0).sync();
    for sql in [
        "select 1; prepare q as select 'q'",
        "select 1; execute p",
        "do $$ begin execute 'execute p'; end $$",
    ] {
        assert_eq!(client.failure(sql).await.as_deref(), Some("0A000"), "{sql}");
    }
    let messages = client.run(&execute("execute p")).await;
    assert_eq!((tags(&messages).as_str(), field(&messages, b'C').as_deref()), ("EZ", Some("0A000")));
    assert_eq!(client.value("execute p").await, "p");
}

#[tokio::test]
async fn a_statement_that_its_server_lost_or_whose_table_was_altered_is_prepared_again() {
    let herd = start(1);
    let mut client = on_primary(&herd).await;
    client.execute("create table altered as select 1 as a").await;
    client.execute("prepare p as select * from altered").await;
    assert_eq!(client.value("execute p").await, "1");
    client.execute("alter table altered add b int").await;
    let messages = client.query("execute p").await;
    assert_eq!(tags(&messages), "TDCZ", "{messages:?}");
    client.execute(LOSE).await;
    client.execute("select lose()").await;
    assert_eq!(tags(&client.query("execute p").await), "TDCZ");
}

#[tokio::test]
async fn settings_that_matter_matter_to_sql_prepare() {
    let herd = start(1);
    let (mut a, mut b) = (on_primary(&herd).await, on_primary(&herd).await);
    a.execute("set timezone = 'UTC'").await;
    b.execute("set timezone = 'Asia/Tokyo'").await;
    for client in [&mut a, &mut b] {
        client.execute("prepare m as select extract(epoch from '2020-01-01'::timestamptz)::bigint").await;
    }
    for _ in 0..2 {
        assert_eq!(a.value("execute m").await, "1577836800");
        assert_eq!(b.value("execute m").await, "1577804400");
    }
}

#[tokio::test]
async fn the_names_that_statements_have_on_servers_lead_nobody_to_them() {
    let herd = start(1);
    let (mut owner, mut other) = (on_primary(&herd).await, on_primary(&herd).await);
    owner.execute("prepare mine as select 'mine'").await;
    assert_eq!(owner.value("execute mine").await, "mine");
    let name = other.value("select name from pg_prepared_statements where statement like '%mine%'").await;
    assert!(name.starts_with("pgherd_"), "{name}");
    for text in [
        format!("execute {name}"),
        format!("execute \"{name}\""),
        format!("explain execute {name}"),
        format!("deallocate {}", name.to_uppercase()),
        format!("select 1; deallocate {name}"),
    ] {
        let messages = other.query(&text).await;
        assert_eq!(field(&messages, b'C').as_deref(), Some("26000"), "{text}: {messages:?}");
        assert_eq!(
            field(&messages, b'M'),
            Some(format!("prepared statement \"{name}\" does not exist")),
            "{text}"
        );
        let batch = Batch::new().parse("", &text).bind("", "", &[]).execute("", 0).sync();
        assert!(field(&other.run(&batch).await, b'C').is_some(), "{text}");
    }
    owner.execute("begin").await;
    assert_eq!(owner.value("execute mine").await, "mine");
    owner.execute("commit").await;
    // under such a name it may have one of its own
    other.execute(&format!("prepare {name} as select 'own'")).await;
    assert_eq!(other.value(&format!("execute {name}")).await, "own");
    other.execute(&format!("deallocate {name}")).await;
    assert_eq!(owner.value("execute mine").await, "mine");
}

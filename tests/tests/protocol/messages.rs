//! Single messages and their answers.

use e2e::{Herd, Setup};
use testkit::{Batch, Client, Message};
use wire::message::backend::TxStatus;

fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

#[tokio::test]
async fn an_empty_query_is_answered_as_such() {
    let mut client = Herd::common().connect().await;
    for sql in ["", "  ", ";", "-- a comment", ";;;;"] {
        let messages = client.query(sql).await;
        assert_eq!(tags(&messages), "IZ", "{sql:?}");
        assert_eq!(Client::status(&messages), TxStatus::Idle);
    }
}

#[tokio::test]
async fn several_statements_in_one_query_are_one_transaction() {
    let mut client = Herd::common().connect().await;
    client.execute("create table several (a int)").await;
    let messages =
        client.query("insert into several values (1); select 7; insert into several values (2)").await;
    assert_eq!(tags(&messages), "CTDCCZ");
    let messages = client.query("insert into several values (3); select 1 / 0; select 8").await;
    assert_eq!(tags(&messages), "CEZ");
    assert_eq!(client.value("select string_agg(a::text, ',' order by a) from several").await, "1,2");
}

#[tokio::test]
async fn an_error_in_a_pipeline_skips_to_the_next_sync_and_no_further() {
    let mut client = Herd::common().connect().await;
    let batch = Batch::new()
        .parse("", "select 1")
        .bind("", "", &[])
        .execute("", 0)
        .parse("", "select nonsense")
        .bind("", "", &[])
        .execute("", 0)
        .sync()
        .parse("", "select 3")
        .bind("", "", &[])
        .execute("", 0)
        .sync();
    let first = client.run(&batch).await;
    assert_eq!(tags(&first), "12DCEZ", "{first:?}");
    let second = client.until_ready().await;
    assert_eq!(tags(&second), "12DCZ", "{second:?}");
    assert_eq!(second[2].row(), [Some("3".to_owned())]);
}

#[tokio::test]
async fn a_describe_is_answered_after_a_flush_without_a_sync() {
    let mut client = Herd::common().connect().await;
    let prepare =
        Batch::new().parse("described", "select $1::int + 1 as sum").describe_statement("described").flush();
    client.send(prepare.bytes()).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.next().await.unwrap());
    }
    assert_eq!(tags(&answers), "1tT", "{answers:?}");
    let rest = Batch::new().bind("", "described", &[Some("41")]).execute("", 0).sync();
    let answers = client.run(&rest).await;
    assert_eq!(tags(&answers), "2DCZ", "{answers:?}");
    assert_eq!(answers[1].row(), [Some("42".to_owned())]);
}

#[tokio::test]
async fn a_portal_gives_its_rows_in_portions_within_a_transaction() {
    let mut client = Herd::common().connect().await;
    let open = Batch::new()
        .query("begin")
        .parse("", "select generate_series(1, 12)")
        .bind("portions", "", &[])
        .execute("portions", 5)
        .sync();
    assert_eq!(tags(&client.run(&open).await), "CZ");
    let portion = client.until_ready().await;
    assert_eq!(tags(&portion), "12DDDDDsZ");
    assert_eq!(Client::status(&portion), TxStatus::InTransaction);
    let more = Batch::new().execute("portions", 5).sync();
    assert_eq!(tags(&client.run(&more).await), "DDDDDsZ");
    assert_eq!(tags(&client.run(&more).await), "DDCZ");
    client.execute("commit").await;
}

#[tokio::test]
async fn large_objects_are_reached_by_function_calls() {
    const LO_CREAT: u32 = 957;
    const LO_UNLINK: u32 = 964;
    let mut client = Herd::common().connect().await;
    let call = |function: u32, argument: &str| {
        let mut body = function.to_be_bytes().to_vec();
        body.extend_from_slice(&[0, 0, 0, 1]); // all in text format; one argument
        body.extend_from_slice(&u32::try_from(argument.len()).unwrap().to_be_bytes());
        body.extend_from_slice(argument.as_bytes());
        body.extend_from_slice(&[0, 0]);
        Batch::new().message(b'F', &body)
    };
    let made = client.run(&call(LO_CREAT, "-1")).await;
    assert_eq!(tags(&made), "VZ", "{made:?}");
    let oid = String::from_utf8(made[0].body[4..].to_vec()).unwrap();
    let count = format!("select count(*) from pg_largeobject_metadata where oid = {oid}");
    assert_eq!(client.value(&count).await, "1");
    let gone = client.run(&call(LO_UNLINK, &oid)).await;
    assert_eq!(gone[0].body, b"\0\0\0\x011");
    assert_eq!(client.value(&count).await, "0");
}

#[tokio::test]
async fn notices_come_before_the_end_of_their_statement() {
    let mut client = Herd::common().connect().await;
    let messages = client.query("do $$ begin raise notice 'first'; raise warning 'second'; end $$").await;
    assert_eq!(tags(&messages), "NNCZ");
    assert_eq!(messages[0].complaint(), "NOTICE: first");
    assert_eq!(messages[1].complaint(), "WARNING: second");
}

#[tokio::test]
async fn many_notices_do_not_wait_for_the_end_of_their_statement() {
    let herd = Herd::common();
    herd.psql(
        "create function noisy() returns void language plpgsql as
             'begin for n in 1..200 loop raise notice ''%'', repeat(''x'', 1000); end loop; perform pg_sleep(120); end'",
    )
    .unwrap();
    let mut client = herd.connect().await;
    client.send(Batch::new().query("select noisy()").bytes()).await.unwrap();
    while client.next().await.expect("a notice comes").tag != b'N' {}
    client.cancel().await.unwrap();
    let error = client.until_ready().await.into_iter().find(|message| message.tag == b'E');
    assert_eq!(error.and_then(|error| error.sqlstate()).as_deref(), Some("57014"));
}

#[tokio::test]
async fn a_failed_transaction_stays_failed_until_its_end() {
    let mut client = Herd::common().connect().await;
    client.execute("begin").await;
    assert_eq!(client.failure("select 1 / 0").await.as_deref(), Some("22012"));
    let messages = client.query("select 1").await;
    assert_eq!(messages[0].sqlstate().as_deref(), Some("25P02"));
    assert_eq!(Client::status(&messages), TxStatus::Failed);
    let messages = client.query("commit").await;
    assert_eq!(messages[0].body, b"ROLLBACK\0");
    assert_eq!(Client::status(&messages), TxStatus::Idle);
}

#[tokio::test]
async fn what_is_sent_byte_by_byte_is_understood() {
    let herd = Herd::common();
    let mut client = herd.connect().await;
    let batch = Batch::new()
        .query("select 1")
        .parse("slow", "select $1::text")
        .bind("", "slow", &[Some("drop by drop")])
        .execute("", 0)
        .sync();
    for byte in batch.bytes() {
        client.send(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(tags(&client.until_ready().await), "TDCZ");
    let answers = client.until_ready().await;
    assert_eq!(tags(&answers), "12DCZ");
    assert_eq!(answers[2].row(), [Some("drop by drop".to_owned())]);
}

#[tokio::test]
async fn a_driver_works_with_its_own_idea_of_the_protocol() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let app = herd.app();
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(app.address.port())
        .user(&app.user)
        .password(&app.password)
        .dbname(&app.database)
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    let driving = tokio::spawn(connection);
    client
        .batch_execute("create table driven (id int primary key, tags text[], at timestamptz)")
        .await
        .unwrap();
    let insert = client.prepare("insert into driven values ($1, $2, now())").await.unwrap();
    for id in 0..20_i32 {
        client.execute(&insert, &[&id, &vec![format!("t{id}"), "x".to_owned()]]).await.unwrap();
    }
    let rows = client
        .query("select id, tags from driven where id = any($1) order by id", &[&vec![3, 5]])
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].get::<_, Vec<String>>(1), ["t5", "x"]);
    let (a, b, c) = tokio::join!(
        client.query_one("select 1 + $1::int", &[&1]),
        client.query_one("select 1 / $1::int", &[&0]),
        client.query_one("select 2 + $1::int", &[&1]),
    );
    assert_eq!(a.unwrap().get::<_, i32>(0), 2);
    assert_eq!(b.unwrap_err().code().unwrap().code(), "22012");
    assert_eq!(c.unwrap().get::<_, i32>(0), 3);
    drop(client);
    driving.await.unwrap().unwrap();
}

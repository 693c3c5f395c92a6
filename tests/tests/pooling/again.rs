//! Statements that a server cannot run any more are prepared anew, where nobody can come to harm by it.

use e2e::{Herd, Setup};
use testkit::{Batch, Client, Message};

use super::LOSE;

fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

fn rows(messages: &[Message]) -> Vec<Vec<Option<String>>> {
    messages.iter().filter(|message| message.tag == b'D').map(Message::row).collect()
}

async fn prepare(client: &mut Client, name: &str, sql: &str) {
    assert_eq!(tags(&client.run(&Batch::new().parse(name, sql).sync()).await), "1Z");
}

/// As libpq does it: with a description of the rows.
fn described(name: &str) -> Batch {
    Batch::new().bind("", name, &[]).describe_portal("").execute("", 0).sync()
}

/// As drivers do that keep the description of the first time.
fn bare(name: &str) -> Batch {
    Batch::new().bind("", name, &[]).execute("", 0).sync()
}

async fn start() -> (Herd, Client) {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("create table altered (a int); insert into altered values (1)").await;
    (herd, client)
}

#[tokio::test]
async fn after_a_table_was_altered_a_statement_runs_if_its_rows_are_described_anew() {
    let (herd, mut client) = start().await;
    let mut other = herd.proxy(0).connect_to("read-write").await;
    for client in [&mut client, &mut other] {
        prepare(client, "all", "select * from altered").await;
        prepare(client, "change", "update altered set a = a + 1 returning *").await;
        assert_eq!(tags(&client.run(&described("all")).await), "2TDCZ");
    }
    assert_eq!(tags(&client.run(&described("change")).await), "2TDCZ");
    for column in ["b", "c"] {
        client.execute(&format!("alter table altered add {column} int")).await;
        for client in [&mut client, &mut other] {
            let before = client.value("select a from altered").await.parse::<u32>().unwrap();
            // once, although it was sent twice
            let messages = client.run(&described("change")).await;
            assert_eq!(tags(&messages), "2TDCZ", "{messages:?}");
            let messages = client.run(&described("all")).await;
            assert_eq!(tags(&messages), "2TDCZ", "{messages:?}");
            assert_eq!(rows(&messages)[0][0], Some((before + 1).to_string()));
            assert_eq!(rows(&messages)[0].len(), if column == "b" { 2 } else { 3 });
        }
    }
}

#[tokio::test]
async fn a_client_that_asks_for_no_description_never_gets_rows_of_another_shape() {
    let (_herd, mut client) = start().await;
    prepare(&mut client, "all", "select * from altered").await;
    assert_eq!(tags(&client.run(&bare("all")).await), "2DCZ");
    client.execute("alter table altered add b int").await;
    let messages = client.run(&bare("all")).await;
    assert_eq!(tags(&messages), "EZ");
    assert_eq!(messages[0].sqlstate().as_deref(), Some("0A000"));
}

#[tokio::test]
async fn in_a_transaction_and_behind_other_units_the_error_is_the_clients() {
    let (_herd, mut client) = start().await;
    prepare(&mut client, "all", "select * from altered").await;
    assert_eq!(tags(&client.run(&described("all")).await), "2TDCZ");
    client.execute("begin").await;
    client.execute("alter table altered add b int").await;
    let messages = client.run(&described("all")).await;
    assert_eq!(messages[0].sqlstate().as_deref(), Some("0A000"), "{messages:?}");
    assert_eq!(client.failure("select 1").await.as_deref(), Some("25P02"));
    client.execute("rollback").await;
    assert_eq!(tags(&client.run(&described("all")).await), "2TDCZ");
    client.execute("alter table altered add b int").await;
    // a pipeline of two units: what came first may have been done already
    let two = Batch::new()
        .bind("", "all", &[])
        .describe_portal("")
        .execute("", 0)
        .sync()
        .parse("", "insert into altered values (2) returning a")
        .bind("", "", &[])
        .execute("", 0)
        .sync();
    client.send(two.bytes()).await.unwrap();
    assert_eq!(tags(&client.until_ready().await), "EZ");
    assert_eq!(tags(&client.until_ready().await), "12DCZ");
    assert_eq!(client.value("select count(*) from altered where a = 2").await, "1");
}

#[tokio::test]
async fn statements_that_a_server_lost_are_prepared_again() {
    let (herd, mut client) = start().await;
    // neither its code nor the text that calls it shows what it does
    herd.psql(LOSE).unwrap();
    prepare(&mut client, "all", "select * from altered").await;
    prepare(&mut client, "change", "update altered set a = a + 1 returning a").await;
    for round in 1..4 {
        assert_eq!(tags(&client.run(&bare("all")).await), "2DCZ");
        client.execute("select lose()").await;
        let messages = client.run(&bare("change")).await;
        assert_eq!(tags(&messages), "2DCZ", "{messages:?}");
        assert_eq!(rows(&messages)[0][0], Some((round + 1).to_string()));
        let messages = client.run(&bare("all")).await;
        assert_eq!(tags(&messages), "2DCZ", "{messages:?}");
    }
    // a name that the client never gave is still unknown
    assert_eq!(client.run(&bare("nobody")).await[0].sqlstate().as_deref(), Some("26000"));
    client.execute("begin").await;
    client.execute("select lose()").await;
    assert_eq!(client.run(&bare("all")).await[0].sqlstate().as_deref(), Some("26000"));
    client.execute("rollback").await;
}

#[tokio::test]
async fn what_runs_again_finds_the_names_as_they_were() {
    let (herd, mut client) = start().await;
    herd.psql(LOSE).unwrap();
    prepare(&mut client, "all", "select * from altered").await;
    prepare(&mut client, "lose", "select lose()").await;
    for name in ["", "named"] {
        prepare(&mut client, name, "select 'old'").await;
        client.run(&bare("lose")).await;
        let replaced = Batch::new()
            .bind("first", name, &[])
            .close_statement(name)
            .parse(name, "select 'new'")
            .bind("second", name, &[])
            .bind("third", "all", &[])
            .execute("first", 0)
            .execute("second", 0)
            .execute("third", 0)
            .sync();
        let messages = client.run(&replaced).await;
        assert_eq!(tags(&messages), "23122DCDCDCZ", "{messages:?}");
        let values: Vec<_> = rows(&messages).into_iter().map(|mut row| row.remove(0).unwrap()).collect();
        assert_eq!(values, ["old", "new", "1"], "{name:?}");
        assert_eq!(rows(&client.run(&bare(name)).await)[0][0].as_deref(), Some("new"), "{name:?}");
    }
}

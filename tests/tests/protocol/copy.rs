//! COPY FROM STDIN in the extended protocol: PostgreSQL ignores a Sync that it reads within the data, and answers one
//! that it reads after the COPY has failed.

use e2e::{Herd, Setup};
use testkit::{Batch, Client, Message};

fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

/// What a driver sends before it knows that data are wanted.
fn copy_into(table: &str) -> Batch {
    Batch::new().parse("", &format!("copy {table} from stdin")).bind("", "", &[]).execute("", 0).sync()
}

/// What it sends then.
fn data(batch: Batch, row: &str) -> Batch {
    batch.message(b'd', format!("{row}\n").as_bytes()).message(b'c', b"")
}

/// All messages up to and with the first of this type.
async fn until(client: &mut Client, tag: u8) -> String {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last: &Message| last.tag != tag) {
        heard.push(client.next().await.unwrap_or_else(|| panic!("the connection ended after {heard:?}")));
    }
    tags(&heard)
}

async fn send(client: &mut Client, batch: Batch) {
    client.send(batch.bytes()).await.unwrap();
}

/// Tables that take a COPY, and such as refuse it after they asked for data.
fn start() -> Herd {
    let herd = Setup::shared().set("pool.size", 1).start();
    herd.psql(
        "create table copied (a int);
         create view looked_at as select * from copied;
         create table guarded (a int);
         create function refuse() returns trigger language plpgsql as 'begin raise ''refused''; end';
         create trigger refuse before insert on guarded for each statement execute function refuse()",
    )
    .unwrap();
    herd
}

#[tokio::test]
async fn a_server_stays_with_its_client_until_the_sync_that_commits_a_copy() {
    let herd = start();
    let mut writer = herd.proxy(0).connect_to("read-write").await;
    let mut next = herd.proxy(0).connect_to("read-write").await;
    send(&mut writer, copy_into("copied")).await;
    assert_eq!(until(&mut writer, b'G').await, "12G");
    send(&mut writer, data(Batch::new(), "1").flush()).await;
    assert_eq!(until(&mut writer, b'C').await, "C");
    send(&mut next, Batch::new().query("insert into copied values (2)")).await;
    herd.proxy(0).until_waiting(1).await;
    send(&mut writer, Batch::new().sync()).await;
    assert_eq!(until(&mut writer, b'Z').await, "Z");
    assert_eq!(herd.psql_directly("select count(*) from copied where a = 1").unwrap(), "1");
    assert_eq!(tags(&next.until_ready().await), "CZ");
}

#[tokio::test]
async fn a_sync_between_copy_data_changes_nothing() {
    let herd = start();
    let mut writer = herd.proxy(0).connect_to("read-write").await;
    send(&mut writer, copy_into("copied")).await;
    assert_eq!(until(&mut writer, b'G').await, "12G");
    send(&mut writer, data(Batch::new().message(b'd', b"1\n").sync(), "2").sync()).await;
    assert_eq!(until(&mut writer, b'Z').await, "CZ");
    assert_eq!(herd.psql_directly("select count(*) from copied").unwrap(), "2");
}

#[tokio::test]
async fn after_a_copy_names_of_statements_that_failed_are_free_again() {
    let herd = start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("begin").await;
    send(&mut client, data(copy_into("copied"), "1").sync()).await;
    assert_eq!(until(&mut client, b'Z').await, "12GCZ");
    client.execute("savepoint a").await;
    let wrong = Batch::new().parse("name", "select nonsense").sync();
    assert_eq!(tags(&client.run(&wrong).await), "EZ");
    client.execute("rollback to a").await;
    let right = Batch::new().parse("name", "select 1").bind("", "name", &[]).execute("", 0).sync();
    let messages = client.run(&right).await;
    assert_eq!(tags(&messages), "12DCZ", "{messages:?}");
    client.execute("commit").await;
}

#[tokio::test]
async fn a_copy_that_fails_is_answered_as_postgresql_does() {
    let herd = start();
    let mut proxied = herd.proxy(0).connect_to("read-write").await;
    let mut direct = herd.connect_directly(0).await;
    for (table, row) in [("looked_at", "1"), ("guarded", "1"), ("copied", "x")] {
        let mut heard = Vec::new();
        for client in [&mut proxied, &mut direct] {
            send(client, copy_into(table)).await;
            let mut answers = until(client, b'G').await;
            if table != "copied" {
                // no data were read: the Sync behind the Execute is answered
                answers += &until(client, b'Z').await;
            }
            send(client, data(Batch::new(), row).sync()).await;
            answers += &until(client, b'Z').await;
            assert_eq!(client.value("select 'next'").await, "next", "after {answers}");
            heard.push(answers);
        }
        assert_eq!(heard[0], heard[1], "{table}");
    }
}

#[tokio::test]
async fn no_answer_of_a_copy_that_failed_goes_to_another_client() {
    let herd = start();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(herd.proxy(0).connect_to("read-write").await);
    }
    let server = clients[0].value("select pg_backend_pid()").await;
    for round in 0..40 {
        let mut copier = herd.proxy(0).connect_to("read-write").await;
        let (table, row) = [("looked_at", "1"), ("guarded", "1"), ("copied", "x")][round % 3];
        // all at once, so that nothing shows whether the first Sync was read as part of the data
        send(&mut copier, data(copy_into(table), row).sync()).await;
        for (n, client) in clients.iter_mut().enumerate() {
            send(client, Batch::new().query(&format!("select 'for {n} in round {round}'"))).await;
        }
        assert_eq!(until(&mut copier, b'Z').await, "12GEZ");
        if round % 2 == 0 {
            copier.reset();
        } else {
            assert_eq!(copier.value("select 'own'").await, "own");
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let messages = client.until_ready().await;
            assert_eq!(tags(&messages), "TDCZ", "{messages:?}");
            assert_eq!(messages[1].row(), [Some(format!("for {n} in round {round}"))]);
        }
    }
    assert_eq!(
        clients[0].value("select pg_backend_pid()").await,
        server,
        "an orderly failure costs a connection"
    );
}

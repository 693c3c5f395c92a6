//! A LISTEN waits for the connection that listens.

use e2e::{Herd, Setup};
use testkit::{Batch, Client};

use super::{heard, listeners, pair};

/// Lets the proxy make no connection to the herd's database beyond those that it has without `less` of them.
pub(super) fn limit_connections(herd: &Herd, less: u32) {
    let (database, user) = (herd.database(), &herd.cluster().application().user);
    let count =
        format!("select count(*) from pg_stat_activity where datname = '{database}' and usename = '{user}'");
    let limit = herd.psql_directly(&count).unwrap().trim().parse::<u32>().unwrap() - less;
    herd.psql_directly(&format!("alter database {database} connection limit {limit}")).unwrap();
}

pub(super) fn allow_connections(herd: &Herd) {
    herd.psql_directly(&format!("alter database {} connection limit -1", herd.database())).unwrap();
}

pub(super) async fn until_it_waits_for(herd: &Herd, channel: &str) {
    while !listeners(herd).await.iter().any(|row| row[2] == channel && row[3] == "waiting") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_listen_is_answered_when_the_shared_connection_listens_and_can_be_cancelled_before() {
    let herd = Setup::shared().set("pool.size", 5).start();
    let mut client = herd.connect().await;
    client.execute("/* pgherd: primary */ select 1").await;
    limit_connections(&herd, 0);
    client.send(Batch::new().query("listen news").bytes()).await.unwrap();
    until_it_waits_for(&herd, "news").await;
    client.cancel().await.unwrap();
    let answer = client.until_ready().await;
    assert_eq!(answer[0].sqlstate().as_deref(), Some("57014"), "{answer:?}");
    client.execute("begin").await;
    let listen = Batch::new().parse("", "listen more").bind("", "", &[]).execute("", 0).sync();
    client.send(listen.bytes()).await.unwrap();
    until_it_waits_for(&herd, "more").await;
    allow_connections(&herd);
    let answer = client.until_ready().await;
    assert!(answer.iter().any(|message| message.tag == b'C' && message.body == b"LISTEN\0"), "{answer:?}");
    client.execute("commit").await;
    client.execute("notify news; notify more, '1'").await;
    assert_eq!(heard(&mut client).await, pair("more", "1"));
}

/// A client with a server connection, and no room for the one that listens.
async fn without_room_for_a_listener() -> (Herd, Client) {
    let herd = Setup::shared().set("pool.size", 5).set("session.max_hold", "1s").start();
    let mut client = herd.connect().await;
    client.execute("/* pgherd: primary */ select 1").await;
    limit_connections(&herd, 0);
    (herd, client)
}

async fn listens_once_there_is_room(herd: &Herd, client: &mut Client) {
    allow_connections(herd);
    client.execute("listen news").await;
    client.execute("notify news, '1'").await;
    assert_eq!(heard(client).await, pair("news", "1"));
}

#[tokio::test]
async fn a_listen_that_waits_too_long_fails_and_the_session_goes_on() {
    let (herd, mut client) = without_room_for_a_listener().await;
    let extended = Batch::new().parse("", "listen news").bind("", "", &[]).execute("", 0).sync();
    let answer = client.run(&extended).await;
    let error = answer.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.sqlstate().as_deref(), Some("57P03"), "{answer:?}");
    listens_once_there_is_room(&herd, &mut client).await;
}

#[tokio::test]
async fn a_listen_that_waits_too_long_lets_its_transaction_fail() {
    let (herd, mut client) = without_room_for_a_listener().await;
    client.execute("begin").await;
    assert_eq!(client.failure("listen news").await.as_deref(), Some("57P03"));
    assert_eq!(client.failure("select 1").await.as_deref(), Some("25P02"));
    client.execute("rollback").await;
    listens_once_there_is_room(&herd, &mut client).await;
}

/// Those are answered with the Sync alone, which is behind the LISTEN.
#[tokio::test]
async fn a_listen_that_waits_too_long_behind_other_messages_ends_the_session() {
    let (herd, mut client) = without_room_for_a_listener().await;
    let batch = Batch::new().parse("", "select 1").bind("", "", &[]).execute("", 0);
    let batch = batch.parse("", "listen news").bind("", "", &[]).execute("", 0).sync();
    client.send(batch.bytes()).await.unwrap();
    let answer = client.next().await.unwrap();
    assert_eq!((answer.tag, answer.sqlstate().as_deref()), (b'E', Some("57P03")), "{answer:?}");
    assert!(client.next().await.is_none());
    listens_once_there_is_room(&herd, &mut herd.connect().await).await;
}

#[tokio::test]
async fn a_cancel_hits_the_query_that_runs_and_not_the_listen_that_waits_behind_it() {
    let herd = Setup::shared().set("pool.size", 5).start();
    let mut client = herd.connect().await;
    client.execute("/* pgherd: primary */ select 1").await;
    limit_connections(&herd, 0);
    let both = Batch::new().query("/* pgherd: primary */ select pg_sleep(60)").query("listen news");
    client.send(both.bytes()).await.unwrap();
    until_it_waits_for(&herd, "news").await;
    // One that comes before the query does cancels nothing, so it is repeated.
    let first = loop {
        client.cancel().await.unwrap();
        if let Ok(message) = client.next_within(std::time::Duration::from_secs(2)).await {
            break message.unwrap();
        }
    };
    let answer = [vec![first], client.until_ready().await].concat();
    assert!(answer.iter().any(|message| message.sqlstate().as_deref() == Some("57014")), "{answer:?}");
    allow_connections(&herd);
    let answer = client.until_ready().await;
    assert!(answer.iter().any(|message| message.tag == b'C' && message.body == b"LISTEN\0"), "{answer:?}");
}

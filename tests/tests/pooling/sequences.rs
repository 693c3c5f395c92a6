//! currval and lastval tell a client what it got itself, or nothing.

use std::time::Duration;

use e2e::{Herd, Setup};
use testkit::{Batch, Client};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

fn start(size: u32) -> Herd {
    let herd = Setup::shared().set("pool.size", size).set("pool.wait_timeout", "30s").start();
    herd.psql("create table entries (id int generated always as identity, who text)").unwrap();
    herd
}

async fn on_primary(herd: &Herd) -> Client {
    herd.proxy(0).connect_to("read-write").await
}

async fn insert(client: &mut Client, who: &str) -> String {
    client.value(&format!("insert into entries (who) values ('{who}') returning id")).await
}

const LAST: &str = "select lastval()";
const CURRENT: &str = "select currval('entries_id_seq')";

#[tokio::test]
async fn what_another_client_got_is_told_to_nobody() {
    let herd = start(1);
    let (mut a, mut b) = (on_primary(&herd).await, on_primary(&herd).await);
    insert(&mut a, "a").await;
    for (sql, statement) in [(LAST, "last"), (CURRENT, "current")] {
        assert_eq!(b.failure(sql).await.as_deref(), Some("55000"));
        let prepared = Batch::new().parse(statement, sql).bind("", statement, &[]).execute("", 0).sync();
        let messages = b.run(&prepared).await;
        assert_eq!(messages.iter().find(|m| m.tag == b'E').unwrap().sqlstate().as_deref(), Some("55000"));
        b.execute(&format!("prepare p as {sql}")).await;
        assert_eq!(b.failure("execute p").await.as_deref(), Some("55000"));
        b.execute("deallocate p").await;
    }
    // from here on the proxy knows what the clients of this pool ask for
    let mine = insert(&mut a, "a").await;
    assert_eq!(a.value(LAST).await, mine);
    b.execute("update entries set who = 'b'").await;
    assert_eq!(b.failure(LAST).await.as_deref(), Some("55000"), "an update got nothing");
    let its = insert(&mut b, "b").await;
    assert_eq!((b.value(LAST).await, b.value(CURRENT).await), (its.clone(), its));
    assert_eq!(a.failure(LAST).await.as_deref(), Some("55000"), "it is too late");
}

#[tokio::test]
async fn what_a_client_got_that_left_in_its_transaction_is_told_to_nobody() {
    for leave in [Client::reset, |client: Client| drop(client)] {
        let herd = Setup::shared().set("pool.size", 1).start();
        herd.psql_directly("create sequence s; grant all on s to app").unwrap();
        let (mut a, mut b) = (on_primary(&herd).await, on_primary(&herd).await);
        a.value("select nextval('s')").await;
        b.execute("begin").await;
        b.value("select nextval('s')").await;
        leave(b);
        assert_eq!(a.failure(LAST).await.as_deref(), Some("55000"));
        assert_eq!(a.value("select nextval('s')").await, "3");
        assert_eq!(a.value(LAST).await, "3");
    }
}

#[tokio::test]
async fn a_client_alone_is_told_at_its_first_question() {
    let herd = start(2);
    let mut client = on_primary(&herd).await;
    assert_eq!(client.failure(LAST).await.as_deref(), Some("55000"));
    for _ in 0..3 {
        let id = insert(&mut client, "x").await;
        assert_eq!(client.value(LAST).await, id);
        assert_eq!(client.value(CURRENT).await, id);
    }
}

#[tokio::test]
async fn a_client_that_keeps_its_server_for_something_else_is_told_its_own() {
    let herd = start(2);
    let (mut a, mut b) = (on_primary(&herd).await, on_primary(&herd).await);
    for client in [&mut a, &mut b] {
        client.execute("begin").await;
        insert(client, "somebody").await;
    }
    for client in [&mut a, &mut b] {
        client.execute("commit").await;
    }
    a.execute("create temp table kept (x int)").await;
    assert_eq!(a.failure(LAST).await.as_deref(), Some("55000"));
    for _ in 0..2 {
        let id = insert(&mut a, "a").await;
        a.execute("begin").await;
        assert_eq!(a.value(CURRENT).await, id);
        a.execute("commit").await;
        assert_eq!(a.value(LAST).await, id);
    }
    assert_eq!(a.value("select count(*) from kept").await, "0");
}

#[tokio::test]
async fn within_a_transaction_or_a_text_it_is_as_ever_and_pins_nobody() {
    let herd = start(1);
    let (mut a, mut b) = (on_primary(&herd).await, on_primary(&herd).await);
    insert(&mut b, "b").await;
    a.execute("begin").await;
    let id = insert(&mut a, "a").await;
    assert_eq!(a.value(LAST).await, id);
    a.execute("insert into entries (who) values (currval('entries_id_seq') || ' is the last')").await;
    a.execute("commit").await;
    insert(&mut b, "b").await;
    let next = b.value("select nextval('entries_id_seq')").await;
    let both = "select nextval('entries_id_seq') || ' ' || currval('entries_id_seq')";
    let after: u32 = next.parse().unwrap();
    assert_eq!(a.value(both).await, format!("{0} {0}", after + 1));
    let messages = a.query("insert into entries (who) values ('a'); select lastval()").await;
    let row = messages.iter().find(|message| message.tag == b'D').unwrap();
    assert_eq!(row.row(), [Some((after + 2).to_string())]);
    assert_eq!(herd.proxy(0).admin().await.rows("SHOW PINNED").await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_transaction_that_wrote_and_got_nothing_is_told_nothing() {
    let herd = start(1);
    let (mut a, mut b) = (on_primary(&herd).await, on_primary(&herd).await);
    a.execute("begin").await;
    let id = insert(&mut a, "a").await;
    assert_eq!(a.value(LAST).await, id);
    a.execute("commit").await;
    b.execute("begin").await;
    b.execute("update entries set who = 'b'").await;
    assert_eq!(b.failure(LAST).await.as_deref(), Some("55000"));
    b.execute("rollback").await;
    assert_eq!(herd.proxy(0).admin().await.rows("SHOW PINNED").await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_function_that_asks_is_known_by_its_code() {
    let herd = start(1);
    herd.psql(
        "create function mine() returns bigint language plpgsql as 'begin return lastval(); end'; \
         create function add(text) returns bigint language plpgsql \
         as 'begin insert into entries (who) values ($1); return lastval(); end'",
    )
    .unwrap();
    let (mut a, mut b) = (on_primary(&herd).await, on_primary(&herd).await);
    // functions are read soon after they were made
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        a.value("select add('a')").await;
        if b.failure("select mine()").await.as_deref() == Some("55000") {
            break;
        }
        assert!(Instant::now() < deadline, "it is told what a got");
        sleep(Duration::from_millis(50)).await;
    }
    let id = b.value("select add('b')").await;
    assert_eq!(b.value("select mine()").await, id);
}

#[tokio::test]
async fn many_clients_get_their_own_or_an_error() {
    let herd = start(4);
    let mut clients = JoinSet::new();
    for n in 0..12 {
        let mut client = on_primary(&herd).await;
        clients.spawn(async move {
            let (mut told, mut refused) = (0, 0);
            for _ in 0..40 {
                let id = insert(&mut client, &format!("client {n}")).await;
                let messages = client.query(LAST).await;
                match messages.iter().find(|message| message.tag == b'D') {
                    Some(row) => {
                        assert_eq!(row.row(), [Some(id)]);
                        told += 1;
                    }
                    None => refused += 1,
                }
            }
            (told, refused)
        });
    }
    let (mut told, mut refused) = (0, 0);
    while let Some(counts) = clients.join_next().await {
        let counts = counts.unwrap();
        told += counts.0;
        refused += counts.1;
    }
    println!("{told} told, {refused} refused");
    assert!(told > 0);
}

#[tokio::test]
async fn a_pool_without_session_state_refuses_the_question_or_lets_it_pass() {
    for (policy, code) in [("refuse", Some("0A000")), ("allow", None)] {
        let herd = Setup::shared().set("pool.size", 1).set("pool.session_state", policy).start();
        herd.psql("create sequence s").unwrap();
        let mut client = on_primary(&herd).await;
        client.value("select nextval('s')").await;
        assert_eq!(client.failure("select lastval()").await.as_deref(), code, "{policy}");
        client.execute("begin").await;
        client.value("select nextval('s')").await;
        client.value("select currval('s')").await;
        client.execute("commit").await;
    }
}

#[tokio::test]
async fn who_keeps_a_server_for_a_moment_gives_it_back() {
    let herd = start(2);
    let (mut a, mut b, mut c) = (on_primary(&herd).await, on_primary(&herd).await, on_primary(&herd).await);
    a.failure(LAST).await;
    for client in [&mut a, &mut b] {
        insert(client, "keeps it").await;
    }
    // both are kept, and nobody asks
    assert_eq!(c.value("select 'in time'").await, "in time");
}

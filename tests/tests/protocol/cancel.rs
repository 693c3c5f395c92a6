//! Cancels reach what they are for and nothing else.

use std::time::Duration;

use e2e::{Herd, Setup, eventually_async};
use testkit::{Batch, Client};
use tokio::time::Instant;

/// Long enough to be sure that it was cancelled.
const SLEEP: &str = "select pg_sleep(60)";

async fn start(client: &mut Client, sql: &str) {
    client.send(Batch::new().query(sql).bytes()).await.unwrap();
}

/// Waits until some server connection of the herd runs `sql`.
async fn until_runs(herd: &Herd, sql: &str) {
    let count = format!("select count(*) from pg_stat_activity where query = '{sql}' and state = 'active'");
    eventually_async("the query runs", Duration::from_secs(10), || async {
        let nodes = 0..herd.cluster().nodes().len();
        let running = nodes.filter(|&node| herd.cluster().psql(node, &count).unwrap() != "0").count();
        (running > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_cancels_its_own_query_and_goes_on() {
    let herd = Setup::shared().start();
    let mut client = herd.connect().await;
    for _ in 0..3 {
        start(&mut client, SLEEP).await;
        until_runs(&herd, SLEEP).await;
        let began = Instant::now();
        client.cancel().await.unwrap();
        let messages = client.until_ready().await;
        let error = messages.iter().find(|message| message.tag == b'E').unwrap();
        assert_eq!(error.sqlstate().as_deref(), Some("57014"));
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(client.value("select 'alive'").await, "alive");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_a_server_can_be_cancelled() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    owner.execute("create table owned (a int)").await;
    let mut waiting = herd.proxy(0).connect_to("read-write").await;
    owner.execute("begin").await;
    start(&mut waiting, "insert into owned values (1)").await;
    herd.proxy(0).until_waiting(1).await;
    waiting.cancel().await.unwrap();
    let messages = waiting.until_ready().await;
    assert_eq!(messages[0].sqlstate().as_deref(), Some("57014"), "{messages:?}");
    owner.execute("commit").await;
    assert_eq!(waiting.value("select count(*) from owned").await, "0");
}

#[tokio::test]
async fn a_foreign_cancel_hits_nobody() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut victim = herd.proxy(0).connect_to("read-write").await;
    let mut other = herd.proxy(0).connect_to("read-write").await;
    assert_eq!(other.value("select 1").await, "1");
    const NAP: &str = "select pg_sleep(1), 'finished'";
    start(&mut victim, NAP).await;
    // All keys but the right one: another client's, and guesses.
    for _ in 0..20 {
        other.cancel().await.unwrap();
        let (pid, secret) = victim.key();
        let wrong: Vec<u8> = secret.iter().map(|byte| byte ^ 0x55).collect();
        let mut packet = Vec::new();
        wire::message::startup::cancel_request(pid, &wrong, &mut packet);
        let mut guess = Client::open(herd.app().address).await.unwrap();
        guess.send(&packet).await.unwrap();
        assert!(guess.next().await.is_none());
    }
    let messages = victim.until_ready().await;
    let row = messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{messages:?}"));
    assert_eq!(row.row()[1].as_deref(), Some("finished"));
}

#[tokio::test]
async fn a_late_cancel_does_not_hit_the_next_user_of_the_server() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut first = herd.proxy(0).connect_to("read-write").await;
    let mut second = herd.proxy(0).connect_to("read-write").await;
    let mut hits = 0;
    for round in 0..60 {
        start(&mut first, "select 1").await;
        let (cancelled, ready) =
            tokio::join!(first.cancel_later(round % 6), second.value_or_error("select pg_sleep(0.01), 2"));
        drop(cancelled);
        let messages = first.until_ready().await;
        assert_eq!(messages.last().map(|message| message.tag), Some(b'Z'), "{messages:?}");
        hits += usize::from(ready.is_err());
    }
    assert_eq!(hits, 0, "cancels of one client ended statements of another");
}

/// What the race of the test above is made of.
trait Racing {
    async fn cancel_later(&self, milliseconds: u64) -> std::io::Result<()>;
    async fn value_or_error(&mut self, sql: &str) -> Result<(), String>;
}

impl Racing for Client {
    async fn cancel_later(&self, milliseconds: u64) -> std::io::Result<()> {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        self.cancel().await
    }

    async fn value_or_error(&mut self, sql: &str) -> Result<(), String> {
        self.rows(sql).await.map(drop)
    }
}

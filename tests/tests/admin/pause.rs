//! What is paused, by whom, and what those who wait are told.

use std::time::Duration;

use e2e::{Herd, Setup, eventually_async};
use testkit::{Batch, Client, Message};

/// A cell of the row of SHOW whose first cell is `name`.
async fn shown(herd: &Herd, noun: &str, name: &str, column: usize) -> String {
    let rows = herd.proxy(0).admin().await.rows(&format!("SHOW {noun}")).await.unwrap();
    let row = rows.iter().find(|row| row[0].as_deref() == Some(name));
    row.unwrap_or_else(|| panic!("no {name} in {rows:?}"))[column].clone().unwrap_or_default()
}

/// Whether the herd's database is paused, by itself or with all others.
async fn is_paused(herd: &Herd) -> bool {
    shown(herd, "DATABASES", herd.database(), 15).await == "1"
}

async fn until_state(herd: &Herd, name: &str, value: &str) {
    eventually_async("the state", Duration::from_secs(10), || async {
        (shown(herd, "STATE", name, 1).await == value).then_some(())
    })
    .await;
}

/// A client in a transaction, which keeps a PAUSE waiting, and one of the same worker.
async fn open_transaction(herd: &Herd, database: &str) -> [Client; 2] {
    let parameters = herd.proxy(0).login(herd.cluster().application(), database);
    let mut open = parameters.connect().await.unwrap();
    open.execute("begin").await;
    open.execute("select 1").await;
    [open, parameters.connect().await.unwrap()]
}

/// Sends the beginning of a message, which keeps a SUSPEND waiting, and gives the rest of it.
async fn begin_message([open, neighbour]: &mut [Client; 2]) -> Vec<u8> {
    let batch = Batch::new().query("select 'whole'");
    let (first, rest) = batch.bytes().split_at(9);
    open.send(first).await.unwrap();
    neighbour.execute("select 1").await; // what came before that is read by now
    rest.to_vec()
}

/// Sends a query that waits as long as the database is paused.
async fn is_held_up(client: &mut Client) {
    client.send(Batch::new().query("select 'through'").bytes()).await.unwrap();
    let early = client.next_within(Duration::from_millis(300)).await;
    assert!(early.is_err(), "{early:?}");
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

#[tokio::test]
async fn who_waits_for_a_paused_database_is_told_that_it_is_and_what_ends_that() {
    let herd = Setup::shared().set("pool.wait_timeout", "1500ms").start();
    let mut client = herd.connect().await;
    client.execute("select 1").await;
    herd.proxy(0).admin().await.execute("PAUSE").await;
    let messages = client.query("select 1").await;
    assert!(text(&messages[0]).contains("is paused; the statement waits"), "{messages:?}");
    assert_eq!(messages[1].sqlstate().as_deref(), Some("57P03"), "{messages:?}");
    assert!(text(&messages[1]).contains("RESUME"), "{messages:?}");
    // whose settings no server has seen needs one to be welcomed
    let newcomer = herd.app().with("work_mem", "9MB");
    let refused = newcomer.connect().await.expect_err("it is paused");
    assert_eq!(refused.sqlstate().as_deref(), Some("57P03"), "{refused}");
    assert!(refused.to_string().contains("is paused"), "{refused}");
    herd.proxy(0).admin().await.execute("RESUME").await;
    assert_eq!(client.value("select 1").await, "1");
    newcomer.connect().await.unwrap();
}

#[tokio::test]
async fn what_is_paused_twice_stays_paused_until_both_are_over() {
    let herd = Setup::shared().start();
    let mut client = herd.connect().await;
    client.execute("select 1").await;
    let mut admin = herd.proxy(0).admin().await;
    admin.execute(&format!("PAUSE {}; PAUSE; RESUME {0}", herd.database())).await;
    assert!(is_paused(&herd).await);
    is_held_up(&mut client).await;
    admin.execute("RESUME").await;
    assert_eq!(client.until_ready().await[1].row(), [Some("through".to_owned())]);
}

#[tokio::test]
async fn who_waits_for_what_is_resumed_meanwhile_is_told_so() {
    let herd = Setup::shared().start();
    let mut pair = open_transaction(&herd, herd.database()).await;
    let mut waiting = herd.proxy(0).admin().await;
    for (command, end, state) in [
        ("PAUSE".to_owned(), "RESUME".to_owned(), "paused"),
        (format!("PAUSE {}", herd.database()), format!("RESUME {}", herd.database()), ""),
        ("SUSPEND".to_owned(), "RESUME".to_owned(), "suspended"),
    ] {
        let rest = begin_message(&mut pair).await;
        waiting.send(Batch::new().query(&command).bytes()).await.unwrap();
        if state.is_empty() {
            eventually_async("it is paused", Duration::from_secs(10), || async {
                is_paused(&herd).await.then_some(())
            })
            .await;
        } else {
            until_state(&herd, state, "yes").await;
        }
        herd.proxy(0).admin().await.execute(&end).await;
        let messages = waiting.until_ready().await;
        assert_eq!(messages[0].sqlstate().as_deref(), Some("57014"), "{command}: {messages:?}");
        pair[0].send(&rest).await.unwrap();
        assert_eq!(pair[0].until_ready().await[1].row(), [Some("whole".to_owned())]);
    }
    pair[0].execute("commit").await;
}

#[tokio::test]
async fn an_administrator_who_leaves_takes_back_only_what_was_waited_for() {
    let herd = Setup::shared().start();
    let mut client = herd.connect().await;
    client.execute("select 1").await;
    let mut pair = open_transaction(&herd, "postgres").await;
    let mut admin = herd.proxy(0).admin().await;
    admin.execute(&format!("PAUSE {}", herd.database())).await;
    is_held_up(&mut client).await;
    for (command, state) in [("PAUSE", "paused"), ("SUSPEND", "suspended")] {
        let rest = begin_message(&mut pair).await;
        let mut leaving = herd.proxy(0).admin().await;
        leaving.send(Batch::new().query(command).bytes()).await.unwrap();
        until_state(&herd, state, "yes").await;
        leaving.reset();
        until_state(&herd, state, "no").await;
        pair[0].send(&rest).await.unwrap();
        assert_eq!(pair[0].until_ready().await[1].row(), [Some("whole".to_owned())], "{command}");
        assert!(is_paused(&herd).await, "{command}");
        let early = client.next_within(Duration::from_millis(300)).await;
        assert!(early.is_err(), "{command}: {early:?}");
    }
    // one who leaves while waiting for what somebody else has paused takes nothing back
    let mut leaving = herd.proxy(0).admin().await;
    let mut staying = herd.proxy(0).admin().await;
    staying.send(Batch::new().query("PAUSE").bytes()).await.unwrap();
    until_state(&herd, "paused", "yes").await;
    leaving.send(Batch::new().query("PAUSE").bytes()).await.unwrap();
    let early = leaving.next_within(Duration::from_millis(300)).await;
    assert!(early.is_err(), "{early:?}");
    leaving.reset();
    pair[0].execute("commit").await;
    let messages = staying.until_ready().await;
    assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");
    assert_eq!(shown(&herd, "STATE", "paused", 1).await, "yes");
    admin.execute("RESUME").await;
    let messages = client.until_ready().await;
    assert!(messages.iter().any(|message| message.tag == b'D'), "{messages:?}");
}

#[tokio::test]
async fn suspend_does_not_wait_for_a_walsender_to_leave() {
    let herd = Setup::shared().start();
    let monitor = herd.cluster().monitor();
    let mut parameters = herd.proxy(0).login(monitor, herd.database());
    parameters.address.set_port(herd.proxy(0).port_of("read-write"));
    let mut walsender = parameters.with("replication", "database").connect().await.unwrap();
    assert_eq!(walsender.value("SHOW work_mem").await, "4MB");
    let mut admin = herd.proxy(0).admin().await;
    for _ in 0..2 {
        admin.execute("SUSPEND").await;
        walsender.send(Batch::new().query("SHOW work_mem").bytes()).await.unwrap();
        let early = walsender.next_within(Duration::from_millis(300)).await;
        assert!(early.is_err(), "{early:?}");
        admin.execute("RESUME").await;
        assert_eq!(walsender.until_ready().await[1].row(), [Some("4MB".to_owned())]);
    }
}

//! LISTEN and NOTIFY in transaction pooling: clients listen over one connection that they share.

mod failover;
mod gaps;
mod room;
mod told;
mod waiting;

use e2e::Herd;
use testkit::{Client, Message};

/// Channel and payload of a NotificationResponse.
fn notification(message: &Message) -> (String, String) {
    assert_eq!(message.tag, b'A', "{message:?}");
    let mut parts =
        message.body[4..].split(|&b| b == 0).map(|part| String::from_utf8_lossy(part).into_owned());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// The next notification; what else may come at any time is passed.
async fn heard(client: &mut Client) -> (String, String) {
    loop {
        let message = client.next().await.expect("the connection lasts");
        if message.tag == b'A' {
            return notification(&message);
        }
        assert!(matches!(message.tag, b'N' | b'S'), "{message:?}");
    }
}

fn pair(channel: &str, payload: &str) -> (String, String) {
    (channel.to_owned(), payload.to_owned())
}

/// Everything that a client is told up to the notification that is made for it here, which comes last.
async fn heard_so_far(client: &mut Client, notifier: &mut Client) -> Vec<(String, String)> {
    let answer = client.query("listen the_end").await;
    let mut all: Vec<_> = answer.iter().filter(|message| message.tag == b'A').map(notification).collect();
    notifier.execute("notify the_end").await;
    loop {
        match heard(client).await {
            (channel, _) if channel == "the_end" => break,
            other => all.push(other),
        }
    }
    client.execute("unlisten the_end").await;
    all
}

/// Rows of a SHOW that are of the herd's database.
async fn shown(herd: &Herd, command: &str, column: usize) -> Vec<Vec<String>> {
    let rows = herd.proxy(0).admin().await.rows(command).await.unwrap();
    let text = |cell: Option<String>| cell.unwrap_or_default();
    let rows = rows.into_iter().map(|row| row.into_iter().map(text).collect::<Vec<_>>());
    rows.filter(|row| row[column] == herd.database()).collect()
}

async fn listeners(herd: &Herd) -> Vec<Vec<String>> {
    shown(herd, "SHOW LISTENERS", 0).await
}

async fn pinned(herd: &Herd) -> usize {
    let clients = shown(herd, "SHOW EXTENDED CLIENTS", 2).await;
    clients.iter().filter(|row| row.last().is_some_and(|pinned| !pinned.is_empty())).count()
}

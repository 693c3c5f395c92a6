//! Notifications that a client may have missed: it is told so.

use e2e::Setup;
use lab::StopMode;
use testkit::{Client, Message};

use super::{
    heard, listeners, notification, pair,
    waiting::{allow_connections, limit_connections, until_it_waits_for},
};

/// The next NoticeResponse; notifications before it are counted.
async fn warned(client: &mut Client) -> (usize, Message) {
    let mut notifications = 0;
    loop {
        let message = client.next().await.expect("the connection lasts");
        match message.tag {
            b'A' => notifications += 1,
            b'N' => return (notifications, message),
            tag => assert_eq!(tag, b'S', "{message:?}"),
        }
    }
}

#[tokio::test]
async fn after_a_promotion_it_listens_on_the_new_primary_and_tells_of_the_gap() {
    let herd = Setup::own(1).set("pool.size", 3).start();
    let (mut client, mut other, mut notifier) =
        (herd.connect().await, herd.connect().await, herd.connect().await);
    client.execute("listen news; listen more").await;
    other.execute("listen news").await;
    notifier.execute("notify news, 'before'").await;
    assert_eq!(heard(&mut client).await, pair("news", "before"));
    assert_eq!(heard(&mut other).await, pair("news", "before"));
    herd.cluster().stop(0, StopMode::Fast).unwrap();
    herd.cluster().promote(1).unwrap();
    for client in [&mut client, &mut other] {
        let (notifications, warning) = warned(client).await;
        assert_eq!((notifications, warning.sqlstate().as_deref()), (0, Some("01000")), "{warning:?}");
    }
    for n in 0..10 {
        notifier.execute(&format!("notify news, '{n}'")).await;
    }
    notifier.execute("notify more, 'last'").await;
    for n in 0..10 {
        assert_eq!(heard(&mut other).await, pair("news", &n.to_string()));
    }
    let mut all: Vec<_> = Vec::new();
    while all.len() < 11 {
        all.push(heard(&mut client).await);
    }
    assert_eq!(all[0], pair("news", "0"));
    assert_eq!(all[10], pair("more", "last"));
    let listeners = listeners(&herd).await;
    assert!(listeners.iter().all(|row| row[3] == "listening"), "{listeners:?}");
}

#[tokio::test]
async fn a_listener_that_is_terminated_or_replaced_comes_back() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut client, mut notifier) = (herd.connect().await, herd.connect().await);
    client.execute("listen news").await;
    for round in ["terminated", "replaced"] {
        let process = listeners(&herd).await[0][6].clone();
        if round == "terminated" {
            herd.psql_directly(&format!("select pg_terminate_backend({process})")).unwrap();
        } else {
            herd.proxy(0).admin().await.execute("RECONNECT").await;
        }
        assert_eq!(warned(&mut client).await.0, 0);
        notifier.execute(&format!("notify news, '{round}'")).await;
        assert_eq!(heard(&mut client).await, pair("news", round));
        assert_ne!(listeners(&herd).await[0][6], process);
    }
}

#[tokio::test]
async fn a_listen_whose_transaction_outlives_the_shared_connection_is_told_of_the_gap() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut client, mut notifier) = (herd.connect().await, herd.connect().await);
    client.execute("begin").await;
    client.execute("listen news").await;
    let process = listeners(&herd).await[0][6].clone();
    notifier.execute("/* pgherd: primary */ select 1").await;
    limit_connections(&herd, 1);
    herd.psql_directly(&format!("select pg_terminate_backend({process})")).unwrap();
    until_it_waits_for(&herd, "news").await;
    client.execute("commit").await;
    notifier.execute("notify news, 'unheard'").await;
    allow_connections(&herd);
    assert_eq!(warned(&mut client).await.0, 0);
    notifier.execute("notify news, 'heard'").await;
    assert_eq!(heard(&mut client).await, pair("news", "heard"));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_told_how_much_it_missed_and_delays_nobody() {
    let herd = Setup::shared().set("pool.size", 3).set("session.notification_limit", "64kB").start();
    let (mut slow, mut quick, mut notifier) =
        (herd.connect().await, herd.connect().await, herd.connect().await);
    slow.execute("listen news").await;
    quick.execute("listen news").await;
    // within a transaction it is told nothing, so that what it does not read does not depend on sockets
    slow.execute("begin").await;
    let payload = "x".repeat(1000);
    for n in 0..200 {
        notifier.execute(&format!("notify news, '{n} {payload}'")).await;
        assert!(heard(&mut quick).await.1.starts_with(&format!("{n} ")));
    }
    slow.execute("commit").await;
    let mut kept = 0;
    let warning = loop {
        let message = slow.next().await.unwrap();
        match message.tag {
            b'A' => {
                assert!(notification(&message).1.starts_with(&format!("{kept} ")));
                kept += 1;
            }
            _ => break message,
        }
    };
    assert_eq!(warning.sqlstate().as_deref(), Some("01000"));
    let text = warning.complaint();
    assert!(text.contains(&format!("{} notifications were dropped", 200 - kept)), "{kept} kept: {text}");
    assert!((40..64).contains(&kept), "{kept}");
    assert_eq!(listeners(&herd).await[0][9], (200 - kept).to_string());
    notifier.execute("notify news, 'after'").await;
    assert_eq!(heard(&mut slow).await, pair("news", "after"));
}

//! Who is told of which notification, and when.

use e2e::Setup;
use testkit::{Batch, Message};

use super::{heard, heard_so_far, listeners, pair, pinned};

#[tokio::test]
async fn a_thousand_payloads_come_in_order_whoever_sends_them() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut listener, mut notifier) = (herd.connect().await, herd.connect().await);
    listener.execute("listen news").await;
    notifier.execute("begin").await;
    for n in 0..500 {
        notifier.execute(&format!("select pg_notify('news', '{n}')")).await;
    }
    notifier.execute("commit").await;
    for n in 500..1000 {
        notifier.execute(&format!("notify news, '{n}'")).await;
    }
    for n in 0..1000 {
        assert_eq!(heard(&mut listener).await, pair("news", &n.to_string()));
    }
}

#[tokio::test]
async fn exactly_those_who_listen_are_told() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let mut notifier = herd.connect().await;
    let mut clients = Vec::new();
    for texts in [
        "listen a",
        "listen b",
        "listen a; listen b",
        "listen a; listen b; unlisten a",
        "listen a; unlisten *",
    ] {
        let mut client = herd.connect().await;
        client.execute(texts).await;
        clients.push(client);
    }
    notifier.execute("notify a, '1'; notify b, '2'").await;
    let (a, b) = (pair("a", "1"), pair("b", "2"));
    let expected = [vec![a.clone()], vec![b.clone()], vec![a, b.clone()], vec![b], vec![]];
    for (client, expected) in clients.iter_mut().zip(expected) {
        assert_eq!(heard_so_far(client, &mut notifier).await, expected);
    }
}

#[tokio::test]
async fn channels_are_named_as_the_server_names_them() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut listener, mut notifier) = (herd.connect().await, herd.connect().await);
    let long = "x".repeat(80);
    for name in ["News", "NEWS", "\"news\"", "\"Two \"\"words\"\"; 2\"", &long] {
        listener.execute(&format!("listen {name}")).await;
    }
    notifier.execute("notify nEWS, '1'").await;
    notifier.execute("notify \"News\", 'other'").await;
    notifier.execute("notify \"Two \"\"words\"\"; 2\", '2'").await;
    notifier.execute(&format!("notify {long}, '3'")).await;
    assert_eq!(heard(&mut listener).await, pair("news", "1"));
    assert_eq!(heard(&mut listener).await, pair("Two \"words\"; 2", "2"));
    assert_eq!(heard(&mut listener).await, pair(&long[..63], "3"));
}

#[tokio::test]
async fn what_the_server_refuses_it_refuses_in_its_own_words() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut client, mut direct) = (herd.connect().await, herd.connect_directly(0).await);
    let too_long = format!("listen \"{}\"; select 1/0", "ä".repeat(40));
    for text in ["listen", "listen 'a'", "listen a.b", "listen \"\"", "listen select", "unlisten", &too_long]
    {
        let (through, without) = (client.query(text).await, direct.query(text).await);
        let complaints = |answer: &[Message]| -> Vec<String> {
            answer.iter().filter(|message| message.tag == b'E').map(Message::complaint).collect()
        };
        assert_eq!(complaints(&through), complaints(&without), "{text}");
        assert_eq!(complaints(&through).len(), 1, "{text}");
    }
    client.execute("begin").await;
    client.failure("select 1/0").await;
    assert_eq!(client.failure("listen a").await.as_deref(), Some("25P02"));
    client.execute("rollback").await;
    let tags: Vec<_> = client.query("listen a; unlisten a; notify a").await;
    let tags: Vec<_> =
        tags.iter().filter(|message| message.tag == b'C').map(|message| message.body.clone()).collect();
    assert_eq!(tags, [&b"LISTEN\0"[..], b"UNLISTEN\0", b"NOTIFY\0"]);
    client.execute("unlisten *").await;
    assert!(listeners(&herd).await.is_empty());
}

#[tokio::test]
async fn a_listen_takes_effect_at_commit_and_not_at_rollback() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut client, mut notifier, mut other) =
        (herd.connect().await, herd.connect().await, herd.connect().await);
    other.execute("listen kept").await;
    for text in ["begin", "listen kept"] {
        client.execute(text).await;
    }
    notifier.execute("notify kept, 'too early'").await;
    assert_eq!(heard(&mut other).await, pair("kept", "too early")); // so it has come
    client.execute("commit").await;
    notifier.execute("notify kept, '1'").await;
    assert_eq!(heard(&mut client).await, pair("kept", "1"));
    for text in ["begin", "listen undone", "unlisten kept", "rollback"] {
        client.execute(text).await;
    }
    notifier.execute("notify undone").await;
    notifier.execute("notify kept, '2'").await;
    assert_eq!(heard_so_far(&mut client, &mut notifier).await, [pair("kept", "2")]);
    for text in ["begin", "savepoint s", "listen doubtful", "rollback to s", "commit"] {
        client.execute(text).await;
    }
    for text in ["begin", "unlisten kept", "commit"] {
        client.execute(text).await;
    }
    notifier.execute("notify kept, '3'").await;
    assert!(heard_so_far(&mut client, &mut notifier).await.is_empty());
    assert_eq!(pinned(&herd).await, 0);
}

#[tokio::test]
async fn nobody_is_told_within_a_transaction_or_an_answer() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut client, mut notifier, mut other) =
        (herd.connect().await, herd.connect().await, herd.connect().await);
    client.execute("listen news").await;
    other.execute("listen news").await;
    client.execute("begin").await;
    for n in 0..3 {
        notifier.execute(&format!("notify news, '{n}'")).await;
        assert_eq!(heard(&mut other).await, pair("news", &n.to_string())); // so it is here
        let answer = client.query("select generate_series(1, 100)").await;
        assert!(answer.iter().all(|message| message.tag != b'A'));
    }
    let commit = client.query("commit").await;
    assert!(commit.iter().all(|message| message.tag != b'A'));
    for n in 0..3 {
        assert_eq!(heard(&mut client).await, pair("news", &n.to_string()));
    }
}

#[tokio::test]
async fn a_client_hears_itself() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let mut client = herd.connect().await;
    client.execute("listen news").await;
    client.execute("notify news, '1'").await;
    assert_eq!(heard(&mut client).await, pair("news", "1"));
    // what it sends before its LISTEN has committed
    for text in ["unlisten *", "begin", "listen news", "notify news, '2'", "commit"] {
        client.execute(text).await;
    }
    assert_eq!(heard(&mut client).await, pair("news", "2"));
    client.execute("unlisten *; listen news; notify news, '3'").await;
    assert_eq!(heard(&mut client).await, pair("news", "3"));
}

#[tokio::test]
async fn a_pinned_client_hears_everything_once() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut client, mut notifier) = (herd.connect().await, herd.connect().await);
    client.execute("create temp table pinned_by_this ()").await;
    client.execute("listen news").await;
    assert_eq!(pinned(&herd).await, 1);
    client.execute("notify news, '1'").await;
    assert_eq!(heard(&mut client).await, pair("news", "1"));
    notifier.execute("notify news, '2'").await;
    assert_eq!(heard_so_far(&mut client, &mut notifier).await, [pair("news", "2")]);
    client.execute("discard all").await;
    notifier.execute("notify news, '3'").await;
    assert!(heard_so_far(&mut client, &mut notifier).await.is_empty());
    // it stands beside transaction control, so it listens on a connection of its own
    client.execute("begin; listen own; commit").await;
    notifier.execute("notify own, '4'").await;
    assert_eq!(heard_so_far(&mut client, &mut notifier).await, [pair("own", "4")]);
}

#[tokio::test]
async fn a_prepared_listen_listens() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut client, mut notifier) = (herd.connect().await, herd.connect().await);
    let first = Batch::new().parse("l", "listen news").bind("", "l", &[]).execute("", 0).sync();
    let answer = client.run(&first).await;
    assert!(answer.iter().any(|message| message.tag == b'C' && message.body == b"LISTEN\0"), "{answer:?}");
    notifier.execute("notify news, '1'").await;
    assert_eq!(heard(&mut client).await, pair("news", "1"));
    client.execute("unlisten *").await;
    client.run(&Batch::new().bind("", "l", &[]).execute("", 0).sync()).await;
    notifier.execute("notify news, '2'").await;
    assert_eq!(heard(&mut client).await, pair("news", "2"));
    // several batches in one write
    let batch = |sql: &str| Batch::new().parse("", sql).bind("", "", &[]).execute("", 0).sync();
    let both = [batch("listen more").bytes(), batch("notify more, '3'").bytes()].concat();
    client.send(&both).await.unwrap();
    client.until_ready().await;
    client.until_ready().await;
    assert_eq!(heard(&mut client).await, pair("more", "3"));
    assert_eq!(pinned(&herd).await, 0);
}

#[tokio::test]
async fn discard_all_ends_listening_and_so_does_leaving() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let (mut client, mut notifier) = (herd.connect().await, herd.connect().await);
    client.execute("listen news").await;
    client.execute("discard all").await;
    notifier.execute("notify news, '1'").await;
    assert!(heard_so_far(&mut client, &mut notifier).await.is_empty());
    client.execute("begin").await;
    client.execute("listen left_in_a_transaction").await;
    client.reset();
    herd.proxy(0).admin().await; // a round trip
    let mut next = herd.connect().await;
    for _ in 0..10 {
        assert_eq!(next.value("select count(*) from pg_listening_channels()").await, "0");
        next.execute("notify news; notify left_in_a_transaction").await;
    }
    assert_eq!(next.query("select 1").await.iter().filter(|message| message.tag == b'A').count(), 0);
}

#[tokio::test]
async fn in_session_pooling_the_servers_own_notifications_pass() {
    let herd = Setup::shared().set("pool.size", 3).set("pool.mode", "session").start();
    let (mut client, mut notifier) = (herd.connect().await, herd.connect().await);
    client.execute("listen news").await;
    assert_eq!(client.value("select count(*) from pg_listening_channels()").await, "1");
    let answer = client.query("notify news, '1'").await;
    assert_eq!(answer.iter().filter(|message| message.tag == b'A').count(), 1, "{answer:?}");
    notifier.execute("notify news, '2'").await;
    assert_eq!(heard(&mut client).await, pair("news", "2"));
    assert!(listeners(&herd).await.is_empty());
}

#[tokio::test]
async fn in_statement_pooling_clients_listen_too() {
    let herd = Setup::shared().set("pool.size", 2).set("pool.mode", "statement").start();
    let (mut client, mut notifier) = (herd.connect().await, herd.connect().await);
    client.execute("listen news").await;
    notifier.execute("notify news, '1'").await;
    assert_eq!(heard(&mut client).await, pair("news", "1"));
}

#[tokio::test]
async fn payloads_come_in_the_encoding_that_the_client_has_now() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut client, mut notifier) = (herd.connect().await, herd.connect().await);
    client.execute("listen news").await;
    let text = |message: &Message| message.body[4..].to_vec();
    for (encoding, expected) in [("latin1", &b"news\0\xe4\0"[..]), ("utf8", b"news\0\xc3\xa4\0")] {
        client.execute(&format!("set client_encoding to {encoding}")).await;
        // From another encoding's connection nothing is taken over.
        let warning = client.next().await.unwrap();
        assert_eq!(warning.sqlstate().as_deref(), Some("01000"), "{warning:?}");
        notifier.execute("notify news, '\u{e4}'").await;
        let heard = client.next().await.unwrap();
        assert_eq!((heard.tag, text(&heard)), (b'A', expected.to_vec()));
    }
    assert_eq!(listeners(&herd).await.len(), 1);
}

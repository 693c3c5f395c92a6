//! LISTEN and NOTIFY in transaction pooling: clients listen over one connection that they share.

use e2e::{Herd, Setup};
use lab::StopMode;
use testkit::{Batch, Client, Message};

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

#[tokio::test]
async fn many_clients_listen_over_two_server_connections() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = herd.connect().await;
        client.execute("listen news").await;
        clients.push(client);
    }
    let mut notifier = herd.connect().await;
    for n in 0..5 {
        notifier.execute(&format!("notify news, '{n}'")).await;
    }
    for client in &mut clients {
        for n in 0..5 {
            assert_eq!(heard(client).await, pair("news", &n.to_string()));
        }
        client.execute("/* pgherd: primary */ select 1").await;
    }
    let port = herd.cluster().node(0).port().to_string();
    let servers = shown(&herd, "SHOW SERVERS", 2).await;
    assert_eq!(servers.iter().filter(|row| row[6] == port).count(), 2, "{servers:?}");
    assert_eq!(pinned(&herd).await, 0);
    let listeners = listeners(&herd).await;
    assert_eq!(listeners.len(), 1, "{listeners:?}");
    assert_eq!(listeners[0][2..5], ["news", "listening", "40"]);
    assert_eq!(listeners[0][7..10], ["5", "200", "0"]);
}

#[tokio::test]
async fn a_pool_of_one_connection_has_room_for_the_one_that_listens() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let (mut listener, mut notifier) = (herd.connect().await, herd.connect().await);
    listener.execute("listen news").await;
    notifier.execute("notify news, 'x'").await;
    assert_eq!(heard(&mut listener).await, pair("news", "x"));
    assert_eq!(listener.value("select 2").await, "2");
}

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

#[tokio::test]
async fn the_shared_connection_ends_when_nobody_has_listened_for_a_while() {
    let herd = Setup::shared().set("pool.server_idle_timeout", "1s").start();
    let mut client = herd.connect().await;
    client.execute("listen news").await;
    let process = listeners(&herd).await[0][6].clone();
    client.execute("unlisten news").await;
    let count = format!("select count(*) from pg_stat_activity where pid = {process}");
    while herd.psql_directly(&count).unwrap() != "0" {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    client.execute("listen news").await;
    client.execute("notify news, 'again'").await;
    assert_eq!(heard(&mut client).await, pair("news", "again"));
}

#[tokio::test]
async fn pause_does_not_wait_for_it_nor_it_for_resume() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let (mut client, mut admin, mut direct) =
        (herd.connect().await, herd.proxy(0).admin().await, herd.connect_directly(0).await);
    client.execute("listen news").await;
    admin.execute("PAUSE").await;
    direct.execute("notify news, 'paused'").await;
    assert_eq!(heard(&mut client).await, pair("news", "paused"));
    admin.execute("RESUME").await;
    assert_eq!(client.value("select 1").await, "1");
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

/// Lets the proxy make no connection to the herd's database beyond those that it has without `less` of them.
fn limit_connections(herd: &Herd, less: u32) {
    let (database, user) = (herd.database(), &herd.cluster().application().user);
    let count =
        format!("select count(*) from pg_stat_activity where datname = '{database}' and usename = '{user}'");
    let limit = herd.psql_directly(&count).unwrap().trim().parse::<u32>().unwrap() - less;
    herd.psql_directly(&format!("alter database {database} connection limit {limit}")).unwrap();
}

fn allow_connections(herd: &Herd) {
    herd.psql_directly(&format!("alter database {} connection limit -1", herd.database())).unwrap();
}

async fn until_it_waits_for(herd: &Herd, channel: &str) {
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

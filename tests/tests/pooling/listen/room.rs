//! The connection that listens among those of its pool.

use e2e::Setup;
use testkit::Batch;

use super::{heard, listeners, pair, pinned, shown};

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
async fn connections_that_listen_for_several_encodings_leave_room_for_others() {
    let herd = Setup::shared().set("pool.size", 2).set("pool.wait_timeout", "10s").start();
    let mut clients = Vec::new();
    for encoding in ["UTF8", "LATIN1", "LATIN2"] {
        let mut client = herd.app().with("client_encoding", encoding).connect().await.unwrap();
        client.execute("listen news").await;
        clients.push(client);
    }
    let mut notifier = herd.connect().await;
    notifier.execute("notify news, 'to all'").await;
    for client in &mut clients {
        assert_eq!(heard(client).await, pair("news", "to all"));
        client.execute("/* pgherd: primary */ select 1").await;
    }
}

/// A place that only a connection is in that nobody listens over any more goes to whoever waits for one.
#[tokio::test]
async fn a_connection_that_nobody_listens_over_makes_room_for_another_pool() {
    let herd = Setup::shared()
        .set("database.0.name", "*")
        .set("database.0.max_server_connections", 2)
        .set("pool.wait_timeout", "10s")
        .start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("listen news").await;
    client.execute("unlisten news").await;
    let superuser = herd.cluster().superuser();
    let mut parameters = herd.proxy(0).login(superuser, herd.database());
    parameters.address.set_port(herd.proxy(0).port_of("read-write"));
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut other = parameters.connect().await.unwrap();
        other.execute("begin").await;
        other.execute("select 1").await;
        others.push(other);
    }
}

#[tokio::test]
async fn a_cap_that_leaves_no_room_for_a_connection_that_listens_is_named_at_once() {
    let herd =
        Setup::shared().set("database.0.name", "*").set("database.0.max_server_connections", 1).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    for _ in 0..2 {
        let answer = client.query("listen news").await;
        let error = answer.iter().find(|message| message.tag == b'E').unwrap();
        assert_eq!(error.sqlstate().as_deref(), Some("53300"), "{error:?}");
        assert_eq!(client.value("select 'alive'").await, "alive");
    }
    assert!(listeners(&herd).await.is_empty());
}

#[tokio::test]
async fn clients_that_begin_to_listen_at_a_time_do_not_take_all_places_under_a_cap() {
    let herd =
        Setup::shared().set("database.0.name", "*").set("database.0.max_server_connections", 3).start();
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(herd.proxy(0).connect_to("read-write").await);
    }
    // All places are taken and then idle.
    for text in ["begin", "select 1", "commit"] {
        for client in &mut clients[..3] {
            client.execute(text).await;
        }
    }
    for client in &mut clients {
        client.send(Batch::new().query("listen news").bytes()).await.unwrap();
    }
    for client in &mut clients {
        let answer = client.until_ready().await;
        assert!(answer.iter().all(|message| message.tag != b'E'), "{answer:?}");
    }
    clients[0].execute("notify news, 'to all'").await;
    for client in &mut clients {
        assert_eq!(heard(client).await, pair("news", "to all"));
    }
}

#[tokio::test]
async fn a_connection_that_listens_gets_its_place_among_busy_clients_under_a_cap() {
    let herd =
        Setup::shared().set("database.0.name", "*").set("database.0.max_server_connections", 2).start();
    let mut busy = Vec::new();
    for _ in 0..6 {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        busy.push(tokio::spawn(async move {
            loop {
                client.execute("select pg_sleep(0.01)").await;
            }
        }));
    }
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("listen news").await;
    client.execute("notify news, 'in time'").await;
    assert_eq!(heard(&mut client).await, pair("news", "in time"));
    assert!(busy.iter().all(|busy| !busy.is_finished()), "nobody else failed");
    busy.iter().for_each(|busy| busy.abort());
}

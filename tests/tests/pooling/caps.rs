//! Bounds on server connections that several pools share in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use e2e::{Herd, Setup, eventually_async};
use lab::Login;
use testkit::{Client, ConnectionParameters};
use tokio::task::{JoinHandle, JoinSet};

/// Roles that may log in and that no other herd has.
fn roles(herd: &Herd, count: usize) -> Vec<Login> {
    let name = |n| format!("{}_{n}", herd.database());
    let roles: Vec<_> =
        (0..count).map(|n| Login { user: name(n), password: format!("secret of {n}") }).collect();
    for Login { user, password } in &roles {
        herd.cluster().psql(0, &format!("create role {user} login password '{password}'")).unwrap();
    }
    roles
}

/// How a role connects for writes, in the herd's database.
fn writing(herd: &Herd, login: &Login) -> ConnectionParameters {
    let mut parameters = herd.proxy(0).login(login, herd.database());
    parameters.address.set_port(herd.proxy(0).port_of("read-write"));
    parameters
}

/// The role of each of the proxy's connections to the primary, to databases whose name begins with the herd's.
fn servers_sql(herd: &Herd) -> String {
    format!(
        "select coalesce(string_agg(usename, ',' order by usename), '') from pg_stat_activity
         where (datname = '{0}' or datname like '{0}\\_%') and pid <> pg_backend_pid() and usename <> '{1}'",
        herd.database(),
        herd.cluster().monitor().user
    )
}

/// Counts the server connections all the time until it is told to stop; gives the most that it saw.
async fn watch_servers(herd: &Herd) -> (Arc<AtomicBool>, JoinHandle<usize>) {
    let (sql, mut watcher) = (servers_sql(herd), herd.connect_directly(0).await);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let watching = tokio::spawn(async move {
        let mut most = 0;
        while !stopped.load(Ordering::Relaxed) {
            let users = watcher.value(&sql).await;
            most = most.max(users.split(',').filter(|user| !user.is_empty()).count());
        }
        most
    });
    (stop, watching)
}

/// Each of `clients` runs `rounds` transactions; nothing may fail.
async fn work(clients: Vec<Client>, rounds: usize) {
    let mut working = JoinSet::new();
    for mut client in clients {
        working.spawn(async move {
            for _ in 0..rounds {
                client.execute("begin").await;
                client.execute("select pg_sleep(0.001)").await;
                client.execute("commit").await;
            }
        });
    }
    while let Some(done) = working.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_pools_than_places_all_make_progress_and_the_server_never_has_more_connections() {
    for (cap, users) in [(3, 3), (2, 6), (1, 3)] {
        let herd = Setup::shared().set("proxy.max_server_connections", cap).set("proxy.workers", 2).start();
        let mut clients = Vec::new();
        let (stop, watching) = watch_servers(&herd).await;
        for login in roles(&herd, users) {
            for _ in 0..3 {
                clients.push(writing(&herd, &login).connect().await.unwrap());
            }
        }
        work(clients, 20).await;
        stop.store(true, Ordering::Relaxed);
        let most = watching.await.unwrap();
        assert!(
            (1..=usize::try_from(cap).unwrap()).contains(&most),
            "{most} connections under a cap of {cap}"
        );
    }
}

#[tokio::test]
async fn the_connection_that_was_idle_for_longest_is_closed_for_a_pool_without() {
    let herd = Setup::shared().set("proxy.max_server_connections", 2).set("proxy.workers", 3).start();
    let roles = roles(&herd, 3);
    let mut watcher = herd.connect_directly(0).await;
    let mut clients = Vec::new();
    for login in &roles {
        let mut client = writing(&herd, login).connect().await.unwrap();
        client.execute("select 1").await;
        // An idle connection is spared in its first moments, whoever waits.
        tokio::time::sleep(Duration::from_millis(200)).await;
        clients.push(client);
    }
    let expected = format!("{},{}", roles[1].user, roles[2].user);
    assert_eq!(watcher.value(&servers_sql(&herd)).await, expected);
    clients[1].execute("select 1").await;
    clients[0].execute("select 1").await;
    let expected = format!("{},{}", roles[0].user, roles[1].user);
    assert_eq!(watcher.value(&servers_sql(&herd)).await, expected);
}

#[tokio::test]
async fn a_busy_pool_gives_connections_up_for_clients_elsewhere_that_wait_longer() {
    let herd = Setup::shared().set("proxy.max_server_connections", 1).set("pool.wait_timeout", "20s").start();
    let roles = roles(&herd, 2);
    let stop = Arc::new(AtomicBool::new(false));
    let mut busy = JoinSet::new();
    for _ in 0..4 {
        let mut client = writing(&herd, &roles[0]).connect().await.unwrap();
        let stopped = Arc::clone(&stop);
        busy.spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                client.execute("select pg_sleep(0.002)").await;
            }
        });
    }
    let mut other = writing(&herd, &roles[1]).connect().await.unwrap();
    for _ in 0..5 {
        other.execute("select 1").await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = busy.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn database_user_and_node_have_caps_of_their_own_which_the_client_is_told_of() {
    for (key, words, setting) in [
        ("proxy.max_server_connections", "2 server connections in total", "proxy.max_server_connections"),
        (
            "cluster.0.max_server_connections",
            "2 server connections to this node",
            "cluster.max_server_connections",
        ),
        ("database.0.max_server_connections", "of database", "database.max_server_connections"),
        (
            "user.1.max_server_connections",
            "2 server connections of user \"app\"",
            "user.max_server_connections",
        ),
    ] {
        let mut setup = Setup::shared().set("pool.wait_timeout", "700ms");
        if key.starts_with("user") {
            setup = setup.set("user.1.name", "app");
        }
        let herd = setup.set(key, 2).start();
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = herd.proxy(0).connect_to("read-write").await;
            client.execute("begin").await;
            client.execute("select 1").await;
            clients.push(client);
        }
        let mut third = herd.proxy(0).connect_to("read-write").await;
        let messages = third.query("select 1").await;
        assert_eq!(messages[0].sqlstate().as_deref(), Some("53300"), "{key}: {messages:?}");
        let text = String::from_utf8_lossy(&messages[0].body).into_owned();
        assert!(text.contains(words), "{key}: {text}");
        let mut admin = herd.proxy(0).admin().await;
        let rows = admin.rows("SHOW LIMITS").await.unwrap();
        // what, database, user, node, used, limit, setting
        let row =
            rows.iter().find(|row| row[6].as_deref() == Some(setting) && row[4].as_deref() == Some("2"));
        assert_eq!(row.unwrap_or_else(|| panic!("{rows:?}"))[5].as_deref(), Some("2"), "{key}");
        clients[0].execute("commit").await;
        assert_eq!(third.value("select 'at last'").await, "at last", "{key}");
    }
}

#[tokio::test]
async fn a_cap_that_is_raised_lets_those_go_on_who_wait() {
    let herd = Setup::shared().set("proxy.max_server_connections", 1).start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    owner.execute("begin").await;
    let mut waiting = herd.proxy(0).connect_to("read-write").await;
    waiting.send(testkit::Batch::new().query("select 'through'").bytes()).await.unwrap();
    herd.proxy(0).until_waiting(1).await;
    herd.proxy(0).admin().await.execute("SET proxy.max_server_connections = 2").await;
    assert_eq!(waiting.until_ready().await[1].row(), [Some("through".to_owned())]);
    owner.execute("commit").await;
}

#[tokio::test]
async fn databases_share_the_cap_of_their_node() {
    let herd = Setup::shared().set("cluster.0.max_server_connections", 2).set("proxy.workers", 2).start();
    let names: Vec<_> = (0..4).map(|n| format!("{}_{n}", herd.database())).collect();
    let owner = herd.cluster().application().clone();
    for name in &names {
        herd.cluster().psql(0, &format!("create database {name} owner {}", owner.user)).unwrap();
    }
    let (stop, watching) = watch_servers(&herd).await;
    let mut clients = Vec::new();
    for name in &names {
        let mut parameters = herd.proxy(0).login(&owner, name);
        parameters.address.set_port(herd.proxy(0).port_of("read-write"));
        clients.push(
            eventually_async("the database is known", Duration::from_secs(10), || async {
                parameters.connect().await.ok()
            })
            .await,
        );
    }
    work(clients, 20).await;
    stop.store(true, Ordering::Relaxed);
    let most = watching.await.unwrap();
    assert!((1..=2).contains(&most), "{most} connections");
    for name in &names {
        herd.cluster().psql(0, &format!("drop database {name} with (force)")).unwrap();
    }
}

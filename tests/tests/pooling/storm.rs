//! Many connections wanted at once.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{Herd, Setup};
use lab::Cluster;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// What stands between a proxy and a node, and counts logins of `app`.
#[derive(Debug, Default)]
struct Counter {
    /// At present: from the startup packet until the server is ready.
    logging_in: AtomicUsize,
    /// Most at a time.
    most: AtomicUsize,
    /// All so far.
    attempts: AtomicUsize,
    /// `app`'s connections are cut off.
    cut: AtomicBool,
}

/// Passes connections on to a port.
async fn relay(port: u16) -> (SocketAddr, Arc<Counter>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, counter) = (listener.local_addr().unwrap(), Arc::new(Counter::default()));
    let counts = Arc::clone(&counter);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, port, Arc::clone(&counts)));
        }
    });
    (address, counter)
}

async fn pass(mut client: TcpStream, port: u16, counter: Arc<Counter>) -> Option<()> {
    let length = client.read_u32().await.ok()?;
    let mut startup = vec![0; length as usize - 4];
    client.read_exact(&mut startup).await.ok()?;
    let is_app = startup.windows(9).any(|window| window == b"user\0app\0");
    if is_app {
        counter.attempts.fetch_add(1, Ordering::SeqCst);
        if counter.cut.load(Ordering::SeqCst) {
            return None;
        }
        let now = counter.logging_in.fetch_add(1, Ordering::SeqCst) + 1;
        counter.most.fetch_max(now, Ordering::SeqCst);
        // Logins that could meet do.
        sleep(Duration::from_millis(20)).await;
    }
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    server.write_u32(length).await.ok()?;
    server.write_all(&startup).await.ok()?;
    if is_app {
        let ready = until_ready(&mut client, &mut server).await;
        // before the proxy can know
        counter.logging_in.fetch_sub(1, Ordering::SeqCst);
        client.write_all(&ready?).await.ok()?;
    }
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

/// Passes the login on; gives the first ReadyForQuery, which has not been passed on.
async fn until_ready(client: &mut TcpStream, server: &mut TcpStream) -> Option<Vec<u8>> {
    loop {
        let mut from_client = [0; 1024];
        tokio::select! {
            tag = server.read_u8() => {
                let tag = tag.ok()?;
                let length = server.read_u32().await.ok()?;
                let mut body = vec![0; length as usize - 4];
                server.read_exact(&mut body).await.ok()?;
                let mut message = vec![tag];
                message.extend_from_slice(&length.to_be_bytes());
                message.extend_from_slice(&body);
                if tag == b'Z' {
                    return Some(message);
                }
                client.write_all(&message).await.ok()?;
            }
            read = client.read(&mut from_client) => {
                let read = read.ok().filter(|read| *read > 0)?;
                server.write_all(&from_client[..read]).await.ok()?;
            }
        }
    }
}

/// A herd whose only node is behind a relay.
async fn herd(clients: u32) -> (Herd, Arc<Counter>) {
    let options = lab::Options { standbys: 0, max_connections: clients + 50, ..lab::Options::default() };
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(options)).await.unwrap().unwrap();
    cluster.psql(0, &format!("grant select on pg_authid to {}", cluster.monitor().user)).unwrap();
    let (address, counter) = relay(cluster.node(0).port()).await;
    let setup = Setup::of_cluster(Arc::new(cluster))
        .set("cluster.0.nodes.0.address", address.to_string())
        .set("cluster.0.max_logins", 4)
        .set("pool.size", i64::from(clients));
    let herd = tokio::task::spawn_blocking(move || setup.start()).await.unwrap();
    (herd, counter)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_after_a_restart_log_in_a_few_at_a_time() {
    const CLIENTS: usize = 200;
    let (herd, counter) = herd(200).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(herd.connect().await);
    }
    counter.most.store(0, Ordering::SeqCst);
    herd.cluster().restart(0, lab::StopMode::Fast).unwrap();
    let mut working = JoinSet::new();
    for mut client in clients {
        working.spawn(async move { client.value("select 'done' from pg_sleep(1)").await });
    }
    while let Some(done) = working.join_next().await {
        done.unwrap();
    }
    let most = counter.most.load(Ordering::SeqCst);
    assert!((1..=4).contains(&most), "{most} logins at a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cuts_every_login_off_is_tried_seldom_and_nobody_hears_of_it() {
    let (herd, counter) = herd(60).await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(herd.connect().await);
    }
    herd.proxy(0).admin().await.execute("RECONNECT; WAIT_CLOSE").await;
    counter.cut.store(true, Ordering::SeqCst);
    counter.attempts.store(0, Ordering::SeqCst);
    let mut working = JoinSet::new();
    for mut client in clients {
        working.spawn(async move { client.value("select 'done'").await });
    }
    sleep(Duration::from_secs(3)).await;
    let attempts = counter.attempts.load(Ordering::SeqCst);
    counter.cut.store(false, Ordering::SeqCst);
    assert!((2..=60).contains(&attempts), "{attempts} tries");
    while let Some(done) = working.join_next().await {
        assert_eq!(done.unwrap(), "done");
    }
}

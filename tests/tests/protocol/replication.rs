//! Replication connections: PostgreSQL's own programs work through the proxy, and nothing of them is pooled.

use std::{fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use e2e::{Herd, Setup, eventually, eventually_async};
use lab::{Cluster, Options};
use testkit::{Batch, Client, ConnectionParameters};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the role that may replicate connects.
fn receiver(herd: &Herd, policy: &str, replication: &str) -> ConnectionParameters {
    let mut parameters = herd.proxy(0).login(herd.cluster().monitor(), herd.database());
    parameters.address.set_port(herd.proxy(0).port_of(policy));
    parameters.with("replication", replication)
}

/// One of PostgreSQL's programs as the role that may replicate.
fn program(herd: &Herd, name: &str) -> Command {
    let monitor = herd.cluster().monitor();
    let mut command = herd.program(name, herd.proxy(0).port());
    command.env("PGUSER", &monitor.user).env("PGPASSWORD", &monitor.password);
    command
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A folder's name in the cluster's own folder, with which it goes.
fn folder(herd: &Herd, name: &str) -> PathBuf {
    herd.cluster().directory().join(format!("{}-{name}", herd.database()))
}

/// The columns `replication` and `state` of the console's rows for the role that may replicate in the herd's database.
async fn shown(herd: &Herd, command: &str) -> Vec<(String, String)> {
    let rows = herd.proxy(0).admin().await.rows(command).await.unwrap();
    let its = [&herd.cluster().monitor().user, herd.database()];
    let of_it = rows.into_iter().filter(|row| [&row[1], &row[2]].map(|cell| cell.as_deref().unwrap()) == its);
    of_it.map(|row| (row[3].clone().unwrap(), row[4].clone().unwrap())).collect()
}

/// What PostgreSQL's SHOW says, which walsenders understand too.
async fn setting(client: &mut Client, name: &str) -> String {
    client.value(&format!("SHOW {name}")).await
}

#[test]
fn a_base_backup_taken_through_the_proxy_is_whole() {
    let herd = Setup::shared().start();
    let target = folder(&herd, "backup");
    let mut backup = program(&herd, "pg_basebackup");
    succeed(backup.arg("-D").arg(&target).args(["-X", "stream", "-c", "fast", "--no-sync"]));
    succeed(herd.program("pg_verifybackup", herd.proxy(0).port()).arg("-n").arg(&target));
    assert!(fs::read_dir(target.join("pg_wal")).unwrap().count() > 0);
    fs::remove_dir_all(target).unwrap();
}

#[test]
fn wal_is_received_through_the_proxy_up_to_where_it_was_asked_for() {
    let herd = Setup::shared().start();
    let target = folder(&herd, "wal");
    fs::create_dir(&target).unwrap();
    herd.psql_directly("create table received as select generate_series(1, 1000)").unwrap();
    let end = herd.psql_directly("select pg_current_wal_flush_lsn()").unwrap();
    let mut receive = program(&herd, "pg_receivewal");
    succeed(receive.arg("-D").arg(&target).args(["-n", "--no-sync", "-E", &end]));
    assert!(fs::read_dir(&target).unwrap().count() > 0);
    fs::remove_dir_all(target).unwrap();
}

#[test]
fn changes_are_decoded_through_the_proxy() {
    let options = Options {
        standbys: 0,
        settings: vec![("wal_level".to_owned(), "logical".to_owned())],
        ..Options::default()
    };
    let cluster = Cluster::start(options).unwrap();
    cluster.psql(0, &format!("grant select on pg_authid to {}", cluster.monitor().user)).unwrap();
    let herd = Setup::of_cluster(Arc::new(cluster)).start();
    herd.psql("create table decoded (a int primary key)").unwrap();
    let arguments = ["-d", herd.database(), "-S", "through_the_proxy"];
    let create = ["--create-slot", "-P", "test_decoding"];
    succeed(program(&herd, "pg_recvlogical").args(arguments).args(create));
    herd.psql("insert into decoded values (4711)").unwrap();
    let end = herd.psql_directly("select pg_current_wal_insert_lsn()").unwrap();
    let start = ["--start", "-n", "-f", "-", "-E", &end];
    let text = succeed(program(&herd, "pg_recvlogical").args(arguments).args(start));
    assert!(text.contains("table public.decoded: INSERT: a[integer]:4711"), "{text}");
    succeed(program(&herd, "pg_recvlogical").args(arguments).arg("--drop-slot"));
}

#[test]
fn psql_identifies_the_system_through_the_proxy() {
    let herd = Herd::common();
    let ask = |port: u16| {
        let mut psql = program(&herd, "psql");
        psql.env("PGPORT", port.to_string()).args(["-X", "-A", "-t", "-c", "IDENTIFY_SYSTEM"]);
        let line = succeed(psql.arg(format!("dbname={} replication=database", herd.database())));
        line.split('|').take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ask(herd.proxy(0).port()), ask(herd.cluster().node(0).port()));
}

#[tokio::test]
async fn a_walsender_is_of_the_node_that_the_listener_is_for() {
    let herd = Setup::shared().start();
    let nodes = herd.cluster().nodes();
    let ports: Vec<String> = nodes.iter().map(|node| node.port().to_string()).collect();
    for (policy, replication) in [("smart", "true"), ("read-write", "1"), ("smart", "database")] {
        let parameters = receiver(&herd, policy, replication).with("application_name", "a receiver");
        let mut client = parameters.connect().await.unwrap();
        assert_eq!(setting(&mut client, "port").await, ports[0], "{policy} {replication}");
        assert_eq!(setting(&mut client, "application_name").await, "a receiver");
    }
    let mut client = receiver(&herd, "read-only", "yes").connect().await.unwrap();
    assert!(ports[1..].contains(&setting(&mut client, "port").await));
    let refused = receiver(&herd, "smart", "perhaps").connect().await.unwrap_err();
    assert_eq!(refused.sqlstate().as_deref(), Some("22023"));
    // The server's own word on who may not.
    let refused = herd.app().with("replication", "true").connect().await.unwrap_err();
    assert_eq!(refused.sqlstate().as_deref(), Some("42501"), "{refused}");
}

/// What decides who a session is and where cannot come in as a setting, under which it would reach the server's startup.
#[tokio::test]
async fn a_setting_does_not_change_who_a_receiver_is_or_where() {
    let herd = Herd::common();
    let superuser = &herd.cluster().superuser().user;
    for (name, value) in [
        ("options", "-c database=postgres".to_owned()),
        ("options", format!("-c user={superuser}")),
        ("DATABASE", "postgres".to_owned()),
        ("User", superuser.clone()),
        ("Options", "-c work_mem=1MB".to_owned()),
        ("options", "--replication=true".to_owned()),
    ] {
        let refused = receiver(&herd, "smart", "database").with(name, &value).connect().await.unwrap_err();
        assert_eq!(refused.sqlstate().as_deref(), Some("42704"), "{name}={value}: {refused}");
    }
}

#[tokio::test]
async fn a_replication_connection_is_shown_counted_and_cancelled() {
    let herd = Setup::shared().set("pool.size", 1).set("pool.wait_timeout", "1s").start();
    let mut client = receiver(&herd, "smart", "database").connect().await.unwrap();
    assert_eq!(client.value("select 'SQL too'").await, "SQL too");
    let expected = |state: &str| vec![("logical".to_owned(), state.to_owned())];
    assert_eq!(shown(&herd, "SHOW CLIENTS").await, expected("active"));
    assert_eq!(shown(&herd, "SHOW SERVERS").await, expected("active"));

    let refused = receiver(&herd, "smart", "true").connect().await.unwrap_err();
    assert_eq!(refused.sqlstate().as_deref(), Some("53300"), "{refused}");

    client.send(Batch::new().query("select pg_sleep(60)").bytes()).await.unwrap();
    // A cancel that comes before the query does cancels nothing, so it is repeated.
    let mut messages = Vec::new();
    while messages.is_empty() {
        client.cancel().await.unwrap();
        if let Ok(first) = client.next_within(Duration::from_millis(500)).await {
            messages.extend(first);
            messages.extend(client.until_ready().await);
        }
    }
    let error = messages.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.sqlstate().as_deref(), Some("57014"), "{messages:?}");

    client.terminate().await;
    let mut next = eventually_async("the place is free again", PATIENCE, || async {
        receiver(&herd, "smart", "true").connect().await.ok()
    })
    .await;
    assert_eq!(shown(&herd, "SHOW CLIENTS").await[0].0, "physical");
    assert!(!next.query("IDENTIFY_SYSTEM").await.is_empty());
}

#[tokio::test]
async fn a_receiver_gets_the_place_of_an_idle_connection_under_a_cap() {
    let herd = Setup::shared()
        .set("database.0.name", "*")
        .set("database.0.max_server_connections", 1)
        .set("pool.wait_timeout", "10s")
        .start();
    let mut session = herd.proxy(0).login(herd.cluster().monitor(), herd.database());
    session.address.set_port(herd.proxy(0).port_of("read-write"));
    assert_eq!(session.connect().await.unwrap().value("select 'pooled'").await, "pooled");
    let mut client = receiver(&herd, "smart", "true").connect().await.unwrap();
    assert!(!client.query("IDENTIFY_SYSTEM").await.is_empty());
}

#[tokio::test]
async fn what_a_receiver_runs_ends_when_it_leaves_or_is_killed() {
    let herd = Setup::shared().start();
    let count = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active' \
                 and datname = current_database()";
    for leaves in [true, false] {
        let mut client = receiver(&herd, "smart", "database").connect().await.unwrap();
        client.send(Batch::new().query("select pg_sleep(60)").bytes()).await.unwrap();
        eventually("it runs", PATIENCE, || (herd.psql_directly(count).unwrap() == "1").then_some(()));
        if leaves {
            client.reset();
        } else {
            herd.proxy(0).admin().await.execute(&format!("KILL {}", herd.database())).await;
            assert_eq!(last_word(&mut client).await.as_deref(), Some("57P01"));
        }
        eventually("it has ended", PATIENCE, || (herd.psql_directly(count).unwrap() == "0").then_some(()));
    }
}

#[tokio::test]
async fn a_receiver_keeps_nobody_from_suspending_and_goes_on_afterwards() {
    let herd = Setup::shared().start();
    let mut idle = receiver(&herd, "smart", "true").connect().await.unwrap();
    let mut streaming = receiver(&herd, "smart", "true").connect().await.unwrap();
    let lsn = herd.psql_directly("select pg_current_wal_lsn()").unwrap();
    let command = format!("START_REPLICATION PHYSICAL {lsn}");
    streaming.send(Batch::new().query(&command).bytes()).await.unwrap();
    assert_eq!(streaming.next().await.unwrap().tag, b'W');
    let mut admin = herd.proxy(0).admin().await;
    for _ in 0..3 {
        admin.execute("SUSPEND").await;
        idle.send(Batch::new().query("IDENTIFY_SYSTEM").bytes()).await.unwrap();
        admin.execute("RESUME").await;
        assert!(idle.until_ready().await.iter().any(|message| message.tag == b'D'));
    }
    herd.psql_directly("create table streamed ()").unwrap();
    while streaming.next().await.unwrap().tag != b'd' {}
}

/// Waits for the end of the connection; the SQLSTATE of the last word.
async fn last_word(client: &mut Client) -> Option<String> {
    let mut last = None;
    while let Some(message) = client.next().await {
        last = message.sqlstate();
    }
    last
}

#[tokio::test]
async fn a_receiver_is_sent_away_when_another_node_becomes_the_primary() {
    let herd = Setup::own(1).start();
    let mut idle = receiver(&herd, "smart", "database").connect().await.unwrap();
    let mut streaming = receiver(&herd, "smart", "true").connect().await.unwrap();
    let lsn = herd.psql_directly("select pg_current_wal_lsn()").unwrap();
    let command = format!("START_REPLICATION PHYSICAL {lsn}");
    streaming.send(Batch::new().query(&command).bytes()).await.unwrap();
    assert_eq!(streaming.next().await.unwrap().tag, b'W');
    herd.cluster().promote(1).unwrap();
    assert_eq!(last_word(&mut idle).await.as_deref(), Some("57P01"));
    assert_eq!(last_word(&mut streaming).await.as_deref(), Some("57P01"));
    let mut again = receiver(&herd, "smart", "true").connect().await.unwrap();
    assert_eq!(setting(&mut again, "port").await, herd.cluster().node(1).port().to_string());
}

#[tokio::test]
async fn a_receiver_whose_server_dies_or_whose_proxy_stops_is_told_to_come_back() {
    let herd = Setup::own(0).start();
    let mut client = receiver(&herd, "smart", "true").connect().await.unwrap();
    herd.cluster().kill(0).unwrap();
    assert_eq!(last_word(&mut client).await.as_deref(), Some("57P01"));
    herd.cluster().start_node(0).unwrap();
    let mut client = receiver(&herd, "smart", "true").connect().await.unwrap();
    herd.proxy(0).signal(lab::Signal::SIGTERM);
    assert_eq!(last_word(&mut client).await.as_deref(), Some("57P01"));
    herd.proxy(0).wait_for_end();
}

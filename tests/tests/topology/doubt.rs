//! Writes of which nobody can say whether they happened, and sessions whose primary is in doubt.

use e2e::{Herd, Setup};
use lab::Signal;
use testkit::{Batch, Client};

use super::{show, wait_for_event};

/// A primary alone, with the tables `gate` and `done`.
fn gated() -> Herd {
    let herd = Setup::own(0).start();
    herd.psql("create table gate (a int); create table done (a int)").unwrap();
    herd
}

/// Holds whatever reads or writes `gate` until its transaction ends.
async fn shut_the_gate(herd: &Herd) -> Client {
    let mut keeper = herd.connect_directly(0).await;
    keeper.execute("begin").await;
    keeper.execute("lock table gate in access exclusive mode").await;
    keeper
}

/// Waits until so many backends wait for a lock.
async fn until_blocked(herd: &Herd, count: usize) {
    let mut watch = herd.connect_directly(0).await;
    let sql = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    while watch.value(sql).await != count.to_string() {}
}

#[tokio::test]
async fn a_write_piped_behind_a_read_is_not_run_twice_when_its_node_falls_silent() {
    let herd = gated();
    let mut keeper = shut_the_gate(&herd).await;
    let mut client = herd.connect().await;
    client.send(Batch::new().query("select count(*) from gate").bytes()).await.unwrap();
    until_blocked(&herd, 1).await;
    // What the read waits behind is not answered, so both are still kept.
    client.send(Batch::new().query("insert into done values (1)").bytes()).await.unwrap();
    let postmaster = herd.cluster().node(0).pid().unwrap();
    let monitor = herd.cluster().monitor().user.clone();
    let mut watch = herd.connect_directly(0).await;
    let probes = format!("select pid from pg_stat_activity where usename = '{monitor}'");
    let probes = herd.psql_directly(&probes).unwrap();
    lab::signal(postmaster, Signal::SIGSTOP).unwrap();
    probes.lines().for_each(|pid| lab::signal(pid.parse().unwrap(), Signal::SIGTERM).unwrap());
    wait_for_event(&herd, "node_down");
    let answers = client.until_ready().await;
    let codes: Vec<_> = answers.iter().filter_map(testkit::Message::sqlstate).collect();
    assert_eq!(codes, ["08007"], "it is not known whether the insert ran: {answers:?}");
    // The server had them both all the time.
    keeper.execute("commit").await;
    while watch.value("select count(*) from done").await != "1" {}
    lab::signal(postmaster, Signal::SIGCONT).unwrap();
    client.until_ready().await;
    assert_eq!(client.value("select count(*) from done").await, "1");
}

#[tokio::test]
async fn the_second_of_two_piped_writes_is_in_doubt_and_reads_look_for_it_on_the_primary() {
    let herd = Setup::own(1).regions(["us"]).start();
    herd.psql("create table gate (a int); create table done (a int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    herd.cluster().psql(1, "select pg_wal_replay_pause()").unwrap();
    let mut keeper = shut_the_gate(&herd).await;
    let mut client = herd.connect().await;
    let both = Batch::new().query("insert into done values (1)").query("insert into gate values (1)");
    client.send(both.bytes()).await.unwrap();
    until_blocked(&herd, 1).await;
    let first = client.until_ready().await;
    assert!(first.iter().all(|message| message.tag != b'E'), "{first:?}");
    let blocked = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'";
    herd.psql_directly(blocked).unwrap();
    let second = client.until_ready().await;
    let codes: Vec<_> = second.iter().filter_map(testkit::Message::sqlstate).collect();
    assert_eq!(codes, ["08007"], "{second:?}");
    keeper.execute("commit").await;
    let primary = herd.cluster().node(0).port().to_string();
    assert_eq!(client.value("select current_setting('port')").await, primary);
    herd.cluster().psql(1, "select pg_wal_replay_resume()").unwrap();
}

/// To prepare leaves nothing behind, whatever is prepared.
#[tokio::test]
async fn a_write_that_was_being_prepared_when_its_server_died_is_prepared_on_another_connection() {
    let herd = gated();
    let _keeper = shut_the_gate(&herd).await;
    let mut client = herd.connect().await;
    let prepare = Batch::new()
        .parse("into the gate", "insert into gate values (1)")
        .describe_statement("into the gate");
    client.send(prepare.sync().bytes()).await.unwrap();
    until_blocked(&herd, 1).await;
    let blocked =
        herd.psql_directly("select pid from pg_stat_activity where wait_event_type = 'Lock'").unwrap();
    lab::signal(blocked.trim().parse().unwrap(), Signal::SIGKILL).unwrap();
    let answers = client.until_ready().await;
    let tags: Vec<u8> = answers.iter().map(|message| message.tag).collect();
    assert_eq!(tags, *b"1tnZ", "{answers:?}");
    client.run(&Batch::new().bind("", "into the gate", &[]).execute("", 0).sync()).await;
    assert_eq!(client.value("select count(*) from gate").await, "1");
}

#[tokio::test]
async fn a_pinned_session_does_not_write_to_either_of_two_primaries() {
    let herd = Setup::own(2).set("session.max_hold", "500ms").start();
    herd.psql("create table split (a int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    herd.cluster().kill(0).unwrap();
    herd.cluster().promote(1).unwrap();
    wait_for_event(&herd, "promoted");
    let mut pinned = herd.connect().await;
    pinned.execute("create temp table mine (a int)").await;
    herd.cluster().promote(2).unwrap();
    wait_for_event(&herd, "split_brain");
    assert_eq!(show(&herd, "TOPOLOGY")[0][0].split(", ").nth(1), Some("split brain)"));
    pinned.send(Batch::new().query("insert into split values (1)").bytes()).await.unwrap();
    let mut told = Vec::new();
    while let Some(message) = pinned.next().await {
        told.extend(message.sqlstate());
    }
    assert_eq!(told, ["57P01"], "the session ends with its state");
    let cluster = herd.cluster();
    for node in [1, 2] {
        let sql = "select count(*) from split";
        assert_eq!(cluster.psql_as(node, cluster.superuser(), herd.database(), sql).unwrap(), "0");
    }
}

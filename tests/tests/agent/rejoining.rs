use std::fs;

use agent::{Kind, ServerState, SourceRequest, StartRequest, StopRequest, Verb};
use e2e::{eventually, eventually_async};
use lab::{Cluster, Login, StopMode};

use super::{
    PATIENCE,
    beside::{Beside, cluster},
    lent::Lent,
};

/// Node 1 is promoted while node 0 lives, and node 0 takes a row that node 1 never hears of.
pub(super) fn part(cluster: &Cluster) {
    cluster.psql(0, "create table t (a text)").unwrap();
    cluster.psql(0, "insert into t values ('both')").unwrap();
    cluster.wait_for_replay(1).unwrap();
    cluster.promote(1).unwrap();
    cluster.psql(0, "insert into t values ('divergent')").unwrap();
    cluster.psql(1, "insert into t values ('new')").unwrap();
    make_slot(cluster, 0);
}

/// Node 1 keeps what this node will ask it for.
fn make_slot(cluster: &Cluster, node: usize) {
    let slot = cluster.node(node).slot();
    let sql = format!(
        "select pg_create_physical_replication_slot('{slot}', true) \
         where not exists (select from pg_replication_slots where slot_name = '{slot}')"
    );
    cluster.psql(1, &sql).unwrap();
}

/// Node 0 streams from node 1 and holds what that holds.
pub(super) fn check_rejoined(cluster: &Cluster) {
    cluster.psql(1, "insert into t values ('later')").unwrap();
    eventually("node 0 has what node 1 has", PATIENCE, || {
        let rows = cluster.psql(0, "select string_agg(a, ' ' order by a) from t").ok()?;
        (rows == "both later new").then_some(())
    });
    let sender = cluster.psql(0, "select sender_port from pg_stat_wal_receiver").unwrap();
    assert_eq!(sender, cluster.node(1).port().to_string());
    let seen = cluster
        .psql(1, "select application_name from pg_stat_replication where state = 'streaming'")
        .unwrap();
    assert_eq!(seen, cluster.node(0).name(), "it kept its own name and password");
    assert_eq!(
        cluster.psql(0, "show cluster_name").unwrap(),
        cluster.node(0).name(),
        "it kept its configuration"
    );
}

/// F7 of the failure matrix.
async fn rewinds(fall: impl FnOnce(&Cluster)) -> Vec<String> {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let agent = beside.client();
    part(&cluster);
    // the agent makes it: before it has streamed, a rewound standby tells nobody that it needs one
    cluster.psql(1, &format!("select pg_drop_replication_slot('{}')", cluster.node(0).slot())).unwrap();
    fall(&cluster);
    let request = SourceRequest { slot: Some(cluster.node(0).slot()), ..beside.source(1) };
    let report = agent.rewind(&request, PATIENCE).await.unwrap();
    assert_eq!((report.status.server, report.status.standby), (ServerState::Stopped, Some(true)));
    assert_eq!(report.status.unfinished, None);
    agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    check_rejoined(&cluster);
    report.steps
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_was_killed_is_rewound_and_streams() {
    let steps = rewinds(|cluster| cluster.kill(0).unwrap()).await;
    assert!(steps.contains(&"recovered from a crash".to_owned()), "{steps:?}");
    assert!(steps.iter().any(|step| step.starts_with("rewound to")), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_still_runs_is_stopped_and_rewound() {
    let steps = rewinds(|_| {}).await;
    assert_eq!(steps[0], "stopped PostgreSQL (fast)");
}

/// It has WAL that the new primary never had, and died without a shutdown.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_ahead_of_the_new_primary_is_rewound_too() {
    let cluster = cluster(2);
    let beside = Beside::start(&cluster, 2);
    cluster.psql(0, "create table t (a text)").unwrap();
    cluster.wait_for_all().unwrap();
    cluster.stop(1, StopMode::Fast).unwrap();
    cluster.psql(0, "insert into t values ('divergent')").unwrap();
    cluster.wait_for_replay(2).unwrap();
    cluster.kill(0).unwrap();
    cluster.kill(2).unwrap();
    cluster.start_node(1).unwrap();
    cluster.promote(1).unwrap();
    cluster.psql(1, "insert into t values ('new')").unwrap();
    make_slot(&cluster, 2);

    // nobody says on which timeline the new primary is
    let request = SourceRequest { timeline: None, ..beside.source(1) };
    let report = beside.client().rewind(&request, PATIENCE).await.unwrap();
    assert!(report.steps.contains(&"recovered from a crash".to_owned()), "{report:?}");
    assert!(report.steps.iter().any(|step| step.starts_with("rewound to")), "{report:?}");
    assert_eq!(report.status.standby, Some(true));
    beside.client().start(&StartRequest::default(), PATIENCE).await.unwrap();
    eventually("node 2 has what node 1 has", PATIENCE, || {
        (cluster.psql(2, "select string_agg(a, ' ') from t").ok()? == "new").then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_standby_is_copied_anew_by_way_of_its_own_slot() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 1);
    let agent = beside.client();
    let request = SourceRequest { slot: Some(cluster.node(1).slot()), ..beside.source(0) };
    agent.reinit(&request, PATIENCE).await.unwrap();
    agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    cluster.wait_for_replay(1).unwrap();

    // one that cannot be copied goes on as it was
    let request = SourceRequest { slot: Some("no_such_slot".to_owned()), ..request };
    let error = agent.reinit(&request, PATIENCE).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, Kind::CopyFailed, "{error}");
    assert!(error.to_string().contains("no_such_slot"), "{error}");
    cluster.psql(0, "create table t (a text)").unwrap();
    cluster.wait_for_replay(1).unwrap();
    assert!(!beside.place(".copying").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_whose_history_did_not_part_only_becomes_a_standby() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    cluster.psql(0, "create table t (a text)").unwrap();
    cluster.psql(0, "insert into t values ('both')").unwrap();
    cluster.stop(0, StopMode::Fast).unwrap();
    cluster.promote(1).unwrap();
    cluster.psql(1, "insert into t values ('new')").unwrap();
    let report = beside.client().rewind(&beside.source(1), PATIENCE).await.unwrap();
    assert!(
        report.steps.contains(&"no rewind is needed: the histories did not part".to_owned()),
        "{report:?}"
    );
    // its slot is not there
    make_slot(&cluster, 0);
    let path = cluster.node(0).data().join("postgresql.auto.conf");
    assert!(fs::read_to_string(path).unwrap().contains("primary_conninfo"));
    beside.client().start(&StartRequest::default(), PATIENCE).await.unwrap();
    check_rejoined(&cluster);
}

/// F8 of the failure matrix.
#[tokio::test(flavor = "multi_thread")]
async fn where_wal_is_gone_a_rewind_says_so_and_a_copy_works() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let agent = beside.client();
    part(&cluster);
    part_from_its_wal(&cluster, &|| cluster.stop(0, StopMode::Fast).unwrap());

    let request = SourceRequest { slot: Some(cluster.node(0).slot()), ..beside.source(1) };
    let error = agent.rewind(&request, PATIENCE).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.kind, Kind::WalGone, "{refusal}");
    assert!(refusal.kind.needs_copy());
    // nothing has changed: it could go on as it was
    let status = agent.status(PATIENCE).await.unwrap();
    assert_eq!((status.standby, status.unfinished), (Some(false), None));

    let report = agent.reinit(&request, PATIENCE).await.unwrap();
    assert_eq!((report.status.server, report.status.standby), (ServerState::Stopped, Some(true)));
    assert!(report.steps.contains(&"checked the copy".to_owned()), "{report:?}");
    assert!(
        beside.place(".before-reinit").join("PG_VERSION").is_file(),
        "the old data stay until the copy works"
    );
    assert!(!beside.place(".copying").exists() && !beside.place(".copied").exists());
    agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    check_rejoined(&cluster);
    eventually("the old data are removed", PATIENCE, || {
        (!beside.place(".before-reinit").exists() && !beside.place(".removing").exists()).then_some(())
    });
}

/// Node 0 goes on for a while, and is then stopped without the WAL from where the histories parted.
pub(super) fn part_from_its_wal(cluster: &Cluster, stop: &dyn Fn()) {
    for _ in 0..3 {
        cluster.psql(0, "insert into t values ('divergent'); select pg_switch_wal(); checkpoint").unwrap();
    }
    stop();
    remove_old_wal(cluster, 0);
}

/// Removes all of a node's WAL before the segment that its last checkpoint is in.
pub(crate) fn remove_old_wal(cluster: &Cluster, node: usize) {
    let folder = cluster.node(node).data().join("pg_wal");
    let is_segment = |name: &str| name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| is_segment(name)).collect();
    names.sort();
    let output = std::process::Command::new(cluster.binaries().program("pg_controldata"))
        .arg("-D")
        .arg(cluster.node(node).data())
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let needed =
        text.lines().find_map(|line| line.strip_prefix("Latest checkpoint's REDO WAL file:")).unwrap();
    let old: Vec<&String> = names.iter().filter(|name| name.as_str() < needed.trim()).collect();
    assert!(!old.is_empty(), "{names:?}");
    old.iter().for_each(|name| fs::remove_file(folder.join(name)).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_without_its_caller_and_the_server_with_it() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 1);
    let agent = beside.client();
    let request = beside.source(0);
    let caller = tokio::spawn({
        let agent = agent.clone();
        async move { agent.reinit(&request, PATIENCE).await }
    });
    eventually_async("it is at work", PATIENCE, || async {
        agent.status(PATIENCE).await.unwrap().activity.filter(|activity| activity.verb == Verb::Reinit)
    })
    .await;
    caller.abort();
    let _ = caller.await;
    let last =
        eventually_async("the copy ends", PATIENCE, || async { agent.status(PATIENCE).await.unwrap().last })
            .await;
    assert_eq!(last.error, None);
    agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    cluster.wait_for_replay(1).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_data_or_that_was_away_for_too_long_gets_a_copy() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 1);
    let agent = beside.client();
    agent.stop(&StopRequest::default(), PATIENCE).await.unwrap();
    let request = SourceRequest { slot: Some(cluster.node(1).slot()), ..beside.source(0) };
    // it was away for so long that its WAL is gone, and would be no standby
    cluster.psql(0, "alter system set wal_keep_size = 0; alter system set min_wal_size = '32MB'").unwrap();
    agent.rewind(&request, PATIENCE).await.unwrap();
    let forget = format!("select pg_reload_conf(), pg_drop_replication_slot('{}')", cluster.node(1).slot());
    cluster.psql(0, &forget).unwrap();
    for _ in 0..3 {
        cluster.psql(0, "create table t (); drop table t; select pg_switch_wal(); checkpoint").unwrap();
    }
    let error = agent.rewind(&request, PATIENCE).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, Kind::WalGone, "{error}");
    cluster.psql(0, "alter system reset wal_keep_size; alter system reset min_wal_size").unwrap();
    let slot = "select pg_reload_conf(), pg_create_physical_replication_slot";
    cluster.psql(0, &format!("{slot}('{}', true)", cluster.node(1).slot())).unwrap();

    let settings = fs::read(cluster.node(1).data().join("lab.conf")).unwrap();
    fs::remove_dir_all(cluster.node(1).data()).unwrap();
    assert_eq!(agent.status(PATIENCE).await.unwrap().server, ServerState::NoData);
    let error = agent.start(&StartRequest::default(), PATIENCE).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, Kind::NoData);
    let error = agent.rewind(&request, PATIENCE).await.unwrap_err();
    assert!(error.refusal().unwrap().kind.needs_copy(), "{error}");
    agent.reinit(&request, PATIENCE).await.unwrap();
    // a new machine has its configuration from elsewhere
    fs::write(cluster.node(1).data().join("lab.conf"), settings).unwrap();
    agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    cluster.wait_for_replay(1).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_copied_or_reached_is_told_and_nothing_changes() {
    let (mut cluster, other) = (Lent::take(), Lent::take());
    let beside = Beside::start(&cluster, 0);
    let agent = beside.client();
    let know = |login: &Login| {
        other.psql(0, &format!("alter role {} password '{}'", login.user, login.password)).unwrap();
    };
    know(cluster.monitor());

    let foreign = SourceRequest { port: other.node(0).port(), timeline: None, ..beside.source(0) };
    let closed = SourceRequest { port: lab::free_port().unwrap(), timeline: None, ..beside.source(0) };
    for (request, kind) in [(&foreign, Kind::OtherSystem), (&closed, Kind::SourceUnreachable)] {
        let error = agent.rewind(request, PATIENCE).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().kind, kind, "{error}");
        assert!(!kind.needs_copy());
        let error = agent.reinit(request, PATIENCE).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().kind, kind, "{error}");
    }
    cluster.psql(0, "select 1").unwrap();
    know(other.monitor());

    // on one machine the standby's would be the same folder
    cluster.spoil();
    cluster.stop(1, StopMode::Fast).unwrap();
    let place = cluster.directory().join("space");
    fs::create_dir(&place).unwrap();
    cluster.give_to_server(&place).unwrap();
    cluster.psql(0, &format!("create tablespace elsewhere location '{}'", place.display())).unwrap();
    let error = agent.reinit(&beside.source(0), PATIENCE).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, Kind::Layout, "{error}");
    assert!(error.to_string().contains("tablespaces"), "{error}");
    cluster.psql(0, "select 1").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_hints_a_rewind_says_so() {
    let cluster = Lent::take();
    if cluster.psql(0, "show data_checksums").unwrap() == "on" {
        return; // PostgreSQL 18 has them by default
    }
    cluster.psql(0, "alter system set wal_log_hints = off").unwrap();
    cluster.restart(0, StopMode::Fast).unwrap();
    let beside = Beside::start(&cluster, 0);
    part(&cluster);
    let error = beside.client().rewind(&beside.source(1), PATIENCE).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, Kind::NoHints, "{error}");
    let request = SourceRequest { slot: Some(cluster.node(0).slot()), ..beside.source(1) };
    beside.client().reinit(&request, PATIENCE).await.unwrap();
    beside.client().start(&StartRequest::default(), PATIENCE).await.unwrap();
    check_rejoined(&cluster);
}

/// An agent that is killed in the middle of a copy leaves the old data or the new ones, and the next one begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_while_it_copies_leaves_data_that_are_whole() {
    let cluster = Lent::take();
    let mut beside = Beside::start(&cluster, 1);
    let request = SourceRequest { slot: Some(cluster.node(1).slot()), ..beside.source(0) };
    for step in ["copying", "swapping the copy in"] {
        let caller = tokio::spawn({
            let (agent, request) = (beside.client(), request.clone());
            async move { agent.reinit(&request, PATIENCE).await }
        });
        let agent = beside.client();
        // it may be done before it was seen
        eventually_async("it is there", PATIENCE, || async {
            let status = agent.status(PATIENCE).await.unwrap();
            let is_there = status.activity.is_some_and(|activity| activity.step == step);
            (is_there || status.last.is_some()).then_some(())
        })
        .await;
        beside.kill();
        let _ = caller.await;
        beside.spawn();
        let status = beside.client().status(PATIENCE).await.unwrap();
        assert_ne!(status.server, ServerState::NoData, "{step}");
        assert!(!beside.place(".copying").exists() && !beside.place(".copied").exists(), "{step}");
        beside.client().start(&StartRequest::default(), PATIENCE).await.unwrap();
        cluster.wait_for_replay(1).unwrap();
    }
    beside.client().reinit(&request, PATIENCE).await.unwrap();
    beside.client().start(&StartRequest::default(), PATIENCE).await.unwrap();
    cluster.wait_for_replay(1).unwrap();
}

/// A rewind that was cut short leaves data that nobody may start.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rewind_has_to_be_finished_before_a_start() {
    let cluster = Lent::take();
    let mut beside = Beside::start(&cluster, 0);
    part(&cluster);
    cluster.stop(0, StopMode::Fast).unwrap();
    let request = SourceRequest { slot: Some(cluster.node(0).slot()), ..beside.source(1) };
    // a pg_rewind that ends its agent once it would begin to write
    let real = cluster.binaries().directory();
    let fake = cluster.directory().join("bin");
    fs::create_dir(&fake).unwrap();
    for entry in fs::read_dir(real).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "pg_rewind" {
            std::os::unix::fs::symlink(real.join(&name), fake.join(&name)).unwrap();
        }
    }
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--dry-run*) exec {}/pg_rewind \"$@\";; *) kill -9 $PPID;; esac\n",
        real.display()
    );
    fs::write(fake.join("pg_rewind"), script).unwrap();
    make_executable(&fake.join("pg_rewind"));
    let genuine = beside.replace_in_file(&format!("{real:?}"), &format!("{fake:?}"));
    beside.kill();
    beside.spawn();
    let _ = beside.client().rewind(&request, PATIENCE).await.unwrap_err();
    beside.wait_for_end();
    beside.write_file(&genuine);
    beside.spawn();

    let agent = beside.client();
    assert_eq!(agent.status(PATIENCE).await.unwrap().unfinished, Some(Verb::Rewind));
    let error = agent.start(&StartRequest::default(), PATIENCE).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, Kind::Unfinished, "{error}");
    agent.rewind(&request, PATIENCE).await.unwrap();
    agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    check_rejoined(&cluster);
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// As Debian has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_outside_of_the_data_is_found_and_stays() {
    let mut cluster = Lent::take();
    cluster.spoil();
    let folder = cluster.directory().join("etc");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("postgresql.conf");
    let beside = Beside::start_with(&cluster, 0, &format!("config_file = {file:?}"));
    let agent = beside.client();
    agent.stop(&StopRequest::default(), PATIENCE).await.unwrap();
    for name in ["postgresql.conf", "lab.conf"] {
        fs::rename(cluster.node(0).data().join(name), folder.join(name)).unwrap();
    }
    cluster.give_to_server(&folder).unwrap();
    agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    assert_eq!(cluster.psql(0, "show config_file").unwrap(), file.to_string_lossy());
    part(&cluster);
    cluster.kill(0).unwrap();
    let request = SourceRequest { slot: Some(cluster.node(0).slot()), ..beside.source(1) };
    let report = agent.rewind(&request, PATIENCE).await.unwrap();
    assert!(report.steps.contains(&"recovered from a crash".to_owned()), "{report:?}");
    agent.start(&StartRequest::default(), PATIENCE).await.unwrap();
    check_rejoined(&cluster);
}

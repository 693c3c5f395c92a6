//! The lab against real PostgreSQL. The crate is about nothing else, so unlike other crates it needs the servers for
//! its own tests.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use lab::{Cluster, Options, Signal, StopMode};

fn small() -> Options {
    Options { standbys: 1, ..Options::default() }
}

fn count(cluster: &Cluster, node: usize) -> String {
    cluster.psql(node, "select count(*) from t").expect("the table was made by the test")
}

#[test]
fn a_cluster_replicates_fails_over_and_takes_its_old_primary_back() {
    let cluster = Cluster::start(Options::default()).unwrap();
    assert_eq!(cluster.nodes().len(), 3);
    assert_eq!(cluster.primary().unwrap(), 0);
    cluster.psql(0, "create table t (a int); insert into t select generate_series(1, 10)").unwrap();
    cluster.wait_for_all().unwrap();
    assert_eq!(count(&cluster, 1), "10");
    assert_eq!(count(&cluster, 2), "10");

    // A lost tail: the standbys are frozen while the primary goes on, then it dies.
    cluster.freeze(1).unwrap();
    cluster.freeze(2).unwrap();
    cluster.psql(0, "insert into t values (11)").unwrap();
    cluster.kill(0).unwrap();
    assert!(!cluster.node(0).is_running());
    cluster.thaw(1).unwrap();
    cluster.thaw(2).unwrap();
    assert!(cluster.primary().is_err());

    cluster.promote(1).unwrap();
    assert_eq!(cluster.primary().unwrap(), 1);
    cluster.rejoin(2).unwrap();
    cluster.psql(1, "insert into t values (12)").unwrap();
    cluster.rejoin(0).unwrap();
    cluster.wait_for_all().unwrap();
    for node in 0..3 {
        let rows =
            cluster.psql(node, "select string_agg(a::text, ',' order by a) from t where a > 9").unwrap();
        assert!(rows == "10,12" || rows == "10,11,12", "{rows}");
        assert_eq!(
            rows,
            cluster.psql(1, "select string_agg(a::text, ',' order by a) from t where a > 9").unwrap()
        );
    }
}

#[test]
fn an_old_primary_that_went_on_writing_is_rewound() {
    let cluster = Cluster::start(small()).unwrap();
    cluster.psql(0, "create table t (a int)").unwrap();
    cluster.wait_for_all().unwrap();
    cluster.promote(1).unwrap();
    cluster.psql(0, "insert into t values (1)").unwrap();
    cluster.psql(1, "insert into t values (2), (3)").unwrap();
    assert_eq!(cluster.primary().unwrap(), 1);
    cluster.rejoin(0).unwrap();
    assert!(cluster.is_standby(0).unwrap());
    cluster.wait_for_replay(0).unwrap();
    assert_eq!(count(&cluster, 0), "2");
}

#[test]
fn a_switchover_moves_the_primary_and_loses_nothing() {
    let cluster = Cluster::start(small()).unwrap();
    cluster.psql(0, "create table t as select generate_series(1, 1000) a").unwrap();
    cluster.switchover(1).unwrap();
    assert_eq!(cluster.primary().unwrap(), 1);
    assert!(cluster.is_standby(0).unwrap());
    assert_eq!(count(&cluster, 1), "1000");
    cluster.switchover(0).unwrap();
    assert_eq!(cluster.primary().unwrap(), 0);
    assert!(cluster.switchover(0).is_err());
}

#[test]
fn the_ordinary_and_the_monitoring_role_log_in_with_their_passwords_only() {
    let cluster = Cluster::start(Options { standbys: 0, ..Options::default() }).unwrap();
    let application = cluster.application().clone();
    assert_eq!(cluster.psql_as(0, &application, cluster.database(), "select current_user").unwrap(), "app");
    let wrong = lab::Login { password: "wrong".to_owned(), ..application };
    assert!(cluster.psql_as(0, &wrong, cluster.database(), "select 1").is_err());
    let monitor = cluster.monitor().clone();
    let roles =
        "select rolreplication, pg_has_role('pg_monitor', 'usage') from pg_roles where rolname = 'pgherd'";
    assert_eq!(cluster.psql_as(0, &monitor, "postgres", roles).unwrap(), "t|t");
    let hba = cluster.psql(0, "select count(*) from pg_hba_file_rules where auth_method <> 'scram-sha-256'");
    assert_eq!(hba.unwrap(), "0");
    assert!(cluster.psql(0, "select 1; select 1/0; select 2").is_err());
}

#[test]
fn nothing_is_left_behind() {
    let cluster = Cluster::start(small()).unwrap();
    let directory = cluster.directory().to_owned();
    let pids: Vec<u32> = cluster.nodes().iter().filter_map(lab::Node::pid).collect();
    assert_eq!(pids.len(), 2);
    drop(cluster);
    assert!(!pids.iter().any(|&pid| lab::is_alive(pid)));
    assert!(!directory.exists());
}

#[test]
fn a_kept_cluster_starts_again_in_the_roles_it_was_left_in() {
    let directory = env::temp_dir().join(format!("pgherd-kept-{}", lab::random_password().unwrap()));
    let options = Options { directory: Some(directory.clone()), keep: true, ..small() };
    let cluster = Cluster::start(options.clone()).unwrap();
    cluster.psql(0, "create table t as select 1 a").unwrap();
    cluster.switchover(1).unwrap();
    let password = cluster.superuser().password.clone();
    let ports: Vec<u16> = cluster.nodes().iter().map(lab::Node::port).collect();
    drop(cluster);
    assert!(ports.iter().all(|&port| lab::is_free(port)));

    let _squatter = lab::Reservation::of(ports[0]).unwrap();
    let cluster = Cluster::start(Options { keep: false, ..options }).unwrap();
    assert_eq!(cluster.superuser().password, password);
    assert_eq!(cluster.primary().unwrap(), 1);
    assert_ne!(cluster.node(0).port(), ports[0]);
    assert_eq!(cluster.node(1).port(), ports[1]);
    assert_eq!(count(&cluster, 0), "1");
    drop(cluster);
    assert!(!directory.exists());
}

#[test]
fn a_directory_in_use_is_refused_and_its_cluster_is_left_alone() {
    let folder = env::temp_dir().join(format!("pgherd-lab-{}", lab::random_password().unwrap()));
    let cluster = Cluster::start(Options { directory: Some(folder.clone()), ..small() }).unwrap();
    let refused = Cluster::start(Options { directory: Some(folder.clone()), ..small() }).unwrap_err();
    assert!(refused.to_string().contains("another cluster runs in"), "{refused}");
    assert_eq!(cluster.psql(0, "select 1").unwrap(), "1");
    drop(cluster);
    assert!(!folder.exists());
}

#[test]
fn a_directory_with_somebodys_files_is_refused_whatever_they_are_called() {
    let folder = env::temp_dir().join(format!("pgherd-lab-{}", lab::random_password().unwrap()));
    fs::create_dir(&folder).unwrap();
    for name in ["thesis.txt", "cluster.lock"] {
        fs::write(folder.join(name), "").unwrap();
        let refused = Cluster::start(Options { directory: Some(folder.clone()), ..small() }).unwrap_err();
        assert!(refused.to_string().contains("neither empty nor"), "{refused}");
    }
    fs::remove_file(folder.join("thesis.txt")).unwrap();
    fs::remove_file(folder.join("cluster.lock")).unwrap();
    fs::remove_dir(&folder).unwrap();
}

#[test]
fn stop_modes_end_the_server_and_a_restart_brings_it_back() {
    let cluster = Cluster::start(Options { standbys: 0, ..Options::default() }).unwrap();
    for mode in [StopMode::Smart, StopMode::Fast, StopMode::Immediate] {
        cluster.restart(0, mode).unwrap();
        assert_eq!(cluster.psql(0, "select 1").unwrap(), "1");
    }
    cluster.stop(0, StopMode::Fast).unwrap();
    assert!(cluster.psql(0, "select 1").is_err());
    cluster.stop(0, StopMode::Fast).unwrap();
    assert!(cluster.freeze(0).is_err());
    cluster.start_node(0).unwrap();
    cluster.start_node(0).unwrap();
    cluster.freeze(0).unwrap();
    cluster.stop(0, StopMode::Fast).unwrap();
}

/// Not a test by itself: what [`the_death_of_the_owner_ends_the_cluster`] kills.
#[test]
#[ignore = "the helper process of another test"]
fn owner_that_waits_to_be_killed() {
    let cluster = Cluster::start(small()).unwrap();
    println!();
    println!("directory {}", cluster.directory().display());
    for node in cluster.nodes() {
        println!("pid {}", node.pid().unwrap());
    }
    println!("ready");
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn the_death_of_the_owner_ends_the_cluster() {
    let mut owner = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "owner_that_waits_to_be_killed"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut pids, mut directory) = (Vec::new(), PathBuf::new());
    for line in BufReader::new(owner.stdout.take().unwrap()).lines() {
        match line.unwrap().split_once(' ') {
            Some(("pid", pid)) => pids.push(pid.parse::<u32>().unwrap()),
            Some(("directory", path)) => directory = path.into(),
            Some(_) => {}
            None if pids.is_empty() => {}
            None => break,
        }
    }
    assert_eq!(pids.len(), 2);
    assert!(fs::exists(&directory).unwrap());
    lab::signal(owner.id(), Signal::SIGKILL).unwrap();
    owner.wait().unwrap();
    for _ in 0..1_000 {
        if !directory.exists() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!directory.exists());
    assert!(!pids.iter().any(|&pid| lab::is_alive(pid)));
}

#[test]
fn a_server_that_others_started_is_the_clusters_all_the_same() {
    let cluster = Cluster::start(Options { standbys: 0, ..Options::default() }).unwrap();
    let node = cluster.node(0);
    cluster.stop(0, StopMode::Fast).unwrap();
    let mut command = Command::new(cluster.binaries().program("postgres"));
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        let owner = fs::metadata(node.data()).unwrap();
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut foreign =
        command.arg("-D").arg(node.data()).current_dir("/").stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..1_000 {
        if node.is_running() && cluster.psql(0, "select 1").is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(node.pid(), Some(foreign.id()));
    // A zombie is no running server, so this does not wait for us to reap it.
    cluster.stop(0, StopMode::Fast).unwrap();
    assert!(foreign.wait().unwrap().success());
    assert!(!node.is_running());
}

#[test]
fn after_the_shut_down_nothing_is_started_any_more() {
    let cluster = Cluster::start(Options { standbys: 0, ..Options::default() }).unwrap();
    cluster.shut_down();
    assert!(!cluster.node(0).is_running());
    assert!(cluster.start_node(0).is_err());
}

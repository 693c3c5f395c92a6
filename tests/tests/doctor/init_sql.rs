//! `pgherd init-sql`: what its script grants is enough for what has to be done, and nothing of it is there before.

use std::process::Stdio;

use e2e::eventually;
use lab::{Cluster, Login, Options, StopMode};

use super::{PATIENCE, make_role, run};

/// What the manager does on a primary.
const ON_PRIMARY: [&str; 5] = [
    "alter system set synchronous_standby_names = 'ANY 1 (fenced_e7)'",
    "alter system reset synchronous_standby_names",
    "select pg_reload_conf()",
    "select pg_create_physical_replication_slot('made', true)",
    "checkpoint",
];

/// What it does on a standby, short of promoting it.
const ON_STANDBY: [&str; 6] = [
    "select pg_wal_replay_resume()",
    "alter system set restore_command = ''",
    "alter system set primary_slot_name = ''",
    "alter system set primary_conninfo = 'host=127.0.0.1 port=1 application_name=fenced_e7'",
    "select pg_reload_conf()",
    "select pg_create_physical_replication_slot('made', true)",
];

/// What pg_rewind does on its source.
const FOR_REWIND: [&str; 4] = [
    "select count(*) from pg_ls_dir('.', true, false)",
    "select size from pg_stat_file('global/pg_control', true)",
    "select length(pg_read_binary_file('global/pg_control'))",
    "select length(pg_read_binary_file('global/pg_control', 0, 100, true))",
];

fn as_role(cluster: &Cluster, node: usize, login: &Login, sql: &str) -> anyhow::Result<String> {
    cluster.psql_as(node, login, "postgres", sql)
}

#[track_caller]
fn may(cluster: &Cluster, node: usize, login: &Login, sql: &str) -> String {
    as_role(cluster, node, login, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[track_caller]
fn may_not(cluster: &Cluster, node: usize, login: &Login, sql: &str) {
    let error = as_role(cluster, node, login, sql).expect_err(sql).to_string();
    let told =
        ["permission denied", "must be superuser", "must be a superuser", "privileges of", "must have"];
    let replication = error.contains("replication");
    assert!(replication || told.iter().any(|words| error.contains(words)), "{sql}: {error}");
}

/// A replication connection, and one of its commands.
fn replicate(cluster: &Cluster, node: usize, login: &Login, command: &str) -> Result<String, String> {
    let mut psql = cluster.psql_command(cluster.node(node).port(), login, "postgres");
    let output = psql.args(["-A", "-t", "-d", "replication=true", "-c", command]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Applies a script as a superuser; gives what psql had to say.
fn apply(cluster: &Cluster, script: &str) -> String {
    let file = cluster.directory().join("init.sql");
    lab::write_private(&file, script).unwrap();
    let mut psql = cluster.psql_command(cluster.node(0).port(), cluster.superuser(), "postgres");
    psql.args(["-v", "ON_ERROR_STOP=1", "-f", "-"]).stdin(std::fs::File::open(&file).unwrap());
    let output = psql.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{script}");
    said
}

fn printed(arguments: &[&str]) -> String {
    let (code, out, err) = run(&[&["init-sql"], arguments].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    out
}

#[test]
fn the_manager_can_do_all_it_has_to_with_what_is_granted_and_nothing_without() {
    let cluster = Cluster::start(Options { standbys: 1, ..Options::default() }).unwrap();
    let old = cluster.binaries().major() < 15;
    let herder = make_role(&cluster, "herd\"er's");
    cluster.wait_for_replay(1).unwrap();
    for sql in ON_PRIMARY {
        may_not(&cluster, 0, &herder, sql);
    }
    for sql in ON_STANDBY.into_iter().chain(["select pg_promote(false)"]) {
        may_not(&cluster, 1, &herder, sql);
    }
    may_not(&cluster, 0, &herder, "table pg_hba_file_rules");
    replicate(&cluster, 0, &herder, "IDENTIFY_SYSTEM").unwrap_err();
    assert_eq!(
        may(&cluster, 1, &herder, "select count(*) from pg_stat_wal_receiver where status is not null"),
        "0"
    );

    let script = printed(&["--manage", "--user", &herder.user]);
    let said = apply(&cluster, &script);
    assert_eq!(said.contains("WARNING"), old, "{said}");
    // once more: it adds what is missing, which is nothing
    let said = apply(&cluster, &script);
    assert_eq!(said.contains("WARNING"), old, "{said}");
    if old {
        may_not(&cluster, 0, &herder, "checkpoint");
        let mend = said.split("HINT:").nth(1).unwrap().trim();
        cluster.psql(0, mend).unwrap();
        assert!(!apply(&cluster, &script).contains("WARNING"));
    }
    cluster.wait_for_replay(1).unwrap();

    for sql in ON_PRIMARY {
        may(&cluster, 0, &herder, sql);
    }
    assert_ne!(may(&cluster, 0, &herder, "select count(*) from pg_hba_file_rules"), "0");
    let replays = "select count(*) from pg_stat_replication where replay_lsn is not null";
    assert_eq!(may(&cluster, 0, &herder, replays), "1");
    assert!(may(&cluster, 1, &herder, "show primary_conninfo").contains("port="));
    assert_eq!(may(&cluster, 1, &herder, "select status from pg_stat_wal_receiver"), "streaming");
    let sleeper = cluster
        .psql_command(cluster.node(0).port(), cluster.application(), "app")
        .args(["-c", "select pg_sleep(600)"])
        .stderr(Stdio::null())
        .spawn();
    let mut sleeper = sleeper.unwrap();
    eventually("another's statement is ended", PATIENCE, || {
        let sql =
            "select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(600)'";
        may(&cluster, 0, &herder, sql).contains('t').then_some(())
    });
    assert!(!sleeper.wait().unwrap().success());

    cluster.psql(1, "select pg_wal_replay_pause()").unwrap();
    for sql in ON_STANDBY {
        may(&cluster, 1, &herder, sql);
    }
    let sql = "select count(*) from pg_stat_wal_receiver";
    eventually("the standby is cut off", PATIENCE, || (may(&cluster, 1, &herder, sql) == "0").then_some(()));
    let conditional = "select pg_promote(false) where current_setting('primary_conninfo') like '%fenced_e7%'";
    assert_eq!(may(&cluster, 1, &herder, conditional), "t");
    let sql = "select pg_is_in_recovery()";
    eventually("the standby is promoted", PATIENCE, || (may(&cluster, 1, &herder, sql) == "f").then_some(()));
    may(&cluster, 1, &herder, "checkpoint");
    may(&cluster, 1, &herder, "select pg_drop_replication_slot('made')");
    assert!(replicate(&cluster, 1, &herder, "TIMELINE_HISTORY 2").unwrap().contains("00000002.history"));
}

#[test]
fn the_agents_role_can_rewind_and_copy_with_what_is_granted_and_nothing_without() {
    let cluster = Cluster::start(Options { standbys: 1, ..Options::default() }).unwrap();
    let agent = make_role(&cluster, "herd_agent");
    for sql in FOR_REWIND {
        may_not(&cluster, 0, &agent, sql);
    }
    replicate(&cluster, 0, &agent, "IDENTIFY_SYSTEM").unwrap_err();
    apply(&cluster, &printed(&["--agent-user", &agent.user]));
    for sql in FOR_REWIND {
        may(&cluster, 0, &agent, sql);
    }
    replicate(&cluster, 0, &agent, "IDENTIFY_SYSTEM").unwrap();
    may_not(&cluster, 0, &agent, "select pg_promote(false)");

    cluster.wait_for_replay(1).unwrap();
    cluster.promote(1).unwrap();
    cluster.psql(1, "checkpoint").unwrap();
    cluster.psql(0, "create table diverged (a int)").unwrap();
    cluster.stop(0, StopMode::Fast).unwrap();
    let source =
        format!("host=127.0.0.1 port={} user={} dbname=postgres", cluster.node(1).port(), agent.user);
    let run = |name: &str, arguments: &[&str]| {
        // collections that carry little more than the server lack them
        if !cluster.binaries().program(name).is_file() {
            return eprintln!("there is no {name} of {}; skipped", cluster.binaries().major());
        }
        let mut command = cluster.server_program(name);
        let output = command.env("PGPASSWORD", &agent.password).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let data = cluster.node(0).data();
    run("pg_rewind", &["--no-sync", "-D", data.to_str().unwrap(), "--source-server", &source]);
    // into a folder that the servers' user may write to
    let into = cluster.node(0).data().join("copied");
    run("pg_basebackup", &["--no-sync", "-c", "fast", "-D", into.to_str().unwrap(), "-d", &source]);
}

#[test]
fn the_script_of_each_version_runs_on_that_version_alone() {
    let herd = e2e::Herd::common();
    let cluster = herd.cluster();
    let major = cluster.binaries().major();
    let psql = |script: &str| cluster.psql(0, script);
    for other in 14..=18 {
        let script =
            printed(&["--manage", "--server-version", &other.to_string(), "--user", "version_herder"]);
        let outcome = psql(&script);
        if other == major {
            outcome.unwrap();
        } else {
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains(&format!("this script is for PostgreSQL {other}")), "{error}");
        }
    }
    let script = printed(&["--user", "version_herder"]);
    let error = cluster.psql(1, &script).unwrap_err().to_string();
    assert!(error.contains("this is a standby"), "{error}");
    let error = cluster.psql_as(0, cluster.superuser(), herd.database(), &script).unwrap_err().to_string();
    assert!(error.contains("Run it in postgres"), "{error}");
}

#[test]
fn role_databases_and_password_come_from_the_configuration() {
    let herd = e2e::Setup::shared()
        .set("cluster.0.monitor.user", "configured_herder")
        .set("cluster.0.monitor.secret", "configured s3cret")
        .start_without_service();
    let file = herd.proxy(0).configuration_file();
    let script = printed(&["-c", file.to_str().unwrap(), "--password"]);
    assert!(!script.contains("configured s3cret"), "{script}");
    assert!(script.contains("GRANT SELECT ON pg_catalog.pg_authid TO \"configured_herder\""), "{script}");
    herd.cluster().psql(0, &script).unwrap();
    // and now everybody is served
    herd.proxy(0).wait_until_ready();
    assert!(!script.contains("pg_promote"), "{script}");
    herd.proxy(0).write_configuration(|configuration| {
        configuration.set("cluster.0.manage", "single");
        configuration.set("proxy.state_dir", "state");
    });
    let script = printed(&["-c", file.to_str().unwrap()]);
    assert!(script.contains("pg_promote"), "it manages the cluster: {script}");
}

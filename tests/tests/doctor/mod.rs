//! What pgherd says about the PostgreSQL that it stands in front of, and what it needs of it.

mod access;
mod following;
mod healthy;
mod init_sql;
mod patient;
mod settings;

use std::{
    process::{Command, Output},
    time::Duration,
};

use e2e::{Herd, pgherd};
use lab::{Cluster, Login};

/// How long something may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs pgherd without what this process has in its environment: exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(pgherd()).args(arguments).env_clear().output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Makes a role with a password, and nothing else.
fn make_role(cluster: &Cluster, name: &str) -> Login {
    let login = Login { user: name.to_owned(), password: "s3cret".to_owned() };
    let quoted = name.replace('"', "\"\"");
    cluster.psql(0, &format!("create role \"{quoted}\" login password '{}'", login.password)).unwrap();
    login
}

/// A row of CHECK CLUSTER.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    /// Empty: it is about the cluster.
    node: String,
    check: String,
    value: String,
    verdict: String,
    why: String,
    fix: String,
}

/// CHECK CLUSTER on the first proxy's console.
fn check_cluster(herd: &Herd) -> Vec<Row> {
    let proxy = herd.proxy(0);
    let mut psql = herd.cluster().psql_command(proxy.port(), proxy.admin_login(), "pgherd");
    // lines within cells, so other separators
    let output = psql.args(["-A", "-t", "-F", "\x1f", "-R", "\x1e", "-c", "CHECK CLUSTER"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.trim_end_matches('\n').split('\x1e').map(|row| {
        let cells: Vec<&str> = row.split('\x1f').collect();
        let [node, _, check, value, verdict, why, fix] = cells[..] else { panic!("{row:?}") };
        let [node, check, value, verdict, why, fix] =
            [node, check, value, verdict, why, fix].map(str::to_owned);
        Row { node, check, value, verdict, why, fix }
    });
    rows.collect()
}

/// `pgherd doctor` with the first proxy's configuration.
fn doctor(herd: &Herd, arguments: &[&str]) -> (Option<i32>, String, String) {
    let file = herd.proxy(0).configuration_file();
    run(&[&["doctor", "-c", file.to_str().unwrap()], arguments].concat())
}

/// Gives the monitor's role what `pgherd init-sql` would give it.
fn grant(herd: &Herd, arguments: &[&str]) {
    let file = herd.proxy(0).configuration_file();
    let (code, script, err) = run(&[&["init-sql", "-c", file.to_str().unwrap()], arguments].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    herd.cluster().psql(herd.cluster().primary().unwrap(), &script).unwrap();
    herd.cluster().wait_for_all().unwrap();
}

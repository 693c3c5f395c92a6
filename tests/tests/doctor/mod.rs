//! What pgherd says about the PostgreSQL that it stands in front of, and what it needs of it.

mod init_sql;

use std::{
    process::{Command, Output},
    time::Duration,
};

use e2e::pgherd;
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

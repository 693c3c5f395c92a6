//! Real drivers as their users use them (CHECKS R65): the programs in `tests/drivers`, each through a proxy of its own
//! with transaction pooling, reads on replicas, and far fewer server connections than the program has clients.
//!
//! `scripts/need drivers` installs what they are made with; `make test-drivers` runs all of them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{Herd, Setup};

/// Server connections of a program with 24 clients, on each node.
const POOL_SIZE: u32 = 4;

/// Where the programs are.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers")
}

/// Where `scripts/need` puts what it installs for them.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository").join(".cache/drivers")
}

/// Runs a program through a proxy; every line that it prints is about one check. If it fails, it is run without the
/// proxy too, to tell whose fault that is.
fn check(program: impl Fn(&Herd, u16) -> Command) {
    let herd = Setup::shared().set("pool.size", POOL_SIZE).start();
    if let Err(report) = run(&herd, &program, herd.proxy(0).port()) {
        let alone = Setup::shared().start();
        match run(&alone, &program, alone.cluster().node(0).port()) {
            Ok(_) => panic!("{report}\n(all of it works without the proxy)"),
            Err(direct) => panic!("{report}\nWithout the proxy:\n{direct}"),
        }
    }
    assert!(!herd.proxy(0).log().contains("panicked"), "a task of the proxy panicked");
}

fn run(herd: &Herd, program: &impl Fn(&Herd, u16) -> Command, port: u16) -> Result<(), String> {
    let (cluster, schema) = (herd.cluster(), include_str!("../../drivers/schema.sql"));
    cluster.psql_as(0, cluster.application(), herd.database(), schema).unwrap();
    cluster.wait_for_all().unwrap();
    let mut command = program(herd, port);
    let output = command.output().map_err(|error| {
        format!("{} does not start ({error}): run `scripts/need drivers`", command.get_program().display())
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let report = text(&output.stdout) + &text(&output.stderr);
    print!("{report}");
    if output.status.success() { Ok(()) } else { Err(format!("{report}{}", output.status)) }
}

fn python(script: &'static str) -> impl Fn(&Herd, u16) -> Command {
    move |herd, port| {
        let mut command = herd.program_at(installed().join("python/bin/python"), port);
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(sources().join("python").join(script));
        command
    }
}

fn node(script: &'static str) -> impl Fn(&Herd, u16) -> Command {
    move |herd, port| {
        let mut command = herd.program_at("node", port);
        command.env("NODE_PATH", installed().join("node/node_modules"));
        command.arg(sources().join("node").join(script));
        command
    }
}

fn rust(name: &'static str) -> impl Fn(&Herd, u16) -> Command {
    move |herd, port| herd.program_at(installed().join("rust/debug").join(name), port)
}

fn java(herd: &Herd, port: u16) -> Command {
    let jars =
        ["postgresql", "HikariCP", "slf4j-api", "slf4j-nop"].map(|jar| format!("/usr/share/java/{jar}.jar"));
    let mut command = herd.program_at("java", port);
    // The source holds more than ASCII, whatever the locale.
    command.arg("-Dfile.encoding=UTF-8").arg("-cp").arg(jars.join(":")).arg(sources().join("java/Jdbc.java"));
    command
}

/// What takes only seconds to install is run with all other tests, where it could be installed.
fn has_python() -> bool {
    let found = installed().join("python/requirements.txt").exists();
    if !found {
        println!("skipped: run `scripts/need python-drivers`");
    }
    found
}

#[test]
fn psycopg_works_with_its_defaults() {
    if has_python() {
        check(python("with_psycopg.py"));
    }
}

#[test]
fn asyncpg_works_with_its_defaults() {
    if has_python() {
        check(python("with_asyncpg.py"));
    }
}

#[test]
#[ignore = "needs `scripts/need drivers`; run by make test-drivers"]
fn sqlalchemy_works_with_its_defaults() {
    check(python("with_sqlalchemy.py"));
}

#[test]
#[ignore = "needs `scripts/need drivers`; run by make test-drivers"]
fn django_works_with_its_defaults() {
    check(python("with_django.py"));
}

#[test]
#[ignore = "needs `scripts/need drivers`; run by make test-drivers"]
fn node_postgres_works_with_its_defaults() {
    check(node("with_node_postgres.js"));
}

#[test]
#[ignore = "needs `scripts/need drivers`; run by make test-drivers"]
fn postgres_js_works_with_its_defaults() {
    check(node("with_postgres_js.js"));
}

#[test]
#[ignore = "needs `scripts/need drivers`; run by make test-drivers"]
fn prisma_works_with_its_defaults() {
    let folder = installed().join("prisma");
    if !folder.exists() {
        println!("skipped: Prisma needs Node.js 20.19 or later");
        return;
    }
    check(|herd, port| {
        let mut command = herd.program_at("node", port);
        let modules = [folder.clone(), folder.join("node_modules")];
        command.env("NODE_PATH", std::env::join_paths(modules).expect("no path of ours has a colon"));
        command.arg(sources().join("prisma/with_prisma.js"));
        command
    });
}

#[test]
#[ignore = "needs `scripts/need drivers`; run by make test-drivers"]
fn jdbc_works_with_its_defaults() {
    check(java);
}

#[test]
#[ignore = "needs `scripts/need drivers`; run by make test-drivers"]
fn tokio_postgres_works_with_its_defaults() {
    check(rust("with_tokio_postgres"));
}

#[test]
#[ignore = "needs `scripts/need drivers`; run by make test-drivers"]
fn sqlx_works_with_its_defaults() {
    check(rust("with_sqlx"));
}

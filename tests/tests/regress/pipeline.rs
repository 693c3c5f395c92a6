//! libpq_pipeline, PostgreSQL's own test of libpq's pipeline mode.

use std::{fs, process::Command, time::Duration};

use e2e::{Herd, Setup};

use super::corpus::Corpus;

/// How long one of its tests may take: they have no deadline of their own.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn libpq_pipeline_passes_in_each_mode() {
    let Some(corpus) = Corpus::get() else { return };
    for mode in ["session", "transaction"] {
        let herd = Setup::shared().set("pool.mode", mode).start();
        let program = herd.cluster().directory().join(format!("libpq_pipeline-{mode}"));
        let source = corpus.pipeline().join("libpq_pipeline.c");
        corpus.compile(&source, &program, &["-lpgcommon", "-lpgport", "-lpq", "-lm"]);
        let listed = Command::new(&program).arg("tests").output().unwrap();
        let tests = String::from_utf8(listed.stdout).unwrap();
        assert!(tests.lines().count() > 8, "{tests}");
        for test in tests.lines() {
            run(&corpus, &herd, &program, test);
        }
        println!("libpq_pipeline, {mode} pooling: {} tests", tests.lines().count());
    }
}

/// Runs one test as its own driver does, which compares what libpq saw on the wire with what it should have seen.
fn run(corpus: &Corpus, herd: &Herd, program: &std::path::Path, test: &str) {
    let trace = program.with_extension("trace");
    // It sets lc_messages, which is for superusers.
    let login = herd.cluster().superuser();
    let mut command = herd.program_at("timeout", herd.proxy(0).port());
    command.env("PGUSER", &login.user).env("PGPASSWORD", &login.password);
    command.arg(PATIENCE.as_secs().to_string()).arg(program).args(["-r", "700"]);
    let expected = fs::read_to_string(corpus.pipeline().join(format!("traces/{test}.trace"))).ok();
    if expected.is_some() {
        command.arg("-t").arg(&trace);
    }
    let output = command.arg(test).arg("sslmode=disable").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{test} ended with {}: {said}", output.status);
    if let Some(expected) = expected {
        let seen = fs::read_to_string(&trace).unwrap();
        assert_eq!(seen, expected, "{test}: libpq saw something else than of a server");
    }
}

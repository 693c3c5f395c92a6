use std::sync::Arc;

use super::scene::{Client, Fake, message};
use crate::{Console, ConsoleRole};

async fn client() -> Client {
    let console = Arc::new(Console::new(Vec::new(), Arc::new(Fake::new())));
    Client::welcomed(ConsoleRole::Admin, console).await
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

/// Binds the portal without name; `formats` is the list of result formats, as on the wire.
fn bind(statement: &str, formats: &[u8]) -> Vec<u8> {
    message(b'B', &[b"\0", statement.as_bytes(), b"\0\0\0\0\0", formats].concat())
}

fn execute(rows_max: u8) -> Vec<u8> {
    message(b'E', &[0, 0, 0, 0, rows_max])
}

#[tokio::test]
async fn checks_are_described_before_they_are_made() {
    let mut client = client().await;
    let batch = [parse("", "check cluster"), message(b'D', b"S\0"), bind("", TEXT), execute(0)];
    let finding = "D us-1|main|replay|paused|failure|reads are old|SELECT pg_wal_replay_resume();";
    check(&client.batch(&batch).await, &["1", "t", "T 7", "2", finding, "C CHECK", "Z I"]);
    let batch = [parse("", "check replication 7"), message(b'D', b"S\0"), bind("", TEXT), execute(0)];
    check(
        &client.batch(&batch).await,
        &["1", "t", "T 8", "2", "D us-1|main|paused|NULL|7|failure||", "C CHECK", "Z I"],
    );
}

const TEXT: &[u8] = &[0, 0];

#[track_caller]
fn check(answers: &[String], expected: &[&str]) {
    assert_eq!(answers, expected);
}

impl Client {
    async fn batch(&mut self, messages: &[Vec<u8>]) -> Vec<String> {
        self.send(&messages.concat()).await;
        self.send(&message(b'S', b"")).await;
        self.answers().await
    }
}

#[tokio::test]
async fn a_statement_is_described_bound_and_run() {
    let mut client = client().await;
    let version = format!("D pgherd {}", env!("CARGO_PKG_VERSION"));
    let batch = [
        parse("s", "show version;"),
        message(b'D', b"Ss\0"),
        bind("s", TEXT),
        message(b'D', b"P\0"),
        execute(0),
        execute(0),
        message(b'C', b"Ss\0"),
    ];
    check(
        &client.batch(&batch).await,
        &["1", "t", "T 1", "2", "T 1", &version, "C SHOW", "C SHOW", "3", "Z I"],
    );
    check(
        &client.batch(&[bind("s", TEXT)]).await,
        &["E 26000 prepared statement \"s\" does not exist", "Z I"],
    );
}

#[tokio::test]
async fn commands_without_rows_and_empty_texts_have_no_description() {
    let mut client = client().await;
    let run = |text| [parse("", text), bind("", TEXT), message(b'D', b"P\0"), execute(0)];
    check(&client.batch(&run("set x to 1")).await, &["1", "2", "n", "C SET", "Z I"]);
    check(&client.batch(&run("")).await, &["1", "2", "n", "I", "Z I"]);
    check(&client.batch(&run("begin")).await, &["1", "2", "n", "C BEGIN", "Z T"]);
    check(&client.batch(&run("rollback")).await, &["1", "2", "n", "C ROLLBACK", "Z I"]);
}

#[tokio::test]
async fn numbers_are_sent_in_binary_where_that_is_asked_for() {
    let mut client = client().await;
    let answers = client.batch(&[parse("", "select 65"), bind("", &[0, 1, 0, 1]), execute(0)]).await;
    check(&answers, &["1", "2", "D    A", "C SELECT 1", "Z I"]);
}

#[tokio::test]
async fn rows_come_in_portions_within_a_transaction() {
    let mut client = client().await;
    check(&client.query("begin").await, &["C BEGIN", "Z T"]);
    let answers = client.batch(&[parse("", "show state"), bind("", TEXT), execute(2)]).await;
    check(&answers, &["1", "2", "D active|yes", "D paused|no", "s", "Z T"]);
    check(&client.batch(&[execute(2)]).await, &["D suspended|no", "C SHOW", "Z T"]);
    client.query("commit").await;
    client.batch(&[]).await;
    check(&client.batch(&[execute(0)]).await, &["E 26000 portal \"\" does not exist", "Z I"]);
}

#[tokio::test]
async fn after_an_error_everything_up_to_the_sync_is_skipped() {
    let mut client = client().await;
    let answers = client.batch(&[parse("", "show nodez"), bind("", TEXT), execute(0)]).await;
    check(&answers, &["E 42601 no such command: show nodez", "Z I"]);
    let answers = client.batch(&[parse("", "select 1; select 2"), execute(0)]).await;
    check(&answers, &["E 42601 cannot insert multiple commands into a prepared statement", "Z I"]);
}

#[tokio::test]
async fn parameters_are_refused() {
    let mut client = client().await;
    check(
        &client.batch(&[parse("", "kill_client $1")]).await,
        &["E 0A000 console commands take no parameters", "Z I"],
    );
    let bind = message(b'B', b"\0\0\0\0\0\x01\0\0\0\x011\0\0");
    check(
        &client.batch(&[parse("", "select 1"), bind]).await,
        &["1", "E 0A000 console commands take no parameters", "Z I"],
    );
}

#[tokio::test]
async fn malformed_messages_are_refused_and_names_are_bounded() {
    let mut client = client().await;
    for bad in
        [message(b'P', b"x"), message(b'B', b"\0\0\xff\xff"), message(b'E', b"\0"), message(b'D', b"Q\0")]
    {
        check(&client.batch(&[bad]).await, &["E 08P01 malformed message", "Z I"]);
    }
    let many: Vec<_> = (0..300).map(|n| parse(&format!("s{n}"), "select 1")).collect();
    let answers = client.batch(&many).await;
    assert_eq!(answers[answers.len() - 2], "E 53400 too many prepared statements or portals");
}

//! The same bytes to the proxy and to PostgreSQL itself: the answers are the same, message by message.

use e2e::Herd;
use testkit::{Batch, Client, Message};

/// Sends `batch`, which makes the server ready `times` times, to both, and compares.
async fn compare(name: &str, proxied: &mut Client, direct: &mut Client, batch: &Batch, times: usize) {
    let expected = answers(direct, batch, times).await;
    let actual = answers(proxied, batch, times).await;
    assert_eq!(actual.len(), expected.len(), "{name}: {actual:?} instead of {expected:?}");
    for (actual, expected) in actual.iter().zip(&expected) {
        // Where in PostgreSQL's source it was found is no part of an error.
        let same = match (actual.tag, expected.tag) {
            (b'E', b'E') => {
                (actual.sqlstate(), actual.complaint()) == (expected.sqlstate(), expected.complaint())
            }
            _ => actual == expected,
        };
        assert!(same, "{name}: {actual:?} instead of {expected:?}");
    }
}

async fn answers(client: &mut Client, batch: &Batch, times: usize) -> Vec<Message> {
    client.send(batch.bytes()).await.unwrap();
    let mut messages = Vec::new();
    for _ in 0..times {
        messages.extend(client.until_ready().await);
    }
    messages
}

fn simple(sql: &str) -> Batch {
    Batch::new().query(sql)
}

fn run(sql: &str, values: &[Option<&str>]) -> Batch {
    Batch::new().parse("", sql).bind("", "", values).describe_portal("").execute("", 0).sync()
}

/// Name, messages, and how often they make the server ready.
type Script = (&'static str, Batch, usize);

/// One session runs them all in order.
fn scripts() -> Vec<Script> {
    [queries(), statements(), transactions(), copies_and_settings()].concat()
}

/// One after the other.
fn chain(batches: &[Batch]) -> Batch {
    batches.iter().fold(Batch::new(), |all, next| all.raw(next.bytes()))
}

fn queries() -> Vec<Script> {
    vec![
        ("rows", simple("select g, repeat('x', g) from generate_series(1, 100) g"), 1),
        ("no rows", simple("select 1 where false"), 1),
        ("a syntax error", simple("selct 1"), 1),
        ("an error in the middle of rows", simple("select 1 / (10 - g) from generate_series(1, 20) g"), 1),
        ("several statements", simple("select 1; select 2; select 3"), 1),
        ("several with an error", simple("select 1; select 1 / 0; select 3"), 1),
        ("a null", run("select null::int, $1::text", &[None]), 1),
        ("parameters", run("select $1::int + $2::int", &[Some("40"), Some("2")]), 1),
        ("a bad parameter", run("select $1::int", &[Some("x")]), 1),
        ("too few parameters", run("select $1::int", &[]), 1),
    ]
}

fn statements() -> Vec<Script> {
    let row = |n: &str| Batch::new().bind("", "named", &[Some(n)]).execute("", 0);
    vec![
        (
            "a named statement",
            Batch::new().parse("named", "select $1::int").describe_statement("named").sync(),
            1,
        ),
        ("its name again", Batch::new().parse("named", "select 2").sync(), 1),
        ("its use", row("7").sync(), 1),
        ("its use in a pipeline", chain(&[row("1"), row("2"), row("3")]).sync(), 1),
        (
            "pipelines with own ends",
            chain(&[row("1").sync(), row("2").sync(), row("x").sync(), row("4").sync()]),
            4,
        ),
        ("an unknown statement", Batch::new().bind("", "nobody", &[]).execute("", 0).sync(), 1),
        ("an unknown portal", Batch::new().execute("nobody", 0).sync(), 1),
        ("a describe of an unknown statement", Batch::new().describe_statement("nobody").sync(), 1),
        ("closing it", Batch::new().close_statement("named").sync(), 1),
        ("closing it again", Batch::new().close_statement("named").close_portal("nobody").sync(), 1),
        ("its use when it is closed", row("7").sync(), 1),
        ("only sync", Batch::new().sync().sync(), 2),
        ("an empty statement", run("", &[]), 1),
        ("two statements in a parse", run("select 1; select 2", &[]), 1),
    ]
}

fn transactions() -> Vec<Script> {
    vec![
        ("a transaction", chain(&[simple("begin"), run("select 1", &[]), simple("commit")]), 3),
        (
            "a failed transaction",
            chain(&[simple("begin"), simple("select 1 / 0"), run("select 1", &[]), simple("rollback")]),
            4,
        ),
        ("a savepoint", simple("begin; savepoint a; select 1; rollback to a; release a; commit"), 1),
        ("warnings", simple("commit"), 1),
        (
            "a pipeline that begins and ends a transaction",
            chain(&[
                Batch::new().parse("", "begin").bind("", "", &[]).execute("", 0),
                Batch::new().parse("", "select 5").bind("", "", &[]).execute("", 0),
                Batch::new().parse("", "commit").bind("", "", &[]).execute("", 0).sync(),
            ]),
            1,
        ),
        (
            "a simple query inside a pipeline",
            chain(&[
                Batch::new().parse("", "select 6").bind("", "", &[]).execute("", 0),
                simple("select 7").sync(),
            ]),
            2,
        ),
    ]
}

fn copies_and_settings() -> Vec<Script> {
    vec![
        ("copy out", simple("copy (select g, 'a' || g from generate_series(1, 50) g) to stdout"), 1),
        ("copy out in binary", simple("copy (select 1, 'x') to stdout (format binary)"), 1),
        (
            "copy out that fails",
            simple("copy (select 1 / (5 - g) from generate_series(1, 9) g) to stdout"),
            1,
        ),
        ("a setting with a report", simple("set datestyle to 'German'"), 1),
        ("a date in that style", simple("select date '2020-02-03'"), 1),
        ("a report in a pipeline", run("set timezone to 'Asia/Tokyo'", &[]), 1),
        ("show", simple("show timezone"), 1),
        ("reset", simple("reset timezone"), 1),
        ("explain", simple("explain (costs off) select 1"), 1),
        ("sql prepare", simple("prepare p as select $1::int; execute p(1); deallocate p"), 1),
        (
            "a cursor",
            simple(
                "begin; declare c cursor for select generate_series(1, 9); fetch 4 from c; close c; commit",
            ),
            1,
        ),
        ("discard", simple("discard all"), 1),
        ("an unknown table", run("select * from nowhere", &[]), 1),
        ("values", simple("values (1, 'a'), (2, null)"), 1),
    ]
}

#[tokio::test]
async fn answers_are_those_of_postgresql_itself() {
    let herd = Herd::common();
    let (mut proxied, mut direct) = (herd.connect().await, herd.connect_directly(0).await);
    for (name, batch, times) in scripts() {
        compare(name, &mut proxied, &mut direct, &batch, times).await;
    }
}

#[tokio::test]
async fn answers_are_those_of_postgresql_itself_in_session_pooling() {
    let herd = e2e::Setup::shared().set("pool.mode", "session").start();
    let (mut proxied, mut direct) = (herd.connect().await, herd.connect_directly(0).await);
    for (name, batch, times) in scripts() {
        compare(name, &mut proxied, &mut direct, &batch, times).await;
    }
}

#[tokio::test]
async fn copying_in_is_answered_as_by_postgresql_itself() {
    let herd = Herd::common();
    let (mut proxied, mut direct) = (herd.connect().await, herd.connect_directly(0).await);
    proxied.execute("create table copied (a int, b text)").await;
    let begin = || simple("copy copied from stdin");
    let data = |text: &str| Batch::new().message(b'd', text.as_bytes());
    let done = || Batch::new().message(b'c', b"");
    let scripts = [
        ("rows", chain(&[begin(), data("1\ta\n"), data("2\tb\n3\tc\n"), done()]), 1),
        ("a row in pieces", chain(&[begin(), data("4"), data("\td"), data("\n"), done()]), 1),
        ("nothing", chain(&[begin(), done()]), 1),
        ("a bad row", chain(&[begin(), data("x\ty\n"), data("5\te\n"), done(), simple("select 1")]), 2),
        ("given up", chain(&[begin(), data("6\tf\n"), Batch::new().message(b'f', b"no more\0")]), 1),
        (
            "no such table",
            chain(&[simple("copy nowhere from stdin"), data("1\n"), done(), simple("select 1")]),
            2,
        ),
        (
            "by the extended protocol",
            chain(&[
                Batch::new().parse("", "copy copied from stdin").bind("", "", &[]).execute("", 0),
                data("7\tg\n"),
                done(),
                Batch::new().sync(),
            ]),
            1,
        ),
        (
            "in a transaction",
            chain(&[simple("begin"), begin(), data("8\th\n"), done(), simple("rollback")]),
            3,
        ),
    ];
    for (name, batch, times) in scripts {
        compare(name, &mut proxied, &mut direct, &batch, times).await;
    }
    // both copied 1, 2, 3, 4 and 7
    assert_eq!(proxied.value("select count(*) || ' ' || sum(a) from copied").await, "10 34");
}

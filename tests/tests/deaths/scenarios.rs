//! What a client may be in the middle of when it dies.

use testkit::Batch;

/// Bytes that a client sends after its login.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What it sends. `{}` in texts is its tag; all of them are of the same length.
    batch: fn(&str) -> Batch,
}

impl Scenario {
    /// The bytes of the client with this number.
    pub(crate) fn bytes(&self, number: usize) -> Vec<u8> {
        (self.batch)(&tag(number)).bytes().to_vec()
    }
}

/// What marks the rows of the client with this number.
pub(crate) fn tag(number: usize) -> String {
    format!("c{number:07}")
}

const fn scenario(name: &'static str, batch: fn(&str) -> Batch) -> Scenario {
    Scenario { name, batch }
}

/// Queries one after the other, without waiting for answers; `$` is the tag.
fn queries(tag: &str, texts: &[&str]) -> Batch {
    texts.iter().fold(Batch::new(), |batch, text| batch.query(&text.replace('$', tag)))
}

/// An INSERT of the tag by the extended protocol, up to but not including Sync.
fn insert(batch: Batch, tag: &str) -> Batch {
    batch
        .parse("", "insert into sink values ($1) returning tag")
        .bind("", "", &[Some(tag)])
        .describe_portal("")
        .execute("", 0)
}

fn copy_lines(batch: Batch, tag: &str) -> Batch {
    (0..3).fold(batch, |batch, _| batch.message(b'd', format!("{tag}\n").as_bytes()))
}

/// No scenario writes to the table `sink` before its last byte: what is there of a client that sent less is wrong.
pub(crate) const SCENARIOS: [Scenario; 40] = [
    scenario("a query", |tag| queries(tag, &["select '$', g from generate_series(1, 3) g"])),
    scenario("a write", |tag| queries(tag, &["insert into sink values ('$')"])),
    scenario("several statements in a text", |tag| {
        queries(tag, &["select '$'; set work_mem = '7MB'; insert into sink values ('$')"])
    }),
    scenario("an empty query", |tag| queries(tag, &["", "select '$'", ";"])),
    scenario("many rows", |tag| {
        queries(tag, &["select '$', repeat('x', 200) from generate_series(1, 3000)"])
    }),
    scenario("a notice and an error", |tag| {
        queries(tag, &["do $_$ begin raise notice '$'; end $_$", "select '$' || 1 / 0"])
    }),
    scenario("unnamed statement", |tag| {
        Batch::new()
            .parse("", "select $1")
            .bind("", "", &[Some(tag)])
            .describe_portal("")
            .execute("", 0)
            .sync()
    }),
    scenario("named statement, bound twice", |tag| {
        let bound = |batch: Batch| batch.bind("", "leaked", &[Some(tag)]).execute("", 0);
        bound(bound(Batch::new().parse("leaked", "select $1 || 'x'"))).sync()
    }),
    scenario("named statement over two syncs", |tag| {
        let batch = Batch::new().parse("leaked", "select $1 || 'y'").describe_statement("leaked").sync();
        batch.bind("", "leaked", &[Some(tag)]).execute("", 0).sync().close_statement("leaked").sync()
    }),
    scenario("flushes", |tag| {
        let batch = Batch::new().parse("leaked", "select $1 || 'z'").describe_statement("leaked").flush();
        batch.bind("p", "leaked", &[Some(tag)]).flush().execute("p", 0).flush().close_portal("p").sync()
    }),
    scenario("row limits", |_| {
        let batch = Batch::new().parse("", "select g from generate_series(1, 9) g").bind("p", "", &[]);
        batch.execute("p", 2).execute("p", 3).execute("p", 0).sync()
    }),
    scenario("a portal over several syncs", |tag| {
        let batch = Batch::new().query("begin").parse("", "select $1, g from generate_series(1, 9) g");
        let batch = batch.bind("p", "", &[Some(tag)]).execute("p", 2).sync().execute("p", 2).sync();
        batch.query("commit")
    }),
    scenario("a write by the extended protocol", |tag| insert(Batch::new(), tag).sync()),
    scenario("two writes, one transaction", |tag| insert(insert(Batch::new(), tag), tag).sync()),
    scenario("a pipeline of reads and a write", |tag| {
        let read =
            |batch: Batch| batch.parse("", "select $1").bind("", "", &[Some(tag)]).execute("", 0).sync();
        insert(read(read(Batch::new())), tag).sync()
    }),
    scenario("a pipeline that fails in the middle", |tag| {
        let batch = Batch::new().parse("", "select 1 / $1::int").bind("", "", &[Some("0")]).execute("", 0);
        insert(batch, tag).sync().query("select 1")
    }),
    scenario("a syntax error in a pipeline", |tag| {
        insert(Batch::new().parse("leaked", "selec 1"), tag).sync()
    }),
    scenario("a transaction", |tag| {
        queries(
            tag,
            &["begin", "insert into sink values ('$')", "select tag from sink where tag = '$'", "commit"],
        )
    }),
    scenario("a transaction rolled back", |tag| {
        queries(tag, &["begin", "insert into sink values ('$')", "rollback"])
    }),
    scenario("a failed transaction", |tag| {
        queries(tag, &["begin", "insert into sink values ('$')", "select 1 / 0", "select 1", "rollback"])
    }),
    scenario("savepoints", |tag| {
        let texts =
            ["begin", "savepoint a", "insert into sink values ('$')", "rollback to a", "release a", "commit"];
        queries(tag, &texts)
    }),
    scenario("a transaction by the extended protocol", |tag| {
        // COMMIT takes effect when it is executed, before its Sync: a Query has no such gap.
        let begun = Batch::new().parse("", "begin").bind("", "", &[]).execute("", 0);
        insert(begun, tag).sync().query("commit")
    }),
    scenario("COPY in", |tag| copy_lines(Batch::new().query("copy sink from stdin"), tag).message(b'c', b"")),
    scenario("COPY in that is given up", |tag| {
        copy_lines(Batch::new().query("copy sink from stdin"), tag)
            .message(b'f', b"given up\0")
            .query("select 1")
    }),
    scenario("COPY in by the extended protocol", |tag| {
        let batch = Batch::new().parse("", "copy sink from stdin").bind("", "", &[]).execute("", 0).sync();
        copy_lines(batch, tag).message(b'c', b"").sync()
    }),
    scenario("COPY out", |tag| {
        queries(tag, &["copy (select '$', g from generate_series(1, 500) g) to stdout"])
    }),
    scenario("COPY out by the extended protocol", |tag| {
        let text = format!("copy (select '{tag}') to stdout");
        Batch::new().parse("", &text).bind("", "", &[]).execute("", 0).sync()
    }),
    scenario("settings", |tag| {
        queries(tag, &["set work_mem = '7MB'", "set leak.tag = '$'", "show work_mem"])
    }),
    scenario("settings in a transaction", |tag| {
        queries(
            tag,
            &["begin", "set local work_mem = '7MB'", "set search_path = pg_temp", "select '$'", "commit"],
        )
    }),
    scenario("set_config", |tag| queries(tag, &["select set_config('leak.tag', '$', false)", "reset all"])),
    scenario("SET ROLE", |tag| queries(tag, &["set role dead_role", "select '$'", "reset role"])),
    scenario("client_encoding", |tag| queries(tag, &["set client_encoding = 'LATIN1'", "select '$'"])),
    scenario("a temporary table", |tag| {
        queries(
            tag,
            &["create temp table leaked (a text)", "insert into leaked values ('$')", "drop table leaked"],
        )
    }),
    scenario("an advisory lock", |tag| {
        queries(tag, &["select pg_advisory_lock(7)", "select '$'", "select pg_advisory_unlock(7)"])
    }),
    scenario("LISTEN and NOTIFY", |tag| {
        queries(tag, &["listen leaked", "notify leaked, '$'", "unlisten leaked"])
    }),
    scenario("SQL PREPARE", |tag| {
        queries(tag, &["prepare leaked as select '$'", "execute leaked", "deallocate leaked"])
    }),
    scenario("a held cursor", |tag| {
        let declare = "declare leaked cursor with hold for select '$', g from generate_series(1, 9) g";
        queries(tag, &["begin", declare, "commit", "fetch 3 from leaked", "close leaked"])
    }),
    scenario("a function call", |tag| {
        // txid_current() is 2943: no arguments, result as text.
        let call = [0, 0, 0x0b, 0x7f, 0, 0, 0, 0, 0, 0];
        Batch::new().message(b'F', &call).query(&format!("select '{tag}'"))
    }),
    scenario("DISCARD ALL and a goodbye", |tag| {
        queries(tag, &["set work_mem = '7MB'", "discard all", "select '$'"]).message(b'X', b"")
    }),
    scenario("a statement that takes long", |tag| queries(tag, &["select '$', pg_sleep(100)"])),
];

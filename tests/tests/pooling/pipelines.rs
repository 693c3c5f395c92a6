//! What one batch leaves behind when it fails in the middle: neither the client nor whoever has the server next finds
//! other statements or settings than on a connection of their own.

use e2e::{Herd, Setup};
use testkit::{Batch, Client, Message};

/// A proxy in front of one server connection, which all clients share.
fn start() -> Setup {
    Setup::shared().set("pool.size", 1)
}

async fn connect(herd: &Herd) -> Client {
    herd.proxy(0).connect_to("read-write").await
}

/// Sends several units at once and gives the answer to each.
async fn pipeline(client: &mut Client, batch: &Batch, units: usize) -> Vec<Vec<Message>> {
    client.send(batch.bytes()).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..units {
        answers.push(client.until_ready().await);
    }
    answers
}

/// Types of the messages, an error's SQLSTATE and a row's first value in their places: `1 2 D:7 C Z`.
fn shown(messages: &[Message]) -> String {
    let words = messages.iter().map(|message| match message.tag {
        b'E' => message.sqlstate().unwrap(),
        b'D' => format!("D:{}", message.row()[0].as_deref().unwrap_or("null")),
        tag => char::from(tag).to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}

async fn run(client: &mut Client, batch: Batch) -> String {
    shown(&client.run(&batch).await)
}

trait Calls {
    /// Bind to the unnamed portal and Execute.
    fn call(self, name: &str, values: &[Option<&str>]) -> Self;
    /// Parse without a name, Bind and Execute.
    fn once(self, sql: &str) -> Self;
}

impl Calls for Batch {
    fn call(self, name: &str, values: &[Option<&str>]) -> Self {
        self.bind("", name, values).execute("", 0)
    }

    fn once(self, sql: &str) -> Self {
        self.parse("", sql).call("", &[])
    }
}

/// While nothing of earlier units is decided, what a unit has just prepared is all that could be closed to make room.
#[tokio::test]
async fn a_unit_behind_undecided_ones_keeps_the_statement_that_it_prepares() {
    let herd = start().set("pool.max_prepared_statements", 2).start();
    let mut client = connect(&herd).await;
    let prepare = Batch::new().parse("a", "select 1").parse("x", "select 10").sync();
    assert_eq!(run(&mut client, prepare).await, "1 1 Z");
    let batch = Batch::new()
        .parse("b", "select 2")
        .parse("c", "select 3")
        .sync()
        .parse("a", "select 4")
        .call("b", &[])
        .sync()
        .call("x", &[])
        .bind("p", "b", &[])
        .parse("d", "select 5")
        .execute("p", 0)
        .sync();
    let answers = pipeline(&mut client, &batch, 3).await;
    let answers: Vec<String> = answers.iter().map(|answer| shown(answer)).collect();
    assert_eq!(answers, ["1 1 Z", "42P05 Z", "2 D:10 C 2 1 D:2 C Z"]);
}

#[tokio::test]
async fn a_statement_whose_eviction_was_skipped_is_found_again() {
    let herd = start().set("pool.max_prepared_statements", 3).start();
    let mut client = connect(&herd).await;
    for n in 0..3 {
        let name = format!("s{n}");
        let batch = Batch::new().parse(&name, &format!("select {n}")).call(&name, &[]).sync();
        assert_eq!(run(&mut client, batch).await, format!("1 2 D:{n} C Z"));
    }
    let batch = Batch::new().parse("bad", "select * from nowhere").sync();
    assert_eq!(run(&mut client, batch).await, "42P01 Z");
    assert_eq!(run(&mut client, Batch::new().call("s0", &[]).sync()).await, "2 D:0 C Z");
    client.execute("begin").await;
    assert_eq!(client.failure("select 1 / 0").await.as_deref(), Some("22012"));
    for n in 0..3 {
        let batch = Batch::new().parse("late", &format!("select 'late {n}'")).sync();
        assert_eq!(run(&mut client, batch).await, "25P02 Z");
    }
    client.execute("rollback").await;
    // the next batch comes before it is known whether anything was closed
    let batch = Batch::new().parse("bad", "select * from nowhere").sync();
    let batch = (0..3).fold(batch, |batch, n| batch.call(&format!("s{n}"), &[]).sync());
    let answers = pipeline(&mut client, &batch, 4).await;
    let answers: Vec<_> = answers.iter().map(|answer| shown(answer)).collect();
    assert_eq!(answers, ["42P01 Z", "2 D:0 C Z", "2 D:1 C Z", "2 D:2 C Z"]);
}

#[tokio::test]
async fn statements_prepared_right_behind_a_discard_are_there_and_others_are_not_lost() {
    let herd = start().start();
    let (mut client, mut other) = (connect(&herd).await, connect(&herd).await);
    for client in [&mut client, &mut other] {
        let batch = Batch::new().parse("a", "select 'a'").call("a", &[]).sync();
        assert_eq!(run(client, batch).await, "1 2 D:a C Z");
    }
    for forget in ["discard all", "deallocate all", "set work_mem = '5MB'; deallocate all", "discard all"] {
        let batch = Batch::new().query(forget).parse("a", "select 'a'").call("a", &[]).sync();
        let answers = pipeline(&mut client, &batch.call("a", &[]).sync(), 3).await;
        assert_eq!(shown(&answers[1]), "1 2 D:a C Z", "{forget}");
        assert_eq!(shown(&answers[2]), "2 D:a C Z", "{forget}");
        assert_eq!(shown(&answers[0][answers[0].len() - 2..]), "C Z", "{forget}");
    }
    assert_eq!(run(&mut other, Batch::new().call("a", &[]).sync()).await, "2 D:a C Z");
}

#[tokio::test]
async fn a_batch_forgets_its_statements_where_it_says_so() {
    let herd = start().start();
    let (mut client, mut other) = (connect(&herd).await, connect(&herd).await);
    for client in [&mut client, &mut other] {
        let batch = Batch::new().parse("a", "select 'a'").call("a", &[]).sync();
        assert_eq!(run(client, batch).await, "1 2 D:a C Z");
    }
    for forget in ["deallocate all", "discard all"] {
        let batch = Batch::new().once(forget).parse("a", "select 'a'").call("a", &[]).sync();
        assert_eq!(run(&mut client, batch).await, "1 2 C 1 2 D:a C Z", "{forget}");
        assert_eq!(run(&mut client, Batch::new().call("a", &[]).sync()).await, "2 D:a C Z");
    }
    let batch = Batch::new().once("deallocate all").call("a", &[]).sync();
    assert_eq!(run(&mut client, batch).await, "1 2 C 26000 Z");
    assert_eq!(run(&mut client, Batch::new().call("a", &[]).sync()).await, "26000 Z");
    // what did not run forgets nothing
    assert_eq!(
        run(&mut other, Batch::new().once("select 1 / 0").once("discard all").sync()).await,
        "1 22012 Z"
    );
    assert_eq!(run(&mut other, Batch::new().call("a", &[]).sync()).await, "2 D:a C Z");
    other.execute("begin").await;
    assert_eq!(run(&mut other, Batch::new().once("discard all").call("a", &[]).sync()).await, "1 2 25001 Z");
    other.execute("rollback").await;
    assert_eq!(run(&mut other, Batch::new().call("a", &[]).sync()).await, "2 D:a C Z");
}

#[tokio::test]
async fn a_statement_whose_preparation_was_skipped_is_prepared_by_the_next_batch() {
    let herd = start().start();
    let mut client = connect(&herd).await;
    let batch = Batch::new().parse("fails", "select 1 / $1::int").parse("works", "select $1::int").sync();
    assert_eq!(run(&mut client, batch).await, "1 1 Z");
    herd.proxy(0).admin().await.rows("RECONNECT").await.unwrap();
    let batch = Batch::new().call("fails", &[Some("0")]).call("works", &[Some("1")]).sync();
    let batch = batch.call("works", &[Some("2")]).sync().call("works", &[Some("3")]).sync();
    let answers = pipeline(&mut client, &batch, 3).await;
    let answers: Vec<_> = answers.iter().map(|answer| shown(answer)).collect();
    assert_eq!(answers, ["22012 Z", "2 D:2 C Z", "2 D:3 C Z"]);
}

#[tokio::test]
async fn a_name_that_was_skipped_can_be_given_again_and_one_whose_close_was_skipped_stays() {
    let herd = start().start();
    let (mut client, mut other) = (connect(&herd).await, connect(&herd).await);
    assert_eq!(run(&mut other, Batch::new().parse("t", "select 't'").sync()).await, "1 Z");
    let skipped = Batch::new().call("nobody", &[]).parse("s9", "select 't'").sync();
    assert_eq!(run(&mut client, skipped).await, "26000 Z");
    assert_eq!(
        run(&mut client, Batch::new().parse("s9", "select 't'").call("s9", &[]).sync()).await,
        "1 2 D:t C Z"
    );
    assert_eq!(
        run(&mut client, Batch::new().call("nobody", &[]).close_statement("s9").sync()).await,
        "26000 Z"
    );
    assert_eq!(run(&mut client, Batch::new().call("s9", &[]).sync()).await, "2 D:t C Z");
    // the same when the error is known before the rest is sent
    client.send(Batch::new().call("nobody", &[]).flush().bytes()).await.unwrap();
    assert_eq!(client.next().await.unwrap().sqlstate().as_deref(), Some("26000"));
    let rest = Batch::new().parse("s8", "select 't'").parse("s7", "select 7").close_statement("s9").sync();
    assert_eq!(run(&mut client, rest).await, "Z");
    let batch = Batch::new().parse("s8", "select 't'").parse("s7", "select 7").call("s7", &[]);
    assert_eq!(run(&mut client, batch.call("s9", &[]).sync()).await, "1 1 2 D:7 C 2 D:t C Z");
    // a Query that is skipped, and a batch right behind
    let batch = Batch::new().call("nobody", &[]).query("select 1").parse("s6", "select 6").sync();
    let answers = pipeline(&mut client, &batch.parse("s6", "select 66").call("s6", &[]).sync(), 2).await;
    assert_eq!(shown(&answers[0]), "26000 Z");
    assert_eq!(shown(&answers[1]), "1 2 D:66 C Z");
    assert_eq!(run(&mut other, Batch::new().call("t", &[]).sync()).await, "2 D:t C Z");
}

#[tokio::test]
async fn nobody_binds_the_unnamed_statement_of_somebody_else() {
    let herd = start().start();
    let (mut client, mut other) = (connect(&herd).await, connect(&herd).await);
    let secret = Batch::new().once("select 'secret'").call("nobody", &[]).sync();
    assert_eq!(run(&mut client, secret.clone()).await, "1 2 D:secret C 26000 Z");
    assert_eq!(run(&mut other, Batch::new().call("", &[]).sync()).await, "26000 Z");
    assert_eq!(run(&mut other, Batch::new().describe_statement("").sync()).await, "26000 Z");
    run(&mut client, secret).await;
    let batch = Batch::new().call("nobody", &[]).parse("", "select 'own'").sync().call("", &[]).sync();
    let answers = pipeline(&mut other, &batch, 2).await;
    assert_eq!(shown(&answers[0]), "26000 Z");
    assert!(["2 D:own C Z", "26000 Z"].contains(&shown(&answers[1]).as_str()), "{:?}", answers[1]);
}

#[tokio::test]
async fn a_setting_that_was_committed_before_an_error_in_its_batch_is_followed() {
    let herd = start().start();
    let (mut client, mut other) = (connect(&herd).await, connect(&herd).await);
    let show = "select current_setting('work_mem')";
    let batch = Batch::new().once("begin").once("set work_mem = '7MB'").once("commit").once("select 1 / 0");
    assert_eq!(run(&mut client, batch.sync()).await, "1 2 C 1 2 C 1 2 C 1 22012 Z");
    assert_eq!(other.value(show).await, "4MB");
    assert_eq!(client.value(show).await, "7MB");
    // begun in one batch, committed in the next
    client.execute("begin; select 1").await;
    client.execute("set work_mem = '8MB'").await;
    assert_eq!(client.failure("commit; select 1 / 0").await.as_deref(), Some("22012"));
    assert_eq!(other.value(show).await, "4MB");
    assert_eq!(client.value(show).await, "8MB");
}

#[tokio::test]
async fn a_setting_that_was_rolled_back_is_told_from_one_behind_it() {
    let herd = start().start();
    let (mut client, mut other) = (connect(&herd).await, connect(&herd).await);
    let both = "select current_setting('work_mem') || current_setting('statement_timeout')";
    let batch = Batch::new().once("begin").once("set work_mem = '7MB'").once("rollback");
    let batch = batch.once("set statement_timeout = '1h'").sync();
    assert_eq!(run(&mut client, batch).await, "1 2 C 1 2 C 1 2 C 1 2 C Z");
    assert_eq!(other.value(both).await, "4MB0");
    assert_eq!(client.value(both).await, "4MB1h");
    let batch = Batch::new().once("set work_mem = '9MB'").once("select 1 / 0").sync();
    assert_eq!(run(&mut client, batch).await, "1 2 C 1 22012 Z");
    assert_eq!(client.value(both).await, "4MB1h");
    assert_eq!(other.value(both).await, "4MB0");
}

#[tokio::test]
async fn a_setting_before_a_savepoint_survives_an_error_behind_it_and_leaks_to_nobody() {
    let herd = start().start();
    let show = "select current_setting('work_mem')";
    let mut client = connect(&herd).await;
    let batch =
        Batch::new().once("begin").once("set work_mem = '7MB'").once("savepoint a").once("select 1 / 0");
    assert_eq!(run(&mut client, batch.sync()).await, "1 2 C 1 2 C 1 2 C 1 22012 Z");
    client.execute("rollback to a").await;
    client.execute("commit").await;
    assert_eq!(client.value(show).await, "7MB");
    client.terminate().await;
    assert_eq!(connect(&herd).await.value(show).await, "4MB");
}

#[tokio::test]
async fn a_batch_that_is_run_again_elsewhere_is_answered_once() {
    let herd = start().regions(["us"]).start();
    herd.psql_directly("create unlogged table fast as select 7 as a; grant select on fast to app").unwrap();
    herd.cluster().wait_for_all().unwrap();
    let (mut client, mut other) = (herd.connect().await, herd.connect().await);
    // A standby prepares and describes it, and refuses to run it.
    let sql = "select a from fast";
    let batch = Batch::new().parse("there", sql).describe_statement("there").sync();
    assert_eq!(run(&mut other, batch).await, "1 t T Z");
    let batch = Batch::new().close_statement("nothing").parse("s", sql);
    let batch = batch.bind("", "s", &[]).describe_portal("").execute("", 0).sync();
    assert_eq!(run(&mut client, batch).await, "3 1 2 T D:7 C Z");
    assert_eq!(run(&mut client, Batch::new().call("s", &[]).sync()).await, "2 D:7 C Z");
}

#[tokio::test]
async fn an_unnamed_statement_that_was_skipped_after_an_error_is_not_used_by_the_next_unit() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    for _ in 0..20 {
        let batch = Batch::new().parse("", "select 'first'").bind("", "unknown", &[]).execute("", 0);
        let batch = batch.parse("", "select 'second'").sync().bind("", "", &[]).execute("", 0).sync();
        client.send(batch.bytes()).await.unwrap();
        let mut answers = client.until_ready().await;
        answers.extend(client.until_ready().await);
        let rows: Vec<_> =
            answers.iter().filter(|message| message.tag == b'D').map(|message| message.row()).collect();
        assert!(!rows.contains(&vec![Some("second".to_owned())]), "it was never parsed: {answers:?}");
    }
}

#[tokio::test]
async fn what_is_skipped_after_an_error_takes_no_statement_away() {
    let herd = start().start();
    let mut client = connect(&herd).await;
    run(&mut client, Batch::new().parse("named", "select 'named'").sync()).await;
    for skipped in [
        Batch::new().parse("", "select 'another'"),
        Batch::new().close_statement(""),
        Batch::new().query("select 'simple'"),
        Batch::new().query("select 'simple'").query("select 'another'"),
        Batch::new().parse("", "select 'another'").query("deallocate named").parse("", "select 'a third'"),
        Batch::new().query("deallocate all").query("discard all"),
    ] {
        run(&mut client, Batch::new().parse("", "select 'unnamed'").sync()).await;
        // known to the proxy when it takes in the rest, and not
        client.send(Batch::new().call("nobody", &[]).flush().bytes()).await.unwrap();
        assert_eq!(client.next().await.unwrap().sqlstate().as_deref(), Some("26000"));
        client.send(skipped.bytes()).await.unwrap();
        assert_eq!(run(&mut client, Batch::new().sync()).await, "Z");
        let both = Batch::new().call("", &[]).call("named", &[]).sync();
        assert_eq!(run(&mut client, both.clone()).await, "2 D:unnamed C 2 D:named C Z");
        let batch = skipped.bytes().to_vec();
        let unknown =
            [Batch::new().call("nobody", &[]).bytes(), &batch, Batch::new().sync().bytes()].concat();
        client.send(&unknown).await.unwrap();
        assert_eq!(shown(&client.until_ready().await), "26000 Z");
        assert_eq!(run(&mut client, both).await, "2 D:unnamed C 2 D:named C Z");
    }
    // a Parse that fails by itself has dropped the statement before, as has a query
    for failing in [Batch::new().parse("", "selec"), Batch::new().query("selec")] {
        run(&mut client, Batch::new().parse("", "select 'unnamed'").sync()).await;
        client.send(failing.sync().bytes()).await.unwrap();
        client.until_ready().await;
        client.send(Batch::new().call("", &[]).sync().bytes()).await.unwrap();
        let mut heard = shown(&client.until_ready().await);
        if heard == "Z" {
            heard = shown(&client.until_ready().await);
        }
        assert_eq!(heard, "26000 Z");
    }
}

#[tokio::test]
async fn a_failed_transaction_takes_no_statement_that_the_proxy_knows_already() {
    let herd = start().start();
    let mut client = connect(&herd).await;
    run(&mut client, Batch::new().parse("first", "select 'known'").call("first", &[]).sync()).await;
    let failing = Batch::new()
        .query("begin")
        .query("select 1 / 0")
        .parse("second", "select 'known'")
        .sync()
        .query("deallocate first")
        .parse("third", "rollback")
        .sync();
    let answers = pipeline(&mut client, &failing, 5).await;
    let answers: Vec<_> = answers.iter().map(|answer| shown(answer)).collect();
    assert_eq!(answers, ["C Z", "22012 Z", "25P02 Z", "25P02 Z", "1 Z"]);
    assert_eq!(run(&mut client, Batch::new().parse("second", "select 'known'").sync()).await, "25P02 Z");
    assert_eq!(run(&mut client, Batch::new().call("third", &[]).sync()).await, "2 C Z");
    assert_eq!(run(&mut client, Batch::new().call("first", &[]).sync()).await, "2 D:known C Z");
    assert_eq!(run(&mut client, Batch::new().call("second", &[]).sync()).await, "26000 Z");
}

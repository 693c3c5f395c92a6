//! State that only one server connection has keeps a client there, and no longer than it lasts.

use std::time::Duration;

use e2e::{Herd, Setup};
use testkit::{Batch, Message};
use tokio::time::Instant;

/// Whether the client has its server connection for itself, as the console tells.
async fn pinned(herd: &Herd) -> Option<String> {
    let mut admin = herd.proxy(0).admin().await;
    let rows = admin.rows("SHOW PINNED").await.unwrap();
    let reason = rows.first().map(|row| row[6].clone().unwrap());
    admin.terminate().await;
    reason
}

/// Waits until the pool's only connection is free again: a neighbour gets it.
async fn until_free(herd: &Herd) {
    let mut neighbour = herd.proxy(0).connect_to("read-write").await;
    assert_eq!(neighbour.value("select 'free'").await, "free");
    neighbour.terminate().await;
    assert_eq!(pinned(herd).await, None);
}

fn start() -> Herd {
    Setup::shared().set("pool.size", 1).set("pool.wait_timeout", "20s").start()
}

/// Runs `begin`, which must pin for `reason`, and `end`, which must end that.
async fn check(herd: &Herd, begin: &[&str], reason: &str, end: &[&str]) {
    let mut client = herd.proxy(0).connect_to("read-write").await;
    for sql in begin {
        client.execute(sql).await;
    }
    assert_eq!(client.value("select 1").await, "1");
    assert_eq!(pinned(herd).await.as_deref(), Some(reason), "{begin:?}");
    for sql in end {
        client.execute(sql).await;
    }
    until_free(herd).await;
    client.terminate().await;
}

#[tokio::test]
async fn a_pin_ends_with_the_state_that_it_was_for() {
    let herd = start();
    check(&herd, &["create temp table a (x int)"], "temporary table", &["drop table a"]).await;
    check(&herd, &["create temp table a (x int)"], "temporary table", &["discard temp"]).await;
    check(&herd, &["create temp table a (x int)"], "temporary table", &["begin", "drop table a", "commit"])
        .await;
    check(&herd, &["select pg_advisory_lock(1)"], "advisory lock", &["select pg_advisory_unlock(1)"]).await;
    check(
        &herd,
        &["select pg_advisory_lock_shared(1)"],
        "advisory lock",
        &["select pg_advisory_unlock_all()"],
    )
    .await;
    check(
        &herd,
        &["begin; declare c cursor with hold for select 1; commit"],
        "WITH HOLD cursor",
        &["close c"],
    )
    .await;
    check(
        &herd,
        &["create temp table a (x int)", "select pg_advisory_lock(1)"],
        "temporary table, advisory lock",
        &["drop table a", "select pg_advisory_unlock(1)"],
    )
    .await;
}

#[tokio::test]
async fn what_was_undone_or_never_came_about_pins_nobody() {
    let herd = start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    for done in [
        &["begin", "create temp table a (x int)", "rollback"][..],
        &["begin", "create temp table a (x int) on commit drop", "commit"],
        &["begin; create temp table a (x int) on commit drop; commit"],
        &["begin", "savepoint s", "create temp table a (x int)", "rollback to s", "commit"],
        &["select pg_advisory_lock(1), pg_advisory_unlock(1)"],
        &["begin", "declare c cursor with hold for select 1", "rollback"],
    ] {
        for sql in done {
            client.execute(sql).await;
        }
        until_free(&herd).await;
    }
    assert_eq!(client.failure("create temp table a as select 1 / 0 as x").await.as_deref(), Some("22012"));
    until_free(&herd).await;
    // a lock that somebody else has was not taken
    let mut other = herd.connect_directly(0).await;
    other.execute("select pg_advisory_lock(2)").await;
    assert_eq!(client.value("select pg_try_advisory_lock(2)").await, "f");
    until_free(&herd).await;
}

#[tokio::test]
async fn a_pin_stays_while_anything_of_it_is_left() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    let mut others =
        [herd.proxy(0).connect_to("read-write").await, herd.proxy(0).connect_to("read-write").await];
    client.execute("create temp table a as select 1 as x").await;
    client.execute("create temp table b as select 2 as x").await;
    client.execute("select pg_advisory_lock(1)").await;
    client.execute("select pg_advisory_lock(1)").await;
    let pid = client.value("select pg_backend_pid()").await;
    for step in ["drop table a", "select pg_advisory_unlock(1)", "begin; drop table b; rollback"] {
        client.execute(step).await;
        for other in &mut others {
            assert_ne!(other.value("select pg_backend_pid()").await, pid, "{step}");
        }
        assert_eq!(client.value("select x from b").await, "2", "{step}");
    }
    client.execute("drop table b").await;
    assert_eq!(client.value("select pg_backend_pid()").await, pid);
    let held = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    assert_eq!(client.value(held).await, "1");
    assert_eq!(client.value("select pg_advisory_unlock(1)").await, "t");
}

#[tokio::test]
async fn a_lock_that_a_function_releases_pins_for_moments_only() {
    let herd = start();
    herd.psql_directly(
        "create function let_go() returns void language plpgsql as $$ begin perform pg_advisory_unlock_all(); end $$",
    )
    .unwrap();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("select pg_advisory_lock(1)").await;
    client.execute("select let_go()").await;
    // transactions go on, and one of them shows that nothing is left
    let deadline = Instant::now() + Duration::from_secs(20);
    while pinned(&herd).await.is_some() {
        assert!(Instant::now() < deadline, "the pin has not ended");
        assert_eq!(client.value("select 1").await, "1");
    }
}

#[tokio::test]
async fn the_question_is_never_seen_by_the_client() {
    let herd = start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    // unnamed and named statements, prepared in one unit and used in the next, around statements that begin and end
    // a pin; and everything in one write
    let mut all = Batch::new();
    for round in 0..20 {
        let (create, drop) = (format!("create temp table t{round} (x int)"), format!("drop table t{round}"));
        all = all
            .query(&create)
            .parse("", "select 'unnamed'")
            .sync()
            .query("select pg_advisory_lock(7)")
            .bind("", "", &[])
            .execute("", 0)
            .sync()
            .query(&drop)
            .query("select pg_advisory_unlock(7)")
            .query("select 'last'");
    }
    client.send(all.bytes()).await.unwrap();
    for _ in 0..20 {
        let mut units = Vec::new();
        for _ in 0..7 {
            units.push(tags(&client.until_ready().await));
        }
        // the simple query in between destroyed the unnamed statement
        assert_eq!(units, ["CZ", "1Z", "TDCZ", "EZ", "CZ", "TDCZ", "TDCZ"]);
    }
    until_free(&herd).await;
    let batch = Batch::new().parse("", "select pg_try_advisory_lock(8), pg_advisory_unlock(8)").sync();
    assert_eq!(tags(&client.run(&batch).await), "1Z");
    let batch = Batch::new().bind("", "", &[]).execute("", 0).sync();
    assert_eq!(tags(&client.run(&batch).await), "2DCZ");
    assert_eq!(tags(&client.run(&batch).await), "2DCZ");
    until_free(&herd).await;
    assert_eq!(tags(&client.run(&batch).await), "2DCZ");
}

#[tokio::test]
async fn a_client_that_leaves_while_the_server_is_asked_leaves_nothing() {
    let herd = start();
    for round in 0..20 {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        let last = Batch::new()
            .query("create temp table mine (x int)")
            .query("select pg_advisory_lock(9)")
            .query("drop table mine; select pg_advisory_unlock(9)");
        client.send(last.bytes()).await.unwrap();
        for _ in 0..3 {
            client.until_ready().await;
        }
        if round % 2 == 0 {
            client.terminate().await
        } else {
            client.reset()
        }
        until_free(&herd).await;
    }
}

#[tokio::test]
async fn a_cancel_for_a_finished_statement_disturbs_no_question() {
    let herd = start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    for _ in 0..20 {
        client.execute("select pg_advisory_lock(9)").await;
        client.execute("select pg_advisory_unlock(9)").await;
        client.cancel().await.unwrap();
        assert_eq!(client.value("select 1").await, "1");
    }
    until_free(&herd).await;
}

#[tokio::test]
async fn settings_made_while_pinned_are_kept_when_the_pin_ends() {
    let herd = start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("create temp table a (x int)").await;
    client.execute("set work_mem = '7MB'").await;
    client.execute("drop table a").await;
    let mut neighbour = herd.proxy(0).connect_to("read-write").await;
    assert_eq!(neighbour.value("show work_mem").await, "4MB");
    assert_eq!(client.value("show work_mem").await, "7MB");
    // together with what is not followed it pins until the client leaves
    client.execute("create temp table b (x int); set work_mem = '8MB'").await;
    client.execute("drop table b").await;
    assert_eq!(pinned(&herd).await.as_deref(), Some("temporary table, several session changes in one text"));
    client.execute("discard all").await;
    until_free(&herd).await;
}

#[tokio::test]
async fn a_lost_transaction_takes_what_it_made_with_it_and_not_the_session() {
    let herd = Setup::shared().set("pool.size", 2).start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    for (lasting, code) in [(None, "40001"), (Some("create temp table before (x int)"), "57P01")] {
        if let Some(sql) = lasting {
            client.execute(sql).await;
        }
        client.execute("begin").await;
        client.execute("create temp table a (x int) on commit drop").await;
        let pid = client.value("select pg_backend_pid()").await;
        herd.psql_directly(&format!("select pg_terminate_backend({pid})")).unwrap();
        assert_eq!(client.failure("select 1").await.as_deref(), Some(code));
        if lasting.is_none() {
            client.execute("rollback").await;
            assert_eq!(client.value("select 'goes on'").await, "goes on");
            assert_eq!(pinned(&herd).await, None);
        }
    }
}

fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

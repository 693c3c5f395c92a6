//! By its words, each statement goes where it can run.

use e2e::Setup;

use super::Watched;

const SCHEMA: &str = "
    create table items (a int, b text);
    insert into items values (1, 'one');
    create unlogged table fast (a int);
    insert into fast values (7);
    create sequence ticket;
    create view ticket_view as select nextval('ticket') as n;
    create materialized view totals as select count(*) from items;
    create function twice(a int) returns int language sql immutable as 'select a * 2';
    create function stamp() returns int language plpgsql as
        $$ begin insert into items values (9); return 9; end $$;
    create procedure bump() language plpgsql as $$ begin insert into items values (8); end $$;
    alter materialized view totals owner to app;
    grant all on all tables in schema public to app;
    grant all on all sequences in schema public to app;
    alter table items owner to app;";

const READS: &[&str] = &[
    "select * from items",
    "table items",
    "values (1), (2)",
    "select current_setting('port')",
    "with x as (select 1 as a) select * from x join items using (a)",
    "select twice(a) from items",
    "select public.twice(a) from items",
    "select a from items where b = 'select nextval(''ticket''); for update'",
    "select a from items -- for update",
    "select /* for /* update */ insert */ a from items",
    "select a as \"into\" from items",
    "explain select * from items",
    "explain analyze select * from items",
    "explain insert into items values (1)",
    "copy items to stdout",
    "copy (select * from items) to stdout",
    "select 1; select 2",
    "SELECT $body$ for update $body$",
    "select count(*) from totals",
    "select no_such_column from items",
];

const OTHERS: &[&str] = &[
    "insert into items values (2)",
    "update items set b = 'x' where a = 2",
    "delete from items where a = 2",
    "merge into items using (select 5 as k) s on a = k when not matched then insert values (5)",
    "select * from items for update",
    "select * from items for no key update skip locked",
    "select * from items for share",
    "with w as (insert into items values (3) returning a) select * from w",
    "with d as (delete from items where a = 3 returning a) select * from d",
    "select nextval('ticket')",
    "select pg_catalog.setval('ticket', 5)",
    "select a into copied from items",
    "create table made as select * from items",
    "drop table made",
    "do $$ begin insert into items values (4); end $$",
    "call bump()",
    "select stamp()",
    "select * from stamp()",
    "select a, (select stamp()) from items limit 1",
    "select no_such_function()",
    "explain analyze insert into items values (6)",
    "explain (analyze true, costs false) update items set b = 'y'",
    "select 1; insert into items values (7)",
    "insert into items values (7); select 1",
    "truncate items",
    "vacuum items",
    "refresh materialized view totals",
    "notify channel",
    "select pg_notify('channel', 'x')",
    "select pg_current_xact_id()",
    "select lo_unlink(lo_create(0))",
    "select pg_advisory_xact_lock(1)",
    "select pg_is_in_recovery()",
    "lock table items",
    "nonsense",
];

#[tokio::test]
async fn reads_reach_the_replica_of_the_region_and_everything_else_the_primary() {
    let setup = Setup::shared().set("routing.read_your_writes", "off");
    let mut watched = Watched::new(setup, SCHEMA).await;
    watched.until_functions_are_known("select twice(1)").await;
    for sql in READS {
        watched.check(sql, "us").await;
    }
    for sql in OTHERS {
        watched.check(sql, "eu").await;
    }
    // The catalog is asked about functions, not guessed about.
    let port = watched.herd.cluster().node(1).port().to_string();
    assert_eq!(watched.client.value("select current_setting('port')").await, port);
}

#[tokio::test]
async fn what_a_standby_refuses_is_run_again_on_the_primary_and_remembered() {
    let setup = Setup::shared().set("routing.read_your_writes", "off");
    let mut watched = Watched::new(setup, SCHEMA).await;
    for (sql, column) in [("select n > 0 from ticket_view", "t"), ("select a from fast", "7")] {
        let first = watched.query(sql).await;
        let row = first.messages.iter().find(|message| message.tag == b'D');
        assert_eq!(
            row.map(testkit::Message::row),
            Some(vec![Some(column.to_owned())]),
            "{:?}",
            first.messages
        );
        assert_eq!((first.nodes, first.reruns), (vec!["eu".to_owned(), "us".to_owned()], 1), "{sql}");
        watched.check(sql, "eu").await;
    }
    // The other protocol, and the same shape with other constants.
    let batch = |sql: &str| testkit::Batch::new().parse("", sql).bind("", "", &[]).execute("", 0).sync();
    let first = watched.run(&batch("select a, 1 from fast where a > 1")).await;
    assert_eq!((first.error(), first.reruns), (None, 1), "{:?}", first.messages);
    let second = watched.run(&batch("select a, 1 from fast where a > 2")).await;
    assert_eq!((second.error(), second.nodes, second.reruns), (None, vec!["eu".to_owned()], 0));
    // Prepared once and run often, in both ways of doing so.
    watched.client.run(&testkit::Batch::new().parse("fast", "select a, a from fast").sync()).await;
    let run = testkit::Batch::new().bind("", "fast", &[]).execute("", 0).sync();
    assert_eq!(watched.run(&run).await.reruns, 1);
    let second = watched.run(&run).await;
    assert_eq!((second.error(), second.nodes, second.reruns), (None, vec!["eu".to_owned()], 0));
    watched.client.execute("prepare by_name as select a, a, a from fast").await;
    assert_eq!(watched.query("execute by_name").await.reruns, 1);
    watched.check("execute by_name", "eu").await;
    // A failure of the statement's own is the client's.
    let failed = watched.query("select 1 / (a - a) from items").await;
    assert_eq!((failed.error().as_deref(), failed.reruns), (Some("22012"), 0));
}

#[tokio::test]
async fn listed_functions_overrule_the_catalog() {
    let setup = Setup::shared()
        .set("routing.read_your_writes", "off")
        .set("routing.primary_functions", toml::Value::Array(vec!["twice".into()]))
        .set("routing.replica_functions", toml::Value::Array(vec!["public.stamp".into()]));
    let mut watched = Watched::new(setup, SCHEMA).await;
    watched.check("select twice(1)", "eu").await;
    // It was promised to be harmless, and is not: the standby refuses, and all is well.
    // While the busy machine keeps the replica behind, the primary answers at once.
    for _ in 0..200 {
        let promised = watched.query("select public.stamp()").await;
        assert_eq!(promised.error(), None, "{:?}", promised.messages);
        if promised.reruns == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the promised function never went to the replica");
}

#[tokio::test]
async fn a_list_of_functions_that_is_reloaded_holds_for_what_was_prepared_before_too() {
    let setup = Setup::shared().set("routing.read_your_writes", "off");
    let mut watched = Watched::new(setup, SCHEMA).await;
    watched.until_functions_are_known("select twice(1)").await;
    watched.client.run(&testkit::Batch::new().parse("doubled", "select twice(2)").sync()).await;
    watched.herd.proxy(0).write_configuration(|configuration| {
        configuration.set("routing.primary_functions", toml::Value::Array(vec!["twice".into()]));
    });
    watched.admin.execute("RELOAD").await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while watched.query("select twice(1)").await.nodes != ["eu"] {
        assert!(tokio::time::Instant::now() < deadline, "the list is not heeded");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let run = testkit::Batch::new().bind("", "doubled", &[]).execute("", 0).sync();
    let outcome = watched.run(&run).await;
    assert_eq!((outcome.error(), outcome.nodes), (None, vec!["eu".to_owned()]));
}

#[tokio::test]
async fn functions_listed_for_the_primary_go_there_under_whatever_name() {
    let list = |names: &[&str]| toml::Value::Array(names.iter().map(|name| (*name).into()).collect());
    let setup = Setup::shared()
        .set("routing.read_your_writes", "off")
        .set("routing.primary_functions", list(&["pg_sleep", "shop.audit", "pg_catalog.upper"]));
    let mut watched = Watched::new(
        setup,
        "create schema shop;
         create function shop.audit() returns int language sql stable as 'select 1';
         grant usage on schema shop to app;
         create type label as (text text);
         create function lower(label) returns text language plpgsql volatile as $$ begin return 'x'; end $$;
         create function twice(a int) returns int language sql stable as 'select a * 2';",
    )
    .await;
    watched.until_functions_are_known("select twice(1)").await;
    watched.check("select initcap('a')", "us").await;
    watched.check("select lower('(A)'::label)", "eu").await;
    watched.check("select pg_sleep(0)", "eu").await;
    watched.check("select pg_catalog.pg_sleep(0)", "eu").await;
    watched.check("select upper('a')", "eu").await;
    watched.check("select shop.audit()", "eu").await;
    watched.check("set search_path to shop, public; select audit()", "eu").await;
    watched.check("select audit()", "eu").await;
}

#[tokio::test]
async fn what_comes_after_a_flush_may_write() {
    let mut watched =
        Watched::new(Setup::shared(), "create table flushed (a int); grant all on flushed to app").await;
    let batch = testkit::Batch::new().parse("s", "select a from flushed").describe_statement("s").flush();
    watched.client.send(batch.bytes()).await.unwrap();
    let tags = [watched.client.next().await, watched.client.next().await, watched.client.next().await];
    assert_eq!(tags.map(|message| message.unwrap().tag), *b"1tT");
    let written = watched.query("insert into flushed values (1)").await;
    assert_eq!(written.error(), None, "{:?}", written.messages);
    let copied =
        testkit::Batch::new().query("copy flushed from stdin").message(b'd', b"2\n").message(b'c', b"");
    let copied = watched.run(&copied).await;
    assert_eq!(copied.error(), None, "{:?}", copied.messages);
    let bound = testkit::Batch::new().bind("", "s", &[]).execute("", 0).sync();
    let read = watched.run(&bound).await;
    assert_eq!(read.messages.iter().filter(|message| message.tag == b'D').count(), 2);
}

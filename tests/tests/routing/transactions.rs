//! A transaction goes whole to one node.

use e2e::Setup;
use testkit::Batch;

use super::Watched;

#[tokio::test]
async fn read_only_transactions_go_to_a_replica_and_others_to_the_primary() {
    let setup = Setup::shared();
    let mut watched = Watched::new(setup, "create table t (a int); alter table t owner to app").await;
    let ports = [0, 1].map(|node| watched.herd.cluster().node(node).port().to_string());
    let [primary, replica] = ports;
    for (begin, port) in [
        ("begin read only", &replica),
        ("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", &replica),
        ("start transaction read only", &replica),
        ("begin", &primary),
        ("begin read write", &primary),
        ("begin isolation level serializable read only", &primary),
        ("begin; set transaction read only", &primary),
    ] {
        let client = &mut watched.client;
        client.execute(begin).await;
        assert_eq!(client.value("select current_setting('port')").await, *port, "{begin}");
        client.execute("savepoint s").await;
        let in_recovery = if *port == replica { "t" } else { "f" };
        assert_eq!(client.value("select pg_is_in_recovery()").await, in_recovery, "{begin}");
        client.execute("commit").await;
    }
    let client = &mut watched.client;
    client.execute("begin read only").await;
    assert_eq!(client.failure("insert into t values (1)").await.as_deref(), Some("25006"));
    assert_eq!(client.failure("select 1").await.as_deref(), Some("25P02"));
    client.execute("rollback").await;
    client.execute("insert into t values (1)").await;
}

#[tokio::test]
async fn a_serializable_session_goes_to_the_primary_and_others_on_to_replicas() {
    let setup = Setup::shared().set("routing.read_your_writes", "off");
    let mut watched = Watched::new(setup, "create table t (a int); alter table t owner to app").await;
    let batch = Batch::new().parse("", "select count(*) from t").bind("", "", &[]).execute("", 0).sync();
    for set in [
        "set default_transaction_isolation = serializable",
        "set session characteristics as transaction isolation level serializable",
    ] {
        watched.client.execute(set).await;
        let outcome = watched.run(&batch).await;
        assert_eq!(
            (outcome.error(), outcome.nodes, outcome.reruns),
            (None, vec!["eu".to_owned()], 0),
            "{set}"
        );
        watched.client.execute("begin read only").await;
        assert_eq!(watched.client.value("select count(*) from t").await, "0");
        watched.client.execute("commit").await;
        watched.client.execute("reset all").await;
        let outcome = watched.run(&batch).await;
        assert_eq!(
            (outcome.error(), outcome.nodes, outcome.reruns),
            (None, vec!["us".to_owned()], 0),
            "{set}"
        );
    }
}

#[tokio::test]
async fn a_pipeline_goes_to_the_primary_if_anything_in_it_writes() {
    let setup = Setup::shared().set("routing.read_your_writes", "off");
    let mut watched = Watched::new(setup, "create table t (a int); alter table t owner to app").await;
    let step = |batch: Batch, sql: &str| batch.parse("", sql).bind("", "", &[]).execute("", 0);
    let (read, write) = ("select count(*) from t", "insert into t values (1)");
    for (batch, node) in [
        (step(step(Batch::new(), read), read).sync(), "us"),
        (step(step(Batch::new(), read), write).sync(), "eu"),
        (step(step(Batch::new(), write), read).sync(), "eu"),
    ] {
        let outcome = watched.run(&batch).await;
        assert_eq!((outcome.error(), outcome.nodes, outcome.reruns), (None, vec![node.to_owned()], 0));
    }
    // Two units that were sent at once.
    let both = step(step(Batch::new(), read).sync(), write).sync();
    watched.client.send(both.bytes()).await.unwrap();
    for _ in 0..2 {
        let messages = watched.client.until_ready().await;
        assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");
    }
    assert_eq!(watched.client.value("/* pgherd: primary */ select count(*) from t").await, "3");
}

#[tokio::test]
async fn session_state_and_advisory_locks_are_refused_in_a_read_only_transaction_on_a_replica() {
    let setup = Setup::shared().set("routing.read_your_writes", "off");
    let mut watched = Watched::new(setup, "create table t (a int); alter table t owner to app").await;
    let client = &mut watched.client;
    for sql in [
        "select pg_advisory_xact_lock(42)",
        "declare c cursor with hold for select 1",
        "select 1; prepare p as select 1",
    ] {
        client.execute("begin read only").await;
        assert_eq!(client.value("select pg_is_in_recovery()").await, "t");
        assert_eq!(client.failure(sql).await.as_deref(), Some("0A000"), "{sql}");
        assert_eq!(client.failure("select 1").await.as_deref(), Some("25P02"), "{sql}");
        client.execute("rollback").await;
        client.execute("insert into t values (1)").await;
        // With the hint it is the primary's from the beginning.
        client.execute("/* pgherd: primary */ begin read only").await;
        assert_eq!(client.value("select pg_is_in_recovery()").await, "f");
        client.execute("select pg_advisory_xact_lock(42)").await;
        client.execute("commit").await;
    }
    // Behind messages of its unit that were sent before.
    client.run(&Batch::new().parse("lock", "select pg_advisory_lock(42)").sync()).await;
    client.execute("begin read only").await;
    client.send(Batch::new().parse("", "select pg_is_in_recovery()").flush().bytes()).await.unwrap();
    assert_eq!(client.next().await.unwrap().tag, b'1');
    let messages = client.run(&Batch::new().bind("", "lock", &[]).execute("", 0).sync()).await;
    assert!(messages.iter().any(|message| message.sqlstate().as_deref() == Some("0A000")), "{messages:?}");
    assert_eq!(client.failure("select 1").await.as_deref(), Some("25P02"));
    client.execute("rollback").await;
    // The word alone is no lock.
    client.execute("create table advisory_board (a int)").await;
    client.execute("create function stamped() returns int language sql volatile as 'select 1'").await;
    client.execute("begin read only").await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while client.failure("select stamped() from advisory_board").await.as_deref() == Some("42P01") {
        assert!(tokio::time::Instant::now() < deadline, "the replica does not get the table");
        client.execute("rollback").await;
        client.execute("begin read only").await;
    }
    client.execute("rollback").await;
}

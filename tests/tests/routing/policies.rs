//! Listeners and databases that are for one thing only.

use e2e::Setup;
use testkit::Batch;

#[tokio::test]
async fn a_listener_keeps_to_its_policy() {
    let herd = Setup::shared().regions(["us"]).start();
    herd.psql("create table policy (a int)").unwrap();
    herd.cluster().wait_for_all().unwrap();
    let [primary, replica] = [0, 1].map(|node| herd.cluster().node(node).port().to_string());
    let port = "select current_setting('port')";

    let mut writer = herd.proxy(0).connect_to("read-write").await;
    assert_eq!(writer.value(port).await, primary);
    assert_eq!(writer.value("/* pgherd: replica */ select current_setting('port')").await, primary);
    assert_eq!(writer.parameter("in_hot_standby"), Some("off"));
    writer.execute("insert into policy values (1)").await;

    let mut reader = herd.proxy(0).connect_to("read-only").await;
    assert_eq!(reader.value(port).await, replica);
    assert_eq!(reader.value("/* pgherd: primary */ select current_setting('port')").await, replica);
    assert_eq!(reader.parameter("in_hot_standby"), Some("on"));
    assert_eq!(reader.failure("insert into policy values (2)").await.as_deref(), Some("25006"));
    reader.execute("begin").await;
    assert_eq!(reader.value(port).await, replica);
    assert_eq!(reader.failure("insert into policy values (3)").await.as_deref(), Some("25006"));
    reader.execute("rollback").await;
    assert_eq!(reader.value(port).await, replica);
    assert_eq!(herd.psql_directly("select array_agg(a) from policy").unwrap(), "{1}");
}

#[tokio::test]
async fn a_database_has_a_policy_of_its_own_whatever_the_listener_says() {
    let herd = Setup::shared()
        .regions(["us"])
        .set("database.0.name", "reports")
        .set("database.0.server_name", "postgres")
        .set("database.0.policy", "read-only")
        .set("database.1.name", "orders")
        .set("database.1.server_name", "postgres")
        .set("database.1.policy", "read-write")
        .set("database.2.name", "*")
        .start();
    let [primary, replica] = [0, 1].map(|node| herd.cluster().node(node).port().to_string());
    let port = "select current_setting('port')";
    let login = herd.cluster().application().clone();
    let mut reports = herd.proxy(0).login(&login, "reports").connect().await.unwrap();
    let mut orders = herd.proxy(0).login(&login, "orders").connect().await.unwrap();
    assert_eq!(reports.value(port).await, replica);
    assert_eq!(reports.failure("create table never (a int)").await.as_deref(), Some("25006"));
    assert_eq!(orders.value(port).await, primary);
    assert_eq!(orders.value("select current_database()").await, "postgres");
    assert_eq!(herd.connect().await.value(port).await, replica);
}

#[tokio::test]
async fn a_read_only_listener_writes_nothing_when_it_has_to_use_the_primary() {
    let herd = Setup::own(0).start();
    herd.psql("create table untouched (a int); create table gate (a int)").unwrap();
    let insert = "insert into untouched values (1)";
    let mut reader = herd.proxy(0).connect_to("read-only").await;
    assert_eq!(reader.value("select count(*) from untouched").await, "0");
    for evasion in ["set transaction read write", "begin read write", "set transaction_read_only = off"] {
        reader.execute("begin read only").await;
        assert_eq!(reader.failure(evasion).await.as_deref(), Some("25006"), "{evasion}");
        assert_eq!(reader.failure(insert).await.as_deref(), Some("25P02"), "{evasion}");
        reader.execute("rollback").await;
    }
    // Behind messages of its unit that were sent before.
    reader.execute("begin read only").await;
    reader.send(Batch::new().parse("", "select 1").flush().bytes()).await.unwrap();
    assert_eq!(reader.next().await.unwrap().tag, b'1');
    let opens = Batch::new().parse("", "set transaction read write").bind("", "", &[]).execute("", 0).sync();
    let messages = reader.run(&opens).await;
    assert!(messages.iter().any(|message| message.sqlstate().as_deref() == Some("25006")), "{messages:?}");
    assert_eq!(reader.failure(insert).await.as_deref(), Some("25P02"));
    reader.execute("rollback").await;
    // Behind a read that has to wait.
    let mut keeper = herd.connect_directly(0).await;
    keeper.execute("begin").await;
    keeper.execute("lock table gate in access exclusive mode").await;
    reader.send(Batch::new().query("select count(*) from gate").bytes()).await.unwrap();
    let mut watch = herd.connect_directly(0).await;
    while watch.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'").await != "1" {}
    reader.send(Batch::new().query(insert).bytes()).await.unwrap();
    keeper.execute("commit").await;
    let answered = reader.until_ready().await;
    assert!(answered.iter().all(|message| message.tag != b'E'), "{answered:?}");
    let refused = reader.until_ready().await;
    assert!(refused.iter().any(|message| message.tag == b'E'), "{refused:?}");
    assert_eq!(herd.psql_directly("select count(*) from untouched").unwrap(), "0");
}

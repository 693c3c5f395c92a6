//! What is set for single users.

use e2e::Setup;

#[tokio::test]
async fn a_user_has_mode_size_and_timeouts_of_its_own_and_in_one_database_others() {
    let herd = Setup::shared()
        .set("pool.wait_timeout", "500ms")
        .set("user.1.name", "app")
        .set("user.1.pool.mode", "session")
        .set("user.1.pool.size", 1)
        .set("user.1.pool.reserve_size", 0)
        .set("user.1.pool.query_timeout", "400ms")
        .start();
    let proxy = herd.proxy(0);
    // Session pooling: a server connection stays with its client, and there is only one.
    let mut first = proxy.connect_to("read-write").await;
    first.execute("create temp table own (a int)").await;
    assert_eq!(first.value("select count(*) from own").await, "0");
    assert_eq!(first.failure("select pg_sleep(60)").await.as_deref(), Some("57014"));
    let mut second = proxy.connect_to("read-write").await;
    assert_eq!(second.failure("select 1").await.as_deref(), Some("53300"));
    let mut admin = proxy.admin().await;
    let of_app = |rows: Vec<Vec<Option<String>>>, column: usize| {
        rows.into_iter().find(|row| row[column].as_deref() == Some("app")).unwrap()
    };
    // name, pool_size, reserve_pool_size, pool_mode, …
    let row = of_app(admin.rows("SHOW USERS").await.unwrap(), 0);
    assert_eq!(row[1..4], ["1", "0", "session"].map(|text| Some(text.to_owned())));
    assert_eq!(of_app(admin.rows("SHOW POOLS").await.unwrap(), 1)[15].as_deref(), Some("session"));
    first.terminate().await;
    assert_eq!(second.value("select 'mine'").await, "mine");
    second.terminate().await;

    // In this database something else holds, from now on.
    proxy.write_configuration(|configuration| {
        configuration.set("database.0.name", herd.database());
        configuration.set("database.0.user.0.name", "app");
        configuration.set("database.0.user.0.pool.mode", "transaction");
        configuration.set("database.0.user.0.pool.size", 5);
        configuration.set("database.0.user.0.max_server_connections", 2);
    });
    admin.execute("RELOAD").await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.connect_to("read-write").await;
        client.execute("begin").await;
        client.execute("select 1").await;
        clients.push(client);
    }
    let mut third = proxy.connect_to("read-write").await;
    assert_eq!(third.failure("select 1").await.as_deref(), Some("53300"), "it is under a cap");
    let rows = admin.rows("SHOW LIMITS").await.unwrap();
    let setting = "database.user.max_server_connections";
    let row = rows.iter().find(|row| row[6].as_deref() == Some(setting)).unwrap();
    // what, database, user, node, used, limit
    let expected = [Some(herd.database()), Some("app"), None, Some("2"), Some("2")];
    assert_eq!(row[1..6].iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    clients[0].execute("commit").await;
    assert_eq!(third.value("select 'through'").await, "through", "and connections are shared");
    clients[1].execute("commit").await;
}

#[tokio::test]
async fn what_is_set_for_every_user_holds_for_those_without_an_entry() {
    let herd = Setup::shared()
        .set("user.1.name", "*")
        .set("user.1.pool.mode", "statement")
        .set("user.2.name", "postgres")
        .start();
    let mut client = herd.proxy(0).connect_to("read-write").await;
    assert_eq!(client.failure("begin").await.as_deref(), Some("0A000"));
    let superuser = herd.cluster().superuser();
    let mut other = herd.proxy(0).login(superuser, herd.database()).connect().await.unwrap();
    other.execute("begin").await;
    other.execute("commit").await;
}

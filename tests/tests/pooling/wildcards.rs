//! Databases and users that have no entry of their own.

use std::time::Duration;

use e2e::{Herd, Setup, eventually_async};
use testkit::Client;

/// The role `app` in a database through the listener for writes.
async fn in_database(herd: &Herd, database: &str) -> Result<Client, testkit::Refused> {
    let mut parameters = herd.proxy(0).login(herd.cluster().application(), database);
    parameters.address.set_port(herd.proxy(0).port_of("read-write"));
    parameters.connect().await
}

/// Keeps a server connection.
async fn begin(client: &mut Client) {
    client.execute("begin").await;
    client.execute("select 1").await;
}

#[tokio::test]
async fn each_database_of_a_wildcard_has_its_own_pool_and_cap() {
    let herd = Setup::shared()
        .set("database.0.name", "*")
        .set("database.0.max_server_connections", 1)
        .set("pool.wait_timeout", "500ms")
        .start();
    let mut first = in_database(&herd, herd.database()).await.unwrap();
    begin(&mut first).await;
    let mut second = in_database(&herd, herd.database()).await.unwrap();
    assert_eq!(second.failure("select 1").await.as_deref(), Some("53300"));
    let mut elsewhere = in_database(&herd, "postgres").await.unwrap();
    begin(&mut elsewhere).await;
    assert_eq!(elsewhere.value("select current_database()").await, "postgres");
    elsewhere.execute("commit").await;
    first.execute("commit").await;
    assert_eq!(second.value("select current_database()").await, herd.database());
}

#[tokio::test]
async fn each_user_of_a_wildcard_has_its_own_cap() {
    let herd = Setup::shared()
        .set("user.1.name", "*")
        .set("user.1.max_server_connections", 1)
        .set("pool.wait_timeout", "500ms")
        .start();
    let mut first = in_database(&herd, herd.database()).await.unwrap();
    begin(&mut first).await;
    let mut second = in_database(&herd, herd.database()).await.unwrap();
    assert_eq!(second.failure("select 1").await.as_deref(), Some("53300"));
    let mut other = herd.proxy(0).login(herd.cluster().superuser(), herd.database());
    other.address.set_port(herd.proxy(0).port_of("read-write"));
    let mut other = other.connect().await.unwrap();
    assert_eq!(other.value("select current_user").await, herd.cluster().superuser().user);
    first.execute("commit").await;
}

#[tokio::test]
async fn an_entry_goes_before_the_wildcard_and_may_lead_elsewhere() {
    let herd = Setup::shared();
    let herd = herd.set("database.0.name", "shop").set("database.1.name", "*").start();
    let name = herd.database().to_owned();
    herd.proxy(0).write_configuration(|configuration| {
        configuration.set("database.0.server_name", name.as_str());
        configuration.set("database.0.policy", "read-only");
    });
    herd.proxy(0).admin().await.execute("RELOAD").await;
    let mut shop = in_database(&herd, "shop").await.unwrap();
    assert_eq!(shop.value("select current_database()").await, name);
    assert_eq!(shop.failure("create table not_here ()").await.as_deref(), Some("25006"));
    let mut any = in_database(&herd, &name).await.unwrap();
    any.execute("create table here ()").await;
    any.execute("listen news").await;
    // A database that leads to the same one is another to its clients, but not to the server.
    any.execute("notify news, 'from any'").await;
    assert_eq!(any.next().await.unwrap().tag, b'A');
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_refused_by_the_server_and_leaves_nothing() {
    let herd = Setup::shared().start();
    let made_up: Vec<String> = (0..3).map(|n| format!("{}_made_up_{n}", herd.database())).collect();
    for name in &made_up {
        let refused = in_database(&herd, name).await.unwrap_err();
        assert_eq!(refused.sqlstate().as_deref(), Some("3D000"), "{refused}");
    }
    assert_eq!(in_database(&herd, herd.database()).await.unwrap().value("select 'well'").await, "well");
    eventually_async("nothing is left of them", Duration::from_secs(20), || async {
        let rows = herd.proxy(0).admin().await.rows("SHOW POOLS").await.unwrap();
        let is_made_up = |name: &Option<String>| made_up.iter().any(|made_up| name.as_ref() == Some(made_up));
        (!rows.iter().any(|row| is_made_up(&row[0]))).then_some(())
    })
    .await;
}

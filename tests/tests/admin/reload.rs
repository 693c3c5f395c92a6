//! What a RELOAD or SET replaces while clients are in the middle of things.

use std::time::Duration;

use e2e::{Setup, eventually};
use testkit::Batch;

/// A connection belongs to the database that it was made for, whatever that is called by the time it comes back.
#[tokio::test]
async fn a_connection_to_where_a_database_was_before_goes_to_nobody_any_more() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let proxy = herd.proxy(0);
    let moved = format!("{}_moved", herd.database());
    let owner = &herd.cluster().application().user;
    herd.cluster().psql(0, &format!("create database {moved} owner {owner}")).unwrap();
    herd.psql("create table only_before (a int)").unwrap();
    let preparation = Batch::new().parse("", "select a from only_before").sync();
    for left in ["in peace", "in a transaction"] {
        let mut admin = proxy.admin().await;
        proxy.write_configuration(|configuration| {
            configuration.set("database.0.name", herd.database());
            configuration.set("database.0.server_name", herd.database());
        });
        admin.execute("RELOAD").await;
        let mut open = proxy.connect_to("read-write").await;
        let mut other = proxy.connect_to("read-write").await;
        assert_eq!(open.run(&preparation).await[0].tag, b'1', "{left}");
        open.execute("begin").await;
        assert_eq!(open.value("select current_database()").await, herd.database());
        proxy
            .write_configuration(|configuration| configuration.set("database.0.server_name", moved.as_str()));
        admin.execute("RELOAD").await;
        if left == "in peace" {
            open.execute("commit").await;
            assert_eq!(open.value("select current_database()").await, moved, "{left}");
        } else {
            open.reset();
        }
        for _ in 0..3 {
            assert_eq!(other.value("select current_database()").await, moved, "{left}");
        }
        assert_eq!(other.run(&preparation).await[0].sqlstate().as_deref(), Some("42P01"), "{left}");
    }
    herd.cluster().psql(0, &format!("drop database {moved} with (force)")).unwrap();
}

#[tokio::test]
async fn of_a_database_that_is_not_configured_any_more_no_connection_is_kept() {
    let herd = Setup::shared().start();
    let proxy = herd.proxy(0);
    let removed = format!("{}_removed", herd.database());
    let login = herd.cluster().application();
    herd.cluster().psql(0, &format!("create database {removed} owner {}", login.user)).unwrap();
    proxy.write_configuration(|configuration| {
        configuration.set("database.0.name", herd.database());
        configuration.set("database.1.name", removed.as_str());
        configuration.set("database.1.pool.min_size", 2);
    });
    proxy.admin().await.execute("RELOAD").await;
    let mut idle = proxy.login(login, &removed).connect().await.unwrap();
    let mut open = proxy.login(login, &removed).connect().await.unwrap();
    idle.execute("create table kept (a int)").await;
    open.execute("begin").await;
    open.execute("insert into kept values (1)").await;
    let sql =
        format!("select count(*) from pg_stat_activity where datname = '{removed}' and usename = 'app'");
    let servers = || herd.cluster().psql(0, &sql).unwrap();
    eventually("the minimum is there", Duration::from_secs(10), || (servers() != "1").then_some(()));
    proxy.write_configuration(|configuration| configuration.remove("database.1"));
    proxy.admin().await.execute("RELOAD").await;
    assert_eq!(idle.next().await.and_then(|message| message.sqlstate()).as_deref(), Some("57P01"));
    open.execute("insert into kept values (2)").await;
    open.execute("commit").await;
    assert_eq!(open.next().await.and_then(|message| message.sqlstate()).as_deref(), Some("57P01"));
    eventually("no connection is left", Duration::from_secs(10), || (servers() == "0").then_some(()));
    let count = herd.cluster().psql_as(0, herd.cluster().superuser(), &removed, "select count(*) from kept");
    assert_eq!(count.unwrap(), "2");
    herd.cluster().psql(0, &format!("drop database {removed} with (force)")).unwrap();
}

//! Comments that say where to.

use e2e::Setup;
use testkit::Batch;

use super::Watched;

#[tokio::test]
async fn hints_choose_the_node_of_a_read_and_never_that_of_a_write() {
    let setup = Setup::shared().set("routing.read_your_writes", "off");
    let mut watched = Watched::new(setup, "create table t (a int); alter table t owner to app").await;
    for (sql, node) in [
        ("/* pgherd: primary */ select * from t", "eu"),
        ("select * from t /* pgherd: primary */", "eu"),
        ("/* pgherd: region=ap */ select * from t", "ap"),
        ("/* pgherd: replica, region=ap */ select * from t", "ap"),
        ("/* pgherd: region=mars */ select 'x' from t", "us|ap"),
        ("/* pgherd: replica */ select pg_is_in_recovery()", "us"),
        ("/* pgherd: replica */ insert into t values (1)", "eu"),
        ("/* pgherd: replica */ select * from t for update", "eu"),
        ("/* pgherd: max_lag=0ms */ select * from t", "eu"),
        ("/* pgherd: replika */ select * from t", "eu"),
        ("select '/* pgherd: primary */' from t", "us"),
        ("/* pgherd: region=ap */ begin read only", "ap"),
        ("commit", ""),
    ] {
        let outcome = watched.query(sql).await;
        assert_eq!(outcome.error(), None, "{sql}: {:?}", outcome.messages);
        let nodes = outcome.nodes.join(",");
        assert!(node.split('|').any(|one| one == nodes), "{sql} went to {nodes:?}");
    }
}

#[tokio::test]
async fn a_hint_holds_wherever_in_a_request_its_statement_stands_and_however_often_it_runs() {
    let setup = Setup::shared().set("routing.read_your_writes", "off");
    let mut watched = Watched::new(setup, "create table t (a int); alter table t owner to app").await;
    let prepare = Batch::new()
        .parse("hinted", "/* pgherd: primary */ select * from t")
        .parse("plain", "table t")
        .sync();
    watched.client.run(&prepare).await;
    let run = |batch: Batch, name: &str| batch.bind("", name, &[]).execute("", 0);
    for batch in [
        run(Batch::new(), "hinted").sync(),
        run(run(Batch::new(), "plain"), "hinted").sync(),
        run(Batch::new().parse("", "select 1 from t").describe_statement(""), "hinted").sync(),
    ] {
        let outcome = watched.run(&batch).await;
        assert_eq!((outcome.error(), outcome.nodes), (None, vec!["eu".to_owned()]), "{:?}", outcome.messages);
    }
    let plain = watched.run(&run(Batch::new(), "plain").sync()).await;
    assert_eq!((plain.error(), plain.nodes), (None, vec!["us".to_owned()]));
}

#[tokio::test]
async fn a_hint_in_the_startup_options_holds_for_the_session_and_one_in_a_comment_goes_before() {
    let setup = Setup::shared().set("routing.read_your_writes", "off");
    let mut watched = Watched::new(setup, "create table t (a int); alter table t owner to app").await;
    for (options, sql, node) in [
        ("-c pgherd.target=primary", "select * from t", "eu"),
        ("-c pgherd.target=primary", "/* pgherd: replica */ select * from t", "us"),
        ("-c pgherd.region=ap --pgherd.target=replica", "select * from t", "ap"),
        ("-c pgherd.region=ap", "/* pgherd: region=us */ select * from t", "us"),
        ("-c pgherd.max-lag=0ms", "select * from t", "eu"),
        ("-c pgherd.target=replica", "insert into t values (1)", "eu"),
    ] {
        let parameters = watched.herd.proxy(0).app().with("options", options);
        watched.client = parameters.connect().await.unwrap();
        let outcome = watched.query(sql).await;
        assert_eq!((outcome.error(), outcome.nodes), (None, vec![node.to_owned()]), "{options}: {sql}");
        assert_eq!(watched.client.failure("show pgherd.target").await.as_deref(), Some("42704"));
    }
    for (name, value, code) in [
        ("pgherd.target", "leader", "22023"),
        ("options", "-c pgherd.max_lag=soon", "22023"),
        ("pgherd.zone", "a", "42704"),
    ] {
        let refused = watched.herd.proxy(0).app().with(name, value).connect().await.unwrap_err();
        assert!(refused.to_string().contains(code), "{name}: {refused}");
    }
}

//! What functions leave behind in the session is known from their code, wherever it is.

use std::time::Duration;

use e2e::{Herd, Setup};
use testkit::Batch;
use tokio::time::{Instant, sleep};

const TENANTS: &str = "
    create function enter_tenant(who text) returns void language plpgsql as
        $$ begin perform set_config('app.tenant', who, false); end $$;
    create function visit_tenant(who text) returns void language plpgsql as
        $$ begin perform set_config('app.tenant', who, true); end $$;
    create schema web;
    create function web.log_in(who text) returns text language sql stable as
        $$ select public.enter_tenant(who); select 'welcome' $$;
    create procedure web.log_in_again(who text) language plpgsql as
        $$ begin perform web.log_in(who); end $$;
";

fn start() -> Herd {
    Setup::shared().set("pool.size", 1).set("pool.wait_timeout", "20s").start()
}

async fn pinned(herd: &Herd) -> Vec<String> {
    let mut admin = herd.proxy(0).admin().await;
    let rows = admin.rows("SHOW PINNED").await.unwrap();
    admin.terminate().await;
    rows.iter().map(|row| row[6].clone().unwrap()).collect()
}

/// Functions that were made through the proxy are read soon afterwards.
async fn until_known(herd: &Herd, call: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        client.execute(call).await;
        let is_pinned = !pinned(herd).await.is_empty();
        client.terminate().await;
        if is_pinned {
            return;
        }
        assert!(Instant::now() < deadline, "{call} does not pin");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_function_that_sets_something_for_the_session_pins_its_caller_and_shows_nobody_else_a_tenant() {
    let herd = start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    owner.execute(TENANTS).await;
    owner.terminate().await;
    until_known(&herd, "select enter_tenant('nobody')").await;
    for call in [
        "select enter_tenant('acme')",
        "select public.enter_tenant('acme')",
        "select web.log_in('acme')",
        "select * from web.log_in('acme')",
        "call web.log_in_again('acme')",
        "do $$ begin perform web.log_in('acme'); end $$",
    ] {
        let mut client = herd.proxy(0).connect_to("read-write").await;
        client.execute(call).await;
        assert_eq!(pinned(&herd).await, ["setting that cannot be followed"], "{call}");
        assert_eq!(client.value("select current_setting('app.tenant', true)").await, "acme", "{call}");
        client.terminate().await;
        let mut next = herd.proxy(0).connect_to("read-write").await;
        assert_eq!(
            next.value("select coalesce(current_setting('app.tenant', true), '')").await,
            "",
            "{call}"
        );
        next.terminate().await;
    }
}

#[tokio::test]
async fn a_function_that_sets_something_for_the_transaction_pins_nobody() {
    let herd = start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    owner.execute(TENANTS).await;
    owner.terminate().await;
    until_known(&herd, "select enter_tenant('nobody')").await;
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.execute("select visit_tenant('acme')").await;
    assert_eq!(pinned(&herd).await, [""; 0]);
    let mut next = herd.proxy(0).connect_to("read-write").await;
    assert_eq!(next.value("select coalesce(current_setting('app.tenant', true), '')").await, "");
    next.terminate().await;
    client.terminate().await;
}

#[tokio::test]
async fn a_function_that_changed_is_read_again_after_the_commit() {
    let herd = start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    owner.execute("begin").await;
    owner
        .execute(
            "create function later() returns void language sql as 'select set_config(''a.b'', ''c'', false)'",
        )
        .await;
    owner.execute("commit").await;
    owner.terminate().await;
    until_known(&herd, "select later()").await;
}

#[tokio::test]
async fn a_statement_that_was_prepared_before_its_function_was_changed_pins_its_caller_too() {
    let herd = start();
    let mut owner = herd.proxy(0).connect_to("read-write").await;
    owner.execute("create function enter(who text) returns text language sql as 'select who'").await;
    let mut client = herd.proxy(0).connect_to("read-write").await;
    client.run(&Batch::new().parse("enter", "select enter('acme')").sync()).await;
    client.execute("prepare enter_by_name as select enter('acme')").await;
    owner
        .execute(
            "create or replace function enter(who text) returns text language sql as \
             'select set_config(''app.tenant'', who, false)'",
        )
        .await;
    owner.terminate().await;
    until_known(&herd, "select enter('nobody')").await;
    for run in [
        Batch::new().bind("", "enter", &[]).execute("", 0).sync(),
        Batch::new().query("execute enter_by_name"),
    ] {
        client.run(&run).await;
        assert_eq!(pinned(&herd).await, ["setting that cannot be followed"]);
        client.execute("discard all").await;
        client.run(&Batch::new().parse("enter", "select enter('acme')").sync()).await;
        client.execute("prepare enter_by_name as select enter('acme')").await;
    }
}

#[tokio::test]
async fn the_first_client_after_a_start_is_pinned_like_any_other() {
    let herd = start();
    herd.psql_directly(TENANTS).unwrap();
    let proxy = herd.proxy(0);
    for _ in 0..3 {
        proxy.kill();
        proxy.spawn();
        proxy.wait_until_ready();
        let mut client = proxy.connect_to("read-write").await;
        client.execute("select enter_tenant('acme')").await;
        let mut next = proxy.connect_to("read-write").await;
        next.send(Batch::new().query("select coalesce(current_setting('app.tenant', true), '')").bytes())
            .await
            .unwrap();
        client.terminate().await;
        let messages = next.until_ready().await;
        let row =
            messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{messages:?}"));
        assert_eq!(row.row(), [Some(String::new())]);
    }
}

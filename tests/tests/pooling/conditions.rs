//! What was read into a plan, such as the value of a literal, comes from the settings of whoever has it: prepared
//! statements of the same text are shared among clients with the same settings and no others.

use e2e::{Herd, Setup};
use testkit::{Batch, Client};

/// Midnight is another instant in each time zone; its literal is read when the statement is prepared.
const MIDNIGHT: &str = "select extract(epoch from '2020-01-01 00:00'::timestamptz)::bigint::text";
const IN_UTC: &str = "1577836800";
const IN_TOKYO: &str = "1577804400";

fn start() -> Herd {
    Setup::shared().set("pool.size", 1).start()
}

async fn prepare(client: &mut Client, name: &str, sql: &str) {
    let messages = client.run(&Batch::new().parse(name, sql).sync()).await;
    assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");
}

async fn result(client: &mut Client, name: &str) -> String {
    let messages = client.run(&Batch::new().bind("", name, &[]).execute("", 0).sync()).await;
    let row = messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{messages:?}"));
    row.row()[0].clone().unwrap()
}

/// On the primary alone, so that all of a test's clients meet on one server connection.
async fn with(herd: &Herd, settings: &[(&str, &str)]) -> Client {
    let mut app = herd.proxy(0).app();
    app.address.set_port(herd.proxy(0).port_of("read-write"));
    settings.iter().fold(app, |app, (name, value)| app.with(name, value)).connect().await.unwrap()
}

async fn in_zone(herd: &Herd, zone: &str) -> Client {
    with(herd, &[("timezone", zone)]).await
}

#[tokio::test]
async fn literals_are_read_by_the_clients_own_settings() {
    let herd = start();
    let (mut utc, mut tokyo) = (in_zone(&herd, "UTC").await, in_zone(&herd, "Asia/Tokyo").await);
    for client in [&mut utc, &mut tokyo] {
        prepare(client, "midnight", MIDNIGHT).await;
    }
    for _ in 0..3 {
        assert_eq!(result(&mut utc, "midnight").await, IN_UTC);
        assert_eq!(result(&mut tokyo, "midnight").await, IN_TOKYO);
    }
    // and so they are after a SET, for the client that said it and no other
    utc.execute("set timezone = 'Asia/Tokyo'").await;
    prepare(&mut utc, "again", MIDNIGHT).await;
    assert_eq!(result(&mut utc, "again").await, IN_TOKYO);
    let mut third = in_zone(&herd, "UTC").await;
    prepare(&mut third, "midnight", MIDNIGHT).await;
    assert_eq!(result(&mut third, "midnight").await, IN_UTC);
}

#[tokio::test]
async fn a_statement_keeps_what_it_was_prepared_under_and_shares_it_with_nobody_else() {
    let herd = start();
    let (mut utc, mut other) = (in_zone(&herd, "UTC").await, in_zone(&herd, "UTC").await);
    prepare(&mut utc, "midnight", MIDNIGHT).await;
    assert_eq!(result(&mut utc, "midnight").await, IN_UTC);
    // as without a proxy: the literal was read before
    utc.execute("set timezone = 'Asia/Tokyo'").await;
    assert_eq!(result(&mut utc, "midnight").await, IN_UTC);
    // on a server that lacks it, it is prepared under the settings of now, for this client alone
    herd.proxy(0).admin().await.rows("RECONNECT").await.unwrap();
    assert_eq!(result(&mut utc, "midnight").await, IN_TOKYO);
    for _ in 0..2 {
        prepare(&mut other, "midnight", MIDNIGHT).await;
        assert_eq!(result(&mut other, "midnight").await, IN_UTC);
        assert_eq!(other.run(&Batch::new().close_statement("midnight").sync()).await[0].tag, b'3');
    }
}

#[tokio::test]
async fn what_is_prepared_under_settings_of_a_transaction_stays_in_it() {
    let herd = start();
    let (mut one, mut other) = (in_zone(&herd, "UTC").await, in_zone(&herd, "UTC").await);
    for (n, set) in [
        "set local timezone = 'Asia/Tokyo'",
        "set local time zone 'Asia/Tokyo'",
        "set timezone = 'Asia/Tokyo'",
        "select set_config('timezone', 'Asia/Tokyo', true)",
        "select set_config('time' || 'zone', 'Asia/Tokyo', true)",
    ]
    .into_iter()
    .enumerate()
    {
        for begin in ["begin", "begin; select 1"] {
            let (name, sql) = (format!("s{n}{}", begin.len()), format!("{MIDNIGHT} /* {n} {begin} */"));
            one.execute(begin).await;
            one.execute(set).await;
            prepare(&mut one, &name, &sql).await;
            assert_eq!(result(&mut one, &name).await, IN_TOKYO, "{set}");
            assert_eq!(result(&mut one, &name).await, IN_TOKYO, "{set}");
            one.execute("rollback").await;
            prepare(&mut other, &name, &sql).await;
            assert_eq!(result(&mut other, &name).await, IN_UTC, "{set}");
            assert_eq!(result(&mut one, &name).await, IN_UTC, "{set}");
        }
    }
}

#[tokio::test]
async fn a_pipeline_that_changes_a_setting_prepares_under_it() {
    let herd = start();
    let (mut one, mut other) = (in_zone(&herd, "UTC").await, in_zone(&herd, "UTC").await);
    let all = Batch::new()
        .query("set timezone = 'Asia/Tokyo'")
        .parse("midnight", MIDNIGHT)
        .bind("", "midnight", &[])
        .execute("", 0)
        .sync();
    one.send(all.bytes()).await.unwrap();
    one.until_ready().await;
    let messages = one.until_ready().await;
    let row = messages.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{messages:?}"));
    assert_eq!(row.row()[0].as_deref(), Some(IN_TOKYO));
    assert_eq!(result(&mut one, "midnight").await, IN_TOKYO);
    prepare(&mut other, "midnight", MIDNIGHT).await;
    assert_eq!(result(&mut other, "midnight").await, IN_UTC);
}

#[tokio::test]
async fn a_temporary_table_is_no_part_of_what_others_prepared() {
    let herd = start();
    let (mut one, mut other) =
        (herd.proxy(0).connect_to("read-write").await, herd.proxy(0).connect_to("read-write").await);
    one.execute("create table shadowed as select 'lasting' as a").await;
    one.execute("create temp table shadowed as select 1 as a, 2 as b").await;
    prepare(&mut one, "all", "select * from shadowed").await;
    assert_eq!(result(&mut one, "all").await, "1");
    one.execute("drop table pg_temp.shadowed").await;
    prepare(&mut other, "all", "select * from shadowed").await;
    assert_eq!(result(&mut other, "all").await, "lasting");
}

#[tokio::test]
async fn clients_that_differ_in_nothing_that_matters_share_their_statements() {
    let herd = start();
    let mut clients = Vec::new();
    for name in ["a", "b", "c"] {
        let mut client = with(&herd, &[("application_name", name), ("statement_timeout", "60s")]).await;
        prepare(&mut client, "one", "select 1").await;
        assert_eq!(result(&mut client, "one").await, "1");
        clients.push(client);
    }
    let known = "select count(*) from pg_prepared_statements where statement = 'select 1'";
    assert_eq!(clients[0].value(known).await, "1");
}

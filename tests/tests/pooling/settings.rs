//! What a client has set is in force on every server connection that it comes to.

use e2e::{Herd, Setup};
use testkit::Client;

fn start() -> Herd {
    Setup::shared().set("pool.size", 1).start()
}

async fn connect(herd: &Herd) -> Client {
    herd.proxy(0).connect_to("read-write").await
}

/// From here on the pool has a server connection in which nothing was set.
async fn renew(herd: &Herd) {
    herd.proxy(0).admin().await.rows("RECONNECT").await.unwrap();
}

#[tokio::test]
async fn formats_and_orders_of_dates_add_up_as_in_one_session() {
    let herd = start();
    let mut client = connect(&herd).await;
    for (settings, expected) in [
        (&["set datestyle to sql", "set datestyle to ymd"][..], "SQL, YMD"),
        (&["set datestyle to dmy", "set datestyle to german"], "German, DMY"),
        (&["begin; set datestyle to postgres; set datestyle to mdy; commit"], "Postgres, MDY"),
        (&["begin", "set datestyle to iso", "set local datestyle to ymd", "commit"], "ISO, MDY"),
        (&["begin; set datestyle to sql; commit; begin; set local datestyle to ymd", "commit"], "SQL, MDY"),
        (&["select set_config('datestyle', 'ymd', false)"], "SQL, YMD"),
        (&["set datestyle to default"], "ISO, MDY"),
    ] {
        for setting in settings {
            client.execute(setting).await;
        }
        renew(&herd).await;
        assert_eq!(client.value("show datestyle").await, expected, "{settings:?}");
        assert_eq!(client.parameter("DateStyle"), Some(expected), "{settings:?}");
    }
}

#[tokio::test]
async fn what_a_client_does_not_say_of_dates_is_as_the_server_has_it() {
    let herd = start();
    let mut other = connect(&herd).await;
    other.execute("set datestyle to 'SQL, DMY'").await;
    let mut startup = herd.app().with("DateStyle", "ISO");
    startup.address.set_port(herd.proxy(0).port_of("read-write"));
    let mut client = startup.connect().await.unwrap();
    assert_eq!(client.value("show datestyle").await, "ISO, MDY");
    assert_eq!(other.value("show datestyle").await, "SQL, DMY");
    assert_eq!(client.value("show datestyle").await, "ISO, MDY");
    client.execute("set datestyle to ymd").await;
    assert_eq!(other.value("show datestyle").await, "SQL, DMY");
    assert_eq!(client.value("show datestyle").await, "ISO, YMD");
}

#[tokio::test]
async fn a_change_of_session_authorization_ends_a_role() {
    let herd = start();
    let (plain, other) = (format!("{}_plain", herd.database()), format!("{}_other", herd.database()));
    herd.psql_directly(&format!("create role {plain}; create role {other}; grant {other} to {plain}"))
        .unwrap();
    let superuser = herd.cluster().superuser();
    let mut parameters = herd.proxy(0).login(superuser, herd.database());
    parameters.address.set_port(herd.proxy(0).port_of("read-write"));
    let mut client = parameters.connect().await.unwrap();
    let login = superuser.user.as_str();
    for (settings, session, current) in [
        (&["set role other", "set session authorization plain"][..], "plain", "plain"),
        (&["reset session authorization"], login, login),
        (&["set role other", "reset session authorization"], login, login),
        (&["begin; set role other; set session authorization default; commit"], login, login),
        (&["set session authorization plain", "set role other"], "plain", "other"),
        (&["reset session authorization", "set role other"], login, "other"),
    ] {
        let named = |text: &str| text.replace("plain", &plain).replace("other", &other);
        for setting in settings {
            client.execute(&named(setting)).await;
        }
        let expected = named(&format!("{session} {current}"));
        for _ in 0..2 {
            assert_eq!(
                client.value("select session_user || ' ' || current_user").await,
                expected,
                "{settings:?}"
            );
            renew(&herd).await;
        }
    }
    herd.psql_directly(&format!("drop role {plain}; drop role {other}")).unwrap();
}

#[tokio::test]
async fn characteristics_of_transactions_are_followed_like_other_settings() {
    let herd = start();
    let (mut client, mut other) = (connect(&herd).await, connect(&herd).await);
    const MODES: &str = "select current_setting('transaction_isolation') || ' ' || \
                         current_setting('transaction_read_only') || ' ' || \
                         current_setting('transaction_deferrable')";
    for (modes, expected) in [
        ("isolation level serializable, read only, deferrable", "serializable on on"),
        ("isolation level repeatable read", "repeatable read on on"),
        ("read write not deferrable", "repeatable read off off"),
    ] {
        client.execute(&format!("set session characteristics as transaction {modes}")).await;
        for _ in 0..2 {
            assert_eq!(client.value(MODES).await, expected, "{modes}");
            assert_eq!(other.value(MODES).await, "read committed off off");
        }
    }
    assert_eq!(herd.proxy(0).admin().await.rows("SHOW PINNED").await.unwrap().len(), 0);
    client.execute("reset all").await;
    assert_eq!(client.value(MODES).await, "read committed off off");
}

use super::row;
use crate::{Settings, from_database_url};

fn load(url: &str) -> Result<Settings, String> {
    from_database_url(url, std::iter::empty()).map_err(|mistakes| mistakes.to_string())
}

#[track_caller]
fn nodes(url: &str, expected: &[&str]) {
    let settings = load(url).unwrap();
    let nodes = &settings.clusters[0].topology.nodes;
    let addresses: Vec<String> = nodes.iter().map(|node| format!("{}:{}", node.host, node.port)).collect();
    assert_eq!(addresses, expected, "{url}");
    assert!(nodes.iter().all(|node| node.region == "local"));
}

#[track_caller]
fn wrong(url: &str, expected: &str) {
    assert_eq!(load(url).expect_err("accepted"), expected);
}

#[test]
fn every_host_is_a_node() {
    nodes("postgres://u:p@h1:5432,h2,h3:5433/db", &["h1:5432", "h2:5432", "h3:5433"]);
    nodes("postgresql://u@[::1]:6000/", &["::1:6000"]);
    nodes("postgres://u@/db", &["localhost:5432"]);
    nodes("postgres://u@/db?host=a,b&port=1,2", &["a:1", "b:2"]);
    nodes("postgres://u@/db?host=a,b&port=7", &["a:7", "b:7"]);
}

#[test]
fn the_user_is_monitor_client_and_administrator() {
    let settings = load("postgres://u%40x:p%3Aw@h/shop?sslmode=require&connect_timeout=3").unwrap();
    let health = &settings.clusters[0].health;
    assert_eq!((health.user.as_str(), health.database.as_str()), ("u@x", "shop"));
    assert!(health.secret.is_some());
    assert_eq!(health.tls.mode, conn::ServerTlsMode::Require);
    assert!(settings.auth.users.contains_key("u@x"));
    let query = settings.auth.query.as_ref().unwrap();
    assert!(query.optional && query.sql.contains("pg_authid"));
    assert_eq!(query.database, "shop");
    assert_eq!(settings.admin.users, ["u@x"]);
    assert_eq!(settings.databases[0].pool.connect_timeout.as_secs(), 3);
    assert_eq!(settings.databases[0].name, "*");
    assert_eq!(settings.listeners[0].address.to_string(), "127.0.0.1:6432");
}

#[test]
fn a_password_may_be_left_out_and_may_hold_an_at_sign() {
    let settings = load("postgres://u@h").unwrap();
    assert!(settings.clusters[0].health.secret.is_none() && settings.auth.users.is_empty());
    nodes("postgres://u:p@ss@h/db", &["h:5432"]);
}

#[test]
fn the_environment_lies_over_the_url() {
    let environment = [("PGHERD__LISTEN__0__ADDRESS".to_owned(), "0.0.0.0:5432".to_owned())];
    let settings = from_database_url("postgres://u:p@h/db", environment.into_iter()).unwrap();
    assert_eq!(row(&settings, "listen.0.address"), "0.0.0.0:5432");
}

#[test]
fn mistakes_name_the_url_and_never_quote_it() {
    wrong("mysql://u:hunter2@h", "DATABASE_URL: it does not begin with postgres://");
    wrong("postgres://h/db", "DATABASE_URL: a user is missing: postgres://user:password@host/database");
    wrong("postgres://u:hunter2%zz@h", "DATABASE_URL: password: the percent-encoding is wrong");
    wrong(
        "postgres://u:p@h/db?sslmod=require&channel_binding=require",
        "DATABASE_URL: channel_binding=require is not offered to servers; sslmode=verify-full proves who they are\n\
         DATABASE_URL: unknown parameter \"sslmod\"; did you mean \"sslmode\"?",
    );
    wrong(
        "postgres://u:p@h/db?sslmode=verify",
        "DATABASE_URL: cluster.0.tls.mode = \"verify\": expected \"disable\", \"allow\", \"prefer\", \"require\", \
         \"verify-ca\" or \"verify-full\"; did you mean \"verify-ca\"?",
    );
    wrong(
        "postgres://u:p@%2Frun%2Fpostgresql/db",
        "DATABASE_URL: cluster.0.nodes.0.address = \"/run/postgresql\": expected \"host:port\", \"host\" or \
         \"[IPv6]:port\" (Unix sockets have no region; name the host)",
    );
}

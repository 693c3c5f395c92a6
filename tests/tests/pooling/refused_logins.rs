//! Servers that do not let the proxy in any more.

use std::time::Duration;

use e2e::{Herd, Setup, eventually};
use lab::Login;
use testkit::{Batch, Client};

/// A role that may log in and that no other herd has.
fn role(herd: &Herd) -> Login {
    let login = Login { user: format!("{}_role", herd.database()), password: "secret".to_owned() };
    let sql = format!("create role {} login password '{}'", login.user, login.password);
    herd.cluster().psql(0, &sql).unwrap();
    login
}

/// Lets the role log in, or not any more (`nologin`); its sessions go on.
fn may(herd: &Herd, login: &Login, word: &str) {
    herd.cluster().psql(0, &format!("alter role {} {word}", login.user)).unwrap();
}

/// Ends all sessions of the role.
fn end_sessions(herd: &Herd, login: &Login) {
    let of_role = format!("from pg_stat_activity where usename = '{}'", login.user);
    herd.cluster().psql(0, &format!("select pg_terminate_backend(pid, 5000) {of_role}")).unwrap();
}

async fn connect(herd: &Herd, login: &Login) -> Client {
    let mut parameters = herd.proxy(0).login(login, herd.database());
    parameters.address.set_port(herd.proxy(0).port_of("read-write"));
    parameters.connect().await.unwrap()
}

/// How often the primary has refused the role.
fn refusals(herd: &Herd, login: &Login) -> usize {
    let log = std::fs::read(herd.cluster().node(0).log()).unwrap();
    let words = format!("role \"{}\" is not permitted to log in", login.user);
    String::from_utf8_lossy(&log).matches(&words).count()
}

fn until_refused(herd: &Herd, login: &Login) {
    eventually("a login is refused", Duration::from_secs(10), || (refusals(herd, login) > 0).then_some(()));
}

#[tokio::test]
async fn clients_wait_for_the_connections_that_there_are() {
    let herd = Setup::shared().set("pool.size", 4).start();
    let login = role(&herd);
    let mut open = connect(&herd, &login).await;
    let mut waiting = connect(&herd, &login).await;
    open.execute("begin").await;
    open.execute("select 1").await;
    may(&herd, &login, "nologin");
    waiting.send(Batch::new().query("select 'through'").bytes()).await.unwrap();
    until_refused(&herd, &login);
    let early = waiting.next_within(Duration::from_millis(300)).await;
    assert!(early.is_err(), "{early:?}");
    open.execute("commit").await;
    let messages = waiting.until_ready().await;
    assert!(messages.iter().any(|message| message.tag == b'D'), "{messages:?}");
    // Without any, the client is told why.
    end_sessions(&herd, &login);
    assert_eq!(waiting.failure("select 1").await.as_deref(), Some("28000"));
    may(&herd, &login, "login");
    assert_eq!(waiting.value("select 1").await, "1");
}

#[tokio::test]
async fn a_minimum_that_cannot_be_kept_is_tried_less_and_less_often() {
    let herd = Setup::shared().set("pool.min_size", 2).start();
    let login = role(&herd);
    let mut client = connect(&herd, &login).await;
    client.execute("select 1").await;
    may(&herd, &login, "nologin");
    end_sessions(&herd, &login);
    until_refused(&herd, &login);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let count = refusals(&herd, &login);
    assert!(count <= 20, "{count} logins in three seconds");
}

use std::sync::Arc;

use session::{CancelKeys, WorkerId, spawn_worker};

use super::scene::{Client, Fake};
use crate::{Console, ConsoleRole, ReloadRefused, ShutdownMode};

async fn admin() -> Client {
    Client::welcomed(ConsoleRole::Admin, console()).await
}

fn console() -> Arc<Console> {
    Arc::new(Console::new(Vec::new(), Arc::new(Fake::new())))
}

#[track_caller]
fn check(answers: &[String], expected: &[&str]) {
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn the_welcome_tells_a_version_that_drivers_can_read() {
    let answers = Client::new(ConsoleRole::Admin, console()).answers().await;
    assert_eq!(answers.first().unwrap(), "R");
    let version = answers.iter().find(|answer| answer.starts_with("S server_version ")).unwrap();
    assert!(version.starts_with("S server_version 16."), "{version}");
    assert!(answers.contains(&"S session_authorization root".to_owned()));
    check(&answers[answers.len() - 2..], &["K", "Z I"]);
}

#[tokio::test]
async fn statements_of_one_query_are_answered_one_by_one_up_to_the_first_error() {
    let mut client = admin().await;
    let version = format!("D pgherd {}", env!("CARGO_PKG_VERSION"));
    check(
        &client.query("show version; select 'a;b';; show nothing_there; show version").await,
        &[
            "T 1",
            &version,
            "C SHOW",
            "T 1",
            "D a;b",
            "C SELECT 1",
            "E 42601 no such command: show nothing_there",
            "Z I",
        ],
    );
    check(&client.query("").await, &["I", "Z I"]);
    check(&client.query(";;;; -- x").await, &["I", "Z I"]);
    check(&client.query("\u{1}\u{2}\u{3}").await, &["E 42601 no such command: \u{1}\u{2}\u{3}", "Z I"]);
}

#[tokio::test]
async fn set_up_noise_is_accepted_and_transactions_are_acted() {
    let mut client = admin().await;
    check(&client.query("SET extra_float_digits = 3; SET TIME ZONE 'UTC'").await, &["C SET", "C SET", "Z I"]);
    check(&client.query("BEGIN").await, &["C BEGIN", "Z T"]);
    check(&client.query("select 1").await, &["T 1", "D 1", "C SELECT 1", "Z T"]);
    check(&client.query("COMMIT").await, &["C COMMIT", "Z I"]);
    check(&client.query("SHOW timezone").await, &["T 1", "D UTC", "C SHOW", "Z I"]);
    check(&client.query("show help").await, &["N 00000 Console usage", "C SHOW", "Z I"]);
    check(&client.query("set pool.size = 3").await, &["N 00000 pool.size -> 3", "C SET", "Z I"]);
}

#[tokio::test]
async fn those_who_may_look_may_not_touch() {
    let mut client = Client::welcomed(ConsoleRole::Stats, console()).await;
    for command in [
        "RELOAD",
        "PAUSE",
        "RESUME",
        "RECONNECT",
        "KILL",
        "KILL_CLIENT 1",
        "SHUTDOWN",
        "SUSPEND",
        "WAIT_CLOSE",
        "DISABLE shop",
        "ENABLE shop",
    ] {
        let answers = client.query(command).await;
        let name = command.split(' ').next().unwrap();
        check(&answers, &[&format!("E 42501 {name} needs an administrator"), "Z I"]);
    }
    check(&client.query("SET pool.size = 3").await, &["E 42501 SET pool.size needs an administrator", "Z I"]);
    let answers = client.query("show databases; show lists").await;
    assert_eq!(answers.first().unwrap(), "T 17");
    assert_eq!(answers.last().unwrap(), "Z I");
    assert_eq!(client.query("begin; set x = 1; select 1; end").await.last().unwrap(), "Z I");
}

#[tokio::test]
async fn reload_tells_each_change_or_every_mistake() {
    let mut client = admin().await;
    check(&client.query("reload").await, &["N 00000 pool.size: 20 -> 30", "C RELOAD", "Z I"]);
    let mistakes = vec!["no such key".to_owned(), "not a number".to_owned()];
    let fake = Fake { reload: Err(ReloadRefused { mistakes }), ..Fake::new() };
    let console = Arc::new(Console::new(Vec::new(), Arc::new(fake)));
    let mut client = Client::welcomed(ConsoleRole::Admin, console).await;
    check(&client.query("reload").await, &["E F0000 the configuration was refused", "Z I"]);
}

#[tokio::test]
async fn pause_and_resume_are_remembered() {
    let mut client = admin().await;
    check(&client.query("resume").await, &["E 55000 nothing is paused", "Z I"]);
    check(&client.query("pause shop").await, &["C PAUSE", "Z I"]);
    let databases = client.query("show databases").await;
    assert!(databases.iter().any(|row| row.starts_with("D shop|") && row.ends_with("|1|0")), "{databases:?}");
    check(
        &client.query("resume shop; resume shop").await,
        &["C RESUME", "E 55000 database \"shop\" was not paused by itself", "Z I"],
    );
    client.query("pause").await;
    let state = client.query("show state").await;
    assert!(state.contains(&"D paused|yes".to_owned()), "{state:?}");
    check(&client.query("resume").await, &["C RESUME", "Z I"]);
    check(&client.query("kill_client 99").await, &["E 42704 there is no client 99", "Z I"]);
}

#[tokio::test]
async fn shutdown_is_passed_on() {
    let fake = Arc::new(Fake::new());
    let console = Arc::new(Console::new(Vec::new(), Arc::clone(&fake) as _));
    let mut client = Client::welcomed(ConsoleRole::Admin, console).await;
    client.query("shutdown wait_for_servers").await;
    assert_eq!(*fake.shut_down.lock().unwrap(), Some(ShutdownMode::WaitForServers));
}

#[tokio::test]
async fn real_workers_report_and_obey() {
    let fake = Arc::new(Fake::new());
    let keys = Arc::new(CancelKeys::default());
    let worker = |id| spawn_worker(WorkerId(id), Arc::clone(&fake.world), Arc::clone(&keys)).unwrap();
    let workers = (0..2).map(worker).collect();
    let console = Arc::new(Console::new(workers, Arc::clone(&fake) as _));
    let mut client = Client::welcomed(ConsoleRole::Admin, Arc::clone(&console)).await;
    let lists = client.query("show lists").await;
    assert!(lists.contains(&"D used_clients|0".to_owned()), "{lists:?}");
    check(
        &client
            .query("show clients; pause shop; suspend; resume; reconnect; wait_close; kill lab; resume lab")
            .await,
        &[
            "T 21",
            "C SHOW",
            "C PAUSE",
            "C SUSPEND",
            "C RESUME",
            "C RECONNECT",
            "C WAIT_CLOSE",
            "C KILL",
            "C RESUME",
            "Z I",
        ],
    );
    check(&client.query("kill_client 5").await, &["E 42704 there is no client 5", "Z I"]);
    client.leave().await;
    assert_eq!(Arc::strong_count(&console), 1, "the client's task has ended and let go of it");
}

#[tokio::test]
async fn bytes_that_are_no_message_end_the_connection() {
    let mut client = admin().await;
    client.send(b"GET / HTTP/1.1\r\n\r\n").await;
    let answers = client.answers().await;
    assert!(answers[0].starts_with("E 08P01"), "{answers:?}");
    assert_eq!(answers[1], "closed");
    let mut client = admin().await;
    client.send(b"Q\x7f\xff\xff\xff").await;
    assert!(client.answers().await[0].starts_with("E 08P01"));
}

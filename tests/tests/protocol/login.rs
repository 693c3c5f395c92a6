//! From the first byte to the first ReadyForQuery.

use std::{fs, os::unix::fs::PermissionsExt};

use e2e::{Herd, Setup};
use testkit::{Client, ConnectionParameters, Message};
use wire::message::startup::{self, PROTOCOL_3_0, PROTOCOL_3_2};

#[tokio::test]
async fn a_client_learns_what_postgresql_would_tell_it() {
    let herd = Herd::common();
    let (_, heard) = herd.app().connect_and_listen().await.unwrap();
    let mut to_node = herd.app();
    to_node.address.set_port(herd.cluster().node(0).port());
    let (_, heard_directly) = to_node.connect_and_listen().await.unwrap();
    let names = |messages: &[Message]| {
        let reports = messages.iter().filter(|message| message.tag == b'S');
        let mut pairs: Vec<_> = reports.map(Message::parameter).collect();
        pairs.sort();
        pairs
    };
    assert_eq!(names(&heard), names(&heard_directly));
    assert!(heard.iter().any(|message| message.tag == b'K'));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_refused_in_the_same_words() {
    let herd = Herd::common();
    let wrong = ConnectionParameters { password: "wrong".into(), ..herd.app() };
    let unknown = ConnectionParameters { user: "xyz".into(), ..herd.app() };
    let [wrong, unknown] =
        [wrong, unknown].map(|parameters| async move { parameters.connect().await.unwrap_err() });
    let (wrong, unknown) = (wrong.await, unknown.await);
    assert_eq!(wrong.sqlstate().as_deref(), Some("28P01"));
    let text = |refused: &testkit::Refused| refused.0.as_ref().unwrap().complaint();
    assert_eq!(text(&wrong), "FATAL: password authentication failed for user \"app\"");
    assert_eq!(text(&unknown), text(&wrong).replace("app", "xyz"));
}

#[tokio::test]
async fn an_unknown_database_is_refused_after_the_password_with_3d000() {
    let herd = Herd::common();
    let unknown = ConnectionParameters { database: "nowhere".into(), ..herd.app() };
    let refused = unknown.connect().await.unwrap_err();
    assert_eq!(refused.sqlstate().as_deref(), Some("3D000"), "{refused}");
    let wrong = ConnectionParameters { password: "wrong".into(), ..unknown };
    assert_eq!(wrong.connect().await.unwrap_err().sqlstate().as_deref(), Some("28P01"));
}

#[tokio::test]
async fn a_newer_protocol_and_unknown_options_are_negotiated_down() {
    let herd = Herd::common();
    let newer = ConnectionParameters { version: (3 << 16) | 77, ..herd.app() }
        .with("_pq_.crystal_ball", "on")
        .with("application_name", "negotiator");
    let (mut client, heard) = newer.connect_and_listen().await.unwrap();
    assert_eq!(heard[0].tag, b'v');
    assert_eq!(heard[0].body, b"\0\0\0\x02\0\0\0\x01_pq_.crystal_ball\0");
    assert_eq!(client.value("show application_name").await, "negotiator");

    let (_, heard) =
        ConnectionParameters { version: PROTOCOL_3_2, ..herd.app() }.connect_and_listen().await.unwrap();
    assert_eq!(heard[0].tag, b'R');
}

#[tokio::test]
async fn an_unsupported_major_version_is_refused() {
    let herd = Herd::common();
    for version in [2 << 16, 4 << 16] {
        let refused = ConnectionParameters { version, ..herd.app() }.connect().await.unwrap_err();
        assert_eq!(refused.sqlstate().as_deref(), Some("0A000"), "{version:#x}: {refused}");
    }
}

#[tokio::test]
async fn encryption_is_declined_with_one_byte_and_the_session_goes_on() {
    let herd = Herd::common();
    let app = herd.app();
    let mut packets = Vec::new();
    startup::ssl_request(&mut packets);
    let mut client = tokio::net::TcpStream::connect(app.address).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    client.write_all(&packets).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'N');
    packets.clear();
    packets.extend_from_slice(b"\0\0\0\x08\x04\xd2\x16\x30"); // GSSENCRequest
    client.write_all(&packets).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'N');
    packets.clear();
    startup::session(PROTOCOL_3_0, &[(b"user", app.user.as_bytes())], &mut packets);
    client.write_all(&packets).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'R');
}

#[tokio::test]
async fn settings_of_the_startup_packet_hold_for_the_whole_session() {
    let herd = Setup::shared().set("pool.size", 1).start();
    let parameters = herd
        .app()
        .with("application_name", "it's me")
        .with("options", r#"-c work_mem=3MB --statement-timeout=5min -c search_path="one\ two",public"#)
        .with("DateStyle", "SQL, DMY")
        .with("extra_float_digits", "3");
    let mut client = parameters.connect().await.unwrap();
    let mut other = herd.connect().await;
    for _ in 0..3 {
        assert_eq!(client.value("show work_mem").await, "3MB");
        assert_eq!(other.value("show work_mem").await, "4MB");
        assert_eq!(client.value("show statement_timeout").await, "5min");
        assert_eq!(client.value("show search_path").await, "\"one two\",public");
        assert_eq!(client.value("show application_name").await, "it's me");
        assert_eq!(other.value("show search_path").await, "\"$user\", public");
        assert_eq!(client.value("show datestyle").await, "SQL, DMY");
    }
    assert_eq!(client.parameter("DateStyle"), Some("SQL, DMY"));
    client.execute("set work_mem = '9MB'").await;
    client.execute("reset work_mem").await;
    assert_eq!(client.value("show work_mem").await, "3MB");
}

#[tokio::test]
async fn a_setting_that_postgresql_refuses_at_login_is_refused() {
    let herd = Herd::common();
    for (name, value) in [("work_mem", "lots"), ("no_such_setting", "1"), ("options", "-c no_such_setting=1")]
    {
        let refused = herd.app().with(name, value).connect().await.map(|_| ()).unwrap_err();
        let mut directly = herd.app().with(name, value);
        directly.address.set_port(herd.cluster().node(0).port());
        let expected = directly.connect().await.map(|_| ()).unwrap_err();
        assert_eq!(
            refused.sqlstate(),
            expected.sqlstate(),
            "{name}={value}: {refused} instead of {expected}"
        );
    }
}

#[tokio::test]
async fn one_stored_verifier_serves_clients_and_servers() {
    let herd = Herd::common();
    let name = format!("{}_verified", herd.database());
    let login = lab::Login { user: name.clone(), password: "sésame öffne dich".into() };
    herd.psql_directly(&format!("create role {name} login password '{}'", login.password)).unwrap();
    let verifier =
        herd.psql_directly(&format!("select rolpassword from pg_authid where rolname = '{name}'")).unwrap();
    assert!(verifier.starts_with("SCRAM-SHA-256$"));
    let app = herd.cluster().application();
    let users = herd.cluster().directory().join(format!("{name}.users"));
    fs::write(&users, format!("\"{name}\" \"{verifier}\"\n\"{}\" \"{}\"\n", app.user, app.password)).unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();

    let file = users.to_string_lossy().into_owned();
    let herd =
        Setup::shared().set("auth", toml::Table::from_iter([("file".to_owned(), file.into())])).start();
    let mut client = herd.proxy(0).login(&login, herd.database()).connect().await.unwrap();
    assert_eq!(client.value("select current_user").await, name);
    let stranger = herd.proxy(0).login(herd.cluster().superuser(), herd.database());
    assert_eq!(stranger.connect().await.unwrap_err().sqlstate().as_deref(), Some("28P01"));
}

#[tokio::test]
async fn a_changed_password_counts_after_a_moment() {
    let herd = Setup::shared().start();
    let name = format!("{}_fickle", herd.database());
    let old = lab::Login { user: name.clone(), password: "old".into() };
    let new = lab::Login { password: "new".into(), ..old.clone() };
    herd.psql_directly(&format!("create role {name} login password 'old'")).unwrap();
    assert_eq!(connect(&herd, &old).await.value("select 1").await, "1");
    herd.psql_directly(&format!("alter role {name} password 'new'")).unwrap();
    // A failed try looks the secret up again, but not more than once a second.
    e2e::eventually_async("the new password counts", std::time::Duration::from_secs(5), || async {
        herd.proxy(0).login(&new, herd.database()).connect().await.ok()
    })
    .await;
    assert!(herd.proxy(0).login(&old, herd.database()).connect().await.is_err());
}

async fn connect(herd: &Herd, login: &lab::Login) -> Client {
    herd.proxy(0).login(login, herd.database()).connect().await.unwrap()
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let herd = Setup::shared().set("session.max_clients", 3).start();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(herd.connect().await);
    }
    assert_eq!(herd.app().connect().await.unwrap_err().sqlstate().as_deref(), Some("53300"));
    clients.pop().unwrap().terminate().await;
    e2e::eventually_async("a place becomes free", std::time::Duration::from_secs(5), || async {
        herd.app().connect().await.ok()
    })
    .await;
}

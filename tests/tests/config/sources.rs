//! A file, a URL, the environment; and all of it anew.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
    time::Duration,
};

use e2e::{Configuration, Herd, Setup, eventually, pgherd};
use lab::{Cluster, Options, Reservation, Signal};
use testkit::Message;

/// How long a proxy may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pgherd that was started by hand.
struct ByHand(Child);

impl Drop for ByHand {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_database_url_is_enough() {
    let herd = Herd::common();
    let (cluster, monitor) = (herd.cluster(), herd.cluster().monitor());
    let ports: Vec<u16> = cluster.nodes().iter().map(lab::Node::port).collect();
    // The primary need not be the first, nor the last.
    let hosts = [1, 0, 2].map(|node| format!("127.0.0.1:{}", ports[node])).join(",");
    for (number, hosts) in [hosts, format!("127.0.0.1:{}", ports[0])].into_iter().enumerate() {
        let url = format!(
            "postgres://{}:{}@{hosts}/postgres?sslmode=disable&target_session_attrs=any",
            monitor.user, monitor.password,
        );
        let port = Reservation::any().unwrap().release();
        let log = File::create(cluster.directory().join(format!("by-url-{number}.log"))).unwrap();
        let mut command = Command::new(pgherd());
        command.arg("run").env_clear().current_dir(cluster.directory());
        command.env("DATABASE_URL", url).env("PGHERD__LISTEN__0__ADDRESS", format!("127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let _process = ByHand(command.spawn().unwrap());
        let run = |sql: &str| cluster.psql_at(port, cluster.application(), cluster.database(), sql);
        eventually("clients are served", PATIENCE, || run("select 1").ok());
        let primary = ports[0].to_string();
        let begin = "begin; select current_setting('port'); commit";
        assert_eq!(run(begin).unwrap(), primary, "the role of each node is found");
        run(&format!("create table by_url_{number} (a int); insert into by_url_{number} values (1)"))
            .unwrap();
        if number == 0 {
            let reader = eventually("reads go to a standby", PATIENCE, || {
                run("select current_setting('port')").ok().filter(|port| *port != primary)
            });
            assert!(ports[1..].iter().any(|port| reader == port.to_string()), "{reader}");
        }
    }
}

#[test]
fn a_url_that_is_none_is_refused_without_quoting_it() {
    let run = |url: &str| {
        let output = Command::new(pgherd()).arg("run").env_clear().env("DATABASE_URL", url).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for url in ["postgres://u:hunter2@h:99999/d", "mysql://u:hunter2@h/d", "postgres://:hunter2@h/d"] {
        let (code, error) = run(url);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("DATABASE_URL") && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn the_environment_goes_over_the_file_and_stays_there_over_a_reload() {
    let herd = Setup::shared()
        .set("pool.size", 9)
        .set("pool.max_waiting", 11)
        .environment("PGHERD__POOL__SIZE", "2")
        .environment("PGHERD__ROUTING__MAX_LAG", "3s")
        .start();
    let mut admin = herd.proxy(0).admin().await;
    for _ in 0..2 {
        let rows = admin.rows("SHOW CONFIG").await.unwrap();
        let value =
            |key: &str| rows.iter().find(|row| row[0].as_deref() == Some(key)).unwrap()[1].clone().unwrap();
        assert_eq!(value("pool.size"), "2");
        assert_eq!(value("pool.max_waiting"), "11");
        assert_eq!(value("routing.max_lag"), "3s");
        admin.execute("RELOAD").await;
    }
}

#[tokio::test]
async fn sighup_applies_a_good_file_and_refuses_a_bad_one() {
    let herd = Setup::shared().set("pool.size", 3).start();
    let proxy = herd.proxy(0);
    let mut client = herd.connect().await;
    client.execute("begin").await;
    proxy.write_configuration(|configuration| configuration.set("pool.size", 4));
    proxy.signal(Signal::SIGHUP);
    eventually("it is told", PATIENCE, || proxy.log().contains("configuration reloaded").then_some(()));
    proxy.write_configuration(|configuration| configuration.set("pool.size", "many"));
    proxy.signal(Signal::SIGHUP);
    eventually("it is refused", PATIENCE, || proxy.log().contains("configuration refused").then_some(()));
    let log = proxy.log();
    assert!(log.contains("pool.size = \\\"many\\\"") || log.contains("pool.size = \"many\""), "{log}");
    let rows = proxy.admin().await.rows("SHOW CONFIG").await.unwrap();
    let size = rows.iter().find(|row| row[0].as_deref() == Some("pool.size")).unwrap()[1].clone();
    assert_eq!(size.as_deref(), Some("4"));
    client.execute("commit").await;
}

#[tokio::test]
async fn nodes_come_and_go_with_a_reload() {
    let herd = Setup::shared().regions(["us"]).start();
    let proxy = herd.proxy(0);
    let [us, ap] = [1, 2].map(|node| herd.cluster().node(node).port().to_string());
    let mut client = herd.connect().await;
    let port = "select current_setting('port')";
    assert_eq!(client.value(port).await, us);
    let before = proxy.configuration_file();
    let text = std::fs::read_to_string(&before).unwrap();
    proxy.write_configuration(|configuration| configuration.remove("cluster.0.nodes.1"));
    let mut admin = proxy.admin().await;
    admin.execute("RELOAD").await;
    assert_eq!(admin.rows("SHOW NODES").await.unwrap().len(), 2);
    assert_eq!(client.value("/* pgherd: region=ap */ select current_setting('port')").await, ap);
    proxy.write_configuration_text(&text);
    admin.execute("RELOAD").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while client.value(port).await != us {
        assert!(tokio::time::Instant::now() < deadline, "the node that came back is not read from");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn clusters_keep_their_nodes_in_whatever_order_a_reload_finds_them() {
    let other = Cluster::start(Options { standbys: 0, ..Options::default() }).unwrap();
    let herd = Setup::own(0)
        .set("session.max_hold", "2s")
        .set("cluster.1.name", "other")
        .set("cluster.1.monitor.user", other.monitor().user.as_str())
        .set("cluster.1.monitor.secret", other.monitor().password.as_str())
        .set("cluster.1.tls.mode", "disable")
        .set("cluster.1.nodes.0.address", format!("127.0.0.1:{}", other.node(0).port()))
        .set("cluster.1.nodes.0.name", "lonely")
        .set("database.0.name", "elsewhere")
        .set("database.0.server_name", other.database())
        .set("database.0.cluster", "other")
        .set("database.1.name", "*")
        .set("database.1.cluster", "main")
        .start();
    // Each user has one secret at the proxy, so it has to be the same on both clusters.
    let app = herd.cluster().application();
    let verifier = format!("select rolpassword from pg_authid where rolname = '{}'", app.user);
    let verifier = herd.cluster().psql(0, &verifier).unwrap();
    other.psql(0, &format!("alter role {} password '{verifier}'", app.user)).unwrap();
    let proxy = herd.proxy(0);
    let clusters = [
        (herd.database(), herd.cluster().node(0).port().to_string()),
        ("elsewhere", other.node(0).port().to_string()),
    ];
    let mut clients = Vec::new();
    for (database, _) in &clusters {
        clients.push(proxy.login(app, database).connect().await.unwrap());
    }
    let swap = |configuration: &mut Configuration| {
        let [first, second] = [0, 1].map(|at| configuration.value(&format!("cluster.{at}")));
        configuration.set("cluster.0", second);
        configuration.set("cluster.1", first);
    };
    let mut admin = proxy.admin().await;
    for _ in 0..2 {
        proxy.write_configuration(swap);
        let told = admin.query("RELOAD").await;
        let told: Vec<String> = told.iter().filter(|m| m.tag == b'N').map(Message::complaint).collect();
        assert_eq!(told, ["NOTICE: nothing has changed"]);
        for (client, (database, port)) in clients.iter_mut().zip(&clusters) {
            assert_eq!(client.value("select current_setting('port') for update").await, *port, "{database}");
            let mut newcomer = proxy.login(app, database).connect().await.unwrap();
            assert_eq!(
                newcomer.value("select current_setting('port') for update").await,
                *port,
                "{database}"
            );
        }
    }
    proxy.write_configuration(|configuration| {
        configuration.set("cluster.1.name", "renamed");
        configuration.set("database.0.cluster", "renamed");
    });
    let messages = admin.query("RELOAD").await;
    let error = messages.iter().find(|message| message.tag == b'E').unwrap();
    assert!(String::from_utf8_lossy(&error.body).contains("needs a restart"), "{messages:?}");
}

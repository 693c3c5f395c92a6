//! Load balancers and orchestrators watch the cluster through pgherd, by HTTP.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use e2e::{Herd, Setup, eventually};

use super::{PATIENCE, wait_for_event};

/// Where Debian's package has it.
const HAPROXY: &str = "/usr/sbin/haproxy";

/// The status of an answer, and its body.
fn ask(port: u16, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.trim_end().to_owned())
}

/// Waits until paths answer with these statuses.
#[track_caller]
fn wait_for(port: u16, expected: &[(&str, &str)]) {
    for (path, status) in expected {
        eventually(&format!("{path} answers {status}"), PATIENCE, || {
            (ask(port, "OPTIONS", path).0 == *status).then_some(())
        });
    }
}

/// A HAProxy before the nodes themselves, which asks pgherd who is the primary, and before pgherd.
struct Haproxy {
    process: Child,
    to_primary: u16,
    to_pgherd: u16,
}

impl Haproxy {
    fn start(herd: &Herd, http: u16) -> Self {
        let ports = [(); 2].map(|()| lab::Reservation::any().unwrap().release());
        let [to_primary, to_pgherd] = ports;
        let servers: String = (herd.cluster().nodes().iter())
            .map(|node| format!("    server {} 127.0.0.1:{}\n", node.name(), node.port()))
            .collect();
        let checks = format!("check addr 127.0.0.1 port {http} inter 100ms fall 1 rise 1");
        let text = format!(
            "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 1m\n    timeout server 1m\n\
             listen primary\n    bind 127.0.0.1:{to_primary}\n    option httpchk\n\
             \x20   http-check send meth OPTIONS uri-lf /node/%[srv_name]/primary\n\
             \x20   default-server {checks} on-marked-down shutdown-sessions\n{servers}\
             listen pgherd\n    bind 127.0.0.1:{to_pgherd}\n    option httpchk OPTIONS /readiness\n\
             \x20   server pgherd 127.0.0.1:{} {checks}\n",
            herd.proxy(0).port()
        );
        let file: PathBuf = herd.cluster().directory().join("haproxy.cfg");
        fs::write(&file, text).unwrap();
        let checked = Command::new(HAPROXY).args(["-c", "-f"]).arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let process = Command::new(HAPROXY)
            .args(["-db", "-q", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, to_primary, to_pgherd }
    }

    /// Waits until it leads to a node that can be written to, on this port.
    fn wait_for_primary(&self, herd: &Herd, port: u16) {
        let login = herd.cluster().application();
        let sql = "select inet_server_port(), pg_is_in_recovery()";
        eventually("HAProxy leads to the primary", PATIENCE, || {
            let found =
                herd.cluster().psql_at(self.to_primary, login, herd.cluster().database(), sql).ok()?;
            (found == format!("{port}|f")).then_some(())
        });
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // it may have ended
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Opens connections that never say anything, more than are answered at a time.
fn clog(port: u16) -> Vec<TcpStream> {
    (0..80).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect()
}

#[test]
fn load_balancers_see_where_to_go_before_during_and_after_a_failover() {
    let http = lab::Reservation::any().unwrap().release();
    let herd = Setup::own(2).set("health.listen", format!("127.0.0.1:{http}")).start();
    let cluster = herd.cluster();
    let names = [0, 1, 2].map(|index| cluster.node(index).name().to_owned());
    let [eu, us, ap] = &names;
    let of = |node: &str, check: &str| format!("/node/{node}/{check}");
    cluster.psql(0, &format!("alter system set synchronous_standby_names = 'FIRST 1 ({us})'")).unwrap();
    cluster.psql(0, "select pg_reload_conf()").unwrap();
    let silent = clog(http);
    wait_for(http, &[("/primary", "200"), ("/", "200"), ("/replica?lag=16MB", "200"), ("/read-only", "200")]);
    wait_for(http, &[("/sync", "200"), ("/async", "200"), ("/quorum", "503"), ("/readiness", "200")]);
    wait_for(http, &[(&of(eu, "primary"), "200"), (&of(us, "primary"), "503"), (&of(eu, "replica"), "503")]);
    wait_for(http, &[(&of(us, "sync"), "200"), (&of(ap, "sync"), "503"), (&of(ap, "async"), "200")]);
    let document = |path: &str| -> serde_json::Value {
        serde_json::from_str(&ask(http, "GET", path).1).expect("the answer is JSON")
    };
    assert_eq!(document(&of(us, "replica"))["sync_standby"], true);
    assert_eq!(document("/cluster")["members"][0]["role"], "leader");
    drop(silent);

    let haproxy = Path::new(HAPROXY).exists().then(|| Haproxy::start(&herd, http));
    if let Some(haproxy) = &haproxy {
        haproxy.wait_for_primary(&herd, cluster.node(0).port());
    } else {
        println!("HAProxy is not asked: run `scripts/need haproxy`");
    }

    cluster.kill(0).unwrap();
    wait_for(http, &[("/primary", "503"), (&of(eu, "primary"), "503"), (&of(eu, "health"), "503")]);
    wait_for(http, &[("/replica", "200"), ("/read-only", "200"), ("/readiness", "200"), ("/readyz", "200")]);
    assert_eq!(document("/primary")["clusters"][0]["primary"], serde_json::Value::Null);
    assert_eq!(document(&of(us, "patroni"))["cluster_unlocked"], true);

    cluster.promote(1).unwrap();
    wait_for_event(&herd, "promoted");
    wait_for(http, &[("/primary", "200"), (&of(us, "primary"), "200"), (&of(us, "replica"), "503")]);
    assert_eq!(document(&of(us, "primary"))["role"], "primary");
    if let Some(haproxy) = &haproxy {
        haproxy.wait_for_primary(&herd, cluster.node(1).port());
        let login = cluster.application();
        let found = cluster.psql_at(haproxy.to_pgherd, login, cluster.database(), "select 1");
        assert_eq!(found.unwrap(), "1");
    }
}

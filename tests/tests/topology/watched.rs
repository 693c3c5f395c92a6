//! Load balancers and orchestrators watch the cluster through pgherd, by HTTP.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use e2e::{Herd, Setup, eventually};

use super::{PATIENCE, show, wait_for_event};

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

/// The port of the node that a listener's reads are run on.
fn answering(herd: &Herd, policy: &str) -> Option<String> {
    let (port, login) = (herd.proxy(0).port_of(policy), herd.cluster().application());
    herd.cluster().psql_at(port, login, herd.cluster().database(), "select current_setting('port')").ok()
}

/// Waits until the reads of two listeners are run on these nodes.
fn wait_for_kinds(herd: &Herd, sync: usize, not_sync: usize) {
    for (policy, node) in [("sync", sync), ("async", not_sync)] {
        let expected = herd.cluster().node(node).port().to_string();
        eventually(&format!("{policy} leads to node {node}"), PATIENCE, || {
            (answering(herd, policy)? == expected).then_some(())
        });
    }
}

/// Names the synchronous standbys.
fn synchronise(herd: &Herd, names: &str) {
    herd.cluster().psql(0, &format!("alter system set synchronous_standby_names = '{names}'")).unwrap();
    herd.cluster().psql(0, "select pg_reload_conf()").unwrap();
}

/// Has a statement run through a listener until somebody is seen to be held for `why`, then does what ends that; what
/// the statement brought.
fn hold(herd: &Herd, policy: &str, sql: &str, why: &str, relieve: impl FnOnce()) -> String {
    let (port, login) = (herd.proxy(0).port_of(policy), herd.cluster().application());
    std::thread::scope(|scope| {
        let held =
            scope.spawn(move || herd.cluster().psql_at(port, login, herd.cluster().database(), sql).unwrap());
        let row = eventually("a client is held", PATIENCE, || show(herd, "HOLDS").pop());
        assert_eq!((row[2].as_str(), row[10].as_str()), (login.user.as_str(), why), "{row:?}");
        relieve();
        held.join().unwrap()
    })
}

/// State and nodes of a listener.
fn endpoint(herd: &Herd, policy: &str) -> [String; 3] {
    let rows = show(herd, "ENDPOINTS");
    let row = rows.into_iter().find(|row| row[1] == policy).expect("it is configured");
    [3, 4, 5].map(|column| row[column].clone())
}

/// Opens connections that never say anything, more than are answered at a time.
fn clog(port: u16) -> Vec<TcpStream> {
    (0..80).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect()
}

#[test]
fn load_balancers_see_where_to_go_before_during_and_after_a_failover() {
    let http = lab::Reservation::any().unwrap().release();
    let herd = Setup::own(2)
        .listener("sync")
        .listener("async")
        .set("routing.read_only_fallback", "hold")
        .set("health.listen", format!("127.0.0.1:{http}"))
        .start();
    let cluster = herd.cluster();
    let names = [0, 1, 2].map(|index| cluster.node(index).name().to_owned());
    let [eu, us, ap] = &names;
    let of = |node: &str, check: &str| format!("/node/{node}/{check}");
    synchronise(&herd, &format!("FIRST 1 ({us})"));
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

    wait_for_kinds(&herd, 1, 2);
    assert_eq!(endpoint(&herd, "sync"), ["open", "", us]);
    assert_eq!(endpoint(&herd, "async"), ["open", "", ap]);
    assert_eq!(endpoint(&herd, "read-write"), ["open", eu, eu]);
    synchronise(&herd, &format!("ANY 1 ({ap})"));
    wait_for_kinds(&herd, 2, 1);
    wait_for(http, &[(&of(ap, "quorum"), "200"), (&of(ap, "sync"), "503"), (&of(us, "async"), "200")]);
    synchronise(&herd, "");
    wait_for(http, &[("/quorum", "503")]);
    assert_eq!(endpoint(&herd, "sync"), ["held", "", ""]);
    let answer =
        hold(&herd, "sync", "select 'held'", "no replica is fit for this listener or database", || {
            synchronise(&herd, &format!("FIRST 1 ({us})"));
        });
    assert_eq!(answer, "held");

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

    assert_eq!(endpoint(&herd, "read-write")[0], "held");
    assert_eq!(endpoint(&herd, "smart")[0], "reads only");
    hold(&herd, "read-write", "create table held (a int)", "the primary is down", || {
        cluster.promote(1).unwrap();
    });
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

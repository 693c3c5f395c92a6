//! Nodes are restarted, and the primary goes back to where it belongs, while clients work.

use std::{fs, path::Path, sync::Arc};

use e2e::{Herd, Setup, eventually};
use lab::{Cluster, Options};

use super::{GRANTS, manage, planned::console, story};
use crate::{
    load::Load,
    topology::{PATIENCE, show},
};

/// Restarts the server in the folder `$1`, as its owner, unless a file forbids that for its port `$2`.
const RESTART: &str = r#"#!/bin/sh
if [ -e "$0.refuse.$2" ]; then echo "not today" >&2; exit 1; fi
as=""
if [ "$(id -u)" = 0 ]; then
    as="setpriv --reuid=$(stat -c %u "$1") --regid=$(stat -c %g "$1") --clear-groups"
fi
cd "$1"
exec $as BIN/pg_ctl -D "$1" -m fast -w -l "$1/restart.log" restart
"#;

/// One that all of this happens to. The third node is the best place for the primary, which is on the first.
fn start() -> (Arc<Cluster>, Herd) {
    let cluster = Arc::new(Cluster::start(Options { standbys: 2, ..Options::default() }).unwrap());
    cluster.psql(0, GRANTS).unwrap();
    cluster.psql(0, &format!("grant select on pg_authid to {}", cluster.monitor().user)).unwrap();
    cluster.wait_for_all().unwrap();
    let script = script(&cluster);
    fs::write(&script, RESTART.replace("BIN", &cluster.binaries().directory().display().to_string()))
        .unwrap();
    let mut setup = manage(Setup::of_cluster(Arc::clone(&cluster)))
        .regions(["us"])
        .set("cluster.0.hooks.restart_command", format!("sh {script} %D %p"))
        .set("cluster.0.nodes.2.priority", 200);
    for (at, node) in cluster.nodes().iter().enumerate() {
        setup = setup.set(&format!("cluster.0.nodes.{at}.data_directory"), text(node.data()));
    }
    let herd = setup.start();
    (cluster, herd)
}

fn script(cluster: &Cluster) -> String {
    text(&cluster.directory().join("restart.sh"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn name(herd: &Herd, node: usize) -> String {
    format!("\"{}\"", herd.cluster().node(node).name())
}

/// When each server was started.
fn started(herd: &Herd) -> Vec<String> {
    (0..3).map(|node| herd.cluster().psql(node, "select pg_postmaster_start_time()").unwrap()).collect()
}

/// Which servers were started since.
fn restarted(herd: &Herd, before: &[String]) -> Vec<bool> {
    started(herd).iter().zip(before).map(|(now, before)| now != before).collect()
}

#[test]
fn nodes_are_restarted_one_by_one_and_the_primary_goes_home_without_an_error() {
    let (cluster, herd) = start();
    let load = Load::start(&herd, 3, 3);

    let before = started(&herd);
    console(&herd, &format!("RESTART NODE {}", name(&herd, 1))).unwrap();
    assert_eq!(restarted(&herd, &before), [false, true, false]);
    let before = started(&herd);
    console(&herd, "RESTART NODES").unwrap();
    assert_eq!(restarted(&herd, &before), [true, true, true]);
    assert_eq!(cluster.primary().unwrap(), 0);

    fs::write(format!("{}.refuse.{}", script(&cluster), cluster.node(2).port()), "").unwrap();
    let before = started(&herd);
    let error = console(&herd, "RESTART NODES").unwrap_err();
    let (us, ap) = (cluster.node(1).name(), cluster.node(2).name());
    assert!(error.contains(&format!("{ap} was not restarted")), "{error}");
    assert!(error.contains(&format!("restarted before it: {us}")), "{error}");
    assert!(error.contains("not today"), "{error}");
    assert_eq!(restarted(&herd, &before), [false, true, false]);
    load.wait_for_writes(50);

    console(&herd, "RESTORE TOPOLOGY").unwrap();
    assert_eq!(cluster.primary().unwrap(), 2);
    load.wait_for_writes(50);
    console(&herd, "RESTORE TOPOLOGY").unwrap();
    println!("{}", story(&herd));

    // without an agent the old one stays fenced, and is no part of what has to be well
    console(&herd, &format!("DETACH NODE {}", name(&herd, 0))).unwrap();
    herd.proxy(0).write_configuration(|configuration| {
        configuration.set("cluster.0.nodes.1.priority", 300);
        configuration.set("cluster.0.failover.failback", "00:00-24:00 +01:00");
        configuration.set("cluster.0.failover.damping", "500ms");
    });
    console(&herd, "RELOAD").unwrap();
    eventually("the primary goes home by itself", PATIENCE, || {
        let row = show(&herd, "FAILOVERS").pop()?;
        ([row[3].as_str(), row[7].as_str()] == ["failback", "done"]).then_some(())
    });
    assert!(!cluster.is_standby(1).unwrap());
    load.wait_for_writes(50);
    println!("{}", story(&herd));
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, 1);
    ledger.report("restarts of all nodes, and two moves home", missing);
    ledger.assert_no_errors();
    assert_eq!(missing, 0);
}

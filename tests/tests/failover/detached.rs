//! An operator sets a node aside, drops it, and adds it again.

use std::fs;

use e2e::{Herd, Setup, eventually};
use lab::StopMode;

use super::{managed, planned::console, start};
use crate::{
    load::Load,
    topology::{PATIENCE, events, show, wait_for_state},
};

const US: usize = 1;

/// What the console says about one node's standing, and how many connections lead to it.
fn standing(herd: &Herd, node: usize) -> (String, usize) {
    let name = herd.cluster().node(node).name();
    let row = show(herd, "NODES").into_iter().find(|row| row[0] == name).expect("all nodes are shown");
    let port = herd.cluster().node(node).port().to_string();
    let servers = show(herd, "SERVERS").into_iter().filter(|row| row[6] == port).count();
    (row.last().cloned().unwrap_or_default(), servers)
}

#[tokio::test]
async fn a_detached_node_ends_its_reads_gets_no_new_ones_and_stays_so_over_reload_and_restart() {
    let herd = Setup::shared()
        .regions(["us"])
        .set("proxy.state_dir", "state_of_detached")
        .set("session.drain_timeout", "700ms")
        .start();
    let load = Load::start(&herd, 0, 4);
    let mut reader = herd.connect().await;
    reader.execute("begin read only").await;
    reader.execute("select id from ledger").await;
    let node = format!("\"{}\"", herd.cluster().node(US).name());
    assert_eq!(standing(&herd, US).0, "attached");

    console(&herd, &format!("DETACH NODE {node}")).unwrap();
    assert_eq!(standing(&herd, US), ("detached".to_owned(), 0));
    let ended = reader.failure("select id from ledger").await;
    assert_eq!(ended.as_deref(), Some("40001"), "its transaction had its time");
    reader.execute("rollback").await;
    load.wait_for_reads(200);
    assert_eq!(standing(&herd, US), ("detached".to_owned(), 0), "it is read elsewhere");
    wait_for_state(&herd, US, "standby", "up"); // monitored still

    console(&herd, "RELOAD").unwrap();
    assert_eq!(standing(&herd, US).0, "detached");
    let primary = herd.cluster().node(0).name();
    let error = console(&herd, &format!("DETACH NODE \"{primary}\"")).unwrap_err();
    assert!(error.contains("cannot be detached") && error.contains("SWITCHOVER"), "{error}");
    let ledger = load.stop();
    ledger.assert_no_errors();

    herd.proxy(0).kill();
    herd.proxy(0).spawn();
    herd.proxy(0).wait_until_ready();
    assert_eq!(standing(&herd, US).0, "detached");
    console(&herd, &format!("ATTACH NODE {node}")).unwrap();
    herd.proxy(0).wait_until_standbys_are_known();
    let mut reader = herd.connect().await;
    eventually("it is read from again", PATIENCE, || (standing(&herd, US).0 == "attached").then_some(()));
    reader.execute("select id from ledger").await;
    assert_eq!(standing(&herd, US), ("attached".to_owned(), 1));
    let told: Vec<_> = events(&herd).into_iter().filter(|(name, _)| name == "node_attached").collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn who_is_detached_is_not_promoted_and_maintenance_outlives_a_restart() {
    let herd = start(managed(2));
    let load = Load::start(&herd, 2, 0);
    let detached = format!("\"{}\"", herd.cluster().node(1).name());
    console(&herd, &format!("DETACH NODE {detached}")).unwrap();
    console(&herd, "MAINTENANCE ON").unwrap();
    load.stop().assert_no_errors();
    herd.proxy(0).kill();
    herd.proxy(0).spawn();
    herd.proxy(0).wait_until_ready();
    the_other_falls_behind(&herd);
    herd.cluster().stop(0, StopMode::Immediate).unwrap();
    eventually("nothing is done by itself", PATIENCE, || {
        herd.proxy(0).log().contains("MAINTENANCE is on").then_some(())
    });
    for command in [format!("FAILOVER TO {detached}"), format!("FAILOVER TO {detached} FORCE")] {
        let error = console(&herd, &command).unwrap_err();
        assert!(error.contains("it is detached"), "{error}");
    }
    console(&herd, "MAINTENANCE OFF").unwrap();
    herd.psql("insert into ledger values (-1)").unwrap();
    assert!(!herd.cluster().is_standby(2).unwrap());
    // what the detached node alone had is not lost, and the slot that it took to fetch that is gone
    assert_eq!(herd.psql("select count(*) from ledger where id = -2").unwrap(), "1");
    assert_eq!(herd.cluster().psql(1, "select count(*) from pg_replication_slots").unwrap(), "0");
    eventually("the detached node follows the new primary", PATIENCE, || {
        let sql = "select sender_port from pg_stat_wal_receiver where status = 'streaming'";
        let sender = herd.cluster().psql(1, sql).ok()?;
        (sender == herd.cluster().node(2).port().to_string()).then_some(())
    });
}

/// Node 2 does not find its slot any more, and misses a row that the detached one has.
fn the_other_falls_behind(herd: &Herd) {
    let slot = herd.cluster().node(2).slot();
    let end = format!(
        "select pg_terminate_backend(active_pid, 10000) from pg_replication_slots where slot_name = '{slot}'"
    );
    let drop = format!("select pg_drop_replication_slot('{slot}')");
    eventually("its slot is dropped", PATIENCE, || {
        herd.cluster().psql(0, &end).ok()?;
        herd.cluster().psql(0, &drop).ok()
    });
    herd.psql_directly("insert into ledger values (-2)").unwrap();
    herd.cluster().wait_for_replay(1).unwrap();
}

#[test]
fn nodes_are_added_and_dropped_under_load_and_the_file_says_so() {
    const AP: usize = 2;
    let herd = Setup::shared().regions(["ap"]).start();
    let proxy = herd.proxy(0);
    let file = || fs::read_to_string(proxy.configuration_file()).unwrap();
    let nodes = || show(&herd, "NODES").len();
    let text = format!("# by people\n{}", file());
    proxy.write_configuration_text(&text);
    console(&herd, "RELOAD").unwrap();
    let load = Load::start(&herd, 0, 4);
    let (name, port) = (herd.cluster().node(AP).name(), herd.cluster().node(AP).port());

    console(&herd, &format!("DROP NODE \"{name}\"")).unwrap();
    let without = file();
    assert!(without.starts_with("# by people\n") && !without.contains(&port.to_string()), "{without}");
    assert_eq!(nodes(), 2);
    load.wait_for_reads(200);
    let add = format!("ADD NODE \"{name}\" 127.0.0.1 {port} REGION ap");
    for (written, command, refusal) in [
        (without.clone(), format!("DROP NODE \"{}\"", herd.cluster().node(0).name()), "cannot be detached"),
        (without.clone(), format!("{add} PRIORITY 5000"), "from 0 to 1000"),
        (format!("{without}\n[pool]\nsize = 3\n"), add.clone(), "RELOAD first"),
    ] {
        proxy.write_configuration_text(&written);
        let error = console(&herd, &command).unwrap_err();
        assert!(error.contains(refusal), "{command}: {error}");
        assert_eq!(file(), written);
    }
    proxy.write_configuration_text(&without);
    console(&herd, &add).unwrap();
    proxy.wait_until_standbys_are_known();
    eventually("it is read from", PATIENCE, || (standing(&herd, AP).1 > 0).then_some(()));
    assert!(console(&herd, &add).unwrap_err().contains("is listed twice"));
    load.wait_for_reads(200);
    load.stop().assert_no_errors();

    console(&herd, "RELOAD").unwrap();
    assert_eq!(nodes(), 3);
    proxy.kill();
    proxy.spawn();
    proxy.wait_until_ready();
    assert_eq!(nodes(), 3);
    assert!(file().starts_with("# by people\n"), "{}", file());
}

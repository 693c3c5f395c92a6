//! Primaries that were replaced come back as standbys, by their agents.

use std::{path::Path, sync::Arc};

use e2e::{Herd, Setup, eventually};
use lab::{Cluster, Signal};

use super::{GRANTS, manage, planned::console, story};
use crate::{
    agent::{
        beside::{Beside, cluster},
        rejoining::remove_old_wal,
    },
    load::Load,
    topology::{PATIENCE, show, wait_for_state},
};

/// What becomes of replaced primaries, one after the other, on one cluster with an agent beside each node.
#[test]
fn replaced_primaries_become_standbys_again_without_what_nobody_followed() {
    let cluster = cluster(2);
    cluster.psql(0, GRANTS).unwrap();
    let mut agents: Vec<Beside> = (0..3).map(|node| Beside::start(&cluster, node)).collect();
    let herd = start(&cluster, &agents);
    herd.psql("create table ledger (id bigint primary key)").unwrap();
    herd.psql("create table divergent (what text)").unwrap();
    cluster.wait_for_all().unwrap();

    killed_is_rewound(&herd);
    switched_over_is_not_fenced(&herd);
    frozen_is_fenced_and_rewound(&herd);
    what_cannot_be_rewound_is_copied(&herd, &mut agents);
}

fn start(cluster: &Arc<Cluster>, agents: &[Beside]) -> Herd {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let tls = agents[0].tls("proxy");
    let mut setup = manage(Setup::of_cluster(Arc::clone(cluster)))
        .set("cluster.0.agents.certificate", path(&tls.certificate))
        .set("cluster.0.agents.key", path(&tls.key))
        .set("cluster.0.agents.root_certificate", path(&tls.root_certificate))
        // three segments are left behind in the end, and none of the failovers has to wait for the one before
        .set("cluster.0.failover.max_lost_bytes", "1GB")
        .set("cluster.0.failover.damping", "0ms");
    for (at, agent) in agents.iter().enumerate() {
        setup = setup.set(&format!("cluster.0.nodes.{at}.agent"), agent.address().to_string());
    }
    setup.start()
}

/// F7 of the failure matrix.
fn killed_is_rewound(herd: &Herd) {
    let load = load(herd);
    let old = diverge(herd, "killed", 1);
    herd.cluster().kill(old).unwrap();
    let new = wait_until_rejoined(herd, old, 2);
    load.wait_for_writes(100);
    let ledger = load.stop();
    let missing = ledger.count_missing(herd, new);
    ledger.report("killed, rejoined by its agent", missing);
    println!("{}", story(herd));
    ledger.assert_only_doubts();
}

fn switched_over_is_not_fenced(herd: &Herd) {
    let load = load(herd);
    let old = herd.cluster().primary().unwrap();
    let to = herd.cluster().node(0).name();
    // that of a backup, say
    let own = "select pg_create_physical_replication_slot('own', true)";
    herd.cluster().psql(old, own).unwrap();
    console(herd, &format!("SWITCHOVER TO \"{to}\"")).unwrap();
    assert_eq!(wait_until_rejoined(herd, old, 3), 0);
    load.wait_for_writes(100);
    let ledger = load.stop();
    ledger.report("switchover by agents", ledger.count_missing(herd, 0));
    println!("{}", story(herd));
    ledger.assert_no_errors();
    assert_eq!(ledger.count_missing(herd, 0), 0);
    let agents = show(herd, "AGENTS");
    assert!(agents.iter().all(|row| row[5] == "f"), "none is fenced: {agents:?}");
    assert_eq!(herd.cluster().psql(old, "show synchronous_standby_names").unwrap(), "");
    eventually("the slots of its reign are gone, and no other", PATIENCE, || {
        let slots =
            herd.cluster().psql(old, "select string_agg(slot_name, ' ') from pg_replication_slots").ok()?;
        (slots == "own").then_some(())
    });
}

/// F4: a primary of which nobody hears, but that would go on.
fn frozen_is_fenced_and_rewound(herd: &Herd) {
    let load = load(herd);
    let old = diverge(herd, "frozen", 1);
    herd.cluster().freeze(old).unwrap();
    let new = wait_until_rejoined(herd, old, 4);
    load.wait_for_writes(100);
    let ledger = load.stop();
    ledger.report("frozen, rejoined by its agent", ledger.count_missing(herd, new));
    println!("{}", story(herd));
    ledger.assert_only_doubts();
}

/// F8: what a rewind would have to read is gone. The agent is not there at first.
fn what_cannot_be_rewound_is_copied(herd: &Herd, agents: &mut [Beside]) {
    let old = herd.cluster().primary().unwrap();
    agents[old].kill();
    assert_eq!(diverge(herd, "copied", 3), old);
    herd.cluster().kill(old).unwrap();
    remove_old_wal(herd.cluster(), old);
    eventually("its agent is missed", PATIENCE, || {
        story(herd).contains("cannot connect to the agent").then_some(())
    });
    agents[old].spawn();
    let new = wait_until_rejoined(herd, old, 5);
    println!("{}", story(herd));
    assert!(agents[old].log().contains("checked the copy"), "{}", agents[old].log());
    herd.psql("insert into ledger values (-1)").unwrap();
    herd.cluster().wait_for_replay(old).unwrap();
    assert_ne!(old, new);
}

fn load(herd: &Herd) -> Load {
    herd.psql("truncate ledger").unwrap();
    Load::of(herd.app(), 4, 2)
}

/// Has the primary commit rows that no standby ever hears of, in so many segments of WAL. Gives the primary.
fn diverge(herd: &Herd, what: &str, segments: u32) -> usize {
    let cluster = herd.cluster();
    let primary = cluster.primary().unwrap();
    let senders = cluster.psql(primary, "select pid from pg_stat_replication").unwrap();
    for pid in senders.lines() {
        lab::signal(pid.parse().unwrap(), Signal::SIGSTOP).unwrap();
    }
    for segment in 0..segments {
        let end = if segment + 1 < segments { "select pg_switch_wal(); checkpoint" } else { "" };
        let sql = format!("insert into divergent values ('{what}'); {end}");
        cluster.psql_as(primary, cluster.superuser(), herd.database(), &sql).unwrap();
    }
    primary
}

/// Waits until all nodes but one are standbys on this timeline, as pgherd and they themselves see it, and no client ever
/// sees what nobody followed. Gives the primary.
fn wait_until_rejoined(herd: &Herd, node: usize, timeline: u32) -> usize {
    wait_until_made_a_standby(herd, node, timeline);
    let primary = herd.cluster().primary().unwrap();
    let port = herd.cluster().node(primary).port();
    for standby in (0..3).filter(|standby| *standby != primary) {
        wait_for_state(herd, standby, "standby", "up");
        let sql = "select status, received_tli, sender_port from pg_stat_wal_receiver";
        eventually("it streams", PATIENCE, || {
            (herd.cluster().psql(standby, sql).ok()? == format!("streaming|{timeline}|{port}")).then_some(())
        });
    }
    let (cluster, count) = (herd.cluster(), "select count(*) from divergent");
    for node in 0..3 {
        assert_eq!(cluster.psql_as(node, cluster.superuser(), herd.database(), count).unwrap(), "0");
    }
    primary
}

/// Waits until the last failover, which is to lead to this timeline, tells that of a node.
fn wait_until_made_a_standby(herd: &Herd, node: usize, timeline: u32) {
    let (name, number) = (herd.cluster().node(node).name(), (timeline - 1).to_string());
    eventually(&format!("{name} is made a standby"), 3 * PATIENCE, || {
        // whichever node answers
        assert_eq!(herd.psql("select count(*) from divergent").unwrap(), "0");
        let is_it = |row: &Vec<String>| row[1] == number && row[3] == name && row[4] == "made a standby";
        show(herd, "FAILOVER_STEPS").iter().any(is_it).then_some(())
    });
}

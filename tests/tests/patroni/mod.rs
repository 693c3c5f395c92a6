//! Clusters that Patroni manages (FAILOVER F31): followed within moments, and never fought. Each test starts its own
//! Patroni and etcd, and two proxies in front: one that asks the REST API alone, one that watches etcd as well.
//!
//! `scripts/need patroni` installs what they need; `make test-patroni` runs all of them with both versions.

mod cluster;
mod console;
mod pause;
mod proxy;
mod witness;

use std::time::Duration;

use patroni::{Control, Endpoint, Progress};

use crate::load::Load;
use cluster::{PatroniCluster, Version};
use proxy::{By, Follower};
use witness::Witness;

/// Whether what a version needs is installed; says so if not.
fn has(version: Version) -> bool {
    let found = version.folder().is_some();
    if !found {
        println!("skipped: run `scripts/need patroni`");
    }
    found
}

/// A cluster of two and the proxies in front of it.
fn start(version: Version, tags: &str) -> (PatroniCluster, [Follower; 2]) {
    let cluster = PatroniCluster::start(version, 2, tags);
    let followers = [By::Rest, By::Etcd].map(|by| Follower::start(&cluster, by));
    (cluster, followers)
}

/// What asks Patroni to do something, and a runtime to do so on.
fn control(cluster: &PatroniCluster) -> (tokio::runtime::Runtime, Control) {
    let url = |port: u16| format!("http://127.0.0.1:{port}").parse::<Endpoint>().unwrap();
    let settings = patroni::Settings {
        urls: cluster.members.iter().map(|member| url(member.api_port)).collect(),
        etcd: Vec::new(),
        namespace: "service".to_owned(),
        scope: None,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(5),
        login: None,
        etcd_login: None,
        tls: conn::WebTls::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (runtime, Control::new(&settings).unwrap())
}

/// Prints how long after the new primary could be written to each proxy wrote to it.
fn report_swaps(what: &str, followers: &[Follower], node: &str, witness: Witness) {
    followers.iter().for_each(|follower| follower.wait_for_primary(node));
    let writable = witness.writable_at(node);
    for follower in followers {
        let swapped = follower.promoted_at(node).expect("the promotion was logged");
        let delay = i128::from(swapped) - i128::from(writable);
        println!(
            "{what}, {:?}: swapped {:.1} ms after {node} was writable",
            follower.by,
            delay as f64 / 1000.0
        );
    }
}

fn switchover(version: Version, by: By) {
    if !has(version) {
        return;
    }
    let (cluster, followers) = start(version, "");
    let (from, to) = (cluster.leader().unwrap(), cluster.follower());
    let [from, to] = [from, to].map(|at| cluster.members[at].name.clone());
    let loaded = followers.iter().find(|follower| follower.by == by).unwrap();
    let load = Load::of(loaded.app(), 4, 2);
    let witness = Witness::start(&cluster);
    let (runtime, control) = control(&cluster);
    let refused = runtime.block_on(control.switchover("nobody", Some(&to))).unwrap_err().to_string();
    assert!(refused.contains("leader name does not match"), "{refused}");
    match by {
        By::Etcd => {
            let done = runtime.block_on(control.switchover(&from, Some(&to))).unwrap();
            assert_eq!(done.progress, Progress::Over, "{done:?}");
        }
        By::Rest => {
            let said = cluster.patronictl(&["switchover", "main", "--candidate", &to, "--force"]).unwrap();
            assert!(said.contains("Successfully switched over"), "{said}");
        }
    }
    report_swaps(&format!("switchover, {version:?}"), &followers, &to, witness);
    load.wait_for_writes(100);
    let ledger = load.stop();
    let missing = ledger.count_missing_among(&cluster.rows_on(cluster.leader().unwrap()));
    ledger.report(&format!("switchover by Patroni {version:?}, load by {by:?}"), missing);
    ledger.assert_no_errors();
    assert_eq!(missing, 0);
    for follower in &followers {
        let counts = follower.counts();
        assert_eq!((counts.get("promoted"), counts.get("split_brain")), (Some(&1), None), "{counts:?}");
    }
}

fn crash(version: Version, by: By) {
    if !has(version) {
        return;
    }
    let (cluster, followers) = start(version, "");
    let (from, to) = (cluster.leader().unwrap(), cluster.follower());
    let loaded = followers.iter().find(|follower| follower.by == by).unwrap();
    let load = Load::of(loaded.app(), 4, 2);
    let witness = Witness::start(&cluster);
    cluster.kill_postgres(from);
    let to_name = cluster.members[to].name.clone();
    report_swaps(&format!("crash, {version:?}"), &followers, &to_name, witness);
    load.wait_for_writes(100);
    let ledger = load.stop();
    let missing = ledger.count_missing_among(&cluster.rows_on(to));
    ledger.report(&format!("crash of the leader under Patroni {version:?}, load by {by:?}"), missing);
    ledger.assert_only_doubts();
}

fn death_of_a_node(version: Version, by: By) {
    if !has(version) {
        return;
    }
    let (mut cluster, followers) = start(version, "");
    let (from, to) = (cluster.leader().unwrap(), cluster.follower());
    let loaded = followers.iter().find(|follower| follower.by == by).unwrap();
    let load = Load::of(loaded.app(), 4, 1);
    let witness = Witness::start(&cluster);
    cluster.kill_node(from);
    let to_name = cluster.members[to].name.clone();
    report_swaps(&format!("death of the node, {version:?}"), &followers, &to_name, witness);
    load.wait_for_writes(100);
    let ledger = load.stop();
    let missing = ledger.count_missing_among(&cluster.rows_on(to));
    ledger.report(&format!("death of the leader's node under Patroni {version:?}, load by {by:?}"), missing);
    ledger.assert_only_doubts();
    // It comes back as a standby, and is read from again.
    cluster.begin(from);
    let name = &cluster.members[from].name;
    for follower in &followers {
        cluster.wait("the old leader follows", || {
            let rows = follower.show("NODES");
            let row = rows.iter().find(|row| row[0].as_deref() == Some(name))?;
            (row[6].as_deref() == Some("standby") && row[7].as_deref() == Some("up")).then_some(())
        });
    }
}

fn restart(version: Version, by: By) {
    if !has(version) {
        return;
    }
    let (cluster, followers) = start(version, "noloadbalance: true");
    let leader = cluster.members[cluster.leader().unwrap()].name.clone();
    let loaded = followers.iter().find(|follower| follower.by == by).unwrap();
    let load = Load::of(loaded.app(), 4, 2);
    let (runtime, control) = control(&cluster);
    let done = runtime.block_on(control.restart(&leader)).unwrap();
    assert!(done.text.contains("restarted"), "{done:?}");
    load.wait_for_writes(100);
    let ledger = load.stop();
    let missing = ledger.count_missing_among(&cluster.rows_on(cluster.leader().unwrap()));
    ledger.report(&format!("restart by Patroni {version:?}, load by {by:?}"), missing);
    ledger.assert_no_errors();
    assert_eq!(missing, 0);
    for follower in &followers {
        assert_eq!(follower.primary().as_deref(), Some(leader.as_str()));
        assert_eq!(follower.counts().get("promoted"), None, "{:?}", follower.events());
        let nodes = follower.show("NODES");
        let aside = nodes.iter().find(|row| row[0].as_deref() == Some("n2")).unwrap();
        assert_eq!(aside[18].as_deref(), Some("0"), "n2 is not read from: {aside:?}");
        let members = follower.show("PATRONI");
        let aside = members.iter().find(|row| row[1].as_deref() == Some("n2")).unwrap();
        assert_eq!(aside[8].as_deref(), Some("noloadbalance"), "{aside:?}");
        assert_eq!((aside[2].as_deref(), aside[9].as_deref()), (Some("n2"), Some("standby")), "{aside:?}");
    }
    let again = runtime.block_on(control.reinitialize("n2")).unwrap();
    assert!(again.text.contains("reinitialize"), "{again:?}");
    let unknown = runtime.block_on(control.restart("n9")).unwrap_err().to_string();
    assert!(unknown.contains("n9"), "{unknown}");
}

/// The one that `make test` runs, where Patroni could be installed.
#[test]
fn a_switchover_is_followed_without_an_error() {
    switchover(Version::Three, By::Etcd);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_switchover_is_followed_without_an_error_by_the_rest_api_alone() {
    switchover(Version::Three, By::Rest);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_switchover_of_patroni_4_is_followed_without_an_error() {
    switchover(Version::Four, By::Etcd);
    switchover(Version::Four, By::Rest);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_crash_of_the_leader_is_followed() {
    crash(Version::Three, By::Etcd);
    crash(Version::Three, By::Rest);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_crash_of_the_leader_of_patroni_4_is_followed() {
    crash(Version::Four, By::Etcd);
    crash(Version::Four, By::Rest);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn the_death_of_the_leaders_node_is_followed_when_its_key_has_run_out() {
    death_of_a_node(Version::Three, By::Rest);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn the_death_of_the_leaders_node_under_patroni_4_is_followed_when_its_key_has_run_out() {
    death_of_a_node(Version::Four, By::Etcd);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_restart_of_the_leader_is_no_failover() {
    restart(Version::Three, By::Rest);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_restart_of_the_leader_of_patroni_4_is_no_failover() {
    restart(Version::Four, By::Etcd);
}

//! Without a leader key: Patroni is paused, or has lost its store. The primary stays while SQL confirms it.

use std::time::Duration;

use super::{cluster::Version, control, has, proxy::By, start};
use crate::load::Load;

/// Longer than a leader key lasts (20 s).
const LONGER_THAN_THE_KEY: Duration = Duration::from_secs(24);

fn pause(version: Version) {
    if !has(version) {
        return;
    }
    let (mut cluster, followers) = start(version, "");
    let leader = cluster.members[cluster.leader().unwrap()].name.clone();
    let (runtime, control) = control(&cluster);
    runtime.block_on(control.pause()).unwrap();
    for follower in &followers {
        cluster.wait("the pause is seen", || {
            follower.show("PATRONI").iter().all(|row| row[12].as_deref() == Some("t")).then_some(())
        });
    }
    let load = Load::of(followers[0].app(), 2, 1);
    // As for an update of Patroni: PostgreSQL runs on without it.
    (0..cluster.members.len()).for_each(|at| cluster.kill_patroni(at));
    cluster.remove_leader_key();
    for follower in &followers {
        cluster.wait("the missing key is seen, or that there is nobody to ask", || match follower.by {
            By::Rest => follower.show("PATRONI").iter().all(|row| row[16].is_some()).then_some(()),
            By::Etcd => follower.events().iter().any(|(_, text)| text.contains("no leader")).then_some(()),
        });
        assert_eq!(follower.primary().as_deref(), Some(leader.as_str()), "SQL confirms it");
    }
    load.wait_for_writes(200);
    (0..cluster.members.len()).for_each(|at| cluster.begin(at));
    // Before it may act by itself: else it might well make another member the leader.
    cluster.wait("Patroni leads again", || cluster.leader());
    runtime.block_on(control.resume()).unwrap();
    load.wait_for_writes(200);
    let ledger = load.stop();
    ledger.report(&format!("pause of Patroni {version:?} and a lost leader key"), 0);
    ledger.assert_no_errors();
    for follower in &followers {
        let counts = follower.counts();
        assert_eq!(
            (counts.get("primary_lost"), counts.get("promoted")),
            (None, None),
            "{:?}",
            follower.events()
        );
    }
}

fn failsafe(version: Version) {
    if !has(version) {
        return;
    }
    let (mut cluster, followers) = start(version, "");
    let leader = cluster.leader().unwrap();
    let (status, _) = cluster.api(leader, "PATCH", "/config", r#"{"failsafe_mode": true}"#).unwrap();
    assert_eq!(status, 200);
    cluster.wait("failsafe mode is configured everywhere", || {
        // It comes into force with the leader's next turns, which write down who its members are.
        let key = "L3NlcnZpY2UvbWFpbi9mYWlsc2FmZQ=="; // /service/main/failsafe
        let body = format!("{{\"key\":\"{key}\"}}");
        let (_, answer) = super::cluster::http(cluster.etcd_port, "POST", "/v3/kv/range", &body)?;
        answer.contains("\"value\"").then_some(())
    });
    let name = cluster.members[leader].name.clone();
    let load = Load::of(followers[1].app(), 2, 1);
    cluster.stop_etcd();
    // The absence of an event is what is waited for.
    std::thread::sleep(LONGER_THAN_THE_KEY);
    for follower in &followers {
        assert_eq!(follower.primary().as_deref(), Some(name.as_str()), "{}", follower.log());
        let troubled = follower.show("PATRONI");
        println!("{:?} without etcd: {:?}", follower.by, troubled[0][16]);
        if follower.by == By::Etcd {
            assert!(troubled.iter().all(|row| row[16].is_some()), "{troubled:?}");
        }
    }
    load.wait_for_writes(200);
    cluster.resume_etcd();
    for follower in &followers {
        cluster.wait("Patroni is heard again", || {
            follower.show("PATRONI").iter().all(|row| row[16].is_none()).then_some(())
        });
    }
    let ledger = load.stop();
    ledger.report(&format!("24 s without etcd under Patroni {version:?} in failsafe mode"), 0);
    ledger.assert_no_errors();
    for follower in &followers {
        let counts = follower.counts();
        assert_eq!(
            (counts.get("primary_lost"), counts.get("promoted")),
            (None, None),
            "{:?}",
            follower.events()
        );
    }
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_primary_without_leader_key_stays_while_patroni_is_paused() {
    pause(Version::Three);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn a_primary_without_leader_key_stays_while_patroni_4_is_paused() {
    pause(Version::Four);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn the_loss_of_etcd_is_no_failover_in_failsafe_mode() {
    failsafe(Version::Three);
}

#[test]
#[ignore = "needs `scripts/need patroni`; run by make test-patroni"]
fn the_loss_of_etcd_is_no_failover_in_failsafe_mode_of_patroni_4() {
    failsafe(Version::Four);
}

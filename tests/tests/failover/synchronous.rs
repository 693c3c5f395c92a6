//! The primary waits for standbys before it acknowledges: what is acknowledged outlives it, or nobody takes its place.

use e2e::{Herd, eventually};

use super::{managed, planned::console, start, story};
use crate::{
    load::Load,
    topology::{PATIENCE, show, wait_for_event, wait_for_state},
};

/// Has the primary wait for standbys, of which pgherd then knows these states.
fn synchronise(herd: &Herd, primary: usize, names: &str, states: [&str; 3]) {
    let cluster = herd.cluster();
    cluster.psql(primary, &format!("alter system set synchronous_standby_names = '{names}'")).unwrap();
    cluster.psql(primary, "select pg_reload_conf()").unwrap();
    wait_for_states(herd, states);
}

fn wait_for_states(herd: &Herd, states: [&str; 3]) {
    eventually(&format!("standbys are {states:?}"), PATIENCE, || {
        let seen: Vec<String> = show(herd, "NODES").into_iter().map(|row| row[20].clone()).collect();
        (seen == states).then_some(())
    });
}

/// Names of the nodes as they stand in the setting.
fn names(herd: &Herd) -> [String; 3] {
    [0, 1, 2].map(|node| format!("\"{}\"", herd.cluster().node(node).name()))
}

fn sync_names(herd: &Herd, node: usize) -> String {
    herd.cluster().psql(node, "show synchronous_standby_names").unwrap()
}

/// The names without quotes that need none.
fn plain(text: &str) -> String {
    text.replace('"', "")
}

#[test]
fn a_quorum_outlives_the_primary_and_the_next_one_waits_for_as_many() {
    let herd = start(managed(2));
    let [a, b, c] = names(&herd);
    synchronise(&herd, 0, &format!("ANY 1 ({b}, {c})"), ["", "quorum", "quorum"]);
    let load = Load::start(&herd, 6, 2);
    herd.cluster().kill(0).unwrap();
    wait_for_event(&herd, "promoted");
    let new = eventually("somebody is promoted", PATIENCE, || herd.cluster().primary().ok());
    load.wait_for_writes(100);
    let ledger = load.stop();
    let missing = ledger.count_missing(&herd, new);
    ledger.report("a primary with a quorum was killed", missing);
    println!("{}", story(&herd));
    ledger.assert_only_doubts();
    assert_eq!(missing, 0);
    let expected = if new == 1 { format!("ANY 1 ({a}, {c})") } else { format!("ANY 1 ({b}, {a})") };
    assert_eq!(plain(&sync_names(&herd, new)), plain(&expected));
    assert!(plain(&story(&herd)).contains(&format!("until enough standbys follow: {}", plain(&expected))));
    // what an operator has set outlives the fence of a switchover that cannot be finished
    the_setting_survives_a_switchover_that_is_rolled_back(&herd, new);
}

fn the_setting_survives_a_switchover_that_is_rolled_back(herd: &Herd, primary: usize) {
    let standby = 3 - primary;
    let before = sync_names(herd, primary);
    let mut states = ["", "", ""];
    states[standby] = "quorum";
    wait_for_states(herd, states);
    let revoke = "revoke execute on function pg_promote(boolean, integer) from pgherd";
    herd.cluster().psql(primary, revoke).unwrap();
    let to = herd.cluster().node(standby).name();
    let error = console(herd, &format!("SWITCHOVER TO \"{to}\"")).unwrap_err();
    println!("{error}\n{}", story(herd));
    assert_eq!(sync_names(herd, primary), before);
}

#[test]
fn nobody_takes_the_place_of_a_primary_whose_synchronous_standby_died_with_it_without_force() {
    let herd = start(managed(2));
    let [a, b, c] = names(&herd);
    synchronise(&herd, 0, &format!("FIRST 1 ({b}, {c})"), ["", "sync", "potential"]);
    let load = Load::start(&herd, 4, 2);
    herd.cluster().kill(1).unwrap();
    herd.cluster().kill(0).unwrap();
    let third = herd.cluster().node(2).name();
    wait_for_state(&herd, 1, "standby", "down");
    eventually("what hinders a failover is told", PATIENCE, || {
        let line = show(&herd, "TOPOLOGY").swap_remove(0).swap_remove(0);
        line.contains("there is no failover: commits waited for standbys").then_some(())
    });
    let command = format!("FAILOVER TO \"{third}\"");
    let refused = console(&herd, &command).unwrap_err();
    assert!(refused.contains("commits waited for standbys") && refused.contains("FORCE"), "{refused}");
    assert!(herd.cluster().is_standby(2).unwrap());
    console(&herd, &format!("{command} FORCE")).unwrap();
    println!("{}", story(&herd));
    let expected = format!("FIRST 1 ({b}, {a})");
    assert_eq!(plain(&sync_names(&herd, 2)), plain(&expected));
    herd.cluster().start_node(1).unwrap();
    load.wait_for_writes(50);
    load.stop().report("a primary and its synchronous standby were killed", 0);
}

//! Nodes die, come back, and are promoted by others than pgherd.

mod claims;
mod commit_storm;
mod commits;
mod crash;
mod doubt;
mod promotion;
mod sessions;
mod watched;

use std::time::Duration;

use e2e::{Herd, eventually};

/// How long pgherd may take to find out what it is shown.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the first proxy's console tells: a row each, columns in order.
pub(crate) fn show(herd: &Herd, noun: &str) -> Vec<Vec<String>> {
    let admin = herd.proxy(0).admin_login();
    let text = herd.cluster().psql_at(herd.proxy(0).port(), admin, "pgherd", &format!("SHOW {noun}"));
    let text = text.expect("the console answers");
    text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

/// Names and texts of the events that the first proxy has seen, oldest first.
pub(crate) fn events(herd: &Herd) -> Vec<(String, String)> {
    let named = |row: Vec<String>| (row[3].clone(), row[4..].join("|"));
    show(herd, "EVENTS").into_iter().map(named).collect()
}

/// Waits for an event; gives the text of the last one of that name.
pub(crate) fn wait_for_event(herd: &Herd, name: &str) -> String {
    eventually(&format!("event {name}"), PATIENCE, || {
        events(herd).into_iter().rev().find(|(its, _)| its == name).map(|(_, text)| text)
    })
}

/// Role and health of a node, as the first proxy sees it.
fn state_of(herd: &Herd, node: usize) -> (String, String) {
    let name = herd.cluster().node(node).name();
    let row = show(herd, "NODES").into_iter().find(|row| row[0] == name).expect("all nodes are shown");
    (row[6].clone(), row[7].clone())
}

/// Waits until a node has this role and health.
pub(crate) fn wait_for_state(herd: &Herd, node: usize, role: &str, health: &str) {
    eventually(&format!("node {node} as {role}, {health}"), PATIENCE, || {
        (state_of(herd, node) == (role.to_owned(), health.to_owned())).then_some(())
    });
}

/// The number before ` bytes` in an event's text.
fn bytes_in(text: &str) -> Option<u64> {
    text.split(" bytes").next()?.rsplit(' ').next()?.parse().ok()
}

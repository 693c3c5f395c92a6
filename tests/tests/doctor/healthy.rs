//! A cluster with which nothing is wrong.

use e2e::Setup;

use super::{check_cluster, doctor};

/// What the lab's clusters are warned of, and why that is as it should be there.
const WARNINGS: [(&str, &str); 2] = [
    // speed; its data is not worth anything
    ("fsync", "off"),
    // its proxies keep nothing over a restart unless a test asks for it
    ("state_dir", "unset"),
];

#[test]
fn a_healthy_cluster_has_no_failures_and_only_the_warnings_that_it_asks_for() {
    let herd = Setup::own(2).start();
    let rows = check_cluster(&herd);
    for row in &rows {
        let expected = match row.verdict.as_str() {
            "ok" => true,
            "warning" => WARNINGS.contains(&(&row.check, &row.value)),
            _ => false,
        };
        assert!(expected, "{row:?}");
    }
    // every node was looked at, and so was the cluster
    for node in herd.cluster().nodes() {
        let passed = rows.iter().filter(|row| row.node == node.name() && row.verdict == "ok").count();
        assert!(passed > 10, "{}: {passed}", node.name());
    }
    assert!(rows.iter().any(|row| row.node.is_empty() && row.check == "regions"));
    let (code, out, err) = doctor(&herd, &["--all"]);
    println!("{out}");
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("main: 0 failures, "), "{out}");
}

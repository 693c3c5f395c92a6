use super::{LEAST, load_with, row};

#[track_caller]
fn check(environment: &[(&str, &str)], key: &str, expected: &str) {
    let settings = load_with(LEAST, environment).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(row(&settings, key), expected);
}

#[track_caller]
fn wrong(environment: &[(&str, &str)], expected: &str) {
    assert_eq!(load_with(LEAST, environment).expect_err("accepted").to_string(), expected);
}

#[test]
fn a_variable_sets_its_key() {
    check(&[("PGHERD__POOL__SIZE", "50")], "pool.size", "50");
    check(&[("PGHERD__PROXY__WORKERS", "2")], "proxy.workers", "2");
    check(&[("PGHERD__SESSION__MAX_HOLD", "2s")], "session.max_hold", "2s");
    check(&[("PGHERD__CLUSTER__0__MONITOR__USER", "probe")], "cluster.0.monitor.user", "probe");
    check(&[("PGHERD__ADMIN__USERS", "a, b")], "admin.users", "a, b");
    check(&[("PGHERD__ADMIN__USERS", "[\"a\", \"b,c\"]")], "admin.users", "a, b,c");
    check(&[("PGHERD__PROXY__ZONE", "")], "proxy.zone", "");
    check(&[("PGHERD_POOL_SIZE", "50"), ("OTHER", "x")], "pool.size", "20");
}

#[test]
fn a_variable_wins_over_the_file() {
    let text = format!("{LEAST}[pool]\nsize = 5");
    let settings = load_with(&text, &[("PGHERD__POOL__SIZE", "6")]).unwrap();
    assert_eq!(row(&settings, "pool.size"), "6");
}

#[test]
fn a_position_past_the_end_adds_to_a_list() {
    check(&[("PGHERD__CLUSTER__0__NODES__0__ADDRESS", "b")], "cluster.0.nodes.0.address", "b:5432");
    check(&[("PGHERD__CLUSTER__0__NODES__1__ADDRESS", "b")], "cluster.0.nodes.1.address", "b:5432");
    check(&[("PGHERD__LISTEN__0__ADDRESS", "[::]:5432")], "listen.0.address", "[::]:5432");
    let many: Vec<(String, String)> =
        (0..12).map(|n| (format!("PGHERD__CLUSTER__0__NODES__{n}__ADDRESS"), format!("h{n}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    check(&many, "cluster.0.nodes.11.address", "h11:5432");
    check(
        &[("PGHERD__CLUSTER__0__NODES", "[{ address = \"x\" }, { address = \"y\" }]")],
        "cluster.0.nodes.1.address",
        "y:5432",
    );
}

#[test]
fn a_mistake_names_its_variable() {
    wrong(
        &[("PGHERD__POOL__SIZE", "many")],
        "environment PGHERD__POOL__SIZE: pool.size = \"many\": expected a whole number from 1 to 100000",
    );
    wrong(
        &[("PGHERD__POOL__SIZ", "5")],
        "environment PGHERD__POOL__SIZ: unknown key \"siz\" in [pool]; did you mean \"size\"?",
    );
    wrong(
        &[("PGHERD__CLUSTER__0__NODES__2__ADDRESS", "x")],
        "environment PGHERD__CLUSTER__0__NODES__2__ADDRESS: position 2 of a list that has 1",
    );
    wrong(&[("PGHERD__", "x")], "environment PGHERD__: a name between two __ is empty");
    wrong(&[("PGHERD__0__A", "x")], "environment PGHERD__0__A: a section's name must follow PGHERD__");
    wrong(&[("PGHERD__POOL", "5")], "environment PGHERD__POOL: pool = \"5\": expected a table");
}

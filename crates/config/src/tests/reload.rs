use super::{LEAST, valid};
use crate::{Change, differences};

#[track_caller]
fn check(old: &str, new: &str, expected: &[(&str, &str, &str, bool)]) {
    let changes = differences(&valid(&format!("{LEAST}{old}")), &valid(&format!("{LEAST}{new}")));
    let expected: Vec<Change> = expected
        .iter()
        .map(|(key, old, new, restart_needed)| Change {
            key: (*key).to_owned(),
            old: (*old).to_owned(),
            new: (*new).to_owned(),
            restart_needed: *restart_needed,
        })
        .collect();
    assert_eq!(changes, expected);
}

#[test]
fn the_same_configuration_has_no_differences() {
    check("[pool]\nsize = 20\n", "", &[]);
}

#[test]
fn a_difference_has_both_values_and_says_whether_a_restart_is_needed() {
    check("", "[session]\nmax_hold = \"1s\"", &[("session.max_hold", "30s", "1s", false)]);
    check("", "[proxy]\nworkers = 2", &[("proxy.workers", "auto", "2", true)]);
    check(
        "",
        "[[listen]]\n[[listen]]\naddress = \"0.0.0.0:1\"",
        &[
            ("listen.1.address", "", "0.0.0.0:1", true),
            ("listen.1.policy", "", "smart", true),
            ("listen.1.socket_mode", "", "0777", true),
        ],
    );
    check(
        "",
        "[pool]\nsize = 5",
        &[("database.0.pool.size", "20", "5", false), ("pool.size", "20", "5", false)],
    );
}

#[test]
fn a_changed_secret_is_reported_without_its_content() {
    let user = |secret: &str| format!("[[user]]\nname = \"u\"\nsecret = \"{secret}\"");
    check(&user("a"), &user("a"), &[]);
    check(&user("a"), &user("b"), &[("user.0.secret", "***", "***", false)]);
    check(
        "",
        &user("a"),
        &[
            ("user.0.max_server_connections", "", "0", false),
            ("user.0.name", "", "u", false),
            ("user.0.secret", "", "***", false),
        ],
    );
}

#[test]
fn clusters_keep_their_places_whatever_order_the_file_has() {
    let cluster = |name: &str, host: &str| {
        format!(
            "[[cluster]]\nname = \"{name}\"\nnodes = [{{ address = \"{host}\" }}]\n\
             [cluster.monitor]\nuser = \"m\"\nsecret = \"of {host}\"\n"
        )
    };
    let databases =
        "[[database]]\nname = \"a\"\ncluster = \"one\"\n[[database]]\nname = \"b\"\ncluster = \"two\"\n";
    let (one, two) = (cluster("one", "h1"), cluster("two", "h2"));
    let previous = valid(&format!("{one}{two}{databases}"));
    let mut swapped = valid(&format!("{two}{one}{databases}"));
    assert!(!differences(&previous, &swapped).is_empty());
    swapped.order_clusters_as(&previous).unwrap();
    assert_eq!(differences(&previous, &swapped), []);
    assert_eq!(swapped.clusters[0].topology.nodes[0].host, "h1");
    assert_eq!(swapped.databases.iter().map(|database| database.cluster).collect::<Vec<_>>(), [0, 1]);
    for others in [
        one.clone(),
        format!("{one}{}", cluster("three", "h2")),
        format!("{one}{two}{}", cluster("three", "h3")),
    ] {
        let mut others = valid(&format!("{others}[[database]]\nname = \"a\"\ncluster = \"one\"\n"));
        assert!(others.order_clusters_as(&previous).is_err());
    }
}

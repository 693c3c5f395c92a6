use super::{LEAST, mistakes};

/// `text` after the least valid configuration, which takes two lines, has exactly these mistakes.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(mistakes(&format!("{LEAST}{text}")), expected.join("\n"));
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_key() {
    check(
        "[pool]\n    poolsize = 5",
        &["p.toml:4:5: unknown key \"poolsize\" in [pool]; did you mean \"size\"?"],
    );
    check("[pol]\nsize = 5", &["p.toml:3:2: unknown key \"pol\" in the file; did you mean \"pool\"?"]);
    check("monitr = 1", &["p.toml:3:1: unknown key \"monitr\" in [[cluster]]; did you mean \"monitor\"?"]);
    check("[database]", &["p.toml:3:1: database = {…}: expected a list of tables"]);
    check(
        "[[database]]\npool.sise = 1",
        &["p.toml:4:6: unknown key \"sise\" in [database.pool]; did you mean \"size\"?"],
    );
}

#[test]
fn a_key_in_the_wrong_section_is_told_where_it_belongs() {
    check(
        "[log]\nmax_clients = 5",
        &["p.toml:4:1: unknown key \"max_clients\" in [log]; it belongs in [session]"],
    );
}

#[test]
fn a_wrong_value_is_named_with_what_is_expected() {
    check("[pool]\nsize = 0", &["p.toml:4:8: pool.size = 0: expected a whole number from 1 to 100000"]);
    check(
        "[pool]\nsize = \"5\"",
        &["p.toml:4:8: pool.size = \"5\": expected a whole number from 1 to 100000 (without quotes)"],
    );
    check(
        "[pool]\nmode = \"transction\"",
        &[
            "p.toml:4:8: pool.mode = \"transction\": expected \"transaction\", \"session\" or \"statement\"; did you mean \"transaction\"?",
        ],
    );
    check(
        "[session]\nmax_hold = 30",
        &["p.toml:4:12: session.max_hold = 30: expected a duration from \"0s\" to \"1d\" \
         (the unit is missing: ms, s, min, h or d)"],
    );
    check(
        "[log]\nlevel = \"inof\"",
        &[
            "p.toml:4:9: log.level = \"inof\": expected a level (off, error, warn, info, debug, trace) or target=level, \
         between commas; did you mean \"info\"?",
        ],
    );
    check(
        "[[listen]]\naddress = \"localhost:5432\"",
        &["p.toml:4:11: listen.0.address = \"localhost:5432\": expected an IP address and a port such as \
         \"0.0.0.0:5432\" or \"[::]:5432\", or the folder of a Unix socket and a port such as \"/run/pgherd:5432\" \
         (host names are not resolved here)"],
    );
    check(
        "[[listen]]\naddress = \"/run/pgherd:5432\"\nproxy_protocol = [\"10.0.0.0/8\"]",
        &["p.toml:5:18: listen.0.proxy_protocol: the peers of a Unix socket have no addresses"],
    );
}

#[test]
fn all_mistakes_are_reported_together_in_the_order_of_the_file() {
    let text = "[pool]\nsize = 0\nmode = 1\n[proxy]\nregoin = \"eu\"\n[[cluster]]\nnodes = [{ region = \"eu\" }, 7]\n";
    assert_eq!(
        mistakes(text),
        "p.toml:2:8: pool.size = 0: expected a whole number from 1 to 100000\n\
         p.toml:3:8: pool.mode = 1: expected \"transaction\", \"session\" or \"statement\"\n\
         p.toml:5:1: unknown key \"regoin\" in [proxy]; did you mean \"region\"?\n\
         p.toml:7:10: cluster.0.nodes.0 lacks \"address\": expected \"host:port\", \"host\" or \"[IPv6]:port\"\n\
         p.toml:7:29: cluster.0.nodes.1 = 7: expected a table"
    );
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        mistakes(""),
        "p.toml: there is no [[cluster]] with its nodes = [{ address = \"10.0.1.1:5432\", region = \"eu\" }]"
    );
    assert_eq!(
        mistakes("[[cluster]]\nname = \"m\""),
        "p.toml:1:1: cluster.0 lacks \"nodes\": expected a list such as [{ address = \"10.0.1.1:5432\", region = \"eu\" }]"
    );
    assert_eq!(
        mistakes("[[cluster]]\nname = \"m\"\nnodes = []"),
        "p.toml:2:8: cluster.0.name: the cluster has no nodes"
    );
    check(
        "[[user]]\nsecret = \"x\"",
        &["p.toml:3:1: user.0 lacks \"name\": expected a name of 1 to 63 bytes"],
    );
}

#[test]
fn what_does_not_fit_together_is_named() {
    check("[pool]\nmin_size = 21", &["p.toml:4:12: pool.min_size: 21 is more than pool.size = 20"]);
    check(
        "[[database]]\nname = \"a\"\npool.min_size = 9\npool.size = 8",
        &["p.toml:5:17: database.0.pool.min_size: 9 is more than database.0.pool.size = 8"],
    );
    check("[tls]\nmode = \"require\"", &["p.toml:4:8: tls.mode: needs both tls.certificate and tls.key"]);
    check(
        "[auth]\nquery = \"SELECT 1\"",
        &["p.toml:4:9: auth.query: the role's name, $1, does not occur in it"],
    );
    check(
        "[[database]]\n[[database]]\nname = \"a\"",
        &["p.toml:5:8: database.1.name: \"a\" is never reached, put it before \"*\""],
    );
    check(
        "[[database]]\nname = \"pgherd\"",
        &["p.toml:4:8: database.0.name: \"pgherd\" is the console's name"],
    );
    check(
        "[[database]]\nname = \"a\"\ncluster = \"mian\"",
        &["p.toml:5:11: database.0.cluster: there is no cluster \"mian\"; did you mean \"main\"?"],
    );
    check(
        "[[cluster]]\nname = \"other\"\nnodes = [{ address = \"b\" }]",
        &["p.toml: database.0.cluster: there are several clusters, which one is meant?"],
    );
    check(
        "[[cluster]]\nnodes = [{ address = \"b\" }, { address = \"b:5432\" }]\n[[database]]\ncluster = \"main\"",
        &[
            "p.toml:3:1: cluster.1.name: \"main\" is listed twice",
            "p.toml:4:41: cluster.1.nodes.1.address: b:5432 is listed twice",
        ],
    );
    check(
        "[[listen]]\naddress = \"0.0.0.0:1\"\n[[listen]]\naddress = \"0.0.0.0:1\"",
        &["p.toml:6:11: listen.1.address: 0.0.0.0:1 is listed twice"],
    );
    check(
        "[routing]\nprimary_functions = [\"f\"]\nreplica_functions = [\"f\"]",
        &["p.toml:5:21: routing.replica_functions: \"f\" is in primary_functions too"],
    );
    check(
        "[[user]]\nname = \"u\"\nsecret = \"a\"\n[[user]]\nname = \"u\"\nsecret = \"b\"",
        &["p.toml:7:8: user.1.name: \"u\" is listed twice, here or in auth.file"],
    );
}

#[test]
fn what_is_no_toml_is_reported_with_its_place_and_without_its_text() {
    let text = mistakes("[pool]\nsize = = 5\n[user\nsecret = \"hunter2");
    assert!(text.starts_with("p.toml:2:8: not TOML: "), "{text}");
    assert!(text.lines().count() > 1, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(mistakes("[pool]\nsize = 1\nsize = 2").starts_with("p.toml:3:1: not TOML: duplicate key"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let path = std::path::Path::new("/nonexistent/pgherd.toml");
    let text = crate::load(path, std::iter::empty()).expect_err("accepted").to_string();
    assert!(text.starts_with("/nonexistent/pgherd.toml: cannot read it: No such file"), "{text}");
}

#[test]
fn mistakes_in_a_users_pools_are_named() {
    check(
        "[[user]]\nname = \"u\"\npool.siz = 3\n[[user]]\nname = \"u\"",
        &[
            "p.toml:5:6: unknown key \"siz\" in [user.pool]; did you mean \"size\"?",
            "p.toml:7:8: user.1.name: \"u\" is listed twice",
        ],
    );
    check(
        "[[user]]\nname = \"u\"\npool.min_size = 30",
        &[
            "p.toml:5:17: database.0.user.\"u\".pool.min_size: 30 is more than database.0.user.\"u\".pool.size = 20",
        ],
    );
}

#[test]
fn mistakes_in_agents_and_commands_are_named() {
    check(
        "agents.certificate = \"/nonexistent\"\nhooks.failover_comand = \"x\"",
        &[
            "p.toml:3:22: cluster.0.agents.certificate: /nonexistent: No such file or directory (os error 2)\n\
         p.toml:3:22: cluster.0.agents.certificate: certificate, key and root_certificate go together\n\
         p.toml:4:7: unknown key \"failover_comand\" in [cluster.hooks]; did you mean \"failover_command\"?",
        ],
    );
    check(
        "hooks.stop_command = \"ssh %h %x\"",
        &[
            "p.toml:3:22: cluster.0.hooks.stop_command = \"ssh %h %x\": expected a shell command with the placeholders \
         %d %h %p %D %m %H %M %P %r %R %N %S, and %% for a percent sign (there are no others)",
        ],
    );
    assert_eq!(
        mistakes("[[cluster]]\nnodes = [{ address = \"a\", agent = \"a\", data_directory = \"d\" }]\n"),
        "p.toml:2:35: cluster.0.nodes.0.agent: needs certificate, key and root_certificate in [cluster.agents]\n\
         p.toml:2:57: cluster.0.nodes.0.data_directory = \"d\": expected an absolute path"
    );
}

#[test]
fn a_cluster_of_spares_alone_is_told() {
    let nodes = "nodes = [{ address = \"b:1\", spare = true }, { address = \"b:2\", spare = true }]";
    assert_eq!(
        mistakes(&format!("[[cluster]]\n{nodes}")),
        "p.toml:2:37: cluster.0.nodes.0.spare: all nodes are spares, so there is none that one could stand in for"
    );
}

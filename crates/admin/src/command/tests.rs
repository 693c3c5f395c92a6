use proptest::prelude::*;
use session::{ClientId, PauseScope};

use super::*;
use crate::{NewNode, ShutdownMode};

/// Every statement of `text`, as far as they are commands.
fn commands(text: &str) -> Vec<Option<Command>> {
    let mut commands = Vec::new();
    let mut rest = text;
    while let Some((statement, behind)) = next_statement(rest) {
        commands.push(parse(statement).ok());
        rest = behind;
    }
    commands
}

#[track_caller]
fn check(text: &str, expected: Command) {
    assert_eq!(commands(text), [Some(expected)], "{text}");
}

fn database(name: &str) -> PauseScope {
    PauseScope::Database(name.into())
}

#[test]
fn nouns_are_found_in_any_case_and_between_any_blanks() {
    for noun in Noun::ALL {
        check(&format!("show {}", noun.word().to_lowercase()), Command::Show(noun));
        check(&format!("  SHOW/* x */{} -- y\n ;;", noun.word()), Command::Show(noun));
        check(&format!("select {}", noun.word()), Command::Show(noun));
    }
    check("SHOW EXTENDED pools;", Command::ShowExtended(Noun::Pools));
    check("show", Command::Help);
    check("SHOW HELP;", Command::Help);
}

#[test]
fn administration_takes_its_arguments_bare_or_quoted() {
    check("reload", Command::Reload);
    check("PAUSE", Command::Pause(PauseScope::All));
    check("pause my-shop;", Command::Pause(database("my-shop")));
    check(r#"RESUME "The ""Shop""; EU""#, Command::Resume(database(r#"The "Shop"; EU"#)));
    check("reconnect shop", Command::Reconnect(database("shop")));
    check("disable shop", Command::Disable("shop".to_owned()));
    check("ENABLE \"my shop\"", Command::Enable("my shop".to_owned()));
    check("suspend", Command::Suspend);
    check("WAIT_CLOSE", Command::WaitClose(PauseScope::All));
    check("wait_close shop;", Command::WaitClose(database("shop")));
    check("KILL shop", Command::Kill(database("shop")));
    check("kill_client 12", Command::KillClient(ClientId(12)));
    check("KILL_CLIENT C-12", Command::KillClient(ClientId(12)));
    check("shutdown", Command::Shutdown(ShutdownMode::Immediate));
    check("SHUTDOWN wait_for_clients", Command::Shutdown(ShutdownMode::WaitForClients));
    check("SHUTDOWN WAIT_FOR_SERVERS;", Command::Shutdown(ShutdownMode::WaitForServers));
}

#[test]
fn nodes_are_named_bare_or_quoted_and_a_cluster_may_be_left_out() {
    let nodes = |command| Command::Nodes(command);
    check("detach node pg-eu", nodes(NodesCommand::Detach("pg-eu".to_owned())));
    check("ATTACH NODE \"10.0.0.1:5432\";", nodes(NodesCommand::Attach("10.0.0.1:5432".to_owned())));
    check("restart node 'a'", nodes(NodesCommand::Restart("a".to_owned())));
    check("RESTART NODES", nodes(NodesCommand::RestartAll(None)));
    check("restart nodes main", nodes(NodesCommand::RestartAll(Some("main".to_owned()))));
    check("restore topology", nodes(NodesCommand::Restore(None)));
    check("RESTORE TOPOLOGY main;", nodes(NodesCommand::Restore(Some("main".to_owned()))));
    let node =
        NewNode { name: "a".to_owned(), host: "10.0.0.9".to_owned(), port: 5433, ..NewNode::default() };
    check("add node a 10.0.0.9 5433", nodes(NodesCommand::Add(None, node.clone())));
    let text = |text: &str| Some(text.to_owned());
    let (region, zone, agent) = (text("eu"), text("eu-1"), text("10.0.0.9:8432"));
    let node = NewNode { region, zone, priority: Some(0), agent, data_directory: text("/d"), ..node };
    check(
        "ADD NODE a '10.0.0.9' 5433 REGION eu ZONE eu-1 PRIORITY 0 AGENT '10.0.0.9:8432' DATA_DIRECTORY '/d' CLUSTER main;",
        nodes(NodesCommand::Add(text("main"), node)),
    );
    check("drop node a", nodes(NodesCommand::Drop("a".to_owned())));
    for wrong in
        ["add node a", "add node a h x", "add node a h 1 region", "add node a h 1 color red", "drop a"]
    {
        assert_eq!(commands(wrong), [None], "{wrong}");
    }
    for wrong in
        ["detach", "detach node", "attach a", "restart", "restart node a b", "restore", "restore node a"]
    {
        assert_eq!(commands(wrong), [None], "{wrong}");
    }
    assert!(!nodes(NodesCommand::Attach("a".to_owned())).only_looks());
}

#[test]
fn checks_are_bounded_in_time() {
    let replication = |seconds| Command::CheckReplication(Duration::from_secs(seconds));
    check("check cluster", Command::CheckCluster);
    check("CHECK REPLICATION;", replication(5));
    check("check replication 60", replication(60));
    for wrong in [
        "check",
        "check replication 0",
        "check replication 61",
        "check replication soon",
        "check cluster now",
    ] {
        assert_eq!(commands(wrong), [None], "{wrong}");
    }
    assert!(Command::CheckCluster.only_looks() && !replication(5).only_looks());
}

#[test]
fn what_drivers_send_while_they_set_up_is_accepted() {
    let set = |name: &str| Command::Set { name: name.to_owned(), value: None };
    let set_to =
        |name: &str, value: &str| Command::Set { name: name.to_owned(), value: Some(value.to_owned()) };
    check("SET extra_float_digits = 3", set_to("extra_float_digits", "3"));
    check("set session application_name to 'a;b'", set_to("application_name", "a;b"));
    check("SET Pool.Size=30", set_to("pool.size", "30"));
    check("SET database.0.pool.wait_timeout = '3 s';", set_to("database.0.pool.wait_timeout", "3 s"));
    check("SET datestyle TO 'ISO, DMY', x", set("datestyle"));
    check("SET TIME ZONE 'UTC'", set("timezone"));
    check("SET NAMES 'utf8'", set("client_encoding"));
    check("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Command::Ignore("SET"));
    check("DISCARD ALL", Command::Ignore("DISCARD ALL"));
    check("BEGIN READ ONLY", Command::Begin);
    check("COMMIT", Command::EndTransaction("COMMIT"));
    check("rollback;", Command::EndTransaction("ROLLBACK"));
    check("SELECT 1", Command::Select(Constant::Int(1)));
    check("select 'it''s'", Command::Select(Constant::Text("it's".to_owned())));
    check("select version()", Command::Select(Constant::Version));
    check("SELECT pg_catalog.pg_is_in_recovery()", Command::Select(Constant::InRecovery));
    for (text, name) in [
        ("SHOW server_version", "server_version"),
        ("show TimeZone", "timezone"),
        ("SHOW TIME ZONE", "timezone"),
        ("SHOW TRANSACTION ISOLATION LEVEL", "transaction_isolation"),
        ("SHOW transaction_read_only", "transaction_read_only"),
    ] {
        check(text, Command::ShowParameter(Parameter::find(name).unwrap()));
    }
}

#[test]
fn explain_route_takes_all_that_follows_it() {
    let explain = |database: Option<&str>, sql: &str| Command::ExplainRoute {
        database: database.map(str::to_owned),
        sql: sql.to_owned(),
    };
    check("EXPLAIN ROUTE select 1; insert into t;", explain(None, "select 1; insert into t;"));
    check(
        "explain route /* pgherd: primary */ select ';'",
        explain(None, "/* pgherd: primary */ select ';'"),
    );
    check(r#"explain route for "my shop" select 1"#, explain(Some("my shop"), "select 1"));
    for text in ["explain route", "explain route ;", "explain route for shop", "explain route for shop ;"] {
        assert_eq!(commands(text), [None], "{text}");
    }
}

#[test]
fn statements_end_at_semicolons_outside_quotes_and_comments() {
    for text in ["", "  ", ";;;;", "-- x", "/* ; */", ";/**/;", "\0"] {
        assert!(commands(text).is_empty(), "{text}");
    }
    assert_eq!(
        commands("pause \"a;b\";;show pools -- ; x\n; select ';'"),
        [
            Some(Command::Pause(database("a;b"))),
            Some(Command::Show(Noun::Pools)),
            Some(Command::Select(Constant::Text(";".to_owned()))),
        ]
    );
}

#[track_caller]
fn check_refused(text: &str, code: &str, hint: &str) {
    let error = parse(text).unwrap_err();
    assert_eq!(error.code.as_str(), code, "{text}");
    let told = error.hint.unwrap();
    assert!(told.contains(hint), "{text}: {told}");
}

#[test]
fn what_is_no_command_is_answered_with_the_nearest_one() {
    check_refused("show pool", "42601", "SHOW POOLS?");
    check_refused("SHOW STAT", "42601", "SHOW STAT");
    check_refused("show extended pols", "42601", "SHOW");
    check_refused("relaod", "42601", "RELOAD?");
    check_refused("pause a b", "42601", "PAUSE?");
    check_refused("kill_client x", "42601", "KILL_CLIENT?");
    check_refused("shutdown now", "42601", "SHUTDOWN?");
    check_refused("select * from pg_class c join pg_namespace n on true", "42601", "not a database");
    check_refused("select", "42601", "SHOW HELP");
    check_refused("show $1", "0A000", "Write the value");
}

#[test]
fn a_long_statement_is_told_back_in_part() {
    let error = parse(&"ä".repeat(1 << 16)).unwrap_err();
    assert!(error.message.len() < 120, "{}", error.message);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s).*") {
        commands(&text);
    }

    #[test]
    fn no_mix_of_words_makes_it_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "show", "select", "set", "explain", "route", "for", "pause", "\"", "'", "$1", "=", "to", "--",
                "/*", "*/", ";", "\n", "ä", "12", "(", ")", "session", "transaction", "extended", "pools",
            ]),
            0..20,
        ),
    ) {
        commands(&words.concat());
        commands(&words.join(" "));
    }
}

use std::borrow::Cow;

use super::*;

#[track_caller]
fn check(sql: &str, expected: &[(&str, Option<&str>)]) {
    let found: Vec<_> = setting_changes(sql.as_bytes()).collect();
    let text = |text: &str| Cow::Owned(text.as_bytes().to_vec());
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, statement)| match statement {
            Some(statement) => SettingChange::Set { name: text(name), statement: text(statement) },
            None if name.is_empty() => SettingChange::ResetAll,
            None => SettingChange::Reset { name: text(name) },
        })
        .collect();
    assert_eq!(found, expected, "{sql}");
}

#[test]
fn a_set_is_replayed_as_it_was_written() {
    check("set search_path to a, b", &[("search_path", Some("set search_path to a, b"))]);
    check(" SET Work_Mem = '1MB' ; -- x", &[("work_mem", Some("SET Work_Mem = '1MB'"))]);
    check("set session app.user = 'a;b' -- x", &[("app.user", Some("set session app.user = 'a;b'"))]);
    check("set \"DateStyle\" to iso", &[("datestyle", Some("set \"DateStyle\" to iso"))]);
    check("set App . \"User\" to x", &[("app.user", Some("set App . \"User\" to x"))]);
    check("set sort_mem = 1", &[("work_mem", Some("set sort_mem = 1"))]);
}

#[test]
fn settings_with_words_of_their_own_have_their_names() {
    check("set time zone 'UTC'", &[("timezone", Some("set time zone 'UTC'"))]);
    check(
        "set session time zone interval '1' hour",
        &[("timezone", Some("set session time zone interval '1' hour"))],
    );
    check("set names 'utf8'", &[("client_encoding", Some("set names 'utf8'"))]);
    check("set schema 'a'", &[("search_path", Some("set schema 'a'"))]);
    check("set role a", &[("role", Some("set role a"))]);
    check("set session authorization a", &[("session_authorization", Some("set session authorization a"))]);
    check("set xml option content", &[("xmloption", Some("set xml option content"))]);
}

#[test]
fn characteristics_of_transactions_are_settings_each_by_itself() {
    let isolation = |level: &str| format!("SET default_transaction_isolation TO '{level}'");
    for level in ["serializable", "repeatable read", "read committed", "read uncommitted"] {
        check(
            &format!("set session characteristics as transaction isolation level {level}"),
            &[("default_transaction_isolation", Some(&isolation(level)))],
        );
    }
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY DEFERRABLE; set a = 1",
        &[
            ("default_transaction_isolation", Some(&isolation("serializable"))),
            ("default_transaction_read_only", Some("SET default_transaction_read_only TO on")),
            ("default_transaction_deferrable", Some("SET default_transaction_deferrable TO on")),
            ("a", Some("set a = 1")),
        ],
    );
    check(
        "set session characteristics as transaction not deferrable, read write",
        &[
            ("default_transaction_deferrable", Some("SET default_transaction_deferrable TO off")),
            ("default_transaction_read_only", Some("SET default_transaction_read_only TO off")),
        ],
    );
    for none in ["", " as", " as transaction", " as transaction read", " as transaction read only, x"] {
        check(&format!("set session characteristics{none}; reset b"), &[("b", None)]);
    }
}

#[test]
fn resets_in_all_their_forms() {
    check("reset search_path", &[("search_path", None)]);
    check("set search_path to default", &[("search_path", None)]);
    check("set time zone local; set time zone default", &[("timezone", None), ("timezone", None)]);
    check("reset time zone", &[("timezone", None)]);
    check("set names default; set names", &[("client_encoding", None), ("client_encoding", None)]);
    check("set role none; reset role", &[("role", None), ("role", None)]);
    check("set session authorization default", &[("session_authorization", None)]);
    check("reset session authorization", &[("session_authorization", None)]);
    check("reset all", &[("", None)]);
}

#[test]
fn set_config_calls_are_replayed_one_by_one() {
    check(
        "select set_config('A.b', 'it''s', false)",
        &[("a.b", Some("SELECT set_config('A.b', 'it''s', false)"))],
    );
    check(
        "select pg_catalog.set_config('a', '1', false) as x, set_config('b', '2', true), set_config('c', '3', false);",
        &[
            ("a", Some("SELECT pg_catalog.set_config('a', '1', false)")),
            ("c", Some("SELECT set_config('c', '3', false)")),
        ],
    );
}

#[test]
fn statements_come_in_order_and_others_are_passed() {
    check(
        "set a = 1; insert into t values ('set c = 3;'); reset b; select 1; select set_config('d', '4', false)",
        &[("a", Some("set a = 1")), ("b", None), ("d", Some("SELECT set_config('d', '4', false)"))],
    );
    check("set local a = 1; set transaction read only; set transaction_read_only = on", &[]);
}

#[test]
fn settings_for_the_transaction_are_named_where_they_can_be() {
    let names = |sql: &str| -> Vec<Option<String>> {
        let text = |name: Cow<'_, [u8]>| String::from_utf8(name.into_owned()).unwrap();
        local_settings(sql.as_bytes()).map(|name| name.map(text)).collect()
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(names("begin; set local \"TimeZone\" to 'x'; select 1"), [named("timezone")]);
    assert_eq!(names("set local time zone 'x'; set local role a"), [named("timezone"), named("role")]);
    assert_eq!(
        names("select set_config('A.b', $1, true), set_config('c', 'd', true)"),
        [named("a.b"), named("c")]
    );
    assert_eq!(names("select pg_catalog.set_config($1, $2, true)"), [None]);
    assert_eq!(names("set local session characteristics as transaction read only"), [None]);
    assert_eq!(names("set local"), [None]);
    assert_eq!(names("select 1"), []);
}

#[test]
fn the_deallocated_statement_is_named_as_the_server_knows_it() {
    let name = |sql: &str| {
        deallocated_name(sql.as_bytes()).map(|name| String::from_utf8(name.into_owned()).unwrap())
    };
    assert_eq!(name("deallocate My_Statement;").as_deref(), Some("my_statement"));
    assert_eq!(name("; DEALLOCATE PREPARE \"My \"\"one\"\"\"").as_deref(), Some("My \"one\""));
    assert_eq!(name("deallocate prepare").as_deref(), Some("prepare"));
    assert_eq!(name("deallocate \"all\"").as_deref(), Some("all"));
    assert_eq!(name("deallocate all"), None);
    assert_eq!(name("deallocate prepare all"), None);
    assert_eq!(name("select 1"), None);
    assert_eq!(name(&format!("deallocate {}", "a".repeat(70))), Some("a".repeat(63)));
    assert_eq!(name(&format!("deallocate {}ü", "A".repeat(62))), Some("a".repeat(62)));
}

#[track_caller]
fn check_channels(sql: &str, expected: &[&str]) {
    let found: Vec<_> = setting_changes(sql.as_bytes())
        .map(|change| match change {
            SettingChange::Listen { channel } => format!("+{}", String::from_utf8_lossy(&channel)),
            SettingChange::Unlisten { channel } => format!("-{}", String::from_utf8_lossy(&channel)),
            SettingChange::UnlistenAll => "-*".to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(found, expected, "{sql}");
}

#[test]
fn channels_are_named_as_the_server_names_them() {
    check_channels("listen News", &["+news"]);
    check_channels("listen \"News\"\"s\"", &["+News\"s"]);
    check_channels(&format!("listen {}", "x".repeat(80)), &[&format!("+{}", "x".repeat(63))]);
    check_channels(&format!("listen \"{}ö\"", "x".repeat(62)), &[&format!("+{}", "x".repeat(62))]);
    check_channels(
        "listen a; select 1; unlisten A; unlisten *; listen b c; listen d",
        &["+a", "-a", "-*", "+d"],
    );
}

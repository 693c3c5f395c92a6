use super::*;

#[test]
fn settings_that_can_be_followed() {
    for sql in [
        "set search_path to a, b",
        "set search_path = pg_catalog, pg_temp",
        "SET SESSION work_mem = '1MB';",
        "set app.user = 'x'",
        "set time zone 'UTC'",
        "set timezone to default",
        "set names 'utf8'",
        "set names",
        "set schema 'a'",
        "set role a",
        "set role none",
        "set session authorization a",
        "set session authorization default",
        "set xml option document",
        "set session time zone local",
        "set session_replication_role = replica",
        "reset search_path",
        "reset all",
        "reset role",
        "reset session authorization",
        "reset time zone",
        "reset app.user",
    ] {
        check(sql, SETTINGS);
    }
}

#[test]
fn settings_that_cannot() {
    for sql in [
        "set standard_conforming_strings = off",
        "set \"Standard_Conforming_Strings\" to on",
        "reset standard_conforming_strings",
        "set backslash_quote = on",
        "set seed to 0.5",
        "set session characteristics as transaction snapshot 'x'",
        "set session characteristics as transaction",
        "set",
        "set;",
        "set x",
        "set x;",
        "set x =",
        "set session",
        "set session;",
        "set a.",
        "reset",
        "reset;",
    ] {
        check(sql, session_pin(PinCause::Settings));
    }
}

#[test]
fn a_search_path_that_makes_the_next_table_temporary_pins() {
    check("set search_path = pg_temp, public", session_pin(PinCause::Settings));
    check("set search_path to \"pg_temp\"", session_pin(PinCause::Settings));
    check("set schema 'pg_temp'", session_pin(PinCause::Settings));
    check("select set_config('search_path', 'pg_temp,a', false)", pin(PinCause::Settings));
}

#[test]
fn discard_and_deallocate() {
    check("discard all", Class { effect: Effect::DiscardAll, ..of(Kind::Session) });
    check("discard plans", of(Kind::Session));
    check("discard sequences", of(Kind::Session));
    check("discard temp", of(Kind::Session));
    check("deallocate all", Class { effect: Effect::DeallocateAll, ..of(Kind::Session) });
    check("deallocate prepare all", Class { effect: Effect::DeallocateAll, ..of(Kind::Session) });
    check("deallocate a", Class { effect: Effect::Deallocate, ..of(Kind::Session) });
    check("deallocate prepare \"A\"", Class { effect: Effect::Deallocate, ..of(Kind::Session) });
    check("deallocate prepare", Class { effect: Effect::Deallocate, ..of(Kind::Session) });
    check("deallocate \"all\"", Class { effect: Effect::Deallocate, ..of(Kind::Session) });
}

#[test]
fn channels_can_be_followed() {
    let listen = Class { effect: Effect::Listen, replayable: true, ..of(Kind::Session) };
    let unlisten = Class { effect: Effect::Unlisten, ..listen };
    for sql in ["listen c", "LISTEN \"C\";", "listen select", "/* x */ listen \"a;b\" ;; -- y"] {
        check(sql, listen);
    }
    for sql in ["unlisten c", "UNLISTEN *", "unlisten \"C\";"] {
        check(sql, unlisten);
    }
    // the server refuses them
    for sql in
        ["listen", "listen;", "listen 'c'", "listen *", "listen a.b", "listen a b", "listen \"\"", "unlisten"]
    {
        check(sql, of(Kind::Session));
    }
}

/// A write that may be sent again, with settings for its transaction.
const LOCAL: Class = Class { effect: Effect::LocalSettings, ..WRITE };

#[test]
fn set_config_with_literals_can_be_followed() {
    check("select set_config('app.user', 'x', false)", SETTINGS);
    check("SELECT pg_catalog.set_config('search_path', '', false);", SETTINGS);
    check("select set_config('a.b', 'x', false) as a, set_config('a.c', 'y', false)", SETTINGS);
    check("select set_config('a.b', 'x', true)", LOCAL);
    check(
        "select set_config('a.b', 'x', true), set_config('a.c', 'y', false)",
        Class { effect: Effect::Settings, ..OTHER },
    );
}

#[test]
fn set_config_for_the_transaction_leaves_nothing_whatever_its_arguments() {
    check("select set_config('a.b', $1, true)", LOCAL);
    check("select set_config($1, current_setting('x') || lower('y', (1, 2)), true), count(*) from t", LOCAL);
    check("insert into t select set_config('a.b', $1::text, TRUE)", LOCAL);
}

#[test]
fn other_uses_of_set_config_pin() {
    for sql in [
        "select set_config('a.b', $1, false)",
        "select set_config('a.b', 'x', $1)",
        "select set_config('a.b', 'x', not true)",
        "select set_config('a.b', 'x', true and false)",
        "select set_config('a.b', 'x', (true, false))",
        "select set_config('a.b', 'x', false) from t",
        "select set_config(E'a.b', 'x', false)",
        "select set_config('a.b', 'x', false) || 'y'",
        "select 1, set_config('a.b', 'x', false)",
        "select set_config('a.b', set_config('a.c', 'y', false), true)",
        "select set_config('a.b', 'x', is_local => true)",
        "select set_config('a.b', 'x', true, true)",
        "select set_config('standard_conforming_strings', 'off', false)",
        "select set_config('a.b', 'x'",
        "with a as (select set_config('a.b', 'x', false)) select * from a",
        "insert into t select set_config('a.b', 'x', false)",
        "update pg_settings set setting = 'x' where name = 'a.b'",
        "update only pg_catalog.pg_settings set setting = 'x'",
        "with a as (update pg_settings set setting = 'x' returning 1) select 1",
    ] {
        check(sql, pin(PinCause::Settings));
    }
}

#[test]
fn a_setting_whose_name_is_written_with_escapes_pins() {
    let settings = session_pin(PinCause::Settings);
    check("set U&\"standard_conforming_string\\0073\" = off", settings);
    check("set u&\"standard_conforming_string!0073\" uescape '!' to off", settings);
    check("set session app.U&\"\\0061\" = 1", settings);
    check("reset U&\"work\\005fmem\"", settings);
    check("update U&\"pg\\005fsettings\" set setting = 'off'", pin(PinCause::Settings));
    // what stands before a parenthesis may also be a call
    let both = PinCauses::of(PinCause::TemporaryTable).and(PinCauses::of(PinCause::Settings));
    check(
        "create table U&\"pg\\005ftemp\".t ()",
        Class { effect: Effect::Pin(both), ..pin(PinCause::Settings) },
    );
}

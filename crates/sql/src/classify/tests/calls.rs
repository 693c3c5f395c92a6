use super::*;
use crate::Functions;

/// Knows `app.twice` and `double` as harmless, and a volatile `format` outside `pg_catalog`.
struct Catalog;

impl Functions for Catalog {
    fn is_harmless(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        matches!((schema, name), (Some(b"app"), b"twice" | b"Twice" | b"nextval") | (None, b"double"))
    }

    fn shadows(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        schema.is_none() && name == b"format"
    }
}

#[track_caller]
fn check_with_catalog(sql: &str, expected: Kind) {
    assert_eq!(classify(sql.as_bytes(), &Catalog).kind, expected, "{sql}");
}

#[test]
fn functions_of_pg_catalog_are_harmless_if_the_list_has_them() {
    check("select lower(a), count(*), now(), random(), pg_catalog.format_type(1, 2) from t", READ);
    check("select COUNT(*), \"lower\"('A'), PG_CATALOG.Upper('a'), \"pg_catalog\".\"upper\"('b')", READ);
    check("select lower (a), lower/* c */(a) from t", READ);
    check("select * from generate_series(1, 3), pg_size_pretty(pg_relation_size('t'))", READ);
    check("select \"LOWER\"('a')", WRITE);
    check("select public.lower('a')", WRITE);
    check("select my_function(1)", WRITE);
    check("select * from my_function(1)", WRITE);
}

#[test]
fn the_database_is_asked_about_the_rest() {
    check_with_catalog("select double(1), app.twice(2), app.\"Twice\"(3), db.app.twice(4)", Kind::Read);
    check_with_catalog("select App.TWICE(1)", Kind::Read);
    check_with_catalog("select app.thrice(1)", Kind::Write);
    check_with_catalog("select other.double(1)", Kind::Write);
    check_with_catalog("select app.nextval('s')", Kind::Read);
    check_with_catalog("select nextval('s')", Kind::Write);
    check_with_catalog("select format('x')", Kind::Write);
    check_with_catalog("select pg_catalog.format('x')", Kind::Read);
}

#[test]
fn functions_that_write_or_tell_about_the_node_belong_on_the_primary() {
    for call in [
        "nextval('s')",
        "pg_catalog.nextval('s')",
        "\"nextval\"('s')",
        "NextVal ('s')",
        "setval('s', 1)",
        "lo_import('f')",
        "lo_create(1)",
        "lo_unlink(1)",
        "loread(1, 2)",
        "pg_advisory_xact_lock(1)",
        "pg_try_advisory_xact_lock_shared(1)",
        "pg_advisory_unlock(1)",
        "pg_advisory_unlock_all()",
        "pg_notify('c', 'x')",
        "txid_current()",
        "pg_current_xact_id()",
        "pg_current_wal_lsn()",
        "pg_is_in_recovery()",
        "pg_last_wal_replay_lsn()",
        "pg_last_xact_replay_timestamp()",
        "pg_backend_pid()",
        "inet_server_addr()",
        "query_to_xml('delete from t', true, true, '')",
        "cursor_to_xml('c', 1, true, true, '')",
        "ts_stat('select 1')",
        "pg_read_file('x')",
        "pg_export_snapshot()",
    ] {
        check(&format!("select {call}"), WRITE);
        check(&format!("select 1 from t where a = ({call})"), WRITE);
    }
}

#[test]
fn views_of_the_node_belong_on_the_primary() {
    check("select gid from pg_prepared_xacts where database = current_database()", WRITE);
    check("select * from pg_catalog.\"pg_locks\"", WRITE);
    check("table PG_STAT_REPLICATION", WRITE);
    check("select * from pg_class, pg_stat_user_tables, pg_settings, pg_lock", READ);
    check("/* pgherd: replica */ table pg_locks", Class { hinted: true, ..READ });
}

#[test]
fn what_a_rollback_does_not_undo_is_not_sent_again() {
    for call in [
        "dblink('c', 'delete from t')",
        "dblink_exec('delete from t')",
        "pg_create_restore_point('x')",
        "pg_switch_wal()",
        "pg_terminate_backend(1)",
        "pg_reload_conf()",
        "pg_stat_reset()",
        "pg_promote()",
        "pg_logical_slot_get_changes('s', null, null)",
        "pg_drop_replication_slot('s')",
        "pg_replication_origin_create('o')",
        "lo_export(1, 'f')",
    ] {
        check(&format!("select {call}"), OTHER);
    }
}

#[test]
fn a_replica_hint_vouches_for_unknown_functions_and_for_nothing_else() {
    let hinted = |class| Class { hinted: true, ..class };
    check("/* pgherd: replica */ select my_function(1)", hinted(READ));
    check("select my_function(1) /* pgherd: replica */", hinted(READ));
    check("/* pgherd: replica */ select pg_is_in_recovery()", hinted(READ));
    check("/* pgherd: replica */ select nextval('s')", hinted(WRITE));
    check("/* pgherd: replica */ select * from t for update", hinted(WRITE));
    check("/* pgherd: replica */ delete from t", hinted(WRITE));
    check("/* pgherd: replica */ create table t ()", hinted(OTHER));
    check("/* pgherd: primary */ select my_function(1)", hinted(WRITE));
    check("/* pgherd: region=us */ select my_function(1)", hinted(WRITE));
    check(
        "/* pgherd: replica */ select f(1); select 2",
        Class { statements: Statements::Many, replayable: false, ..hinted(READ) },
    );
}

#[test]
fn a_name_written_with_escapes_or_too_long_for_the_server_is_not_trusted() {
    check("select U&\"pg_\\0061dvisory_lock\"(1)", pin(PinCause::Settings));
    check("select U&\"pg_catalog\".pg_advisory_lock(1)", pin(PinCause::Settings));
    check(&format!("select {}(1)", "f".repeat(64)), WRITE);
    check(&format!("select \"{}\"(1)", "\"\"".repeat(64)), WRITE);
}

#[test]
fn words_of_the_grammar_that_may_name_a_function_are_asked_about() {
    struct Named(&'static [u8]);
    impl Functions for Named {
        fn is_harmless(&self, _schema: Option<&[u8]>, _name: &[u8]) -> bool {
            false
        }
        fn shadows(&self, _schema: Option<&[u8]>, name: &[u8]) -> bool {
            name == self.0
        }
    }
    for word in ["by", "cube", "ilike", "join", "like", "materialized", "rollup"] {
        let sql = format!("select not {word}('2024-01-01')");
        assert_eq!(classify(sql.as_bytes(), &Named(word.as_bytes())).kind, Kind::Write, "{sql}");
        check(&sql, READ);
    }
}

#[test]
fn the_escape_character_of_a_name_does_not_hide_a_call() {
    let settings = pin(PinCause::Settings);
    check("select U&\"!006eextval\" UESCAPE '!' ('s')", settings);
    check("select U&\"set!005fconfig\" /* c */ uescape -- c\n'!' ('search_path', 'x', false)", settings);
    check("select U&\"pg!005fcatalog\" uescape '!' . nextval('s')", settings);
    check("select U&\"a\" uescape '!' from t", READ);
}

#[test]
fn an_underscore_behind_a_number_starts_a_name() {
    check("select 1_$x$, pg_advisory_lock(1)", pin(PinCause::AdvisoryLock));
    check("select 1_0$x$, pg_advisory_lock(1)", pin(PinCause::AdvisoryLock));
    check("select .5_$x$, pg_advisory_lock(1) -- $x$", pin(PinCause::AdvisoryLock));
}

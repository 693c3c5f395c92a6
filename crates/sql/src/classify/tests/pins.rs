use super::*;

#[test]
fn temporary_objects_pin() {
    for sql in [
        "create temp table t (a int)",
        "CREATE TEMPORARY TABLE t AS SELECT 1",
        "create local temp table t ()",
        "create global temporary table t ()",
        "create or replace temp view v as select 1",
        "create temp sequence s",
        "create table pg_temp.t ()",
        "create table \"pg_temp\".t ()",
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "create table pg_temp_3 . t ()",
        "select 1 into temp t",
        "select 1 into temporary table t",
        "select 1 into pg_temp.t",
        "select 1 into local temp t",
    ] {
        check(sql, pin(PinCause::TemporaryTable));
    }
    check("create table temp (a int)", OTHER);
    check("create table t (pg_temp int)", OTHER);
    check("select * from pg_temp.t", READ);
}

#[test]
fn session_level_advisory_locks_pin() {
    for call in [
        "pg_advisory_lock(1)",
        "pg_advisory_lock_shared(1, 2)",
        "pg_try_advisory_lock(1)",
        "pg_catalog.pg_try_advisory_lock_shared(1)",
        "\"pg_advisory_lock\"(1)",
    ] {
        check(&format!("select {call}"), pin(PinCause::AdvisoryLock));
        check(&format!("insert into t select 1 where {call} is null"), pin(PinCause::AdvisoryLock));
        check(&format!("create table t as select {call}"), pin(PinCause::AdvisoryLock));
        check(&format!("call p({call})"), pin(PinCause::AdvisoryLock));
    }
    check("select 'pg_advisory_lock(1)'", READ);
}

#[test]
fn values_that_a_session_got_from_sequences_pin() {
    for call in ["currval('s')", "lastval()", "pg_catalog.CurrVal('s'::regclass)"] {
        check(&format!("select {call}"), pin(PinCause::SequenceValue));
        check(&format!("insert into t values ({call})"), pin(PinCause::SequenceValue));
    }
    check("select 'lastval()', lastval from t", READ);
}

#[test]
fn other_things_that_live_on_one_connection_pin() {
    check("listen U&\"c\"", session_pin(PinCause::Listen));
    check("prepare p as select 1", pin(PinCause::SqlPrepare));
    check("prepare p (int) as insert into t values ($1)", pin(PinCause::SqlPrepare));
    check("declare c cursor with hold for select 1", pin(PinCause::HoldCursor));
    check("declare c binary insensitive no scroll cursor with hold for select 1", pin(PinCause::HoldCursor));
    check("declare c cursor without hold for select 1", OTHER);
    check("declare c cursor for select hold from t with hold", OTHER);
    check("load 'auto_explain'", pin(PinCause::Load));
    check("select setseed(0.5)", pin(PinCause::Settings));
    check("select dblink_connect('c', '')", pin(PinCause::Settings));
}

#[test]
fn the_code_of_a_do_is_searched_for_what_it_leaves() {
    check("do $$ begin create temp table t (); end $$", pin(PinCause::TemporaryTable));
    check("do $$ begin execute 'create temporary table ' || x; end $$", pin(PinCause::TemporaryTable));
    check("do $$ begin create table pg_temp.t (); end $$", pin(PinCause::TemporaryTable));
    check("do 'begin perform pg_advisory_lock(1); end'", pin(PinCause::AdvisoryLock));
    check("do $x$ begin perform set_config('a.b', 'c', false); end $x$", pin(PinCause::Settings));
    check("do $$ begin set work_mem = 1; end $$", pin(PinCause::Settings));
    check("do $$ begin if a then SET x = 1; end if; end $$", pin(PinCause::Settings));
    check("do $$ begin execute 'set x = 1'; end $$", pin(PinCause::Settings));
    check("do $$ begin listen c; end $$", pin(PinCause::Listen));
    check("do $$ begin load 'x'; end $$", pin(PinCause::Load));
    check("do $$ begin update t set a = 1 where temp = 2; end $$", OTHER);
    check("do $$ begin notify c; end $$", OTHER);
}

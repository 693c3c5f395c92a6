use super::*;

#[test]
fn copy_to_the_client_is_a_read() {
    check("copy t to stdout", READ);
    check("copy s.t (a, b) to stdout with (format csv, force_quote (a))", READ);
    check("COPY \"T\".\"U\" TO STDOUT", READ);
    check("copy binary t to stdout", READ);
    check("copy (select * from t) to stdout (format binary)", READ);
    check("copy (select lower(a) from t where (b) in (1)) to stdout", READ);
}

#[test]
fn copy_of_a_write_is_one() {
    check("copy (select nextval('s')) to stdout", WRITE);
    check("copy (insert into t values (1) returning *) to stdout", WRITE);
    check("copy (with a as (delete from t returning *) select * from a) to stdout", WRITE);
    check("copy (select pg_advisory_lock(1)) to stdout", pin(PinCause::AdvisoryLock));
}

#[test]
fn copy_from_anywhere_and_to_the_server_is_a_write_that_is_not_sent_again() {
    check("copy t from stdin", OTHER);
    check("copy t (a) from stdin where a > 1", OTHER);
    check("copy t from '/tmp/x'", OTHER);
    check("copy t to '/tmp/x'", OTHER);
    check("copy t to program 'cat'", OTHER);
    check("copy (select 1) to '/tmp/x'", OTHER);
    check("copy", OTHER);
    check("copy t", OTHER);
    check("copy t from stdin where pg_advisory_lock(1) is null", pin(PinCause::AdvisoryLock));
}

#[test]
fn explain_without_analyze_only_plans() {
    check("explain select 1", READ);
    check("explain verbose select * from t", READ);
    check("explain (costs off, format json) select 1", READ);
    check("explain insert into t values (1)", READ);
    check("explain update t set a = 1", READ);
    check("explain (select 1) union select 2", READ);
    check("explain ((select 1))", READ);
    check("explain (analyze false) delete from t", READ);
    check("explain (analyze off, verbose) delete from t", READ);
    check("explain (analyze 0) delete from t", READ);
    check("explain (analyze 'off') delete from t", READ);
    check("explain select * from t for update", READ);
    check("explain select nextval('s'), pg_advisory_lock(1)", READ);
}

#[test]
fn explain_analyze_does_what_its_statement_does() {
    check("explain analyze select 1", READ);
    check("explain analyse verbose select 1", READ);
    check("explain (analyze, buffers) select 1", READ);
    check("explain analyze (select 1)", READ);
    check("explain analyze insert into t values (1)", WRITE);
    check("explain (analyze) update t set a = 1", WRITE);
    check("explain (analyze true) delete from t", WRITE);
    check("explain (analyze off, analyze on) delete from t", WRITE);
    check("explain (buffers off, analyze) delete from t", WRITE);
    check("explain (analyze 1) with a as (delete from t returning *) select * from a", WRITE);
    check("explain analyze select nextval('s')", WRITE);
    check("explain analyze select f(1)", WRITE);
    check("explain analyze select pg_advisory_lock(1)", pin(PinCause::AdvisoryLock));
}

#[test]
fn explain_of_anything_else_is_a_write() {
    check("explain create table t as select 1", OTHER);
    check("explain analyze create temp table t as select 1", pin(PinCause::TemporaryTable));
    check("explain execute p", OTHER);
    check("explain declare c cursor for select 1", OTHER);
    check("explain select 1 into t", Class { replayable: true, ..OTHER });
    check("explain", OTHER);
    check("explain (analyze", OTHER);
    check("explain;", OTHER);
}

#[test]
fn a_quoted_option_of_explain_may_be_analyze() {
    check("explain (\"analyze\") delete from t", WRITE);
    check("explain (costs off, U&\"\\0061nalyze\") delete from t", WRITE);
    check("explain (U&\"!0061nalyze\" uescape '!' on, analyze off) delete from t", WRITE);
    check("explain (analyze \"on\") delete from t", WRITE);
    check("explain (analyze 0x1) delete from t", WRITE);
    check("explain (\"costs\" off) select 1", READ);
}

use super::*;

const BEGIN: Class = of(Kind::Begin { replica: false });
const BEGIN_REPLICA: Class = of(Kind::Begin { replica: true });
const COMMIT: Class = of(Kind::Commit { chain: false });
const COMMIT_CHAIN: Class = of(Kind::Commit { chain: true });
const ROLLBACK: Class = of(Kind::Rollback { chain: false });
const ROLLBACK_CHAIN: Class = of(Kind::Rollback { chain: true });

#[test]
fn begin_and_start_transaction_begin() {
    for sql in ["begin", "BEGIN;", "begin work", "begin transaction", "start transaction", "/* x */ begin"] {
        check(sql, BEGIN);
    }
    check("begin isolation level repeatable read", BEGIN);
    check("begin read write", BEGIN);
}

#[test]
fn a_read_only_transaction_may_run_on_a_replica() {
    check("begin read only", BEGIN_REPLICA);
    check("start transaction read only", BEGIN_REPLICA);
    check("begin transaction isolation level repeatable read, read only", BEGIN_REPLICA);
    check("begin isolation level read committed read only not deferrable", BEGIN_REPLICA);
    check("begin read only isolation level read uncommitted", BEGIN_REPLICA);
    check("begin read write, read only", BEGIN_REPLICA);
}

#[test]
fn a_transaction_that_a_standby_cannot_give_goes_to_the_primary() {
    check("begin isolation level serializable read only", BEGIN);
    check("begin isolation level serializable, read only, deferrable", BEGIN);
    check("begin read only, read write", BEGIN);
    check("begin read only something new", BEGIN);
    check("begin read", BEGIN);
}

#[test]
fn the_ends_of_a_transaction() {
    for sql in ["commit", "end", "commit work", "end transaction;", "prepare transaction 'x'"] {
        check(sql, COMMIT);
    }
    for sql in ["rollback", "abort", "rollback work", "abort transaction"] {
        check(sql, ROLLBACK);
    }
    check("commit and no chain", COMMIT);
    check("rollback and no chain", ROLLBACK);
    check("commit and chain", COMMIT_CHAIN);
    check("end work and chain", COMMIT_CHAIN);
    check("rollback transaction and chain", ROLLBACK_CHAIN);
    check("abort and chain", ROLLBACK_CHAIN);
}

#[test]
fn what_means_something_only_inside_a_transaction() {
    for sql in [
        "savepoint a",
        "release a",
        "release savepoint a",
        "rollback to a",
        "rollback work to savepoint a",
        "set transaction isolation level serializable",
        "set transaction read only",
        "set transaction snapshot 'x'",
        "set session transaction read only",
        "set constraints all deferred",
        "set transaction_read_only = off",
        "set transaction_isolation to 'serializable'",
        "set session \"Transaction_Deferrable\" = on",
        "set transaction_read_only to default",
        "reset transaction_isolation",
        "reset transaction isolation level",
    ] {
        check(sql, of(Kind::Control));
    }
    for sql in ["set local work_mem = '1MB'", "set local time zone 'UTC'"] {
        check(sql, Class { effect: Effect::LocalSettings, ..of(Kind::Control) });
    }
}

#[test]
fn prepared_transactions_and_a_statement_called_transaction_are_told_apart() {
    check("prepare transaction as select 1", pin(PinCause::SqlPrepare));
    check("prepare transaction (int) as select $1", pin(PinCause::SqlPrepare));
    check("commit prepared 'x'", OTHER);
    check("rollback prepared 'x'", OTHER);
}

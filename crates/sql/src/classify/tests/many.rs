use super::*;

const READS: Class = Class { statements: Statements::Many, ..of(Kind::Read) };
const WRITES: Class = Class { statements: Statements::Many, ..of(Kind::Write) };

const fn pins(cause: PinCause) -> Class {
    Class { effect: Effect::pin(cause), ..WRITES }
}

const fn pins_twice(one: PinCause, other: PinCause) -> Class {
    Class { effect: Effect::Pin(PinCauses::of(one).and(PinCauses::of(other))), ..WRITES }
}

#[test]
fn a_deallocate_among_others_is_not_one_that_may_be_answered_without_the_rest() {
    for text in ["deallocate a; delete from t", "select 1; deallocate a", "'';deallocate/* c */select"] {
        assert_eq!(classify(text.as_bytes(), &NoFunctions).effect, Effect::None, "{text}");
    }
    assert_eq!(classify(b"deallocate a;", &NoFunctions).effect, Effect::Deallocate);
}

#[test]
fn empty_statements_do_not_count() {
    check(";;select 1;; -- x\n;", READ);
    check("; begin ;", of(Kind::Begin { replica: false }));
}

#[test]
fn several_statements_are_a_read_only_if_each_is() {
    check("select 1; select 2", READS);
    check("select 1; delete from t", WRITES);
    check("delete from t; select 1", WRITES);
    check("select 1; select f()", WRITES);
    check("select 1;; set x = 1", Class { effect: Effect::Settings, ..WRITES });
    check("select 'a\\'; delete from t; --'", WRITES);
    check("select 1) ; drop table t", WRITES);
}

#[test]
fn transaction_control_among_several_is_a_write() {
    check("begin; select 1", WRITES);
    check("begin read only; select 1; commit", WRITES);
    check("rollback; begin", WRITES);
    check("select 1; savepoint a", WRITES);
}

#[test]
fn effects_of_several_statements_come_together() {
    check("set a = 1; set b = 2; reset c", Class { effect: Effect::Settings, ..WRITES });
    check("set a = 1; insert into t values (1)", Class { effect: Effect::Settings, ..WRITES });
    check("create temp table t (); set a = 1", pins_twice(PinCause::TemporaryTable, PinCause::Mixed));
    check("listen c; create temp table t ()", pins_twice(PinCause::TemporaryTable, PinCause::Listen));
    check("create temp table t (); unlisten c", pins(PinCause::TemporaryTable));
    check("set a = 1; listen c", Class { effect: Effect::Listen, ..WRITES });
    let asyncpg = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;";
    check(asyncpg, Class { effect: Effect::Settings, ..WRITES });
    check("unlisten *; reset all", Class { effect: Effect::Settings, ..WRITES });
    check("unlisten a; select 1", Class { effect: Effect::Unlisten, ..WRITES });
    check("rollback; unlisten *", WRITES);
    check("listen c; discard all", pins(PinCause::Mixed));
    check("begin; listen c; commit", pins(PinCause::Listen));
}

#[test]
fn effects_that_cannot_be_put_in_order_pin() {
    check("begin; set a = 1; commit", pins(PinCause::Mixed));
    check("set a = 1; rollback", pins(PinCause::Mixed));
    check("savepoint s; set a = 1; rollback to s", pins(PinCause::Mixed));
    check("set a = 1; discard all", pins(PinCause::Mixed));
    check("deallocate a; deallocate b", pins(PinCause::Mixed));
    check("deallocate all; select 1", Class { effect: Effect::DeallocateAll, ..WRITES });
}

use super::*;

#[test]
fn changes_of_rows_are_replayable_writes() {
    check("insert into t values (1)", WRITE);
    check("update t set a = 1", WRITE);
    check("delete from t", WRITE);
    check("merge into t using u on (t.a = u.a) when matched then delete", WRITE);
    check("insert into t (a, b) select 1, 2 on conflict (a) do update set b = 3 returning a", WRITE);
    check("/* x */ INSERT INTO t DEFAULT VALUES;", WRITE);
}

#[test]
fn a_with_query_that_writes_is_a_write() {
    check("with a as (insert into t values (1) returning *) select * from a", WRITE);
    check("with a as materialized (update t set b = 1 returning *) select * from a", WRITE);
    check("with a as not materialized (/* x */ delete from t returning *) select * from a", WRITE);
    check("with a as (select 1) insert into t select * from a", WRITE);
    check("with a as (select 1) delete from t", WRITE);
    check("with a as (select 1) merge into t using a on true when matched then do nothing", WRITE);
    check("with a as (with b as (select 1) update t set c = 1 returning *) table a", WRITE);
}

#[test]
fn locking_reads_are_writes() {
    check("select * from t for update", WRITE);
    check("select * from t for no key update", WRITE);
    check("select * from t for share of t nowait", WRITE);
    check("select * from t for key share skip locked", WRITE);
    check("select * from (select * from t for update) x", WRITE);
    check("select * from t FOR /* now */ UPDATE", WRITE);
    check("select substring('abc' for 2)", READ);
    check("select * from t for read only", READ);
}

#[test]
fn select_into_makes_a_table() {
    check("select 1 into t", OTHER);
    check("select * into table t from u", OTHER);
    check("with a as (select 1) select * into t from a", OTHER);
    check("select 1 as into_t", READ);
}

#[test]
fn everything_else_is_a_write_that_is_not_sent_again() {
    for sql in [
        "create table t (a int)",
        "create index concurrently i on t (a)",
        "create database d",
        "create table t as select 1",
        "drop table t",
        "alter table t add column b int",
        "truncate t",
        "vacuum full t",
        "analyze t",
        "reindex table concurrently t",
        "cluster t",
        "refresh materialized view concurrently m",
        "call p()",
        "do $$ begin insert into t values (1); end $$",
        "do language plpgsql 'begin end'",
        "lock table t",
        "notify c, 'x'",
        "checkpoint",
        "grant select on t to u",
        "comment on table t is 'x'",
        "security label on table t is 'x'",
        "fetch 10 from c",
        "move c",
        "close c",
        "execute p(1)",
        "declare c cursor for select 1",
        "import foreign schema s from server f into t",
        "commit prepared 'x'",
        "rollback prepared 'x'",
        "alter system set work_mem = 1",
        "selectx 1",
        "\"select\" 1",
        "1",
        "$$select 1$$",
        "start",
        "\u{1}select 1",
    ] {
        check(sql, OTHER);
    }
}

#[test]
fn show_goes_to_the_primary_and_leaves_nothing() {
    check("show search_path", WRITE);
    check("show all", WRITE);
}

#[test]
fn the_body_of_a_function_is_part_of_its_statement() {
    check(
        "create function f() returns int begin atomic select 1; select case 1 when 1 then 2 end; end",
        OTHER,
    );
    check("create rule r as on insert to t do also (delete from u; select 1)", OTHER);
    let two = Class { statements: Statements::Many, ..OTHER };
    check("create function f() returns int begin atomic select 1; end; select 1", two);
}

#[test]
fn a_write_behind_search_or_cycle_is_one() {
    let list = "with recursive t(n) as (select 1 union all select n + 1 from t)";
    for tail in [
        "search depth first by n set o insert into x select n from t",
        "cycle n set c using p update x set a = 1",
        "search breadth first by n set \"o\" cycle n set c to 1 default 0 using p delete from x",
        "cycle n set c using U&\"p\" uescape '!' merge into x using t on true when matched then do nothing",
    ] {
        check(&format!("{list} {tail}"), WRITE);
        check(&format!("with a as ({list} {tail} returning 1) select * from a"), WRITE);
        check(&format!("copy ({list} {tail} returning 1) to stdout"), WRITE);
        check(&format!("explain {list} {tail}"), READ);
    }
    check(&format!("{list} search depth first by n set o select n, o from t"), READ);
}

#[test]
fn into_makes_a_table_behind_a_column_named_like_a_command() {
    check("select insert into t from u", OTHER);
    check("select u.merge into t from u", OTHER);
    check("select count(*) insert into pg_temp.t from u", pin(PinCause::TemporaryTable));
    check("with a as (select 1) select insert into table pg_temp.t", pin(PinCause::TemporaryTable));
    check("insert into pg_temp.t values (1)", WRITE);
}

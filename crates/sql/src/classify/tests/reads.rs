use super::*;

#[test]
fn a_text_without_a_statement_is_empty() {
    let empty = Class { statements: Statements::None, ..of(Kind::Empty) };
    for sql in ["", " \n\t", ";", " ; ;; ", "-- nothing", "/* nothing */", "/* /* nested */ */ ; -- x\n"] {
        check(sql, empty);
    }
}

#[test]
fn plain_queries_are_reads() {
    check("SELECT abalance FROM pgbench_accounts WHERE aid = 12345;", READ);
    check("select 1", READ);
    check("select", READ);
    check("values (1, 2), (3, 4)", READ);
    check("table t", READ);
    check("(select 1) union (select 2)", READ);
    check("((select 1))", READ);
    check("with a as (select 1) select * from a", READ);
    check("with a as (select 1), b as materialized (select 2) table b", READ);
    check("with recursive a(n) as (select 1 union all select n + 1 from a) select n from a limit 5", READ);
}

#[test]
fn columns_named_like_commands_do_not_make_a_write() {
    check("select insert, delete from t", READ);
    check("select t.update, t.into, t.for from t", READ);
    check("select \"into\", \"for\" from \"update\"", READ);
    check("select share, key, no from t where update > 3", READ);
    check("select x from t order by merge desc", READ);
}

#[test]
fn strings_and_comments_are_not_looked_into() {
    check("select 'insert into t'", READ);
    check("select 'it''s; delete from t'", READ);
    check("select E'\\'; delete from t; --'", READ);
    check("select $$; delete from t$$, $a$ $$ ; drop table t $a$", READ);
    check("select 1 /* ; delete from t */ -- ; delete from t", READ);
    check("select 1 /* a /* b */ ; delete from t */", READ);
    check("select U&'; delete from t', b'1;', X'f;', n'; delete'", READ);
    check("select \"; delete from t\", U&\"; delete from t\"", READ);
}

#[test]
fn words_that_take_parentheses_are_no_calls() {
    check("select * from t where a in (1, 2) and not (b) or exists (select 1)", READ);
    check("select * from t where a = any (array[1]) and b > all (select 1)", READ);
    check(
        "select coalesce(a, b), nullif(a, b), greatest(a), least(b), cast(a as numeric(10, 2)) from t",
        READ,
    );
    check(
        "select extract(year from d), substring(s from 1 for 2), trim(both from s), position('a' in s)",
        READ,
    );
    check("select a::varchar(5), b::numeric(10,2)[], cast(c as pg_catalog.bit(3)) from t", READ);
    check(
        "select count(*) filter (where a) over (partition by b), rank() over w from t window w as (order by a)",
        READ,
    );
    check("select percentile_cont(0.5) within group (order by a) from t", READ);
    check(
        "select * from t join u using (a) left join (select 1) v on (true) cross join lateral (select 2) w",
        READ,
    );
    check("select a from t group by grouping sets ((a), ()), rollup (a), cube (a) having (a) > 1", READ);
    check("select case when (a) then (b) else (c) end from t limit (3) offset (1)", READ);
    check("select current_timestamp(3), localtime(0), interval(3) '1s', timestamp(3) '2020-01-01'", READ);
    check(
        "select overlay(a placing b from 1), normalize(a), collation for (a), row(1, 2), treat(a as b)",
        READ,
    );
    check("select (a, b) overlaps (c, d), a like (b), a between (1) and (2)", READ);
}

#[test]
fn aliases_with_columns_are_no_calls() {
    check("select * from (values (1, 2)) as t(a, b)", READ);
    check("select * from (values (1, 2)) t(a, b)", READ);
    check("select * from t as x(a, b), u as y(c)", READ);
    check("select * from generate_series(1, 2) g(i), unnest(array[1]) with ordinality u(a, n)", READ);
    check("select * from json_to_record('{}') as (a int, b numeric(3, 1))", READ);
    check(
        "with a(x, y) as (select 1, 2), b(z) as (select 3), c (w) as not materialized (select 4) select 1",
        READ,
    );
}

#[test]
fn a_call_where_an_alias_could_stand_is_found() {
    check("select distinct on (a) nextval('s') from t", WRITE);
    check("select distinct on (a) sum(b) over (order by c) from t", READ);
    check("with a as (select 1) (select 1) order by 1, nextval('s')", WRITE);
    check("with a(x) as (select 1), b(y) as (select 2) select 1, nextval('s')", WRITE);
    check("select x::timestamp with time zone, nextval('s') from t", WRITE);
    check("select * from f with ordinality, nextval('s')", WRITE);
    check("with a as (with b(x) as (select 1), c as (select 2) select 1, setval('s', 1)) select 1", WRITE);
}

#[test]
fn lexical_rules_decide_where_a_statement_ends() {
    check("select 1 +/* c */ 2, 3 */* c */ 4, 5 ->-- c\n 6", READ);
    check("select a$$b, a$c$d from t; -- $$", READ);
    check("select $1::int, $2", READ);
    check("select 'a'\n'b', E'a'\n-- c\n  'b\\'; delete from t'", READ);
    check("select größe, \"Ünder\" from straße", READ);
    check("select 1.5e10, .5, 1., 1e-3, 0x1f, 1_000, array[1:2], a[1:]", READ);
    check("select eE'a', xE'\\'", READ);
}

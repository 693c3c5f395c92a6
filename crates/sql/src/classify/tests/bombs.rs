//! Texts made to cost much. Nothing here looks at a clock: what is not linear does not end in a lifetime.
use super::*;

/// Repetitions; what takes their square takes minutes.
const MANY: usize = 1 << 17;

#[track_caller]
fn kind_of(sql: &str) -> Kind {
    crate::setting_changes(sql.as_bytes()).for_each(drop);
    let _ = (crate::shape(sql.as_bytes()), crate::deallocated_name(sql.as_bytes()));
    classify(sql.as_bytes(), &NoFunctions).kind
}

#[test]
fn long_lists_and_many_semicolons() {
    assert_eq!(kind_of(&format!("select * from t where a in (1{})", ", 12345".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&";".repeat(64 * MANY)), Kind::Empty);
    assert_eq!(kind_of(&"select 1;".repeat(MANY)), Kind::Read);
    assert_eq!(kind_of(&format!("select {}1", "$1,".repeat(MANY))), Kind::Read);
}

#[test]
fn deep_nesting() {
    let (open, close) = ("(".repeat(MANY), ")".repeat(MANY));
    assert_eq!(kind_of(&format!("select {open}1{close}")), Kind::Read);
    assert_eq!(kind_of(&format!("{open}select 1{close}")), Kind::Read);
    assert_eq!(kind_of(&format!("select 1{}", " + (select 1".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select {} 1", "/*".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("{}{}select 1", "/*".repeat(MANY), "*/".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select {}1", "lower(".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select {}1", "set_config(".repeat(MANY))), Kind::Write);
    assert_eq!(kind_of(&"with a as (".repeat(MANY)), Kind::Read);
    assert_eq!(kind_of(&format!("explain {}", "(".repeat(MANY))), Kind::Read);
}

#[test]
fn quotes_that_nearly_end() {
    assert_eq!(kind_of(&format!("select '{}", "''".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select \"{}", "\"\"".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select E'{}", "\\'".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select E'a'{}", "\n  ".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select {}", "E'a'\n--\n".repeat(MANY))), Kind::Read);
    let tag = "a".repeat(MANY);
    assert_eq!(
        kind_of(&format!("select ${tag}$ {}", format!("${}b", "a".repeat(1000)).repeat(1000))),
        Kind::Read
    );
    assert_eq!(kind_of(&format!("select $a$ {}", "$".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select {}", "$a".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select {}", "$a ".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select 1{}2", "/+".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("select {}", "U&\"a\" uescape ".repeat(MANY))), Kind::Read);
}

#[test]
fn statements_that_look_ahead_do_so_once() {
    let call = "set_config('a', 'b', false),".repeat(MANY);
    assert_eq!(kind_of(&format!("select {call} 1")), Kind::Write);
    assert_eq!(kind_of(&format!("create {}", "or replace ".repeat(MANY))), Kind::Write);
    assert_eq!(kind_of(&format!("declare {}", "with ".repeat(MANY))), Kind::Write);
    assert_eq!(
        kind_of(&format!("begin {}", "isolation level ".repeat(MANY))),
        Kind::Begin { replica: false }
    );
    assert_eq!(kind_of(&format!("copy {}t", "s.".repeat(MANY))), Kind::Write);
    assert_eq!(kind_of(&format!("do $${}$$", "create ".repeat(MANY))), Kind::Write);
}

#[test]
fn hints_by_the_thousand() {
    assert_eq!(kind_of(&format!("{} select 1", "/* pgherd: replica */".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("/* pgherd:{} */ select 1", " region=us".repeat(MANY))), Kind::Read);
    assert_eq!(kind_of(&format!("{} select 1", "/*      pgherd:".repeat(MANY))), Kind::Empty);
}

//! PREPARE, EXECUTE and DEALLOCATE: which prepared statements a text names, and what it prepares.

use std::borrow::Cow;
use std::ops::Range;

use crate::class::Kind;
use crate::classify::arguments_are_read;
use crate::classify::statement::{begins_query_or_change, prepares_transaction};
use crate::functions::Functions;
use crate::name::folded;
use crate::parameter_types::declared_types;
use crate::settings::between;
use crate::token::{Keyword, Token, TokenKind, Tokenizer};

/// What a text does with a prepared statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameVerb {
    /// `EXECUTE`, also behind `EXPLAIN` or `CREATE TABLE … AS`.
    Execute,
    /// `PREPARE`.
    Prepare,
    /// `DEALLOCATE`.
    Deallocate,
}

/// A prepared statement that a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse<'a> {
    /// What the text does with it.
    pub verb: NameVerb,
    /// As the server knows it: in lower case or as quoted, and cut to 63 bytes.
    pub name: Cow<'a, [u8]>,
    /// Where it is written, in bytes from the start of the text.
    pub written: Range<usize>,
}

/// Whether [`statement_names`] may find something in a text of one statement: a look at its first word.
#[must_use]
#[inline]
pub fn may_name_statements(text: &[u8]) -> bool {
    // most texts begin with a letter that none of the words does
    match text.first().map(u8::to_ascii_lowercase) {
        Some(b'a' | b'b' | b'f'..=b'o' | b'q'..=b'z') => false,
        _ => begins_with_name_verb(text),
    }
}

fn begins_with_name_verb(text: &[u8]) -> bool {
    first_token(&mut Tokenizer::new(text)).is_some_and(|first| {
        matches!(
            first.keyword,
            Keyword::Execute | Keyword::Prepare | Keyword::Deallocate | Keyword::Explain | Keyword::Create
        )
    })
}

/// The prepared statements that `text` names, in order. What stands in code, as that of DO, is not seen.
pub fn statement_names(text: &[u8]) -> impl Iterator<Item = NameUse<'_>> {
    let mut tokens = Tokenizer::new(text);
    let mut previous: Option<Token<'_>> = None;
    std::iter::from_fn(move || {
        while let Some(token) = tokens.next() {
            let before = previous.replace(token);
            let starts = before.is_none_or(|before| before.kind == TokenKind::Semicolon);
            let verb = match token.keyword {
                Keyword::Execute if starts || before.is_some_and(may_stand_before_execute) => {
                    NameVerb::Execute
                }
                Keyword::Prepare if starts && !prepares_transaction(&tokens) => NameVerb::Prepare,
                Keyword::Deallocate if starts => NameVerb::Deallocate,
                _ => continue,
            };
            let Some(mut name) = tokens.peek().filter(Token::is_name) else { continue };
            if verb == NameVerb::Deallocate {
                match crate::settings::deallocated(&mut tokens.clone()) {
                    Some(found) => name = found,
                    None => continue,
                }
            }
            let start = text.len().saturating_sub(name.from.len());
            let written = start..start.saturating_add(name.text().len());
            return Some(NameUse { verb, name: folded(name), written });
        }
        None
    })
}

/// What may be the name of a prepared statement in code within `text`, as in `f('EXECUTE name')`: what stands behind
/// each word `EXECUTE`, quoted or not. `None` where the code composes the name.
pub fn names_in_code(text: &[u8]) -> impl Iterator<Item = Option<Cow<'_, [u8]>>> {
    const EXECUTE: &[u8] = b"execute";
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let begins = rest.windows(EXECUTE.len()).position(|word| word.eq_ignore_ascii_case(EXECUTE))?;
            let behind = rest.get(begins.saturating_add(EXECUTE.len())..).unwrap_or_default();
            at = text.len().saturating_sub(behind.len());
            let is_in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | 0x80..);
            let before = begins.checked_sub(1).and_then(|before| rest.get(before));
            if !before.is_some_and(is_in_name) && !behind.first().is_some_and(is_in_name) {
                let name = Tokenizer::new(behind).next().filter(Token::is_name).map(folded);
                return Some(name);
            }
        }
    })
}

fn may_stand_before_execute(token: Token<'_>) -> bool {
    token.kind == TokenKind::Close
        || matches!(
            token.keyword,
            Keyword::As | Keyword::Explain | Keyword::Analyze | Keyword::Analyse | Keyword::Verbose
        )
}

/// What `PREPARE name (types) AS …` prepares.
#[derive(Debug, PartialEq, Eq)]
pub struct Preparation<'a> {
    /// As the server knows it.
    pub name: Cow<'a, [u8]>,
    /// Count and OIDs of the declared parameter types, as in Parse.
    pub parameter_types: Vec<u8>,
    /// The statement.
    pub body: &'a [u8],
    /// Where it begins in the text, in bytes.
    pub body_at: usize,
}

/// What `text`, of one statement, prepares, if a Parse of the same name would prepare the same. `None` for every other
/// statement, for what PREPARE does not take, and for parameter types whose OIDs are not known here.
#[must_use]
pub fn preparation(text: &[u8]) -> Option<Preparation<'_>> {
    let mut tokens = Tokenizer::new(text);
    first_token(&mut tokens).filter(|first| first.keyword == Keyword::Prepare)?;
    let name = tokens.next().filter(|name| matches!(name.kind, TokenKind::Word | TokenKind::QuotedName))?;
    let mut next = tokens.next()?;
    let mut parameter_types = vec![0, 0];
    if next.kind == TokenKind::Open {
        parameter_types = declared_types(&mut tokens)?;
        next = tokens.next()?;
    }
    if next.keyword != Keyword::As {
        return None;
    }
    let first = tokens.next()?;
    let mut last = first;
    while let Some(token) = tokens.next().filter(|token| token.kind != TokenKind::Semicolon) {
        // SELECT INTO cannot be prepared so
        if token.keyword == Keyword::Into && !matches!(last.keyword, Keyword::Insert | Keyword::Merge) {
            return None;
        }
        last = token;
    }
    let body_at = text.len().saturating_sub(first.from.len());
    begins_query_or_change(first).then(|| Preparation {
        name: folded(name),
        parameter_types,
        body: between(first, last),
        body_at,
    })
}

/// Whether `text`, of one statement that executes a prepared one by name, does nothing else that only the primary can
/// do: its arguments are as harmless as those of a read, and it keeps no rows.
fn executes_as_read<F: Functions + ?Sized>(text: &[u8], functions: &F) -> bool {
    let mut tokens = Tokenizer::new(text);
    let mut token = first_token(&mut tokens);
    while token.is_some_and(|token| token.keyword != Keyword::Execute) {
        if token.is_some_and(|token| token.keyword == Keyword::Create) {
            return false;
        }
        token = tokens.next();
    }
    if tokens.next().is_none_or(|name| !name.is_name()) {
        return false;
    }
    arguments_are_read(&mut tokens, functions)
}

/// What executing a prepared statement of kind `prepared` by a text makes of that text.
#[must_use]
pub fn kind_of_execute<F: Functions + ?Sized>(prepared: Kind, text: &[u8], functions: &F) -> Kind {
    match prepared {
        Kind::Read if executes_as_read(text, functions) => Kind::Read,
        _ => Kind::Write,
    }
}

fn first_token<'a>(tokens: &mut Tokenizer<'a>) -> Option<Token<'a>> {
    std::iter::from_fn(|| tokens.next()).find(|token| token.kind != TokenKind::Semicolon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoFunctions;

    #[track_caller]
    fn names(sql: &str, expected: &[(NameVerb, &str)]) {
        let found: Vec<_> = statement_names(sql.as_bytes())
            .map(|found| (found.verb, String::from_utf8(found.name.into_owned()).unwrap()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(verb, name)| (*verb, (*name).to_owned())).collect();
        assert_eq!(found, expected, "{sql}");
        assert!(expected.is_empty() || sql.contains(';') || may_name_statements(sql.as_bytes()), "{sql}");
    }

    #[test]
    fn names_are_found_where_statements_stand() {
        use NameVerb::{Deallocate, Execute, Prepare};
        names("execute Plan(1, 'execute x')", &[(Execute, "plan")]);
        names("/* x */ EXECUTE \"My \"\"Plan\"", &[(Execute, "My \"Plan")]);
        names("explain (analyze, costs off) execute p", &[(Execute, "p")]);
        names("explain analyze verbose execute p(1)", &[(Execute, "p")]);
        names("create temp table t (a, b) as execute p", &[(Execute, "p")]);
        names("prepare p (int) as select $1", &[(Prepare, "p")]);
        names("deallocate prepare p", &[(Deallocate, "p")]);
        names("deallocate all", &[]);
        names("prepare transaction 'x'", &[]);
        names("execute a; select 1; deallocate b", &[(Execute, "a"), (Deallocate, "b")]);
        for sql in ["grant execute on function f() to a", "select 'execute p'", "select execute from t", ""] {
            names(sql, &[]);
        }
        names("create trigger t after insert on a execute function f()", &[]);
        let long = "x".repeat(70);
        names(&format!("execute {long}"), &[(Execute, &long[..63])]);
        let found = statement_names(b"explain  execute \"A\" (1)").next().unwrap();
        assert_eq!(found.written, 17..20);
    }

    #[test]
    fn names_in_code_stand_behind_the_word() {
        let found = |sql: &'static str| -> Vec<_> {
            let name = |name: Option<Cow<'_, [u8]>>| {
                name.map_or("?".to_owned(), |name| String::from_utf8_lossy(&name).into_owned())
            };
            names_in_code(sql.as_bytes()).map(name).collect()
        };
        assert_eq!(found("select f('execute Q (1)')"), ["q"]);
        assert_eq!(found("do $$ begin execute 'EXECUTE \"My q\"(1)'; end $$"), ["?", "My q"]);
        assert_eq!(found("select f('execute ' || name)"), ["?"]);
        assert_eq!(found("select f(format('explain execute %I', name))"), ["?"]);
        assert_eq!(found("select executed, re_execute, execute2, 'executes' from \"execute_log\""), [""; 0]);
        assert_eq!(found("execute"), ["?"]);
    }

    #[test]
    fn a_preparation_is_taken_apart() {
        let taken = preparation(b"; PREPARE Ab (int, text[]) AS  select $1 , $2 ; -- end").unwrap();
        assert_eq!(&*taken.name, b"ab");
        assert_eq!(taken.body, b"select $1 , $2");
        assert_eq!(taken.body_at, 31);
        assert_eq!(taken.parameter_types, [0, 2, 0, 0, 0, 23, 0, 0, 3, 0xf1]);
        assert_eq!(preparation(b"prepare p as select 1").unwrap().parameter_types, [0, 0]);
        assert_eq!(
            preparation(b"prepare p as insert into t values (1)").unwrap().body,
            b"insert into t values (1)"
        );
        for none in [
            "prepare p as create table t ()",
            "prepare p as select 1 into t",
            "prepare p (my_type) as select $1",
            "prepare transaction 'x'",
            "prepare U&\"p\" as select 1",
            "prepare p",
            "prepare p as",
            "execute p",
        ] {
            assert_eq!(preparation(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn an_execute_is_a_read_if_its_arguments_are_and_nothing_is_kept() {
        let read = |sql: &str| executes_as_read(sql.as_bytes(), &NoFunctions);
        for sql in ["execute p", "execute p;", "execute p (1, lower('A'))", "explain analyze execute p(1)"] {
            assert!(read(sql), "{sql}");
        }
        for sql in [
            "execute p(nextval('s'))",
            "execute p(f(1))",
            "create table t as execute p",
            "select 1",
            "execute",
        ] {
            assert!(!read(sql), "{sql}");
        }
    }
}

//! What functions may leave behind in the session that calls them, read from their code.

use std::collections::{HashMap, HashSet};

use conn::Row;
use sql::{PinCause, PinCauses};

use crate::lookup::{LookupError, Lookups};

/// Functions that call functions that call functions: so many times it is asked who calls those found last.
const ROUNDS: usize = 8;

/// Code with a word in it without which nothing lasting is done. Code in C is not to be had; that of a function with an
/// SQL body (`BEGIN ATOMIC`) is in its definition, behind the settings that it has for itself alone.
const SUSPECT: &str = "\
    SELECT nspname, proname, code FROM (\
        SELECT n.nspname, p.proname, CASE WHEN p.prosrc <> '' THEN p.prosrc \
            ELSE substring(pg_get_functiondef(p.oid) FROM '\\n(?:BEGIN ATOMIC|RETURN)\\M.*') END AS code \
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang \
        WHERE l.lanname NOT IN ('c', 'internal') AND p.prokind IN ('f', 'p') \
            AND n.nspname NOT IN ('pg_catalog', 'information_schema')\
    ) f WHERE code ~* ";

/// The words.
const WORDS: &str = "'set_config|setseed|dblink_connect|advisory_lock|pg_temp|currval|lastval|\
    \\m(set|reset|listen|load|prepare|discard|deallocate|temp|temporary|hold)\\M'";

/// Code that names one of these functions.
const CALLERS: &str = "ANY ($1::text[])";

/// A function's schema and name.
pub(super) type Name = (Box<[u8]>, Box<[u8]>);

/// The functions of a database that leave something behind, themselves or through others that they call.
///
/// # Errors
/// [`LookupError`]
pub(super) async fn load(lookups: &Lookups, database: &str) -> Result<HashMap<Name, PinCauses>, LookupError> {
    let mut found = Found::default();
    let mut new = found.add(&lookups.query(database, &format!("{SUSPECT}{WORDS}"), &[]).await?);
    for _ in 0..ROUNDS {
        if new.is_empty() {
            break;
        }
        let names = array(&new);
        let rows = lookups.query(database, &format!("{SUSPECT}{CALLERS}"), &[Some(&names)]).await?;
        new = found.add(&rows);
    }
    Ok(found.functions)
}

#[derive(Debug, Default)]
struct Found {
    functions: HashMap<Name, PinCauses>,
    /// Of all functions of that name, whatever their schema.
    by_name: HashMap<Box<[u8]>, PinCauses>,
}

impl Found {
    /// Takes in rows of schema, name and code; the names of those of which something new was found.
    fn add(&mut self, rows: &[Row]) -> HashSet<Box<[u8]>> {
        let mut new = HashSet::new();
        for row in rows {
            let [Some(schema), Some(name), Some(code)] = row.as_slice() else { continue };
            let Some(causes) = self.causes(code.as_bytes()) else { continue };
            let key = (schema.as_bytes().into(), name.as_bytes().into());
            let known = self.functions.get(&key).copied();
            let causes = known.map_or(causes, |known| known.and(causes));
            if known != Some(causes) {
                new.insert(name.as_bytes().into());
                self.functions.insert(key, causes);
            }
        }
        for ((_, name), causes) in &self.functions {
            let all = self.by_name.get(name).map_or(*causes, |known| known.and(*causes));
            self.by_name.insert(name.clone(), all);
        }
        new
    }

    /// What the code does itself, and what is done by functions that it names.
    fn causes(&self, code: &[u8]) -> Option<PinCauses> {
        let words = code.split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$') || *b >= 0x80));
        let called = words.filter_map(|word| {
            let folded = word.to_ascii_lowercase();
            self.by_name.get(word).or_else(|| self.by_name.get(&*folded)).copied()
        });
        let causes = called.chain(sql::effect_of_code(code)).reduce(PinCauses::and)?;
        if sql::gets_from_sequence(code) { causes.without(PinCause::SequenceValue) } else { Some(causes) }
    }
}

/// Regular expressions that find the names, as an array literal.
fn array(names: &HashSet<Box<[u8]>>) -> String {
    let mut array = String::from("{");
    for name in names {
        if array.len() > 1 {
            array.push(',');
        }
        array.push_str("\"(?q)");
        for character in String::from_utf8_lossy(name).chars() {
            if matches!(character, '"' | '\\') {
                array.push('\\');
            }
            array.push(character);
        }
        array.push('"');
    }
    array.push('}');
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, code: &str) -> Row {
        ["public", name, code].map(|value| Some(value.to_owned())).to_vec()
    }

    #[test]
    fn what_a_function_calls_counts_as_its_own() {
        let mut found = Found::default();
        let inner = row("Inner", "perform set_config('a', 'b', false)");
        let other = row("other", "update t set a = 1");
        assert_eq!(found.add(&[inner, other]).len(), 1);
        let outer = row("outer", "perform pg_advisory_lock(1); perform public.\"Inner\"();");
        let rows = [outer, row("innermost", "select inner_thing(1)")];
        assert_eq!(found.add(&rows).len(), 1);
        assert!(found.add(&rows).is_empty(), "nothing new");
        let causes = found.functions.get(&(b"public".as_slice().into(), b"outer".as_slice().into())).unwrap();
        let expected = PinCauses::of(PinCause::Settings).and(PinCauses::of(PinCause::AdvisoryLock));
        assert_eq!(*causes, expected);
    }

    #[test]
    fn what_gets_its_values_from_sequences_itself_asks_for_none_of_before() {
        let mut found = Found::default();
        found.add(&[row("mine", "return lastval();")]);
        found.add(&[
            row("add", "insert into t default values; return mine();"),
            row("tell", "return mine();"),
        ]);
        let has =
            |name: &str| found.functions.contains_key(&(b"public".as_slice().into(), name.as_bytes().into()));
        assert_eq!(["mine", "add", "tell"].map(has), [true, false, true]);
    }

    #[test]
    fn names_are_quoted_for_the_array() {
        assert_eq!(array(&HashSet::from([b"a\"b\\".as_slice().into()])), r#"{"(?q)a\"b\\"}"#);
    }
}

//! `synchronous_standby_names` (manual, "Replication", its grammar), and the value by which a manager lets no commit
//! succeed.

use std::fmt;

use crate::snapshot::Epoch;

/// What the one name begins with that stands in a fence; no standby is called so.
const FENCE: &str = "pgherd_fenced_e";

/// Which of those that are named have to have a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMethod {
    /// The first of them that are there.
    First,
    /// Any of them.
    Any,
}

/// Whom commits wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncNames {
    /// Which of them.
    pub method: SyncMethod,
    /// How many of them; at least one.
    pub count: usize,
    /// Their names, at least one, without quotes; `*` is everybody.
    pub names: Vec<String>,
}

/// A value that no server would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("synchronous_standby_names is not as the manual says")]
pub struct SyncNamesError;

impl SyncNames {
    /// Reads a value; `None`: nobody is waited for.
    ///
    /// # Errors
    /// If it is not as the manual says.
    pub fn parse(text: &str) -> Result<Option<Self>, SyncNamesError> {
        let tokens = tokens(text).ok_or(SyncNamesError)?;
        let (how, count, list) = match tokens.as_slice() {
            [] => return Ok(None),
            [Token::Word(word), Token::Number(count), Token::Open, list @ .., Token::Close] => {
                (method(word).ok_or(SyncNamesError)?, Some(count), list)
            }
            [Token::Number(count), Token::Open, list @ .., Token::Close] => {
                (SyncMethod::First, Some(count), list)
            }
            list => (SyncMethod::First, None, list),
        };
        let count = count.map_or(Ok(1), |count| count.parse::<usize>()).map_err(|_| SyncNamesError)?;
        let names = list
            .split(|token| *token == Token::Comma)
            .map(|item| match item {
                [Token::Word(word)] if method(word).is_some() => Err(SyncNamesError),
                [Token::Word(name) | Token::Quoted(name) | Token::Number(name)] => Ok(name.clone()),
                _ => Err(SyncNamesError),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if count == 0 { Err(SyncNamesError) } else { Ok(Some(Self { method: how, count, names })) }
    }

    /// Whether a standby of this name is one of them; case does not matter there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(name))
    }

    /// The same after `new`, which may be one of them, has taken the place of `old`, so that as many standbys as before
    /// are waited for; `None`: it is right as it is.
    #[must_use]
    pub fn after_exchange(&self, new: &str, old: &str) -> Option<Self> {
        let is = |name: &str, one: &String| one.eq_ignore_ascii_case(name);
        // a list that has the old one, too, was made to be the same on all nodes
        let stays = self.names.iter().any(|one| one == "*" || is(old, one));
        if stays || !self.names.iter().any(|one| is(new, one)) {
            return None;
        }
        let exchanged = |one: &String| if is(new, one) { old.to_owned() } else { one.clone() };
        Some(Self { names: self.names.iter().map(exchanged).collect(), ..self.clone() })
    }

    /// What keeps every commit waiting, and tells what was set before.
    #[must_use]
    pub fn fence(epoch: Epoch, before: Fenced<'_>) -> Self {
        let name = match before {
            Fenced::Elsewhere => format!("{FENCE}{epoch}"),
            Fenced::Here(before) => format!("{FENCE}{epoch} {before}"),
        };
        Self { method: SyncMethod::Any, count: 1, names: vec![name] }
    }

    /// What was set before, if this is a fence.
    #[must_use]
    pub fn fenced(&self) -> Option<Fenced<'_>> {
        let [name] = self.names.as_slice() else { return None };
        let behind = name.strip_prefix(FENCE)?;
        Some(behind.split_once(' ').map_or(Fenced::Elsewhere, |(_, before)| Fenced::Here(before)))
    }
}

/// What a fence took the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced<'a> {
    /// Whatever the node's other configuration says: taking the fence away brings it back.
    Elsewhere,
    /// This value, which stood in the fence's own place (`postgresql.auto.conf`).
    Here(&'a str),
}

impl fmt::Display for SyncNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            SyncMethod::First => "FIRST",
            SyncMethod::Any => "ANY",
        };
        write!(f, "{method} {} (", self.count)?;
        for (at, name) in self.names.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            if name == "*" || is_plain(name) {
                write!(f, "{comma}{name}")?;
            } else {
                write!(f, "{comma}\"{}\"", name.replace('"', "\"\""))?;
            }
        }
        f.write_str(")")
    }
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(is_inside)
        && method(name).is_none()
}

/// Whether it may stand in a name without quotes, but not as the first if it is a digit or `$`.
fn is_inside(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == '$' || !char.is_ascii()
}

fn method(word: &str) -> Option<SyncMethod> {
    if word.eq_ignore_ascii_case("first") {
        Some(SyncMethod::First)
    } else if word.eq_ignore_ascii_case("any") {
        Some(SyncMethod::Any)
    } else {
        None
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Number(String),
    Comma,
    Open,
    Close,
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let (token, behind) = match first {
            ',' => (Token::Comma, rest.get(1..)?),
            '(' => (Token::Open, rest.get(1..)?),
            ')' => (Token::Close, rest.get(1..)?),
            '*' => (Token::Quoted("*".to_owned()), rest.get(1..)?),
            '"' => {
                let (name, behind) = quoted(rest.get(1..)?)?;
                (Token::Quoted(name), behind)
            }
            '0'..='9' => {
                let (digits, behind) = split_while(rest, |char| char.is_ascii_digit());
                (Token::Number(digits.to_owned()), behind)
            }
            first if is_inside(first) && first != '$' => {
                let (word, behind) = split_while(rest, is_inside);
                (Token::Word(word.to_owned()), behind)
            }
            _ => return None,
        };
        tokens.push(token);
        rest = behind.trim_start_matches(is_space);
    }
    Some(tokens)
}

fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|char| !belongs(char)).unwrap_or(text.len()))
}

/// A name up to its closing quote, and what stands behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once('"')?;
        name.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_as_such(text in "[0-9 a-dA-D(),\"*$ÿ]*|ANY [0-9] \\([a-c,\" ]*\\)") {
            if let Ok(Some(names)) = SyncNames::parse(&text) {
                prop_assert!(names.count > 0 && !names.names.is_empty());
                prop_assert_eq!(SyncNames::parse(&names.to_string()), Ok(Some(names)));
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Result<Option<&str>, SyncNamesError>) {
        let found = SyncNames::parse(text).map(|names| names.map(|names| names.to_string()));
        assert_eq!(found, expected.map(|names| names.map(str::to_owned)), "{text}");
    }

    #[test]
    fn all_spellings_are_read() {
        check("", Ok(None));
        check(" ", Ok(None));
        check("s1", Ok(Some("FIRST 1 (s1)")));
        check("s1, \"s 2\"", Ok(Some("FIRST 1 (s1, \"s 2\")")));
        check("2 (s1, s2, S3)", Ok(Some("FIRST 2 (s1, s2, S3)")));
        check("first 1 (s1)", Ok(Some("FIRST 1 (s1)")));
        check("any 2(*)", Ok(Some("ANY 2 (*)")));
        check(
            "ANY 1 (\"a,b\", \"any\", \"x\"\"y\", 7)",
            Ok(Some("ANY 1 (\"a,b\", \"any\", \"x\"\"y\", \"7\")")),
        );
        check("*", Ok(Some("FIRST 1 (*)")));
    }

    #[test]
    fn what_no_server_takes_is_an_error() {
        for text in [
            "ANY x (s1)",
            "ANY 1 (s1",
            "ANY (s1)",
            "ANY 0 (s1)",
            "0 (s1)",
            "s1,",
            "s1 s2",
            "ANY 1 ()",
            "first",
            "some 1 (s1)",
            "\"s1",
            "s-1",
            "ANY 99999999999999999999 (s1)",
        ] {
            check(text, Err(SyncNamesError));
        }
    }

    #[test]
    fn names_are_compared_without_case_and_a_star_is_everybody() {
        let names = |text| SyncNames::parse(text).unwrap().unwrap();
        assert!(names("EU").has("eu"));
        assert!(names("*").has("x"));
        assert!(!names("eu").has("us"));
    }

    #[track_caller]
    fn exchanged(text: &str, new: &str, old: &str, expected: Option<&str>) {
        let names = SyncNames::parse(text).unwrap().unwrap().after_exchange(new, old);
        assert_eq!(names.map(|names| names.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn who_becomes_the_primary_gives_its_place_to_who_was() {
        exchanged("ANY 1 (b, c)", "b", "a", Some("ANY 1 (a, c)"));
        exchanged("FIRST 2 (b, C, d)", "c", "a 1", Some("FIRST 2 (b, \"a 1\", d)"));
        exchanged("b", "b", "a", Some("FIRST 1 (a)"));
        exchanged("ANY 1 (b, c)", "d", "a", None);
        exchanged("*", "b", "a", None);
        exchanged("ANY 2 (a, b, c)", "b", "a", None);
    }

    #[test]
    fn a_fence_tells_what_was_there_before() {
        let before = "FIRST 1 (\"a b\", c)";
        for fenced in [Fenced::Elsewhere, Fenced::Here(before), Fenced::Here("")] {
            let text = SyncNames::fence(Epoch(7), fenced).to_string();
            assert_eq!(SyncNames::parse(&text).unwrap().unwrap().fenced(), Some(fenced), "{text}");
        }
        assert_eq!(SyncNames::fence(Epoch(7), Fenced::Elsewhere).to_string(), "ANY 1 (pgherd_fenced_e7)");
        assert_eq!(SyncNames::parse(before).unwrap().unwrap().fenced(), None);
    }
}

//! `synchronous_standby_names` (manual, "Replication", its grammar).

/// Whom commits wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncNames {
    /// How many of them.
    pub(crate) count: usize,
    /// Names, as written; `*` is everybody.
    pub(crate) names: Vec<String>,
}

impl SyncNames {
    /// Reads a value; `None` if nobody is waited for, or if it is none that a server would take.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (head, list) = match text.split_once('(') {
            Some((head, list)) => (head.trim(), list.trim_end().strip_suffix(')')?),
            None => ("", text),
        };
        let mut words = head.split_whitespace().peekable();
        let method =
            words.next_if(|word| word.eq_ignore_ascii_case("first") || word.eq_ignore_ascii_case("any"));
        let count = match words.next() {
            Some(count) => count.parse().ok()?,
            None if method.is_none() => 1,
            None => return None,
        };
        let names: Vec<String> = list.split(',').map(name).filter(|name| !name.is_empty()).collect();
        if names.is_empty() || count == 0 { None } else { Some(Self { count, names }) }
    }

    /// Whether a standby of this name is one of them; case does not matter there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(name))
    }
}

fn name(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9 a-zA-Z(),\"*]*") {
            if let Some(names) = SyncNames::parse(&text) {
                prop_assert!(names.count > 0 && !names.names.is_empty());
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<(usize, &[&str])>) {
        let found = SyncNames::parse(text);
        let found =
            found.as_ref().map(|found| (found.count, found.names.iter().map(String::as_str).collect()));
        assert_eq!(found, expected.map(|(count, names)| (count, names.to_vec())), "{text}");
    }

    #[test]
    fn all_spellings_are_read() {
        check("", None);
        check("s1", Some((1, &["s1"])));
        check("s1, \"s 2\"", Some((1, &["s1", "s 2"])));
        check("2 (s1, s2, s3)", Some((2, &["s1", "s2", "s3"])));
        check("FIRST 1 (s1)", Some((1, &["s1"])));
        check("any 2(*)", Some((2, &["*"])));
        check("ANY x (s1)", None);
        check("ANY 1 (s1", None);
    }

    #[test]
    fn names_are_compared_without_case_and_a_star_is_everybody() {
        assert!(SyncNames::parse("EU").unwrap().has("eu"));
        assert!(SyncNames::parse("*").unwrap().has("x"));
        assert!(!SyncNames::parse("eu").unwrap().has("us"));
    }
}

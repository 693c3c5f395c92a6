//! PgBouncer's user list: lines `"user" "secret"`, `""` for a quote inside, `;` before a comment.

use std::{iter::Peekable, str::Chars, sync::Arc};

use crate::mistake::{Mistake, Origin};

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) origin: Origin,
    pub(crate) user: String,
    pub(crate) secret: String,
}

/// Parses a list; `file` is its name for people.
///
/// # Errors
/// All wrong lines. None is quoted, since it may hold a secret.
pub(crate) fn parse(file: &Arc<str>, text: &str) -> Result<Vec<Entry>, Vec<Mistake>> {
    let mut entries = Vec::new();
    let mut mistakes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with([';', '#']) {
            continue;
        }
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let origin = Origin::File { file: file.clone(), line: number, column: 1 };
        let mut chars = trimmed.chars().peekable();
        match (quoted(&mut chars), quoted(&mut chars)) {
            (Some(user), Some(secret)) if !user.is_empty() => entries.push(Entry { origin, user, secret }),
            _ => mistakes.push(Mistake {
                origin,
                key: String::new(),
                problem: "expected \"user\" \"secret\", each in double quotes".to_owned(),
                suggestion: None,
            }),
        }
    }
    if mistakes.is_empty() { Ok(entries) } else { Err(mistakes) }
}

fn quoted(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    chars.next_if_eq(&'"')?;
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' if chars.next_if_eq(&'"').is_some() => text.push('"'),
            '"' => return Some(text),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> Result<Vec<(String, String)>, usize> {
        match parse(&Arc::from("list"), text) {
            Ok(entries) => Ok(entries.into_iter().map(|entry| (entry.user, entry.secret)).collect()),
            Err(mistakes) => Err(mistakes.len()),
        }
    }

    #[test]
    fn lines_are_user_and_secret_in_quotes() {
        let text = "; comment\n\n\"app\" \"pw\"\n  \"a\"\"b\"\t\"x\"\"y\" ignored\n# other comment\n";
        assert_eq!(users(text), Ok(vec![("app".into(), "pw".into()), ("a\"b".into(), "x\"y".into())]));
    }

    #[test]
    fn every_wrong_line_is_reported_without_its_content() {
        assert_eq!(users("app pw\n\"app\"\n\"app\" \"hunter2\n\"\" \"x\"\n\"ok\" \"ok\""), Err(4));
        let mistakes = parse(&Arc::from("list"), "\"app\" \"hunter2").unwrap_err();
        assert!(!format!("{mistakes:?}").contains("hunter2"));
        assert_eq!(mistakes[0].to_string(), "list:1:1: expected \"user\" \"secret\", each in double quotes");
    }
}

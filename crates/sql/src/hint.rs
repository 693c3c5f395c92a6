//! `/* pgherd: … */`: what a comment asks of routing.

use std::time::Duration;

use crate::token::Tokenizer;

/// What the hint comments of a text ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hint<'a> {
    /// Where to run it.
    pub target: Option<HintTarget>,
    /// The region to prefer, as written.
    pub region: Option<&'a str>,
    /// How far behind the replica may be.
    pub max_lag: Option<Duration>,
}

/// Where a hint wants a statement to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HintTarget {
    /// On the primary, whatever it is.
    Primary,
    /// On a replica. It vouches for functions that are not known to be harmless; it makes no read of a statement
    /// that is a write by its words, such as `INSERT`, `FOR UPDATE` or `nextval`.
    Replica,
}

/// What the hint comments of `text` ask for: `/* pgherd: primary */`, `/* pgherd: replica region=us max_lag=1s */`.
///
/// The items stand in any block comment outside strings, apart by whitespace or commas; `max_lag` is a whole number
/// with the unit `us`, `ms`, `s`, `min` or `h`. Of two comments the first decides. An item that is unknown or cannot
/// be read asks for the primary: a mistyped hint must not loosen anything.
#[must_use]
pub fn hint(text: &[u8]) -> Option<Hint<'_>> {
    let mut tokens = Tokenizer::new(text);
    while tokens.next().is_some() {}
    tokens.hint()
}

impl<'a> Hint<'a> {
    /// Reads the inside of a comment, from behind its `/*` on; `None` if it is no hint.
    pub(crate) fn read(inside: &'a [u8]) -> Option<Self> {
        let items = inside.trim_ascii_start().strip_prefix(b"pgherd:")?;
        let mut hint = Self::default();
        let end = items.windows(2).position(|pair| pair == b"*/").unwrap_or(items.len());
        let items = items.get(..end).unwrap_or(items);
        for item in items.split(|b| b.is_ascii_whitespace() || *b == b',').filter(|item| !item.is_empty()) {
            hint = hint.or(Self::item(item));
        }
        Some(hint)
    }

    /// `self`, and what it leaves open from `other`. `primary` wins over `replica`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            target: match (self.target, other.target) {
                (Some(HintTarget::Primary), _) | (_, Some(HintTarget::Primary)) => Some(HintTarget::Primary),
                (target, other) => target.or(other),
            },
            region: self.region.or(other.region),
            max_lag: self.max_lag.or(other.max_lag),
        }
    }

    /// What a setting of the session asks for: `target`, `region` or `max_lag` with a value as in a comment. `None` if it
    /// is another name or cannot be read.
    #[must_use]
    pub fn setting(name: &[u8], value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut hint = Self::default();
        match name {
            b"target" if text.eq_ignore_ascii_case("primary") => hint.target = Some(HintTarget::Primary),
            b"target" if text.eq_ignore_ascii_case("replica") => hint.target = Some(HintTarget::Replica),
            b"region" if !text.is_empty() => hint.region = Some(text),
            b"max_lag" => hint.max_lag = Some(duration(text)?),
            _ => return None,
        }
        Some(hint)
    }

    fn item(item: &'a [u8]) -> Self {
        let primary = Self { target: Some(HintTarget::Primary), ..Self::default() };
        let Ok(item) = std::str::from_utf8(item) else { return primary };
        match item.split_once('=') {
            None if item.eq_ignore_ascii_case("primary") => primary,
            None if item.eq_ignore_ascii_case("replica") => {
                Self { target: Some(HintTarget::Replica), ..Self::default() }
            }
            Some(("region", region)) if !region.is_empty() => {
                Self { region: Some(region), ..Self::default() }
            }
            Some(("max_lag", lag)) => match duration(lag) {
                Some(lag) => Self { max_lag: Some(lag), ..Self::default() },
                None => primary,
            },
            _ => primary,
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "min" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: Option<Hint<'_>>) {
        assert_eq!(hint(sql.as_bytes()), expected, "{sql}");
        assert_eq!(crate::classify(sql.as_bytes(), &crate::NoFunctions).hinted, expected.is_some(), "{sql}");
    }

    const NOTHING: Hint<'_> = Hint { target: None, region: None, max_lag: None };
    const PRIMARY: Hint<'_> = Hint { target: Some(HintTarget::Primary), region: None, max_lag: None };
    const REPLICA: Hint<'_> = Hint { target: Some(HintTarget::Replica), region: None, max_lag: None };

    #[test]
    fn a_hint_may_stand_before_in_and_behind_the_statement() {
        check("/* pgherd: primary */ select 1", Some(PRIMARY));
        check("select /*pgherd:replica*/ 1", Some(REPLICA));
        check("select 1 /* pgherd: PRIMARY */;", Some(PRIMARY));
        check("select 1; /* pgherd: primary */", Some(PRIMARY));
    }

    #[test]
    fn items_are_read_together_and_the_first_comment_decides() {
        let all = Hint { region: Some("us"), max_lag: Some(Duration::from_secs(1)), ..REPLICA };
        check("/* pgherd: replica region=us max_lag=1s */ select 1", Some(all));
        check("/* pgherd: replica, region=us */ select /* pgherd: region=eu max_lag=1s */ 1", Some(all));
        let lag = Hint { max_lag: Some(Duration::from_millis(250)), ..NOTHING };
        check("/* pgherd: max_lag=250ms */ select 1", Some(lag));
        check("/* pgherd: */ select 1", Some(NOTHING));
    }

    #[test]
    fn what_cannot_be_read_asks_for_the_primary() {
        check("/* pgherd: repilca */ select 1", Some(PRIMARY));
        check("/* pgherd: replica max_lag=soon */ select 1", Some(Hint { ..PRIMARY }));
        check("/* pgherd: max_lag=99999999999999999999s */ select 1", Some(PRIMARY));
        check("/* pgherd: region= */ select 1", Some(PRIMARY));
    }

    #[test]
    fn strings_line_comments_and_other_comments_hold_no_hint() {
        check("select '/* pgherd: primary */'", None);
        check("select $$/* pgherd: primary */$$, \"/* pgherd: primary */\"", None);
        check("-- /* pgherd: primary */\nselect 1", None);
        check("/* for pgherd: primary */ select 1", None);
        check("/* outer /* pgherd: primary */ */ select 1", None);
    }

    #[test]
    fn a_comment_that_does_not_end_holds_no_hint_whatever_follows_it() {
        check("select 1 /* pgherd: replica region=us", None);
        check("select 1 /* pgherd: replica region=us\n-- x", None);
        check("select 1 /* pgherd: primary /* inner */", None);
    }
}

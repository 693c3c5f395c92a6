//! Why there was no failover, as far as it was logged.

use std::{
    mem::{Discriminant, discriminant},
    time::{Duration, Instant},
};

use failover::Hindrance;

/// How long there has to be none before it is worth a line: most are hindered for the moment in which others are asked,
/// and each start is until the primary is found.
const GRACE: Duration = Duration::from_secs(2);

/// Since when there is one, and the kinds of hindrances that were told since. Some count seconds or bytes, and would be
/// told again and again.
#[derive(Debug, Default)]
pub(super) struct Told {
    since: Option<Instant>,
    kinds: Vec<Discriminant<Hindrance>>,
}

impl Told {
    /// Whether a hindrance is to be logged; `None`: there is none.
    pub(super) fn is_news(&mut self, hindrance: Option<&Hindrance>, now: Instant) -> bool {
        let Some(kind) = hindrance.map(discriminant) else {
            *self = Self::default();
            return false;
        };
        let since = *self.since.get_or_insert(now);
        let is_news = now >= since + GRACE && !self.kinds.contains(&kind);
        self.kinds.extend(is_news.then_some(kind));
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary beginning; no time passes in this test")]
    fn a_kind_that_lasts_is_told_once_until_there_is_a_primary_again() {
        let (mut told, begin) = (Told::default(), Instant::now());
        let damped = |left| Hindrance::Damped(Duration::from_secs(left));
        let asking = Hindrance::Asking("us".into());
        assert!(!told.is_news(Some(&asking), begin), "it may be over in a moment");
        let later = begin + GRACE;
        assert!(told.is_news(Some(&damped(60)), later));
        assert!(!told.is_news(Some(&damped(59)), later));
        assert!(told.is_news(Some(&asking), later));
        assert!(!told.is_news(Some(&damped(58)), later), "it alternates");
        assert!(!told.is_news(None, later));
        assert!(!told.is_news(Some(&damped(60)), later));
        assert!(told.is_news(Some(&damped(58)), later + GRACE));
    }
}

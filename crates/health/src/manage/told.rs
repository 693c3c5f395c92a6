//! Why there was no failover, as far as it was logged.

use std::mem::{Discriminant, discriminant};

use failover::Hindrance;

/// The kinds of hindrances since there was a primary, or a failover, last. Some count seconds or bytes, and would be told
/// again and again.
#[derive(Debug, Default)]
pub(super) struct Told(Vec<Discriminant<Hindrance>>);

impl Told {
    /// Whether a hindrance is to be logged; `None`: there is none.
    pub(super) fn is_news(&mut self, hindrance: Option<&Hindrance>) -> bool {
        let Some(kind) = hindrance.map(discriminant) else {
            self.0.clear();
            return false;
        };
        let is_news = !self.0.contains(&kind);
        self.0.extend(is_news.then_some(kind));
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_kind_is_told_once_until_there_is_a_primary_again() {
        let mut told = Told::default();
        let damped = |left| Hindrance::Damped(Duration::from_secs(left));
        let asking = Hindrance::Asking("us".into());
        assert!(told.is_news(Some(&damped(60))));
        assert!(!told.is_news(Some(&damped(59))));
        assert!(told.is_news(Some(&asking)));
        assert!(!told.is_news(Some(&damped(58))), "it alternates");
        assert!(!told.is_news(None));
        assert!(told.is_news(Some(&damped(60))));
    }
}

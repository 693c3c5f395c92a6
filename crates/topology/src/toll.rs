use std::time::{Duration, Instant};

use wire::SqlState;

/// Kinds of errors that are told apart; the loss of a primary brings a handful.
const CODES_MAX: usize = 32;

/// What it costs clients that a primary is lost or replaced, as far as a part of the data path has seen it since it told
/// last. Sums grow by [`Toll::add`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Toll {
    /// When the first write was answered since there is a (new) primary.
    pub first_write: Option<Instant>,
    /// Requests that had to wait for a primary.
    pub held: u64,
    /// For how long the one that waited for longest did.
    pub longest_hold: Duration,
    /// Errors that clients were told for it.
    pub failed: Vec<(SqlState, u64)>,
}

impl Toll {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Counts a request that was held, and is not any more.
    pub fn end_hold(&mut self, waited: Duration) {
        self.longest_hold = self.longest_hold.max(waited);
    }

    /// Counts errors.
    pub fn fail(&mut self, code: SqlState, times: u64) {
        if let Some((_, count)) = self.failed.iter_mut().find(|(known, _)| *known == code) {
            *count = count.saturating_add(times);
        } else if self.failed.len() < CODES_MAX {
            self.failed.push((code, times));
        }
    }

    /// Adds what was seen elsewhere, or later.
    pub fn add(&mut self, other: &Self) {
        self.first_write = self.first_write.into_iter().chain(other.first_write).min();
        self.held = self.held.saturating_add(other.held);
        self.end_hold(other.longest_hold);
        other.failed.iter().for_each(|(code, times)| self.fail(*code, *times));
    }

    /// How many errors there were in all.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.iter().fold(0, |sum, (_, times)| sum.saturating_add(*times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolls_add_up() {
        let mut toll = Toll::default();
        assert!(toll.is_empty());
        toll.fail(SqlState::SERIALIZATION_FAILURE, 1);
        toll.end_hold(Duration::from_millis(300));
        let mut other = Toll { held: 2, ..Toll::default() };
        other.fail(SqlState::SERIALIZATION_FAILURE, 2);
        other.fail(SqlState::ADMIN_SHUTDOWN, 1);
        other.end_hold(Duration::from_millis(200));
        toll.add(&other);
        assert_eq!((toll.held, toll.failures()), (2, 4));
        assert_eq!(toll.longest_hold, Duration::from_millis(300));
        assert_eq!(toll.failed, [(SqlState::SERIALIZATION_FAILURE, 3), (SqlState::ADMIN_SHUTDOWN, 1)]);
        assert!(!toll.is_empty());
    }
}

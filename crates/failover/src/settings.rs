use std::{sync::Arc, time::Duration};

/// How a cluster is managed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Regions in the order in which the primary is best placed; others come after them.
    pub regions: Vec<Arc<str>>,
    /// A candidate that lacks more WAL than this of what the primary was last seen to have is not promoted by itself, in
    /// bytes (default 1 MiB).
    pub max_lost_bytes: u64,
    /// Least time between two failovers that the manager begins by itself, unless the new primary has certainly died
    /// (default 60 s).
    pub damping: Duration,
    /// How long standbys may take to be cut off and to say how far they are (default 1 s).
    pub recruit_timeout: Duration,
    /// How long transactions may go on after a switchover began (default 3 s).
    pub drain_timeout: Duration,
    /// When the primary may go back by itself to the node that is best placed by region and priority (default: never).
    pub failback: Option<Window>,
}

/// A part of each day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first minute, counted from midnight.
    pub from: u16,
    /// The minute after its last one; if that is not later than the first it is on the next day.
    pub until: u16,
    /// By how many minutes the clock that it goes by is ahead of UTC.
    pub offset: i16,
}

impl Window {
    /// Whether an instant falls into it, given in seconds since 1970 (UTC).
    #[must_use]
    pub fn contains(&self, seconds: u64) -> bool {
        const DAY: u64 = 24 * 60;
        // the offset is less than a day
        let minutes = (seconds / 60).saturating_add(DAY).saturating_add_signed(i64::from(self.offset));
        let now = minutes % DAY;
        let (from, until) = (u64::from(self.from), u64::from(self.until));
        if from < until { (from..until).contains(&now) } else { now >= from || now < until }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            regions: Vec::new(),
            max_lost_bytes: 1 << 20,
            damping: Duration::from_secs(60),
            recruit_timeout: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(3),
            failback: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: u16, until: u16, offset: i16, inside: &[u64], outside: &[u64]) {
        let window = Window { from, until, offset };
        let at = |minute: &u64| window.contains(1_800_000_000 / 86_400 * 86_400 + minute * 60 + 59);
        assert!(inside.iter().all(at) && !outside.iter().any(at), "{window:?}");
    }

    #[test]
    fn a_window_may_contain_midnight_and_lie_in_any_time_zone() {
        check(120, 240, 0, &[120, 239], &[0, 119, 240, 1439]);
        check(23 * 60, 60, 0, &[1380, 1439, 0, 59], &[60, 1379]);
        check(120, 240, 120, &[0, 119], &[120, 1439]);
        check(120, 240, -330, &[450, 569], &[449, 570]);
        check(0, 1440, 0, &[0, 720, 1439], &[]);
        check(0, 0, 0, &[0, 720, 1439], &[]);
    }
}

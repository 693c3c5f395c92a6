use std::time::{Duration, Instant};

use wire::{Lsn, TimelineId};

/// How many positions are kept.
const CAPACITY: usize = 32;

/// When the primary's WAL was where: its last samples, newest last, the older ones ever more thinly.
///
/// Answers two questions without asking a server: which position covers everything that was acknowledged before an
/// instant, and since when the primary was past what a standby has replayed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrimaryWal {
    timeline: Option<TimelineId>,
    samples: Vec<(Instant, Lsn)>,
}

impl PrimaryWal {
    /// The timeline that the positions are on; `None` before a primary was found.
    #[must_use]
    pub fn timeline(&self) -> Option<TimelineId> {
        self.timeline
    }

    /// The newest sample: when it was asked for, and the position.
    #[must_use]
    pub fn last(&self) -> Option<(Instant, Lsn)> {
        self.samples.last().copied()
    }

    /// The oldest kept sample.
    #[must_use]
    pub fn first(&self) -> Option<(Instant, Lsn)> {
        self.samples.first().copied()
    }

    /// A position that covers every commit acknowledged at or before `instant`: that of the first kept sample asked
    /// for after it. `None`: no such sample yet.
    #[must_use]
    pub fn first_sent_after(&self, instant: Instant) -> Option<Lsn> {
        let index = self.samples.partition_point(|(sent_at, _)| *sent_at <= instant);
        self.samples.get(index).map(|(_, lsn)| *lsn)
    }

    /// How old, at `as_of`, was the state of a node that has replayed up to `replayed`: the time since the primary
    /// passed that position, interpolated between samples; zero when nothing past it is known. `None`: it lies
    /// before everything kept, or no primary is known.
    #[must_use]
    pub fn age_of(&self, replayed: Lsn, as_of: Instant) -> Option<Duration> {
        let (_, newest) = self.last()?;
        if replayed >= newest {
            return Some(Duration::ZERO);
        }
        let next = self.samples.partition_point(|(_, lsn)| *lsn <= replayed);
        let (after_at, after) = self.samples.get(next).copied()?;
        let (before_at, before) = self.samples.get(next.checked_sub(1)?).copied()?;
        let share = replayed.bytes_since(before) as f64 / after.bytes_since(before).max(1) as f64;
        let passed = before_at + after_at.saturating_duration_since(before_at).mul_f64(share.clamp(0.0, 1.0));
        Some(as_of.saturating_duration_since(passed))
    }

    /// Adds what the primary of `timeline` said.
    pub(crate) fn record(&mut self, timeline: TimelineId, sent_at: Instant, lsn: Lsn) {
        // A crash may lose the unflushed end of the WAL; positions are then given out again with other content.
        let rewound = self.last().is_some_and(|(_, last)| lsn < last);
        if self.timeline != Some(timeline) || rewound {
            self.samples.clear();
            self.timeline = Some(timeline);
        }
        if self.last().is_some_and(|(last, _)| sent_at <= last) {
            return;
        }
        let idle = matches!(self.samples.as_slice(), [.., a, b] if a.1 == lsn && b.1 == lsn);
        if idle {
            self.samples.pop();
        } else if self.samples.len() == CAPACITY {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index > CAPACITY / 2 || index % 2 == 1
            });
        }
        self.samples.push((sent_at, lsn));
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary beginning; no time passes in these tests")]
mod tests {
    use super::*;

    const ONE: TimelineId = TimelineId(1);

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn the_first_sample_sent_after_a_write_covers_it() {
        let start = Instant::now();
        let mut wal = PrimaryWal::default();
        wal.record(ONE, at(start, 0), Lsn(100));
        wal.record(ONE, at(start, 500), Lsn(200));
        assert_eq!(wal.first_sent_after(at(start, 100)), Some(Lsn(200)));
        assert_eq!(wal.first_sent_after(at(start, 500)), None, "sent at that very instant proves nothing");
    }

    #[test]
    fn lag_is_the_time_since_the_primary_passed_what_is_replayed() {
        let start = Instant::now();
        let mut wal = PrimaryWal::default();
        assert_eq!(wal.age_of(Lsn(1), start), None);
        wal.record(ONE, at(start, 0), Lsn(100));
        wal.record(ONE, at(start, 1000), Lsn(200));
        assert_eq!(wal.age_of(Lsn(200), at(start, 1500)), Some(Duration::ZERO));
        assert_eq!(wal.age_of(Lsn(150), at(start, 1500)), Some(Duration::from_millis(1000)));
        assert_eq!(wal.age_of(Lsn(100), at(start, 1500)), Some(Duration::from_millis(1500)));
        assert_eq!(wal.age_of(Lsn(99), at(start, 1500)), None, "older than anything kept");
    }

    #[test]
    fn an_idle_primary_does_not_push_its_past_out_and_a_busy_one_thins_it() {
        let start = Instant::now();
        let mut wal = PrimaryWal::default();
        wal.record(ONE, at(start, 0), Lsn(100));
        for turn in 1..1000 {
            wal.record(ONE, at(start, turn * 500), Lsn(200));
        }
        assert_eq!(wal.samples.len(), 3);
        for turn in 1000..2000 {
            wal.record(ONE, at(start, turn * 500), Lsn(turn));
            assert!(wal.samples.len() <= CAPACITY);
        }
        assert_eq!(wal.first(), Some((start, Lsn(100))));
        assert!(wal.samples.is_sorted());
    }

    #[test]
    fn positions_given_out_again_after_a_crash_begin_a_new_record() {
        let start = Instant::now();
        let mut wal = PrimaryWal::default();
        wal.record(ONE, at(start, 0), Lsn(200));
        wal.record(ONE, at(start, 10), Lsn(150));
        assert_eq!(wal.samples, vec![(at(start, 10), Lsn(150))]);
    }
}

//! Wall-clock time, for display only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From 1970-01-01, where Unix time begins, to 2000-01-01, where PostgreSQL's binary timestamps begin.
const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock; nothing is decided by it"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// As PgBouncer writes it: `2026-01-31 23:59:59 UTC`.
pub(crate) fn seconds_text(time: SystemTime) -> String {
    format!("{} UTC", date_and_time(since_1970(time).as_secs()))
}

/// As PostgreSQL writes a `timestamptz` in UTC, with milliseconds: `2026-01-31 23:59:59.123+00`.
pub(crate) fn timestamp_text(time: SystemTime) -> String {
    let since = since_1970(time);
    format!("{}.{:03}+00", date_and_time(since.as_secs()), since.subsec_millis())
}

/// Microseconds since 2000-01-01, as in a binary `timestamptz`.
pub(crate) fn postgres_micros(time: SystemTime) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    micros(since_1970(time)).saturating_sub(micros(POSTGRES_EPOCH))
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn date_and_time(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
///
/// Counts from a 1st of March, so that the leap day is the last of its year and months have lengths with a pattern:
/// 153 days for every five months from March on.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_0000_03_01: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days + DAYS_FROM_0000_03_01;
    let (cycle, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_cycle = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
    (cycle * 400 + year_of_cycle + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unix_seconds: u64, expected: &str) {
        assert_eq!(seconds_text(UNIX_EPOCH + Duration::from_secs(unix_seconds)), expected);
    }

    #[test]
    fn dates_follow_the_gregorian_calendar() {
        check(0, "1970-01-01 00:00:00 UTC");
        check(951_782_399, "2000-02-28 23:59:59 UTC");
        check(951_782_400, "2000-02-29 00:00:00 UTC");
        check(951_868_800, "2000-03-01 00:00:00 UTC");
        check(1_735_689_599, "2024-12-31 23:59:59 UTC");
        check(4_107_542_400, "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn timestamps_are_told_as_postgres_tells_them() {
        let time = UNIX_EPOCH + POSTGRES_EPOCH + Duration::from_millis(1_007);
        assert_eq!(timestamp_text(time), "2000-01-01 00:00:01.007+00");
        assert_eq!(postgres_micros(time), 1_007_000);
    }
}

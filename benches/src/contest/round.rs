//! One event and what it cost.

use std::{
    collections::{BTreeMap, HashSet},
    fmt, thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    load::{Load, Record},
    options::{Contender, Event},
    process::{POLL, wait_for},
    stack::{Stack, check_moved, primaries, wait_until_settled},
};

/// Clients at work before each event, and after the last that has to do with it.
const CALM: Duration = Duration::from_secs(1);
/// How long a killed node stays away once another one takes writes.
const ABSENCE: Duration = Duration::from_secs(1);
/// How often a contender is asked again for a switchover that it refuses.
const ATTEMPTS: usize = 5;

/// What an event cost.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    /// Whose.
    pub(crate) contender: Contender,
    /// What happened.
    pub(crate) event: Event,
    /// The longest time without an acknowledged write, in ms, from the event to when all was well again.
    pub(crate) gap_ms: u64,
    /// From the event to when all three nodes were well again, in ms.
    pub(crate) whole_ms: u64,
    /// Statements that failed and connections of writers that ended, by SQLSTATE or "disconnected".
    pub(crate) errors: BTreeMap<String, u64>,
    /// Attempts of writers to connect again that failed.
    pub(crate) refused: u64,
    /// Idle clients that lost their connections.
    pub(crate) idle_dropped: usize,
    /// Acknowledged writes of this round.
    pub(crate) acknowledged: usize,
    /// Of these, how many the primary does not have in the end.
    pub(crate) lost: usize,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gap_ms, whole_ms, errors, refused, idle_dropped, lost, acknowledged, .. } = self;
        write!(
            f,
            "gap {gap_ms} ms, whole again after {whole_ms} ms, errors {errors:?}, {refused} failed to connect, \
             {idle_dropped} idle dropped, {lost} of {acknowledged} lost"
        )
    }
}

/// Waits until all is well, lets the event happen, and waits until all is well again.
///
/// # Errors
/// When it is not in time, or the contender does not do what it is asked for.
pub(crate) fn play(
    stack: &mut dyn Stack,
    load: &Load,
    contender: Contender,
    event: Event,
    patience: Duration,
) -> Result<Round> {
    let old = wait_until_settled(stack, patience)?;
    wait_for("idle clients that are connected", patience, || {
        load.check_idle()?;
        Ok(())
    })?;
    let floor = load.begin();
    thread::sleep(CALM);
    ensure!(load.last_write().is_some(), "nothing is written before the event");
    let start = Instant::now();
    match event {
        Event::NodeKilled => stack.kill(old, true)?,
        Event::PostmasterKilled => stack.kill(old, false)?,
        Event::Switchover => ask_for_switchover(stack, old)?,
    }
    let expects_move = event != Event::PostmasterKilled;
    wait_for("a primary that takes writes", patience, || {
        if expects_move {
            check_moved(stack.nodes(), old)?;
        } else {
            ensure!(!primaries(stack.nodes()).is_empty(), "there is none");
        }
        ensure!(load.last_write().is_some_and(|last| last > start), "nothing was written since");
        ensure!(load.last_write().is_some_and(|last| last.elapsed() < 2 * POLL), "nothing is written now");
        Ok(())
    })?;
    if event == Event::NodeKilled {
        thread::sleep(ABSENCE);
        stack.bring_back(old)?;
    }
    let primary = wait_until_settled(stack, patience)?;
    let whole = start.elapsed();
    thread::sleep(CALM);
    let record = load.seen();
    let lost = lost(stack, primary, &record, floor)?;
    Ok(Round {
        contender,
        event,
        gap_ms: milliseconds(longest_gap(&record, start)),
        whole_ms: milliseconds(whole),
        errors: record.errors,
        refused: record.refused,
        idle_dropped: record.idle_dropped.len(),
        acknowledged: record.acknowledged.len(),
        lost,
    })
}

/// Asks until it is done.
fn ask_for_switchover(stack: &mut dyn Stack, old: usize) -> Result<()> {
    for attempt in 1.. {
        match stack.switch_over(old) {
            Ok(()) => break,
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(error) => {
                eprintln!("    refused, asked again: {error:#}");
                thread::sleep(CALM);
            }
        }
    }
    Ok(())
}

/// The longest time between two acknowledgements of which the second came after `start`.
fn longest_gap(record: &Record, start: Instant) -> Duration {
    let mut times: Vec<Instant> = record.acknowledged.iter().map(|(time, _)| *time).collect();
    times.sort_unstable();
    let pairs = times.windows(2).filter(|pair| pair[1] > start);
    pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// How many keys were acknowledged that the primary does not have.
fn lost(stack: &dyn Stack, primary: usize, record: &Record, floor: i64) -> Result<usize> {
    let least = record.acknowledged.iter().map(|(_, key)| *key).min().unwrap_or(floor).min(floor);
    let sql = format!("select id from ledger where id >= {least}");
    let rows = stack.nodes()[primary].ask(&sql, Duration::from_secs(60)).context("the ledger")?;
    let there: HashSet<i64> = rows.iter().flatten().filter_map(|id| id.parse().ok()).collect();
    Ok(record.acknowledged.iter().filter(|(_, key)| !there.contains(key)).count())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_if_it_ends_after_the_event() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let record = |times: &[u64]| Record {
            acknowledged: times.iter().map(|ms| (at(*ms), 0)).collect(),
            ..Record::default()
        };
        let gap = |times: &[u64]| longest_gap(&record(times), at(1000)).as_millis();
        assert_eq!(gap(&[0, 900, 950, 1010, 1500, 1510]), 490);
        assert_eq!(gap(&[990, 1200, 995]), 205, "in the order of time");
        assert_eq!(gap(&[]), 0);
    }
}

//! CHECK REPLICATION: what became of a marker that the primary wrote.

use std::time::Duration;

use wire::Lsn;

use crate::{Refusal, Verdict};

/// What one node has to do with the marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It could not be asked.
    Unreachable(Refusal),
    /// It could not be asked, and is a spare, which need not run.
    Resting,
    /// It wrote the marker, which ends here.
    Wrote(Lsn),
    /// It was to write the marker, and did not.
    WroteNot(Refusal),
    /// It takes writes as well, and is not the primary.
    SecondPrimary,
    /// It was to replay the marker.
    Standby(Replay),
    /// It is a standby, and there was no marker.
    Unasked,
}

/// How far a standby came with the marker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replay {
    /// How long after the marker was written it was seen to be replayed; `None`: not in time.
    pub after: Option<Duration>,
    /// Where its receiver was in the end.
    pub received: Lsn,
    /// Where its replay was.
    pub replayed: Lsn,
    /// `status` of its WAL receiver; `None`: it has none, or it may not be seen.
    pub receiver: Option<String>,
    /// Whether somebody has paused its replay.
    pub paused: bool,
    /// `recovery_min_apply_delay`, in milliseconds.
    pub delay_ms: u64,
    /// What its startup process waits for: type and name as in `pg_stat_activity`.
    pub waits: Option<String>,
    /// The process that it waits for, or the one whose snapshot is oldest.
    pub blocker: Option<u32>,
}

/// A row of CHECK REPLICATION.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicated {
    /// The node.
    pub node: String,
    /// primary, streaming, paused, waiting, behind, not streaming, unreachable, spare…
    pub state: &'static str,
    /// How long the marker took to be replayed.
    pub after: Option<Duration>,
    /// How much of what leads to the marker was not replayed.
    pub lag_bytes: Option<u64>,
    /// How bad that is.
    pub verdict: Verdict,
    /// Why it is so.
    pub why: String,
    /// What mends it; empty: nothing needs mending, or it takes a person to know how.
    pub fix: String,
}

/// A row for each node, in their order. `waited` is how long was waited at most.
#[must_use]
pub fn judge_replication(nodes: &[(String, Outcome)], waited: Duration) -> Vec<Replicated> {
    let marker = nodes.iter().find_map(|(_, outcome)| match outcome {
        Outcome::Wrote(lsn) => Some(*lsn),
        _ => None,
    });
    let has_primary =
        nodes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Wrote(_) | Outcome::WroteNot(_)));
    nodes.iter().map(|(name, outcome)| row(name, outcome, marker, has_primary, waited)).collect()
}

fn row(
    name: &str,
    outcome: &Outcome,
    marker: Option<Lsn>,
    has_primary: bool,
    waited: Duration,
) -> Replicated {
    let make = |state, verdict, why: String| Replicated {
        node: name.to_owned(),
        state,
        after: None,
        lag_bytes: None,
        verdict,
        why,
        fix: String::new(),
    };
    match outcome {
        Outcome::Unreachable(refusal) => make("unreachable", Verdict::Failure, refusal.message.clone()),
        Outcome::Resting => make("spare", Verdict::Ok, String::new()),
        Outcome::Wrote(_) => {
            Replicated { lag_bytes: Some(0), ..make("primary", Verdict::Ok, String::new()) }
        }
        Outcome::WroteNot(refusal) => {
            make("primary", Verdict::Failure, format!("it did not write the marker: {}", refusal.message))
        }
        Outcome::SecondPrimary => make(
            "primary",
            Verdict::Failure,
            "another node is the primary on a higher timeline, or equally entitled: this one has to be stopped"
                .to_owned(),
        ),
        Outcome::Unasked if has_primary => make("standby", Verdict::Failure, "no marker was written".to_owned()),
        Outcome::Unasked => make("standby", Verdict::Failure, "there is no primary to follow".to_owned()),
        Outcome::Standby(replay) => {
            let (state, verdict, why, fix) = standing(replay, marker.unwrap_or_default(), waited);
            Replicated {
                after: replay.after,
                lag_bytes: Some(marker.unwrap_or_default().bytes_since(replay.replayed)),
                fix,
                ..make(state, verdict, why)
            }
        }
    }
}

/// State, verdict, why and fix of a standby.
fn standing(replay: &Replay, marker: Lsn, waited: Duration) -> (&'static str, Verdict, String, String) {
    let streams = replay.receiver.as_deref() == Some("streaming");
    if replay.after.is_some() {
        let state = if streams { "streaming" } else { "replayed" };
        return (state, Verdict::Ok, String::new(), String::new());
    }
    let waits = replay.waits.as_deref().unwrap_or_default();
    let conflict =
        waits.starts_with("Lock:") || waits.contains("RecoveryConflict") || waits.starts_with("BufferPin");
    if replay.paused {
        let why =
            "somebody has paused its replay: reads are old, and a promotion has to replay all of it first";
        ("paused", Verdict::Failure, why.to_owned(), "SELECT pg_wal_replay_resume();".to_owned())
    } else if conflict {
        let whom = replay.blocker.map_or_else(String::new, |pid| format!(" of process {pid}"));
        let why = format!("its replay waits for a query{whom} that needs what is to go away ({waits})");
        let fix = replay.blocker.map_or_else(
            || "SELECT pid, query FROM pg_stat_activity WHERE backend_xmin IS NOT NULL;".to_owned(),
            |pid| format!("SELECT pg_terminate_backend({pid});"),
        );
        ("waiting", Verdict::Failure, why, fix)
    } else if replay.delay_ms > 0 && replay.received >= marker {
        let why = format!("recovery_min_apply_delay is {} ms", replay.delay_ms);
        let fix = "ALTER SYSTEM SET recovery_min_apply_delay = 0;\nSELECT pg_reload_conf();".to_owned();
        ("delayed", Verdict::Warning, why, fix)
    } else if !streams {
        let status = replay.receiver.as_deref().unwrap_or("there is none");
        let why = format!("it does not stream (WAL receiver: {status}): CHECK CLUSTER says what it lacks");
        ("not streaming", Verdict::Failure, why, "CHECK CLUSTER;".to_owned())
    } else if replay.received < marker {
        let why =
            format!("the marker has not arrived within {waited:?}: the network, or its disk, is behind");
        ("behind", Verdict::Failure, why, String::new())
    } else {
        let why =
            format!("the marker has arrived and was not replayed within {waited:?}: its replay is behind");
        ("behind", Verdict::Failure, why, String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(replay: Replay, state: &str, fix: &str) {
        let nodes = [
            ("eu".to_owned(), Outcome::Wrote(Lsn(1000))),
            ("us".to_owned(), Outcome::Standby(replay.clone())),
        ];
        let rows = judge_replication(&nodes, Duration::from_secs(5));
        assert_eq!((rows[0].state, rows[0].verdict), ("primary", Verdict::Ok));
        assert_eq!((rows[1].state, rows[1].fix.as_str()), (state, fix), "{replay:?}");
        assert_eq!(rows[1].verdict == Verdict::Ok, replay.after.is_some());
    }

    fn replay(receiver: &str, received: u64) -> Replay {
        Replay { receiver: Some(receiver.to_owned()), received: Lsn(received), ..Replay::default() }
    }

    #[test]
    fn a_standby_that_does_not_replay_is_told_why_and_what_mends_it() {
        let good = replay("streaming", 1000);
        check(Replay { after: Some(Duration::from_millis(3)), ..good.clone() }, "streaming", "");
        check(Replay { paused: true, ..good.clone() }, "paused", "SELECT pg_wal_replay_resume();");
        let waits = Some("IPC:RecoveryConflictSnapshot".to_owned());
        check(
            Replay { waits, blocker: Some(7), ..good.clone() },
            "waiting",
            "SELECT pg_terminate_backend(7);",
        );
        check(
            Replay { delay_ms: 5000, ..good.clone() },
            "delayed",
            "ALTER SYSTEM SET recovery_min_apply_delay = 0;\nSELECT pg_reload_conf();",
        );
        check(replay("waiting", 0), "not streaming", "CHECK CLUSTER;");
        check(replay("streaming", 0), "behind", "");
        check(good, "behind", "");
    }

    #[test]
    fn without_a_primary_nothing_is_well() {
        let nodes = [("us".to_owned(), Outcome::Unasked)];
        let rows = judge_replication(&nodes, Duration::from_secs(5));
        assert_eq!(
            (rows[0].verdict, rows[0].why.as_str()),
            (Verdict::Failure, "there is no primary to follow")
        );
    }
}

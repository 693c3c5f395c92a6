use super::*;
use crate::history::Fork;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

/// A commit of the id 100 on A, timeline 1, when WAL up to 1000 was flushed.
const DOUBT: InDoubt = InDoubt { xid: Xid(100), flushed: Lsn(1000), node: A, timeline: TimelineId(1) };

fn standby(next: u64, replayed: u64) -> XidSample {
    XidSample {
        role: Role::Standby,
        timeline: TimelineId(1),
        next: Xid(next),
        replay_lsn: Lsn(replayed),
        checkpoint: None,
    }
}

fn primary(timeline: u32, next: u64, checkpoint: Option<(u64, u64, CheckpointKind)>) -> XidSample {
    XidSample {
        role: Role::Primary,
        timeline: TimelineId(timeline),
        next: Xid(next),
        replay_lsn: Lsn(0),
        checkpoint: checkpoint.map(|(lsn, next, kind)| Checkpoint {
            lsn: Lsn(lsn),
            timeline: TimelineId(timeline),
            next: Xid(next),
            kind,
        }),
    }
}

fn book(samples: &[(NodeId, XidSample)]) -> XidBook {
    let mut book = XidBook::default();
    samples.iter().for_each(|(node, sample)| book.observe(*node, sample));
    book
}

/// The history of timeline 2 that left timeline 1 there.
fn left_at(lsn: u64) -> History {
    History::new(vec![Fork { timeline: TimelineId(1), switch_lsn: Lsn(lsn) }])
}

/// Judges `DOUBT` after the last of the samples, which is of the primary.
#[track_caller]
fn check(
    samples: &[(NodeId, XidSample)],
    history: Option<&History>,
    status: XidStatus,
    expected: Option<Resolution>,
) {
    let (node, seen) = samples.last().unwrap();
    assert_eq!(book(samples).judge(&DOUBT, *node, seen, history, status), expected, "{status:?}");
}

use CheckpointKind::{Online, Quiet};
use Resolution::{Aborted as No, Committed as Yes, Unknown};
use XidStatus::{Aborted, Ahead, Committed, Forgotten, InProgress};

#[test]
fn in_the_same_run_the_status_is_the_truth_and_what_has_not_ended_is_asked_again() {
    for kind in [Quiet, Online] {
        let samples = [(A, primary(1, 150, Some((900, 90, kind))))];
        check(&samples, None, Committed, Some(Yes));
        check(&samples, None, Aborted, Some(No));
        check(&samples, None, InProgress, None);
        check(&samples, None, Ahead, None);
        check(&samples, None, Forgotten, Some(Unknown));
    }
}

#[test]
fn after_a_crash_an_id_that_was_found_tells_the_truth_and_one_given_out_again_did_not_commit() {
    let found = [(A, primary(1, 150, Some((1500, 101, Quiet))))];
    check(&found, None, Committed, Some(Yes));
    check(&found, None, Aborted, Some(No));
    let lost = [(A, primary(1, 150, Some((1000, 100, Quiet))))];
    check(&lost, None, Committed, Some(No));
    check(&lost, None, Ahead, Some(No));
}

#[test]
fn a_start_is_remembered_after_later_checkpoints_and_one_that_nobody_saw_leaves_a_doubt() {
    let later = (A, primary(1, 150, Some((1800, 140, Online))));
    check(&[(A, primary(1, 120, Some((1500, 101, Quiet)))), later], None, Committed, Some(Yes));
    check(&[(A, primary(1, 120, Some((1500, 99, Quiet)))), later], None, Committed, Some(No));
    check(&[later], None, Committed, Some(Unknown));
    check(&[later], None, Aborted, Some(No));
    check(&[later], None, InProgress, None);
}

#[test]
fn after_two_crashes_an_id_must_be_below_what_both_found() {
    let second = (A, primary(1, 300, Some((1800, 250, Quiet))));
    check(&[(A, primary(1, 120, Some((1500, 90, Quiet)))), second], None, Committed, Some(No));
    check(&[(A, primary(1, 120, Some((1500, 101, Quiet)))), second], None, Committed, Some(Yes));
}

#[test]
fn a_standby_that_had_replayed_the_end_of_it_tells_the_truth_after_its_promotion() {
    let samples = [(B, standby(101, 1400)), (B, primary(2, 130, None))];
    check(&samples, Some(&left_at(1400)), Committed, Some(Yes));
    check(&samples, Some(&left_at(1400)), Aborted, Some(No));
    check(&samples, None, Committed, Some(Yes));
}

#[test]
fn between_the_last_sample_of_a_standby_and_the_first_of_the_primary_a_commit_is_in_doubt() {
    let samples = [(B, standby(100, 1400)), (B, primary(2, 130, None))];
    check(&samples, Some(&left_at(1450)), Committed, Some(Unknown));
    check(&samples, Some(&left_at(1450)), Aborted, Some(No));
    check(&samples, Some(&left_at(1450)), Ahead, Some(No));
    check(&[(B, standby(90, 1400)), (B, primary(2, 100, None))], None, Committed, Some(No));
    check(&[(B, primary(2, 130, None))], Some(&left_at(1450)), Committed, Some(Unknown));
}

#[test]
fn a_snapshot_taken_after_all_was_replayed_is_exact() {
    let samples = [(B, standby(90, 1400)), (B, standby(100, 1400)), (B, primary(2, 130, None))];
    check(&samples, Some(&left_at(1400)), Committed, Some(No));
    // the first sample's snapshot may be older than what it had replayed
    check(&samples[1..], Some(&left_at(1400)), Committed, Some(Unknown));
    check(&samples, Some(&left_at(1401)), Committed, Some(Unknown));
    check(&samples, None, Committed, Some(Unknown));
    let mut lost_sight = book(&samples[..1]);
    lost_sight.lose_sight(B);
    samples[1..].iter().for_each(|(node, sample)| lost_sight.observe(*node, sample));
    let (node, seen) = samples[2];
    assert_eq!(lost_sight.judge(&DOUBT, node, &seen, Some(&left_at(1400)), Committed), Some(Unknown));
}

#[test]
fn a_commit_beyond_the_fork_is_lost_whatever_its_id_is_by_now() {
    let samples = [(B, standby(200, 900)), (B, primary(2, 230, None))];
    check(&samples, Some(&left_at(1000)), Committed, Some(No));
}

#[test]
fn a_crash_before_the_promotion_counts_too() {
    let crash = (A, primary(1, 120, Some((1500, 100, Quiet))));
    let samples = [crash, (B, standby(140, 1700)), (B, primary(2, 150, None))];
    check(&samples, Some(&left_at(1700)), Committed, Some(No));
}

#[test]
fn every_reign_in_between_must_have_been_seen() {
    let forks = [(1, 1450), (2, 1600)]
        .map(|(timeline, lsn)| Fork { timeline: TimelineId(timeline), switch_lsn: Lsn(lsn) });
    let history = History::new(forks.to_vec());
    let third = [(A, standby(160, 1600)), (A, primary(3, 170, None))];
    check(&third, Some(&history), Committed, Some(Unknown));
    check(&third, Some(&history), Aborted, Some(No));
    let all = [(B, standby(101, 1450)), (B, primary(2, 130, None)), third[0], third[1]];
    check(&all, Some(&history), Committed, Some(Yes));
    let lost = [(B, standby(90, 1450)), (B, primary(2, 99, None)), third[0], third[1]];
    check(&lost, Some(&history), Committed, Some(No));
}

#[test]
fn who_is_no_primary_of_that_history_is_not_believed() {
    check(&[(A, standby(150, 2000))], None, Committed, None);
    check(&[(B, primary(1, 150, None))], None, Committed, Some(Unknown));
    let other = History::new(vec![Fork { timeline: TimelineId(3), switch_lsn: Lsn(5) }]);
    check(&[(B, primary(4, 150, None))], Some(&other), Committed, Some(Unknown));
}

use std::time::{Duration, Instant};

use topology::{Health, NodeId, NodeView, Snapshot, Writable};

use crate::{
    decision::{Decision, HoldReason, Reason, RefuseReason},
    fitness::{Demands, Proximity, Unfit},
    request::{Request, Target, Wants},
    settings::{Policy, ReadOnlyFallback, Settings},
};

/// Round trips this close are the same: less is noise of the scheduler.
const RTT_NOISE: Duration = Duration::from_millis(1);

/// Chooses the node for a request.
///
/// `outstanding` tells how many requests a node has at hand from here; `random` is any number, used to compare two
/// equally near nodes instead of always the same.
#[must_use]
pub fn decide(
    request: &Request<'_>,
    settings: &Settings,
    snapshot: &Snapshot,
    now: Instant,
    outstanding: impl Fn(NodeId) -> u32,
    random: u64,
) -> Decision {
    let hinted = request.hint.and_then(|hint| hint.target);
    let read = match (request.policy, hinted, request.wants) {
        (Policy::ReadWrite, ..) => return primary(snapshot, Reason::PolicyReadWrite),
        (Policy::ReadOnly | Policy::Sync | Policy::Async, ..) => Read::Policy,
        (Policy::Smart, Some(Target::Primary), _) => return primary(snapshot, Reason::HintPrimary),
        // a hint makes no read of a write
        (Policy::Smart, _, Wants::Primary) => return primary(snapshot, Reason::NeedsPrimary),
        (Policy::Smart, Some(Target::Replica), _) => Read::Hint,
        (Policy::Smart, None, Wants::Replica) => Read::Statement,
        (Policy::Smart, None, Wants::Any) => Read::Anywhere,
    };
    let demands = Demands::of(request, settings, snapshot, now);
    let chosen = match read {
        Read::Anywhere => choose(&demands, snapshot, outstanding, random, |node| alive(node, snapshot)),
        Read::Policy | Read::Hint | Read::Statement => {
            choose(&demands, snapshot, outstanding, random, |node| demands.check(node))
        }
    };
    match chosen {
        Ok((node, proximity)) => {
            let reason = match (read, proximity) {
                (Read::Policy, _) => Reason::PolicyReadOnly,
                (Read::Hint, _) => Reason::HintReplica,
                (Read::Anywhere, _) => Reason::Anywhere,
                (Read::Statement, Proximity::Zone) => Reason::SameZone,
                (Read::Statement, Proximity::Region)
                    if request.hint.is_some_and(|hint| hint.region.is_some()) =>
                {
                    Reason::HintRegion
                }
                (Read::Statement, Proximity::Region) => Reason::SameRegion,
                (Read::Statement, Proximity::Elsewhere) => Reason::NearestReplica,
            };
            Decision::Use { node, reason }
        }
        Err(nobody) => no_replica(read, nobody, request.wants, settings, snapshot),
    }
}

/// Why a replica is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// The policy says so.
    Policy,
    /// A hint says so.
    Hint,
    /// The statement is a read.
    Statement,
    /// The statement may run on any node.
    Anywhere,
}

/// Why no node was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nobody {
    /// None is fit.
    Fit,
    /// One would be, but for the session's own writes.
    Replayed,
}

fn primary(snapshot: &Snapshot, reason: Reason) -> Decision {
    match snapshot.writable {
        Writable::Primary(node) => Decision::Use { node, reason },
        Writable::None { reason, .. } => Decision::Hold(HoldReason::NoPrimary(reason)),
    }
}

fn no_replica(
    read: Read,
    nobody: Nobody,
    wants: Wants,
    settings: &Settings,
    snapshot: &Snapshot,
) -> Decision {
    let reason = match (read, nobody) {
        (Read::Policy, _) => match (settings.read_only_fallback, wants) {
            (ReadOnlyFallback::Hold, _) => return Decision::Hold(HoldReason::AwaitsReplica),
            (ReadOnlyFallback::Refuse, _) => return Decision::Refuse(RefuseReason::NoReplicaFit),
            (ReadOnlyFallback::Primary, Wants::Primary) => return Decision::Refuse(RefuseReason::MightWrite),
            (ReadOnlyFallback::Primary, Wants::Replica | Wants::Any) => Reason::ReadOnlyFallback,
        },
        (_, Nobody::Replayed) => Reason::ReadYourWrites,
        (Read::Anywhere | Read::Hint | Read::Statement, Nobody::Fit) => Reason::NoReplicaFit,
    };
    match snapshot.writable {
        Writable::Primary(node) => Decision::Use { node, reason },
        Writable::None { reason, .. } => Decision::Hold(HoldReason::NoReplicaFit(reason)),
    }
}

/// Whether a node can answer what is the same everywhere.
fn alive(node: &NodeView, snapshot: &Snapshot) -> Result<(), Unfit> {
    let usable = node.health == Health::Up
        && match node.role {
            topology::Role::Standby => !node.reads.is_over(),
            topology::Role::Primary => snapshot.writable == Writable::Primary(node.id),
            topology::Role::Unknown => false,
        };
    if usable { Ok(()) } else { Err(Unfit::NotUp(node.health)) }
}

/// The nearest fit node; of equally near ones the one with less at hand, of two taken at random.
fn choose(
    demands: &Demands<'_>,
    snapshot: &Snapshot,
    outstanding: impl Fn(NodeId) -> u32,
    random: u64,
    check: impl Fn(&NodeView) -> Result<(), Unfit>,
) -> Result<(NodeId, Proximity), Nobody> {
    let mut best: Option<(Proximity, Duration)> = None;
    let mut nobody = Nobody::Fit;
    for node in &snapshot.nodes {
        match check(node) {
            Ok(()) => {
                let key = (demands.proximity(node), rtt(node));
                best = Some(best.map_or(key, |best| best.min(key)));
            }
            Err(Unfit::BehindOwnWrites) => nobody = Nobody::Replayed,
            Err(_) => {}
        }
    }
    let (proximity, nearest) = best.ok_or(nobody)?;
    let reach = (nearest.saturating_add(nearest / 5)).max(nearest.saturating_add(RTT_NOISE));
    let equals = || {
        (snapshot.nodes.iter())
            .filter(|node| check(node).is_ok() && demands.proximity(node) == proximity && rtt(node) <= reach)
            .map(|node| node.id)
    };
    let mut in_turn = equals();
    // The nearest itself is among its equals.
    let first = in_turn.next().ok_or(nobody)?;
    if in_turn.next().is_none() {
        return Ok((first, proximity));
    }
    let (one, other) = two_of(2 + in_turn.count() as u64, random);
    let nth = |index: u64| equals().zip(0u64..).find(|(_, at)| *at == index).map_or(first, |(id, _)| id);
    let (one, other) = (nth(one), nth(other));
    Ok((if outstanding(other) < outstanding(one) { other } else { one }, proximity))
}

/// Two different numbers below `count`, which is at least 2.
fn two_of(count: u64, random: u64) -> (u64, u64) {
    let one = (random & 0xFFFF_FFFF) % count;
    let step = 1 + (random >> 32) % (count - 1);
    (one, (one + step) % count)
}

fn rtt(node: &NodeView) -> Duration {
    node.rtt.unwrap_or(Duration::MAX)
}

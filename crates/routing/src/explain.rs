use std::time::Instant;

use topology::{NodeId, Snapshot, Writable};

use crate::{
    fitness::{Demands, Proximity, Unfit},
    request::Request,
    settings::Settings,
};

/// What a node is to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The primary: it may be written to, and read from if no replica is fit.
    Primary,
    /// A replica that may answer the request if it is a read, and how near it is.
    Fit(Proximity),
    /// It may not.
    Unfit(Unfit),
}

/// A line of `EXPLAIN ROUTE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// The node.
    pub node: NodeId,
    /// What it is to the request.
    pub verdict: Verdict,
}

/// Why each node is, or is not, a candidate for the request: the checks of [`crate::decide()`], node by node in
/// configured order.
pub fn explain<'a>(
    request: &Request<'a>,
    settings: &'a Settings,
    snapshot: &'a Snapshot,
    now: Instant,
) -> impl Iterator<Item = Explanation> + 'a {
    let demands = Demands::of(request, settings, snapshot, now);
    snapshot.nodes.iter().map(move |node| {
        let verdict = if snapshot.writable == Writable::Primary(node.id) {
            Verdict::Primary
        } else {
            demands.check(node).map_or_else(Verdict::Unfit, |()| Verdict::Fit(demands.proximity(node)))
        };
        Explanation { node: node.id, verdict }
    })
}

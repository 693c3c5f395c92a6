use std::time::Duration;

use routing::{Decision, Policy, Request, Verdict, Wants};
use topology::{NodeId, Snapshot, Writable};

use super::View;
use crate::{
    Endpoint,
    clock::seconds_text,
    table::{Cell, Column, Table, columns},
};

/// Where clients connect to, and to which nodes that leads at present.
pub(super) const ENDPOINTS: &[Column] =
    columns![address Text, policy Text, cluster Text, state Text, writes_to Text, reads_to Text, reason Text];

/// Who waits for a primary or something else that is not there, and why.
pub(super) const HOLDS: &[Column] = columns![
    cluster Text, database Text, user Text, client_id Int4, addr Text, since Text, held_ms Int8, left_ms Int8, worker Int4,
    ahead Int8, why Text,
];

/// A row for each listener and cluster; a database may have a policy of its own (SHOW CONFIG).
pub(super) fn endpoints(view: &View<'_>, table: &mut Table) {
    for Endpoint { address, policy } in view.control.endpoints() {
        for (_, name, snapshot) in view.clusters() {
            let led = lead(view, policy, &snapshot);
            table.push([
                Cell::from(address.clone()),
                policy.as_str().into(),
                name.into(),
                led.state.into(),
                led.writes_to.into(),
                led.reads_to.into(),
                led.reason.into(),
            ]);
        }
    }
}

/// Where a listener leads.
#[derive(Default)]
struct Led {
    state: &'static str,
    writes_to: Option<String>,
    reads_to: Option<String>,
    reason: Option<String>,
}

fn lead(view: &View<'_>, policy: Policy, snapshot: &Snapshot) -> Led {
    let mut led = if policy.is_read_only() { Led::default() } else { writes(snapshot) };
    if policy == Policy::ReadWrite {
        led.reads_to.clone_from(&led.writes_to);
        return led;
    }
    let request = Request { wants: Wants::Replica, policy, written: None, hint: None };
    let (routing, now) = (&view.world.routing, view.instant);
    let name = |node: NodeId| snapshot.node(node).map(|node| node.name.to_string());
    let fit = || {
        routing::explain(&request, routing, snapshot, now).filter_map(|found| match found.verdict {
            Verdict::Fit(proximity) => Some((proximity, found.node)),
            Verdict::Primary | Verdict::Unfit(_) => None,
        })
    };
    if let Some(nearest) = fit().map(|(proximity, _)| proximity).min() {
        let names: Vec<String> =
            fit().filter(|(proximity, _)| *proximity == nearest).filter_map(|(_, node)| name(node)).collect();
        led.reads_to = Some(names.join(", "));
        if led.state.is_empty() {
            led.state = "open";
        } else if led.writes_to.is_none() {
            led.state = "reads only";
        }
        return led;
    }
    match routing::decide(&request, routing, snapshot, now, |_| 0, 0) {
        Decision::Use { node, reason } => {
            led.reads_to = name(node);
            led.reason = led.reason.or_else(|| Some(reason.to_string()));
            if led.state.is_empty() {
                led.state = "open";
            }
        }
        Decision::Hold(reason) => (led.state, led.reason) = ("held", Some(reason.to_string())),
        Decision::Refuse(reason) => (led.state, led.reason) = ("refused", Some(reason.to_string())),
    }
    led
}

/// Where writes go.
fn writes(snapshot: &Snapshot) -> Led {
    let writes_to = snapshot.primary().map(|node| node.name.to_string());
    let (state, reason) = match snapshot.writable {
        Writable::Primary(_) if snapshot.draining => {
            ("draining", Some("the primary is being replaced".to_owned()))
        }
        Writable::Primary(_) => ("open", None),
        Writable::None { reason, .. } => ("held", Some(reason.to_string())),
    };
    Led { state, writes_to, reads_to: None, reason }
}

/// A row for each client, worker by worker, in the order in which they go on.
pub(super) fn holds(view: &View<'_>, table: &mut Table) {
    let max_hold = view.world.session.max_hold;
    for report in &view.reports {
        let held = report.clients.iter().filter_map(|client| Some((client.hold.as_ref()?, client)));
        let mut held: Vec<_> = held.collect();
        held.sort_by_key(|(hold, _)| hold.ahead);
        for (hold, client) in held {
            let began = view.now.checked_sub(hold.waited).unwrap_or(view.now);
            table.push([
                view.world.clusters.get(hold.cluster).map(|cluster| &cluster.name).into(),
                client.database.to_string().into(),
                client.user.to_string().into(),
                client.id.0.into(),
                client.address.map(|address| address.to_string()).into(),
                seconds_text(began).into(),
                millis(hold.waited).into(),
                millis(max_hold.saturating_sub(hold.waited)).into(),
                report.worker.0.into(),
                hold.ahead.into(),
                hold.why.to_string().into(),
            ]);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

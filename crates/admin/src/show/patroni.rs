//! What Patroni says of each member, beside what its node says itself.

use ::health::{PatroniReport, PatroniSource, node_of_member};
use ::patroni::{Automation, Leader, Member, View as Said};
use topology::Snapshot;

use super::{View, stats::millis};
use crate::table::{Cell, Column, Table, columns};

pub(super) const PATRONI: &[Column] = columns![
    cluster Text, member Text, node Text, leader Bool, role Text, state Text, timeline Int8, lag_bytes Int8,
    tags Text, sql_role Text, sql_health Text, sql_timeline Int8, paused Bool, scheduled_switchover Text,
    source Text, age_ms Int8, error Text,
];

/// A row for each member; for a cluster of which nothing was heard, one row that says why.
pub(super) fn patroni(view: &View<'_>, table: &mut Table) {
    for (cluster, name, snapshot) in view.clusters() {
        let Some(report) = view.control.patroni(cluster) else { continue };
        let heard = report.newest().and_then(|source| Some((source, source.said.as_ref()?)));
        let error = trouble(&report);
        let Some((source, (asked_at, said))) = heard else {
            let mut row = vec![Cell::Null; PATRONI.len()];
            row[0] = name.into();
            row[PATRONI.len() - 1] = error;
            table.push(row);
            continue;
        };
        let age = millis(view.instant.saturating_duration_since(*asked_at));
        for member in &said.members {
            let mut row = vec![Cell::from(name)];
            row.extend(patronis(member, said, &snapshot));
            row.extend(its_own(member, &snapshot));
            row.extend([
                (said.automation == Automation::Paused).into(),
                said.scheduled.as_ref().map(scheduled_switchover).into(),
                format!("{} {}", source.source.as_str(), source.endpoint).into(),
                age.into(),
                error.clone(),
            ]);
            table.push(row);
        }
    }
}

/// What Patroni says.
fn patronis(member: &Member, said: &Said, snapshot: &Snapshot) -> [Cell; 8] {
    let node = node_of_member(member, &snapshot.nodes).and_then(|id| snapshot.node(id));
    let tags: Vec<String> = member.tags.iter().map(ToString::to_string).collect();
    [
        member.name.to_string().into(),
        node.map(|node| node.name.to_string()).into(),
        matches!(&said.leader, Leader::Member(name) if *name == member.name).into(),
        member.role.as_str().into(),
        member.state.to_string().into(),
        member.timeline.into(),
        member.lag_bytes.into(),
        if tags.is_empty() { Cell::Null } else { tags.join(",").into() },
    ]
}

/// What the node says; NULL for a member that is no node of ours.
fn its_own(member: &Member, snapshot: &Snapshot) -> [Cell; 3] {
    match node_of_member(member, &snapshot.nodes).and_then(|id| snapshot.node(id)) {
        Some(node) => [
            node.role.as_str().into(),
            node.health.as_str().into(),
            if node.timeline.0 == 0 { Cell::Null } else { node.timeline.0.into() },
        ],
        None => [Cell::Null, Cell::Null, Cell::Null],
    }
}

fn scheduled_switchover(scheduled: &::patroni::Scheduled) -> String {
    let to = scheduled.to.as_deref().unwrap_or("the best");
    format!("{} to {to}", scheduled.at)
}

/// Why a source cannot be heard; NULL if all can.
fn trouble(report: &PatroniReport) -> Cell {
    let line = |source: &PatroniSource| {
        let why = source.trouble.as_ref()?;
        Some(format!("{} {}: {why}", source.source.as_str(), source.endpoint))
    };
    let lines: Vec<String> = report.sources.iter().filter_map(line).collect();
    if lines.is_empty() { Cell::Null } else { lines.join("; ").into() }
}

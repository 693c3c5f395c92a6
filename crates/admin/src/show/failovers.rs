use std::time::Duration;

use topology::Toll;

use super::View;
use crate::table::{Cell, Column, Table, columns};

pub(super) const FAILOVERS: &[Column] = columns![
    cluster Text, number Int8, began Timestamptz, kind Text, from_node Text, to_node Text, epoch Int8, outcome Text, gap_ms Int8,
    lost_bytes Int8, last_step Text, first_write_ms Int8, held Int8, longest_hold_ms Int8, failed Int8, failed_with Text,
];

pub(super) const STEPS: &[Column] =
    columns![cluster Text, number Int8, after_ms Numeric, node Text, step Text];

/// A row for each failover, oldest first, cluster by cluster.
pub(super) fn failovers(view: &View<'_>, table: &mut Table) {
    for (cluster, name, _) in view.clusters() {
        for record in view.control.failovers(cluster) {
            let last = record.steps.last().map(|step| match &step.node {
                Some(node) => format!("{node}: {}", step.what),
                None => step.what.clone(),
            });
            table.push([
                Cell::from(name),
                record.number.into(),
                record.began.into(),
                record.kind.map_or("external", failover::Kind::as_str).into(),
                record.from.as_deref().map(str::to_owned).into(),
                record.to.as_deref().map(str::to_owned).into(),
                record.epoch.0.into(),
                record.outcome.clone().unwrap_or_else(|| "under way".to_owned()).into(),
                record.gap.map(millis).into(),
                record.lost_bytes.into(),
                last.into(),
                record.first_write.map(millis).into(),
                record.toll.held.into(),
                (record.toll.held > 0).then(|| millis(record.toll.longest_hold)).into(),
                record.toll.failures().into(),
                failed_with(&record.toll).into(),
            ]);
        }
    }
}

/// SQLSTATEs and how often each was told, most frequent first.
fn failed_with(toll: &Toll) -> Option<String> {
    let mut failed: Vec<(u64, String)> =
        toll.failed.iter().map(|(code, times)| (*times, code.to_string())).collect();
    failed.sort_by(|(a, code), (b, other)| b.cmp(a).then_with(|| code.cmp(other)));
    let texts: Vec<String> = failed.into_iter().map(|(times, code)| format!("{code}: {times}")).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// A row for each step of each of them.
pub(super) fn steps(view: &View<'_>, table: &mut Table) {
    for (cluster, name, _) in view.clusters() {
        for record in view.control.failovers(cluster) {
            for step in &record.steps {
                let micros = u64::try_from(step.after.as_micros()).unwrap_or(u64::MAX);
                table.push([
                    Cell::from(name),
                    record.number.into(),
                    Cell::Thousandths(micros),
                    step.node.as_deref().map(str::to_owned).into(),
                    step.what.clone().into(),
                ]);
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

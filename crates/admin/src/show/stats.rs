use std::{collections::BTreeMap, time::Duration};

use session::StatsReport;

use super::View;
use crate::{
    average::{COUNTERS, Totals, by_database},
    table::{Cell, Column, Table, columns},
};

/// As PgBouncer 1.25: times in microseconds, averages per second; average times per transaction, query and
/// assignment.
pub(super) const STATS: &[Column] = columns![
    database Text,
    total_server_assignment_count Numeric, total_xact_count Numeric, total_query_count Numeric,
    total_received Numeric, total_sent Numeric, total_xact_time Numeric, total_query_time Numeric,
    total_wait_time Numeric, total_client_parse_count Numeric, total_server_parse_count Numeric,
    total_bind_count Numeric,
    avg_server_assignment_count Numeric, avg_xact_count Numeric, avg_query_count Numeric, avg_recv Numeric,
    avg_sent Numeric, avg_xact_time Numeric, avg_query_time Numeric, avg_wait_time Numeric,
    avg_client_parse_count Numeric, avg_server_parse_count Numeric, avg_bind_count Numeric,
];

/// Behind them in SHOW EXTENDED STATS.
pub(super) const MORE: &[Column] = columns![
    clients Int8, logins Numeric, reads_routed Numeric, others_routed Numeric, reruns Numeric, held Numeric,
    statement_bytes Int8, commits_found_committed Numeric, commits_found_aborted Numeric, commits_unknown Numeric,
];

pub(super) const TOTALS: &[Column] = columns![
    database Text, server_assignment_count Numeric, xact_count Numeric, query_count Numeric,
    bytes_received Numeric, bytes_sent Numeric, xact_time Numeric, query_time Numeric, wait_time Numeric,
    client_parse_count Numeric, server_parse_count Numeric, bind_count Numeric,
];

/// The same names, but for the last three; so it is in PgBouncer.
pub(super) const AVERAGES: &[Column] = columns![
    database Text, server_assignment_count Numeric, xact_count Numeric, query_count Numeric,
    bytes_received Numeric, bytes_sent Numeric, xact_time Numeric, query_time Numeric, wait_time Numeric,
    avg_client_parse_count Numeric, avg_server_parse_count Numeric, avg_bind_count Numeric,
];

/// Of SHOW TOTALS.
pub(super) const SUMS: &[Column] = columns![name Text, value Numeric];

/// The counters' names in SHOW TOTALS.
const SUM_NAMES: [&str; COUNTERS] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
];

pub(super) fn stats(view: &View<'_>, extended: bool, table: &mut Table) {
    let more = if extended { more_by_database(view) } else { BTreeMap::new() };
    for (database, totals, averages) in both(view) {
        let mut row = vec![Cell::from(database.to_string())];
        row.extend(totals.0.map(Cell::from));
        row.extend(averages.0.map(Cell::from));
        if extended {
            row.extend(more.get(&*database).copied().unwrap_or_default().map(Cell::from));
        }
        table.push(row);
    }
}

pub(super) fn totals(view: &View<'_>, table: &mut Table) {
    for (database, totals, _) in both(view) {
        table.push(with_name(database, totals));
    }
}

pub(super) fn averages(view: &View<'_>, table: &mut Table) {
    for (database, _, averages) in both(view) {
        table.push(with_name(database, averages));
    }
}

pub(super) fn sums(view: &View<'_>, table: &mut Table) {
    let (mut totals, mut averages) = (Totals::default(), Totals::default());
    for (_, of_database, average) in both(view) {
        totals = totals.plus(of_database);
        averages = averages.plus(average);
    }
    for (prefix, values) in [("total", totals), ("avg", averages)] {
        for (name, value) in SUM_NAMES.iter().zip(values.0) {
            table.push([format!("{prefix}_{name}").into(), value.into()]);
        }
    }
}

/// Totals and averages of each database.
fn both(view: &View<'_>) -> Vec<(Box<str>, Totals, Totals)> {
    let databases = by_database(&view.reports).into_iter();
    databases
        .map(|(database, totals)| {
            let averages = view.averages.of(&database, totals, view.instant);
            (database, totals, averages)
        })
        .collect()
}

fn with_name(database: Box<str>, counters: Totals) -> Vec<Cell> {
    let mut row = vec![Cell::from(database.to_string())];
    row.extend(counters.0.map(Cell::from));
    row
}

fn more_by_database<'a>(view: &'a View<'_>) -> BTreeMap<&'a str, [u64; MORE.len()]> {
    let mut databases = BTreeMap::<&str, [u64; MORE.len()]>::new();
    for stats in view.reports.iter().flat_map(|report| &report.stats) {
        let sums = databases.entry(&stats.database).or_default();
        let (reads, others) = routed(stats);
        let [committed, aborted, unknown] = stats.commits_in_doubt;
        let more = [
            u64::from(stats.clients),
            stats.logins,
            reads,
            others,
            stats.reruns,
            stats.held,
            stats.statement_bytes,
            committed,
            aborted,
            unknown,
        ];
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    databases
}

fn routed(stats: &StatsReport) -> (u64, u64) {
    stats.routed.iter().fold((0, 0), |sum, (_, reads, others)| (sum.0 + reads, sum.1 + others))
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds, to be shown as milliseconds with three decimals.
pub(super) fn precise_millis(duration: Duration) -> Cell {
    Cell::Thousandths(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

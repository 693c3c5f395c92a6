use std::{collections::BTreeMap, time::SystemTime};

use topology::{Epoch, Event, Writable};

use super::View;
use crate::table::{Cell, Column, Table, columns};

pub(super) const EPOCHS: &[Column] =
    columns![cluster Text, epoch Int8, primary Text, timeline Int8, since Timestamptz];

pub(super) const EVENTS: &[Column] =
    columns![time Timestamptz, cluster Text, epoch Int8, event Text, text Text];

/// The beginning of an epoch.
#[derive(Debug, Clone)]
struct Reign {
    primary: Option<String>,
    timeline: Option<u32>,
    since: Option<SystemTime>,
}

/// The epochs that events tell of, and the present one, oldest first. An epoch without primary has none in its row.
pub(super) fn epochs(view: &View<'_>, table: &mut Table) {
    for (cluster, name, _) in view.clusters() {
        for (epoch, reign) in reigns(view, cluster) {
            table.push([
                Cell::from(name),
                epoch.0.into(),
                reign.primary.into(),
                reign.timeline.into(),
                reign.since.into(),
            ]);
        }
    }
}

fn reigns(view: &View<'_>, cluster: usize) -> BTreeMap<Epoch, Reign> {
    let mut reigns = BTreeMap::new();
    let mut last_timeline = None;
    for logged in view.control.events(cluster) {
        let (node, epoch, timeline) = match &logged.event {
            Event::PrimaryFound { node, timeline, epoch } | Event::Promoted { node, timeline, epoch, .. } => {
                (node, *epoch, Some(timeline.0))
            }
            Event::PrimaryBack { node, epoch, .. } => (node, *epoch, last_timeline),
            _ => continue,
        };
        last_timeline = timeline;
        let reign = Reign { primary: Some(node.name.to_string()), timeline, since: Some(logged.at) };
        reigns.insert(epoch, reign);
    }
    let Some(snapshot) = view.snapshot(cluster) else { return reigns };
    let timeline = snapshot.timeline.map(|timeline| timeline.0);
    let reign = match snapshot.writable {
        Writable::Primary(node) => {
            Reign { primary: Some(view.node_name(cluster, node)), timeline, since: None }
        }
        Writable::None { since, .. } => {
            let since = view.now.checked_sub(view.instant.saturating_duration_since(since));
            Reign { primary: None, timeline, since }
        }
    };
    // A crash restart leaves its epoch to the primary that comes back: the event's row stands.
    reigns.entry(snapshot.epoch).or_insert(reign);
    reigns
}

/// What is known to have happened, oldest first, cluster by cluster.
pub(super) fn events(view: &View<'_>, table: &mut Table) {
    for (cluster, name, _) in view.clusters() {
        for logged in view.control.events(cluster) {
            table.push([
                logged.at.into(),
                name.into(),
                epoch_of(&logged.event).map(|epoch| epoch.0).into(),
                logged.event.name().into(),
                logged.event.to_string().into(),
            ]);
        }
    }
}

fn epoch_of(event: &Event) -> Option<Epoch> {
    match event {
        Event::PrimaryFound { epoch, .. }
        | Event::PrimaryBack { epoch, .. }
        | Event::Promoted { epoch, .. } => Some(*epoch),
        _ => None,
    }
}

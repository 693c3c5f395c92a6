use super::View;
use crate::table::{Cell, Column, Table, columns};

pub(super) const AGENTS: &[Column] = columns![
    cluster Text, node Text, agent Text, server Text, role Text, fenced Bool, activity Text, last Text,
    timeline Int8, version Text, error Text,
];

/// What the nodes' agents say, a row each.
pub(super) fn agents(view: &View<'_>, table: &mut Table) {
    for agent in &view.agents {
        table.push([
            Cell::from(agent.cluster.clone()),
            agent.node.clone().into(),
            agent.agent.clone().into(),
            agent.server.clone().into(),
            agent.role.clone().into(),
            agent.fenced.into(),
            agent.activity.clone().into(),
            agent.last.clone().into(),
            agent.timeline.into(),
            agent.version.clone().into(),
            agent.error.clone().into(),
        ]);
    }
}

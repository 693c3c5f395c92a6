//! Commands about nodes.

use super::{
    lex::Token,
    parse::{is, node_name},
};
use crate::NewNode;

/// What is to become of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodesCommand {
    /// `DETACH NODE node`
    Detach(String),
    /// `ATTACH NODE node`
    Attach(String),
    /// `RESTART NODE node`
    Restart(String),
    /// `RESTART NODES [cluster]`
    RestartAll(Option<String>),
    /// `ADD NODE name host port [CLUSTER cluster] [REGION region] [ZONE zone] [PRIORITY n] [AGENT address]
    /// [DATA_DIRECTORY folder]`; the cluster and the node.
    Add(Option<String>, NewNode),
    /// `DROP NODE node`
    Drop(String),
    /// `RESTORE TOPOLOGY [cluster]`
    Restore(Option<String>),
}

impl NodesCommand {
    /// Of the words behind `keyword`, which is in lower case.
    pub(super) fn parse(keyword: &str, arguments: &[Token]) -> Option<Self> {
        match (keyword, arguments) {
            ("detach", [noun, node]) if is(noun, "node") => Some(Self::Detach(node_name(node)?)),
            ("attach", [noun, node]) if is(noun, "node") => Some(Self::Attach(node_name(node)?)),
            ("restart", [noun, node]) if is(noun, "node") => Some(Self::Restart(node_name(node)?)),
            ("restart", [noun, cluster @ ..]) if is(noun, "nodes") => Some(Self::RestartAll(only(cluster)?)),
            ("restore", [noun, cluster @ ..]) if is(noun, "topology") => Some(Self::Restore(only(cluster)?)),
            ("add", [noun, name, host, port, more @ ..]) if is(noun, "node") => add(name, host, port, more),
            ("drop", [noun, node]) if is(noun, "node") => Some(Self::Drop(node_name(node)?)),
            _ => None,
        }
    }

    /// The command tag.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Detach(_) => "DETACH NODE",
            Self::Attach(_) => "ATTACH NODE",
            Self::Restart(_) => "RESTART NODE",
            Self::RestartAll(_) => "RESTART NODES",
            Self::Restore(_) => "RESTORE TOPOLOGY",
            Self::Add(..) => "ADD NODE",
            Self::Drop(_) => "DROP NODE",
        }
    }
}

fn add(name: &Token, host: &Token, port: &Token, more: &[Token]) -> Option<NodesCommand> {
    let mut node = NewNode {
        name: node_name(name)?,
        host: node_name(host)?,
        port: node_name(port)?.parse().ok()?,
        ..NewNode::default()
    };
    let mut cluster = None;
    for option in more.chunks(2) {
        let [key, value] = option else { return None };
        let value = node_name(value)?;
        let place = match key {
            key if is(key, "cluster") => &mut cluster,
            key if is(key, "region") => &mut node.region,
            key if is(key, "zone") => &mut node.zone,
            key if is(key, "agent") => &mut node.agent,
            key if is(key, "data_directory") => &mut node.data_directory,
            key if is(key, "priority") => {
                node.priority = Some(value.parse().ok()?);
                continue;
            }
            _ => return None,
        };
        *place = Some(value);
    }
    Some(NodesCommand::Add(cluster, node))
}

/// A name that may be left out.
fn only(arguments: &[Token]) -> Option<Option<String>> {
    match arguments {
        [] => Some(None),
        [name] => node_name(name).map(Some),
        _ => None,
    }
}

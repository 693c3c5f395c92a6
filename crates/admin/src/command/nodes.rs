//! Commands about nodes.

use super::{
    lex::Token,
    parse::{is, node_name},
};

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
        }
    }
}

/// A name that may be left out.
fn only(arguments: &[Token]) -> Option<Option<String>> {
    match arguments {
        [] => Some(None),
        [name] => node_name(name).map(Some),
        _ => None,
    }
}

use std::path::Path;

use agent::Template;

use super::{HostPort, Value, Wrong, address};
use crate::tree::Node;

/// A shell command with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine(pub(crate) Template);

impl Value for CommandLine {
    fn expected() -> String {
        "a shell command with the placeholders %d %h %p %D %m %H %M %P %r %R %N %S, and %% for a percent sign"
            .to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().filter(|text| !text.trim().is_empty() && !text.contains('\0'));
        let text = text.ok_or_else(Wrong::default)?;
        Template::parse(text).map(Self).map_err(|_| Wrong::because("there are no others"))
    }

    fn show(&self) -> String {
        self.0.text().to_owned()
    }
}

/// Where an agent is; without a port, at the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentAddress(pub(crate) agent::Address);

/// The port of an agent.
const AGENT_PORT: u16 = 8432;

impl Value for AgentAddress {
    fn expected() -> String {
        HostPort::expected()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let HostPort { host, port } = address::parse(node.text().ok_or_else(Wrong::default)?, AGENT_PORT)?;
        Ok(Self(agent::Address { host, port }))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// A folder on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteFolder(pub(crate) String);

impl Value for RemoteFolder {
    fn expected() -> String {
        "an absolute path".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        let fits = Path::new(text).is_absolute() && !text.chars().any(char::is_control);
        if fits { Ok(Self(text.to_owned())) } else { Err(Wrong::default()) }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

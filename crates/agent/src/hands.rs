//! What can be done to a node, and by what means: its agent, or else a command, or else not at all.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    address::Address,
    api::{Refusal, RestartRequest, SourceRequest, StartRequest, Status, StopMode, StopRequest},
    client::{CallError, Client},
    hooks::{Hook, HookError, HookSettings, Hooks, Output, Party, Scene},
    tls::{ClientTls, TlsFileError, TlsFiles},
};

/// A node that something can be done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// Itself.
    pub party: Party,
    /// Its agent.
    pub agent: Option<Address>,
}

/// What a cluster's nodes can be acted on with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HandsSettings {
    /// The cluster's name.
    pub cluster: String,
    /// Its nodes, in configured order.
    pub nodes: Vec<NodeSettings>,
    /// How agents are called; there is something if any node has one.
    pub tls: Option<TlsFiles>,
    /// Commands.
    pub hooks: HookSettings,
}

/// Acts on the nodes of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Hands {
    cluster: String,
    nodes: Vec<NodeSettings>,
    tls: Option<ClientTls>,
    hooks: Hooks,
}

/// Something to do to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start PostgreSQL.
    Start,
    /// Stop it.
    Stop(StopMode),
    /// Stop and start it.
    Restart(StopMode),
    /// Whatever became of it, make it a running standby of this server: rewind it, or where that cannot be, copy.
    Rejoin(SourceRequest),
    /// It must not take writes any more, not even from clients that know no proxy.
    Fence,
    /// It may again.
    Unfence,
}

impl Action {
    /// The command that does the same.
    #[must_use]
    pub fn hook(&self) -> Hook {
        match self {
            Self::Start => Hook::Start,
            Self::Stop(_) => Hook::Stop,
            Self::Restart(_) => Hook::Restart,
            Self::Rejoin(_) => Hook::Rejoin,
            Self::Fence => Hook::Fence,
            Self::Unfence => Hook::Unfence,
        }
    }
}

/// By what something can be done.
#[derive(Debug, Clone)]
pub enum Means {
    /// The node's agent.
    Agent(Client),
    /// A command.
    Hook(Hook),
    /// Nothing: neither is configured.
    Nothing,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// By the node's agent: these steps.
    Agent(Vec<String>),
    /// By a command: this is what it printed.
    Hook(Output),
    /// Nothing: there is neither an agent nor a command.
    Nothing,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// There is no such node.
    #[error("there is no node {0:?}")]
    UnknownNode(String),
    /// The agent did not.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The command did not.
    #[error(transparent)]
    Hook(#[from] HookError),
}

impl ActError {
    /// The agent's own reason.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Call(error) => error.refusal(),
            Self::UnknownNode(_) | Self::Hook(_) => None,
        }
    }
}

impl Hands {
    /// Reads the files of TLS.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file that is wrong.
    pub fn load(settings: &HandsSettings) -> Result<Self, TlsFileError> {
        Ok(Self {
            cluster: settings.cluster.clone(),
            nodes: settings.nodes.clone(),
            tls: settings.tls.as_ref().map(ClientTls::load).transpose()?,
            hooks: Hooks::new(settings.hooks.clone()),
        })
    }

    /// The nodes, in configured order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeSettings] {
        &self.nodes
    }

    /// The commands.
    #[must_use]
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeSettings> {
        self.nodes.iter().find(|node| node.party.name == name)
    }

    /// The agent of a node.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<Client> {
        let address = self.node(name)?.agent.clone()?;
        Some(Client::new(address, self.tls.clone()?))
    }

    /// What a command is told about a node; `None` if there is no such node. Primaries are named where they are known.
    #[must_use]
    pub fn scene(&self, node: &str, new_primary: Option<&str>, old_primary: Option<&str>) -> Option<Scene> {
        let party = |name: &str| self.node(name).map(|node| node.party.clone());
        Some(Scene {
            cluster: self.cluster.clone(),
            node: party(node)?,
            new_primary: new_primary.and_then(party),
            old_primary: old_primary.and_then(party),
        })
    }

    /// By what something can be done to a node.
    #[must_use]
    pub fn means(&self, node: &str, action: &Action) -> Means {
        match self.agent(node) {
            Some(client) => Means::Agent(client),
            None if self.hooks.command(action.hook()).is_some() => Means::Hook(action.hook()),
            None => Means::Nothing,
        }
    }

    /// Does something to the scene's node, by whatever means there are, within `limit`.
    ///
    /// # Errors
    /// [`ActError`].
    ///
    /// # Cancel safety
    /// What an agent was asked for goes on there when this is dropped; a command is killed.
    pub async fn act(&self, action: &Action, scene: &Scene, limit: Duration) -> Result<Acted, ActError> {
        let name = &scene.node.name;
        if self.node(name).is_none() {
            return Err(ActError::UnknownNode(name.clone()));
        }
        Ok(match self.means(name, action) {
            Means::Agent(client) => Acted::Agent(call(&client, action, limit).await?),
            Means::Hook(hook) => Acted::Hook(self.hooks.run(hook, scene, limit).await?),
            Means::Nothing => Acted::Nothing,
        })
    }

    /// What a node's agent says; `None`: it has none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn status(&self, node: &str, limit: Duration) -> Option<Result<Status, CallError>> {
        Some(self.agent(node)?.status(limit).await)
    }
}

async fn call(agent: &Client, action: &Action, limit: Duration) -> Result<Vec<String>, CallError> {
    let timeout_ms = u64::try_from(limit.as_millis()).ok();
    let report = match action {
        Action::Start => agent.start(&StartRequest { timeout_ms }, limit).await,
        Action::Stop(mode) => agent.stop(&StopRequest { mode: *mode, timeout_ms }, limit).await,
        Action::Restart(mode) => agent.restart(&RestartRequest { mode: *mode, timeout_ms }, limit).await,
        Action::Fence => agent.fence(limit).await,
        Action::Unfence => agent.unfence(limit).await,
        Action::Rejoin(source) => return rejoin(agent, source, limit).await,
    };
    Ok(report?.steps)
}

/// Rewinds, or else copies; then starts, for which a fence has no reason any more: a standby takes no writes.
async fn rejoin(agent: &Client, source: &SourceRequest, limit: Duration) -> Result<Vec<String>, CallError> {
    let deadline = Instant::now() + limit;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut steps = Vec::new();
    let report = match agent.rewind(source, left()).await {
        Ok(report) => report,
        Err(CallError::Refused(refusal)) if refusal.kind.needs_copy() => {
            tracing::warn!(agent = %agent.address(), "a copy is needed: {refusal}");
            steps.push(refusal.message);
            agent.reinit(source, left()).await?
        }
        Err(error) => return Err(error),
    };
    steps.extend(report.steps);
    if report.status.fenced {
        steps.extend(agent.unfence(left()).await?.steps);
    }
    let timeout_ms = u64::try_from(left().as_millis()).ok();
    steps.extend(agent.start(&StartRequest { timeout_ms }, left()).await?.steps);
    Ok(steps)
}

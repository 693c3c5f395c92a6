//! What the proxy can do to nodes: their agents and commands, as configured.

use std::{sync::Arc, time::Duration};

use admin::AgentState;
use agent::{CallError, Hands, NodeSettings, ServerState, Status, TlsFileError};
use config::Settings;
use tokio::task::JoinSet;

/// How long an agent may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// For each cluster, in configured order.
pub(crate) type AllHands = Vec<Arc<Hands>>;

/// Reads the files of TLS.
///
/// # Errors
/// [`TlsFileError`] names the file that is wrong.
pub(crate) fn load(settings: &Settings) -> Result<AllHands, TlsFileError> {
    settings.clusters.iter().map(|cluster| Hands::load(&cluster.hands).map(Arc::new)).collect()
}

/// Asks all agents at a time.
pub(crate) async fn agents(settings: &Settings, all: &AllHands) -> Vec<AgentState> {
    let mut asked = JoinSet::new();
    for (cluster, hands) in settings.clusters.iter().zip(all) {
        for node in hands.nodes().iter().filter(|node| node.agent.is_some()).cloned() {
            let (position, name, hands) = (asked.len(), cluster.topology.cluster.clone(), Arc::clone(hands));
            asked.spawn(async move {
                let answer = hands.status(&node.party.name, PATIENCE).await;
                (position, answer.map(|answer| state(name, &node, answer)))
            });
        }
    }
    let mut states = asked.join_all().await;
    states.sort_by_key(|(position, _)| *position);
    states.into_iter().filter_map(|(_, state)| state).collect()
}

fn state(cluster: String, node: &NodeSettings, answer: Result<Status, CallError>) -> AgentState {
    let agent = node.agent.as_ref().map(ToString::to_string).unwrap_or_default();
    let known = AgentState { cluster, node: node.party.name.clone(), agent, ..AgentState::default() };
    let status = match answer {
        Ok(status) => status,
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            return AgentState { error: Some(format!("{error}{}", source.unwrap_or_default())), ..known };
        }
    };
    let last = status.last.map(|last| match last.error {
        None => last.verb.to_string(),
        Some(error) => format!("{}: {error}", last.verb),
    });
    AgentState {
        server: Some(word(status.server).to_owned()),
        role: status.standby.map(|is_standby| if is_standby { "standby" } else { "primary" }.to_owned()),
        fenced: Some(status.fenced),
        activity: status.activity.map(|activity| format!("{}: {}", activity.verb, activity.step)),
        last,
        timeline: status.control.map(|control| control.timeline),
        version: status.version,
        ..known
    }
}

fn word(state: ServerState) -> &'static str {
    match state {
        ServerState::Running => "running",
        ServerState::Starting => "starting",
        ServerState::Stopping => "stopping",
        ServerState::Stopped => "stopped",
        ServerState::NoData => "no data",
    }
}

//! What is done to a node by its agent, or else by a command: SQL can neither start a server nor stop it for good.

use std::{sync::Arc, time::Duration};

use agent::{ActError, Acted, Action, Hands, Means, SourceRequest, StopMode};
use failover::{Answer, Done, Failure};
use topology::NodeView;
use wire::Lsn;

use super::session::told;

/// How long a server may take to stop, or to start.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to make a node a standby: it may have to be copied.
const REJOIN_LIMIT: Duration = Duration::from_secs(6 * 3600);

/// Whether a node's agent can stop it, and tell where its WAL ended.
pub(super) fn can_halt(hands: &Hands, node: &NodeView) -> bool {
    matches!(hands.means(&node.name, &Action::Stop(StopMode::Fast)), Means::Agent(_))
}

/// [`failover::Task::Halt`] by the node's agent.
pub(super) async fn halt(hands: Arc<Hands>, node: String) -> Answer {
    act(&hands, &node, None, Action::Stop(StopMode::Fast), STOP_LIMIT).await?;
    let status = match hands.status(&node, STOP_LIMIT).await {
        Some(Ok(status)) => status,
        Some(Err(error)) => return Err(Failure::Uncertain(told(&error))),
        None => return Err(Failure::Impossible("it has no agent".to_owned())),
    };
    let checkpoint = status.control.and_then(|control| control.checkpoint_lsn.parse::<Lsn>().ok());
    let Some(Lsn(begin)) = checkpoint else {
        return Err(Failure::Uncertain("its agent does not say where its WAL ends".to_owned()));
    };
    // the record of the checkpoint by which it shut down begins there, and is the last one
    Ok(Done::Halted { lsn: Lsn(begin.saturating_add(1)), is_stopped: true })
}

/// Starts a server that was stopped.
pub(super) async fn start(hands: Arc<Hands>, node: String) -> Answer {
    act(&hands, &node, None, Action::Start, STOP_LIMIT).await
}

/// [`failover::Task::Restart`].
pub(super) async fn restart(hands: Arc<Hands>, node: String) -> Answer {
    act(&hands, &node, None, Action::Restart(StopMode::Fast), STOP_LIMIT).await
}

/// [`failover::Task::Rejoin`].
pub(super) async fn rejoin(hands: Arc<Hands>, node: String, upstream: NodeView) -> Answer {
    let source = SourceRequest {
        host: upstream.host.to_string(),
        port: upstream.port,
        timeline: Some(upstream.timeline.0),
        ..SourceRequest::default()
    };
    act(&hands, &node, Some(&upstream.name), Action::Rejoin(source), REJOIN_LIMIT).await
}

async fn act(hands: &Hands, node: &str, primary: Option<&str>, action: Action, limit: Duration) -> Answer {
    let Some(scene) = hands.scene(node, primary, None) else {
        return Err(Failure::Failed("the node is not configured any more".to_owned()));
    };
    match hands.act(&action, &scene, limit).await {
        Ok(Acted::Agent(_) | Acted::Hook(_)) => Ok(Done::Done),
        Ok(Acted::Nothing) => {
            Err(Failure::Impossible("there is neither an agent on the node nor a command for it".to_owned()))
        }
        Err(ActError::Call(error)) if error.is_before_the_request() => Err(Failure::Failed(told(&error))),
        Err(error) => Err(Failure::Uncertain(told(&error))),
    }
}

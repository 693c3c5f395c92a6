//! What operators say about nodes.

use std::time::Duration;

use ::health::AttachError;
use failover::Command as Order;
use topology::{Health, NodeView, Role, Snapshot};
use tracing::info;
use wire::{SqlState, message::error::ErrorMessage};

use crate::{
    DropError, NewNode,
    command::NodesCommand,
    console::{Answer, Console, configuration_refused},
};

/// How long a node that was added may take to say something.
const FIRST_SIGHT: Duration = Duration::from_secs(3);

/// Time between two looks at whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Console {
    /// Does what a command about nodes asks for.
    pub(crate) async fn manage_nodes(&self, command: &NodesCommand) -> Result<Answer, ErrorMessage> {
        match command {
            NodesCommand::Detach(node) => self.detach(node).await,
            NodesCommand::Attach(node) => self.attach(node).await,
            NodesCommand::Restart(node) => {
                let (cluster, node) = self.node(node)?;
                self.order(cluster, Order::Restart(node)).await
            }
            NodesCommand::RestartAll(cluster) => {
                let cluster = self.cluster(cluster.as_deref())?;
                self.order(cluster, Order::RestartAll).await
            }
            NodesCommand::Add(cluster, node) => {
                let cluster = self.cluster(cluster.as_deref())?;
                self.add(cluster, node).await
            }
            NodesCommand::Drop(node) => self.drop(node).await,
            NodesCommand::Restore(cluster) => {
                let cluster = self.cluster(cluster.as_deref())?;
                self.order(cluster, Order::Restore).await
            }
        }
    }

    /// Answers when nothing is under way on the node any more.
    async fn detach(&self, name: &str) -> Result<Answer, ErrorMessage> {
        let (cluster, node) = self.node(name)?;
        let began = tokio::time::Instant::now();
        let detached = self.control.detach(cluster, node).await.map_err(|error| refused(&error))?;
        let took: Duration = began.elapsed();
        info!(node = name, busy = detached.busy, ?took, "detached");
        let mut answer = Answer::default();
        let mut say = |text: String| answer.notices.push(ErrorMessage::notice(text));
        if !detached.is_news {
            say(format!("{name} was detached already"));
        }
        if detached.busy > 0 {
            say(format!("{} requests are still under way on {name}", detached.busy));
        }
        if !detached.is_stored {
            say("a restart of this pgherd forgets it: there is no [proxy] state_dir".to_owned());
        }
        Ok(answer)
    }

    /// Answers when the node has said something, or a while after it could have.
    async fn add(&self, cluster: usize, node: &NewNode) -> Result<Answer, ErrorMessage> {
        let changes =
            self.control.add_node(cluster, node).await.map_err(|refused| configuration_refused(&refused))?;
        let world = self.control.world();
        let mut answer = Answer::default();
        answer.notices.extend(changes.into_iter().map(ErrorMessage::notice));
        let Some(cluster) = world.clusters.get(cluster) else { return Ok(answer) };
        let found = |snapshot: &Snapshot| {
            snapshot.nodes.iter().find(|view| *view.host == *node.host && view.port == node.port).cloned()
        };
        let deadline = tokio::time::Instant::now() + FIRST_SIGHT;
        loop {
            let snapshot = cluster.snapshots.load_full();
            let view = found(&snapshot);
            let is_seen =
                view.as_ref().is_some_and(|view| !matches!(view.health, Health::Unknown | Health::Suspect));
            if is_seen || tokio::time::Instant::now() >= deadline {
                let text = first_sight(&node.name, &snapshot, view.as_ref());
                answer.notices.push(ErrorMessage::notice(text));
                return Ok(answer);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Answers when nothing is under way on the node, and it is forgotten.
    async fn drop(&self, name: &str) -> Result<Answer, ErrorMessage> {
        let (cluster, node) = self.node(name)?;
        let changes = self.control.drop_node(cluster, node).await.map_err(|error| match error {
            DropError::Attached(error) => refused(&error),
            DropError::Refused(error) => configuration_refused(&error),
        })?;
        Ok(Answer { notices: changes.into_iter().map(ErrorMessage::notice).collect(), ..Answer::default() })
    }

    async fn attach(&self, name: &str) -> Result<Answer, ErrorMessage> {
        let (cluster, node) = self.node(name)?;
        let was_detached = self.control.attach(cluster, node).await.map_err(|error| refused(&error))?;
        Ok(if was_detached { Answer::default() } else { Answer::notice(format!("{name} was not detached")) })
    }
}

/// What is told of a node that was added.
fn first_sight(name: &str, snapshot: &Snapshot, node: Option<&NodeView>) -> String {
    match node.map(|node| (node.health, node.role)) {
        None | Some((Health::Unknown, _)) => format!("{name} has not answered yet"),
        Some((Health::Foreign, _)) => {
            format!(
                "{name} belongs to another cluster and is not used; is the address right? DROP NODE takes it back"
            )
        }
        Some((Health::Up, Role::Primary))
            if snapshot.primary().map(|primary| primary.id) != node.map(|node| node.id) =>
        {
            format!("{name} is a primary of its own and is not used")
        }
        Some((Health::Up, role)) => format!("{name} answers as {}", role.as_str()),
        Some((health, _)) => format!("{name} is {}", health.as_str()),
    }
}

fn refused(error: &AttachError) -> ErrorMessage {
    use topology::DetachError::{IsPrimary, Moving, NoNode};
    let message = ErrorMessage::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, error.to_string());
    match error {
        AttachError::Refused(NoNode) => message.with_hint("SHOW NODES shows those there are."),
        AttachError::Refused(IsPrimary(_)) => {
            message.with_hint("Have another node take over first: SWITCHOVER [TO node].")
        }
        AttachError::Refused(Moving) => message.with_hint("Say it again when that is over."),
        AttachError::Stopped(_) => message,
    }
}

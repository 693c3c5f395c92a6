//! What operators say about nodes.

use std::time::Duration;

use ::health::AttachError;
use failover::Command as Order;
use tracing::info;
use wire::{SqlState, message::error::ErrorMessage};

use crate::{
    command::NodesCommand,
    console::{Answer, Console},
};

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

    async fn attach(&self, name: &str) -> Result<Answer, ErrorMessage> {
        let (cluster, node) = self.node(name)?;
        let was_detached = self.control.attach(cluster, node).await.map_err(|error| refused(&error))?;
        Ok(if was_detached { Answer::default() } else { Answer::notice(format!("{name} was not detached")) })
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

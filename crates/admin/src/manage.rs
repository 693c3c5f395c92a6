//! What is asked of the failover manager.

use ::health::ManageError;
use failover::Command as Order;
use topology::NodeId;
use wire::{SqlState, message::error::ErrorMessage};

use crate::console::{Answer, Console};

impl Console {
    /// Answers when another node is the primary.
    pub(crate) async fn switchover(&self, to: Option<&str>) -> Result<Answer, ErrorMessage> {
        let (cluster, to) = match to {
            Some(name) => self.node(name).map(|(cluster, node)| (cluster, Some(node)))?,
            None => (self.cluster(None)?, None),
        };
        self.order(cluster, Order::Switchover { to }).await
    }

    /// Answers when this node is the primary.
    pub(crate) async fn failover(&self, to: &str, force: bool) -> Result<Answer, ErrorMessage> {
        let (cluster, to) = self.node(to)?;
        self.order(cluster, Order::Failover { to, force }).await
    }

    /// Stops what the managers of all clusters do by themselves, or lets them go on.
    pub(crate) async fn maintenance(&self, on: bool) -> Result<Answer, ErrorMessage> {
        let order = if on { Order::MaintenanceOn } else { Order::MaintenanceOff };
        let clusters = self.control.world().clusters.len();
        let mut result = Err(refused(&ManageError::NotManaged));
        for cluster in 0..clusters {
            match self.control.manage(cluster, order).await {
                Ok(()) => result = Ok(Answer::default()),
                Err(ManageError::NotManaged) => {}
                Err(error) => return Err(refused(&error)),
            }
        }
        result
    }

    pub(crate) async fn order(&self, cluster: usize, order: Order) -> Result<Answer, ErrorMessage> {
        self.control.manage(cluster, order).await.map_err(|error| refused(&error))?;
        let snapshot =
            self.control.world().clusters.get(cluster).map(|cluster| cluster.snapshots.load_full());
        let primary = snapshot.as_ref().and_then(|snapshot| snapshot.primary());
        Ok(match primary {
            Some(primary) => Answer::notice(format!("{} is the primary", primary.name)),
            None => Answer::default(),
        })
    }

    /// A node by its name, or its address, in any cluster.
    pub(crate) fn node(&self, name: &str) -> Result<(usize, NodeId), ErrorMessage> {
        let world = self.control.world();
        let found = world.clusters.iter().enumerate().find_map(|(at, cluster)| {
            let snapshot = cluster.snapshots.load();
            let node = snapshot
                .nodes
                .iter()
                .find(|node| *node.name == *name || format!("{}:{}", node.host, node.port) == name)?;
            Some((at, node.id))
        });
        found.ok_or_else(|| {
            ErrorMessage::error(SqlState::UNDEFINED_OBJECT, format!("there is no node \"{name}\""))
                .with_hint("SHOW NODES shows their names; one that is an address has to be quoted.")
        })
    }

    /// The cluster of this name; the only one there is if none is named.
    pub(crate) fn cluster(&self, name: Option<&str>) -> Result<usize, ErrorMessage> {
        let world = self.control.world();
        let Some(name) = name else {
            if world.clusters.len() == 1 {
                return Ok(0);
            }
            return Err(ErrorMessage::error(SqlState::SYNTAX_ERROR, "there are several clusters").with_hint(
                "Name the node, as in SWITCHOVER TO node, or the cluster, as in RESTART NODES cluster.",
            ));
        };
        world.clusters.iter().position(|cluster| *cluster.name == *name).ok_or_else(|| {
            ErrorMessage::error(SqlState::UNDEFINED_OBJECT, format!("there is no cluster \"{name}\""))
                .with_hint("SHOW TOPOLOGY shows those there are.")
        })
    }
}

fn refused(error: &ManageError) -> ErrorMessage {
    match error {
        ManageError::NotManaged => ErrorMessage::error(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "this pgherd does not manage the cluster: others decide who is the primary",
        )
        .with_hint("Set manage = \"single\" in [[cluster]] of the one pgherd that shall, and restart it."),
        ManageError::Refused(why) => {
            ErrorMessage::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, why.to_string())
                .with_hint("SHOW FAILOVER_STEPS shows what was done, SHOW NODES how the nodes are.")
        }
    }
}

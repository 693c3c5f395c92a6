//! What the console asks of the proxy.

use std::{sync::Arc, time::Duration};

use admin::{
    AgentState, BoxFuture, CannotCheck, Checked, Control, DropError, Endpoint, LoggedEvent, NewNode,
    ReloadRefused, Setting, ShutdownMode,
};
use doctor::{Finding, Replicated};
use health::PatroniReport;
use session::World;
use topology::NodeId;

use crate::{examination, hands, proxy::Proxy};

/// The proxy as the console sees it.
pub(crate) struct ProxyControl(pub(crate) Arc<Proxy>);

impl Control for ProxyControl {
    fn world(&self) -> Arc<World> {
        self.0.world.load_full()
    }

    fn settings(&self) -> Vec<Setting> {
        config::rows(&self.0.settings())
            .iter()
            .map(|row| Setting {
                key: row.key.clone(),
                value: row.value.clone(),
                default: row.default.clone(),
                changeable: row.changeable,
            })
            .collect()
    }

    fn users(&self) -> Vec<Box<str>> {
        self.0.users.names()
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let settings = self.0.settings();
        let listeners = settings.listeners.iter();
        listeners
            .map(|listener| Endpoint { address: listener.address.to_string(), policy: listener.policy })
            .collect()
    }

    fn events(&self, cluster: usize) -> Vec<LoggedEvent> {
        let records = self.0.healths.get(cluster).map(|health| health.events()).unwrap_or_default();
        records.into_iter().map(|record| LoggedEvent { at: record.at, event: record.event }).collect()
    }

    fn failovers(&self, cluster: usize) -> Vec<health::FailoverRecord> {
        self.0.healths.get(cluster).map(|health| health.failovers()).unwrap_or_default()
    }

    fn management(&self, cluster: usize) -> Option<Arc<health::ManagementState>> {
        self.0.healths.get(cluster)?.management()
    }

    fn manage(
        &self,
        cluster: usize,
        command: failover::Command,
    ) -> BoxFuture<'_, Result<(), health::ManageError>> {
        Box::pin(async move {
            let health = self.0.healths.get(cluster).ok_or(health::ManageError::NotManaged)?;
            health.manage(command).await
        })
    }

    fn detach(
        &self,
        cluster: usize,
        node: NodeId,
    ) -> BoxFuture<'_, Result<health::Detached, health::AttachError>> {
        Box::pin(async move { self.0.healths.get(cluster).ok_or(health::Stopped)?.detach(node).await })
    }

    fn add_node<'a>(
        &'a self,
        cluster: usize,
        node: &'a NewNode,
    ) -> BoxFuture<'a, Result<Vec<String>, ReloadRefused>> {
        Box::pin(self.0.add_node(cluster, node))
    }

    fn drop_node(&self, cluster: usize, node: NodeId) -> BoxFuture<'_, Result<Vec<String>, DropError>> {
        Box::pin(self.0.drop_node(cluster, node))
    }

    fn attach(&self, cluster: usize, node: NodeId) -> BoxFuture<'_, Result<bool, health::AttachError>> {
        Box::pin(async move { self.0.healths.get(cluster).ok_or(health::Stopped)?.attach(node).await })
    }

    fn patroni(&self, cluster: usize) -> Option<Arc<PatroniReport>> {
        self.0.healths.get(cluster)?.patroni()
    }

    fn agents(&self) -> BoxFuture<'_, Vec<AgentState>> {
        Box::pin(async { hands::agents(&self.0.settings(), &self.0.hands()).await })
    }

    fn reload(&self) -> BoxFuture<'_, Result<Vec<String>, ReloadRefused>> {
        Box::pin(self.0.reload())
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<Vec<String>, ReloadRefused>> {
        Box::pin(self.0.set(key, value))
    }

    fn examine(&self) -> BoxFuture<'_, Result<Vec<Checked<Finding>>, CannotCheck>> {
        Box::pin(async {
            let settings = self.0.settings();
            examination::examine(&settings, None).await.map_err(|error| CannotCheck(error.into()))
        })
    }

    fn check_replication(
        &self,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Vec<Checked<Replicated>>, CannotCheck>> {
        Box::pin(async move {
            let settings = self.0.settings();
            examination::check_replication(&settings, wait).await.map_err(|error| CannotCheck(error.into()))
        })
    }

    fn shutdown(&self, mode: ShutdownMode) {
        self.0.shut_down(mode);
    }
}

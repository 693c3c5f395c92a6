//! The running proxy: what it consists of, and how a reload replaces its configuration as a whole.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use admin::{Readiness, ReloadRefused, ShutdownMode};
use anyhow::Context;
use arc_swap::ArcSwap;
use config::{Change, ClusterSettings, Settings, Source};
use conn::{ClientTlsConfig, ServerTlsConfig};
use health::{Health, Reload};
use pool::Quota;
use session::{
    CancelKeys, ClusterHandle, Command, Disabled, Greeter, WorkerHandle, WorkerId, World, spawn_worker,
};
use tokio::sync::{Mutex, watch};

use crate::{
    arguments::environment,
    functions::KnownFunctions,
    hands::{self, AllHands},
    log::LogControl,
    traffic::WorkerTraffic,
    users::KnownUsers,
};

/// Everything that runs.
pub(crate) struct Proxy {
    pub(crate) source: Source,
    log: LogControl,
    settings: ArcSwap<Settings>,
    hands: ArcSwap<AllHands>,
    pub(crate) world: Arc<ArcSwap<World>>,
    tls: Arc<ArcSwap<ClientTlsConfig>>,
    pub(crate) healths: Vec<Arc<Health>>,
    pub(crate) users: Arc<KnownUsers>,
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) keys: Arc<CancelKeys>,
    pub(crate) greeter: Greeter,
    pub(crate) readiness: watch::Sender<Readiness>,
    shutdown: watch::Sender<Option<ShutdownMode>>,
    pub(crate) reloading: Mutex<()>,
    traffic: Arc<WorkerTraffic>,
}

impl Proxy {
    /// Starts probes and workers; clients are not taken in yet. Call it on the control runtime.
    ///
    /// # Errors
    /// When a certificate cannot be loaded, or a thread not be made.
    pub(crate) fn start(source: Source, settings: Settings, log: LogControl) -> anyhow::Result<Self> {
        let client_tls = ClientTlsConfig::load(&settings.client_tls)?;
        let traffic = Arc::new(WorkerTraffic::default());
        let hands = hands::load(&settings)?;
        let mut healths = Vec::new();
        let mut clusters = Vec::new();
        for (cluster, hands) in settings.clusters.iter().zip(&hands) {
            let tls = Arc::new(ServerTlsConfig::load(&cluster.health.tls)?);
            let health = Health::start(
                managed(cluster, settings.session.drain_timeout, &traffic, hands),
                cluster.topology.clone(),
            )
            .with_context(|| format!("cannot watch cluster \"{}\"", cluster.topology.cluster))?;
            let health = Arc::new(health);
            clusters.push(cluster_handle(&settings, cluster, &health, tls));
            healths.push(health);
        }
        let world = Arc::new(world(&settings, clusters, Arc::default(), Arc::default()));
        let users = Arc::new(KnownUsers::new(settings.auth.clone(), healths.first().map(Arc::clone)));
        let keys = Arc::new(CancelKeys::default());
        let cores = available_parallelism().map_or(1, usize::from);
        let mut workers = Vec::new();
        for id in 0..settings.proxy.workers.count(cores) {
            workers.push(spawn_worker(WorkerId(id), Arc::clone(&world), Arc::clone(&keys))?);
        }
        let names =
            settings.clusters.iter().map(|cluster| cluster.topology.cluster.as_str().into()).collect();
        traffic.set_workers(workers.clone(), names);
        let world = Arc::new(ArcSwap::new(world));
        let tls = Arc::new(ArcSwap::from_pointee(client_tls));
        let greeter = Greeter::new(
            Arc::clone(&tls),
            Arc::clone(&world),
            users.clone(),
            workers.clone(),
            Arc::clone(&keys),
        );
        Ok(Self {
            source,
            log,
            settings: ArcSwap::from_pointee(settings),
            hands: ArcSwap::from_pointee(hands),
            world,
            tls,
            healths,
            users,
            workers,
            keys,
            greeter,
            readiness: watch::Sender::default(),
            shutdown: watch::Sender::new(None),
            reloading: Mutex::new(()),
            traffic,
        })
    }

    /// The configuration in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// What the clusters' nodes can be acted on with, in configured order.
    pub(crate) fn hands(&self) -> Arc<AllHands> {
        self.hands.load_full()
    }

    /// Reads the configuration anew and applies it as a whole, or not at all. A cluster is known by its name, wherever it
    /// stands in the file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) async fn reload(&self) -> Result<Vec<String>, ReloadRefused> {
        let _one_at_a_time = self.reloading.lock().await;
        let settings = self.source.load(environment()).map_err(|mistakes| refused(&mistakes))?;
        self.take_over(settings).await
    }

    /// Gives one key another value, until it is changed again or the configuration is reloaded.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) async fn set(&self, key: &str, value: &str) -> Result<Vec<String>, ReloadRefused> {
        let _one_at_a_time = self.reloading.lock().await;
        let previous = self.settings();
        let settings = previous.with(key, value).map_err(|mistakes| refused(&mistakes))?;
        if let Some(change) =
            config::differences(&previous, &settings).into_iter().find(|change| change.restart_needed)
        {
            let mistakes = vec![format!("{}: a change takes a restart", change.key)];
            return Err(ReloadRefused { mistakes });
        }
        self.take_over(settings).await
    }

    pub(crate) async fn take_over(&self, mut settings: Settings) -> Result<Vec<String>, ReloadRefused> {
        let previous = self.settings();
        let refuse = |error: &dyn std::error::Error| ReloadRefused { mistakes: vec![error.to_string()] };
        settings.order_clusters_as(&previous).map_err(|error| refuse(&error))?;
        let changes = config::differences(&previous, &settings);
        let client_tls = ClientTlsConfig::load(&settings.client_tls).map_err(|error| refuse(&error))?;
        let hands = hands::load(&settings).map_err(|error| refuse(&error))?;
        let (mut clusters, mut reloads) = (Vec::new(), Vec::new());
        for (at, ((cluster, health), hands)) in
            settings.clusters.iter().zip(&self.healths).zip(&hands).enumerate()
        {
            let tls = ServerTlsConfig::load(&cluster.health.tls).map_err(|error| refuse(&error))?;
            let unchanged = previous.clusters.get(at).is_some_and(|old| {
                old.health.tls == cluster.health.tls && cluster.health.tls.root_certificate.is_none()
            });
            let world = self.world.load();
            let tls = match world.clusters.get(at) {
                Some(handle) if unchanged => Arc::clone(&handle.tls),
                _ => Arc::new(tls),
            };
            clusters.push(cluster_handle(&settings, cluster, health, tls));
            let reload = Reload::prepare(
                managed(cluster, settings.session.drain_timeout, &self.traffic, hands),
                cluster.topology.clone(),
            );
            reloads.push(reload.map_err(|error| refuse(&error))?);
        }
        settings.adopt_secrets(&previous);
        for (health, reload) in self.healths.iter().zip(reloads) {
            if let Err(error) = health.reload(reload).await {
                tracing::warn!(%error, "a cluster keeps its nodes"); // pgherd is being shut down
            }
        }
        self.hands.store(Arc::new(hands));
        self.apply(settings, clusters, client_tls).await;
        Ok(report(&changes))
    }

    /// Nothing here can fail: from one request to the next everything is as configured anew.
    async fn apply(&self, settings: Settings, clusters: Vec<ClusterHandle>, client_tls: ClientTlsConfig) {
        if let Err(error) = self.log.set_level(&settings.log.level) {
            tracing::warn!(%error, "the log level stays as it is");
        }
        self.users.replace(settings.auth.clone());
        self.tls.store(Arc::new(client_tls));
        let (disabled, quota) = {
            let world = self.world.load();
            (Arc::clone(&world.disabled), Arc::clone(&world.quota))
        };
        let world = Arc::new(world(&settings, clusters, disabled, quota));
        self.world.store(Arc::clone(&world));
        self.settings.store(Arc::new(settings));
        for worker in &self.workers {
            // a worker that has ended serves nobody
            let _ = worker.tell(Command::Reconfigure(Arc::clone(&world))).await;
        }
    }

    /// Begins to shut down.
    pub(crate) fn shut_down(&self, mode: ShutdownMode) {
        self.shutdown.send_replace(Some(mode));
    }

    /// How to shut down, once that was asked for.
    pub(crate) fn shutdown_requests(&self) -> watch::Receiver<Option<ShutdownMode>> {
        self.shutdown.subscribe()
    }
}

/// How a cluster is watched, and managed if it is.
fn managed(
    cluster: &ClusterSettings,
    drain_timeout: Duration,
    traffic: &Arc<WorkerTraffic>,
    hands: &Arc<agent::Hands>,
) -> health::Settings {
    let management = cluster.failover.as_ref().map(|(settings, record_file)| health::Management {
        settings: settings.clone(),
        record_file: record_file.clone(),
        traffic: Arc::clone(traffic) as Arc<dyn health::Traffic>,
        hands: Arc::clone(hands),
    });
    let traffic = Arc::clone(traffic) as Arc<dyn health::Traffic>;
    let planned = Some(health::PlannedMoves { traffic, drain_timeout });
    health::Settings { management, planned, ..cluster.health.clone() }
}

fn world(
    settings: &Settings,
    clusters: Vec<ClusterHandle>,
    disabled: Arc<Disabled>,
    quota: Arc<Quota>,
) -> World {
    World {
        session: settings.session.clone(),
        routing: settings.routing.clone(),
        databases: settings.databases.clone(),
        clusters,
        users: settings.users.clone(),
        max_server_connections: settings.proxy.max_server_connections,
        disabled,
        quota,
    }
}

fn cluster_handle(
    settings: &Settings,
    cluster: &ClusterSettings,
    health: &Arc<Health>,
    tls: Arc<ServerTlsConfig>,
) -> ClusterHandle {
    ClusterHandle {
        name: cluster.topology.cluster.as_str().into(),
        snapshots: health.snapshots(),
        changes: health.changes(),
        reports: health.reports(),
        questions: health.questions(),
        tolls: health.tolls(),
        tls,
        functions: Arc::new(KnownFunctions::new(Arc::clone(health), &settings.function_lists)),
        max_server_connections: cluster.max_server_connections,
        max_logins: cluster.max_logins,
    }
}

pub(crate) fn refused(mistakes: &config::Mistakes) -> ReloadRefused {
    ReloadRefused { mistakes: mistakes.to_string().lines().map(str::to_owned).collect() }
}

fn report(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| {
            let restart = if change.restart_needed { " (takes effect after a restart)" } else { "" };
            format!("{}: {} -> {}{restart}", change.key, change.old, change.new)
        })
        .collect()
}

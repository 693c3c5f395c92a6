//! `pgherd run`: from the configuration to the last client.

use std::{process::ExitCode, sync::Arc, time::Duration};

use admin::{Console, Readiness, ShutdownMode};
use anyhow::Context;
use config::Source;
use session::{Command, PauseScope};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};

use crate::{
    accept, arguments::environment, check_config, control::ProxyControl, log, proxy::Proxy, readiness,
};

/// Threads of the control runtime: handshakes, probes, the console.
const CONTROL_THREADS: usize = 2;

/// Runs until a signal or SHUTDOWN.
///
/// # Errors
/// When it cannot start; a wrong configuration is printed whole.
pub(crate) fn run(source: &Source) -> anyhow::Result<ExitCode> {
    let settings = match source.load(environment()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let log = log::start(&settings.log)?;
    for warning in &settings.warnings {
        tracing::warn!(%warning, "configuration");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    runtime.block_on(async {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), configuration = %check_config::summary(&settings), "starting");
        let listeners = accept::open(&settings.listeners)?;
        let health_listener = readiness::open(settings.health_listener.as_ref())?;
        let proxy = Arc::new(Proxy::start(source.clone(), settings, log)?);
        if let Some(listener) = health_listener {
            tokio::spawn(readiness::serve(listener, proxy.readiness.subscribe()));
        }
        first_look(&proxy).await;
        serve(&proxy, listeners).await?;
        for health in &proxy.healths {
            health.stop().await;
        }
        anyhow::Ok(())
    })?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Waits until every node has said something, so that the first clients do not meet a proxy that knows nobody. They
/// can connect meanwhile, and are accepted afterwards.
async fn first_look(proxy: &Proxy) {
    /// A node that is down must not delay the start for long.
    const PATIENCE: Duration = Duration::from_secs(1);
    let seen = |health: &health::Health| {
        let snapshot = health.snapshots().load_full();
        snapshot.primary().is_some() && snapshot.nodes.iter().all(|node| node.sampled_at.is_some())
    };
    let looking = async {
        for health in &proxy.healths {
            let mut changes = health.changes();
            while !seen(health) && changes.changed().await.is_ok() {}
        }
    };
    if timeout(PATIENCE, looking).await.is_err() {
        tracing::warn!("not every node has answered yet");
    }
}

async fn serve(proxy: &Arc<Proxy>, listeners: Vec<accept::Entry>) -> anyhow::Result<()> {
    let control = Arc::new(ProxyControl(Arc::clone(proxy)));
    let console = Arc::new(Console::new(proxy.workers.clone(), control));
    let averages = tokio::spawn({
        let console = Arc::clone(&console);
        async move { console.keep_averages().await }
    });
    let mut signals = Signals::new()?;
    let mut requests = proxy.shutdown_requests();
    let accepting = tokio::spawn(accept::accept_all(Arc::clone(proxy), console, listeners));
    proxy.readiness.send_replace(Readiness::Ready);
    tracing::info!("ready");
    let mode = loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Reload => reload(proxy).await,
                Wish::Stop(mode) => break mode,
            },
            changed = requests.changed() => {
                let wanted = *requests.borrow_and_update();
                match wanted {
                    Some(mode) => break mode,
                    None if changed.is_err() => break ShutdownMode::Immediate,
                    None => {}
                }
            }
        }
    };
    proxy.readiness.send_replace(Readiness::Draining);
    tracing::info!(%mode, "shutting down");
    let drained = async {
        let delay = proxy.settings().session.shutdown_delay;
        let stop = async {
            if mode != ShutdownMode::Immediate && !delay.is_zero() {
                tracing::info!(?delay, "not ready any more; clients are taken in until the delay is over");
                tokio::time::sleep(delay).await;
            }
            accepting.abort();
            drain(proxy, mode).await;
        };
        tokio::select! {
            () = stop => {}
            () = signals.second_stop() => tracing::info!("shutting down at once"),
        }
    };
    drained.await;
    averages.abort();
    Ok(())
}

async fn reload(proxy: &Proxy) {
    match proxy.reload().await {
        Ok(changes) => {
            tracing::info!(changes = changes.len(), "configuration reloaded");
            changes.iter().for_each(|change| tracing::info!(%change, "reloaded"));
        }
        Err(refused) => {
            refused.mistakes.iter().for_each(|mistake| tracing::error!(%mistake, "configuration refused"));
        }
    }
}

/// Lets clients finish what they are at, within the configured time.
async fn drain(proxy: &Proxy, mode: ShutdownMode) {
    let deadline = proxy.settings().session.shutdown_timeout;
    let ended = async {
        match mode {
            ShutdownMode::Immediate => {
                for worker in &proxy.workers {
                    // a worker that has ended has no clients
                    let _ = worker.tell(Command::Kill(PauseScope::All)).await;
                }
            }
            ShutdownMode::WaitForServers => {
                for worker in &proxy.workers {
                    let (done, finished) = oneshot::channel();
                    if worker.tell(Command::Drain(done)).await.is_ok() {
                        // an error means that the worker has ended, and its clients with it
                        let _ = finished.await;
                    }
                }
            }
            ShutdownMode::WaitForClients => {
                while !proxy.keys.is_empty() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    let wait_for_ever = mode == ShutdownMode::WaitForClients;
    if wait_for_ever {
        ended.await;
    } else if timeout(deadline, ended).await.is_err() {
        tracing::warn!(
            clients = proxy.keys.len(),
            "clients were still busy when the time for shutting down was over"
        );
    }
}

enum Wish {
    Reload,
    Stop(ShutdownMode),
}

/// HUP reloads, TERM and INT let transactions end, QUIT does not; a second TERM or INT does not wait either.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            hangup: catch(SignalKind::hangup())?,
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            quit: catch(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.terminate.recv() => Wish::Stop(ShutdownMode::WaitForServers),
            _ = self.interrupt.recv() => Wish::Stop(ShutdownMode::WaitForServers),
            _ = self.quit.recv() => Wish::Stop(ShutdownMode::Immediate),
        }
    }

    async fn second_stop(&mut self) {
        loop {
            if let Wish::Stop(_) = self.next().await {
                return;
            }
        }
    }
}

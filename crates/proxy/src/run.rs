//! `pgherd run`: from the configuration to the last client.

use std::{process::ExitCode, sync::Arc, time::Duration};

use admin::{Console, Readiness, ShutdownMode};
use anyhow::Context;
use config::Source;
use session::{Command, Elsewhere, PauseScope};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    accept,
    activation::Activated,
    arguments::{Start, environment},
    check_config,
    control::ProxyControl,
    log,
    proxy::Proxy,
    readiness,
    takeover::{self, Door, Open, OtherDoors, Predecessor, Sockets},
};

/// Threads of the control runtime: handshakes, probes, the console.
const CONTROL_THREADS: usize = 2;

/// Runs until a signal or SHUTDOWN.
///
/// # Errors
/// When it cannot start; a wrong configuration is printed whole.
pub(crate) fn run(source: &Source, start: Start) -> anyhow::Result<ExitCode> {
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
        let door = settings.proxy.takeover_socket.clone();
        let mut predecessor = match (start, &door) {
            (Start::Afresh, _) => None,
            (Start::Takeover, Some(path)) => takeover::ask(path).await?,
            (Start::Takeover, None) => anyhow::bail!("--takeover needs [proxy] takeover_socket"),
        };
        let entries = accept::open(&settings.listeners, &mut predecessor, Activated::from_environment())?.into();
        let health = readiness::open(settings.health_listener.as_ref(), &mut predecessor)?.map(Arc::new);
        let place = Arc::new(watch::Sender::default());
        let doors = door.clone().map(|path| OtherDoors::new(path, Arc::clone(&place)));
        let door = door.map(|path| Door::make(&path, predecessor.is_some(), &place)).transpose()?;
        let mut proxy = Proxy::start(source.clone(), settings, log)?;
        proxy.greeter.elsewhere = doors.map(|doors| Arc::new(doors) as Arc<dyn Elsewhere>);
        let proxy = Arc::new(proxy);
        let mut sockets = Sockets { entries, health, accepting: Vec::new() };
        if let Some(listener) = &sockets.health {
            let answering = readiness::serve(Arc::clone(listener), Arc::clone(&proxy));
            sockets.accepting.push(tokio::spawn(answering).abort_handle());
        }
        first_look(&proxy).await;
        serve(&proxy, sockets, door, predecessor).await?;
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
        let is_seen = |node: &topology::NodeView| {
            // a spare need not run
            node.sampled_at.is_some() || node.duty.is_idle() && node.health == topology::Health::Down
        };
        snapshot.primary().is_some() && snapshot.nodes.iter().all(is_seen)
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

async fn serve(
    proxy: &Arc<Proxy>,
    mut sockets: Sockets,
    door: Option<Door>,
    predecessor: Option<Predecessor>,
) -> anyhow::Result<()> {
    let control = Arc::new(ProxyControl(Arc::clone(proxy)));
    let console = Arc::new(Console::new(proxy.workers.clone(), control));
    let averages = tokio::spawn({
        let console = Arc::clone(&console);
        async move { console.keep_averages().await }
    });
    let mut signals = Signals::new()?;
    let entries = Arc::clone(&sockets.entries);
    let accepting = tokio::spawn(accept::accept_all(Arc::clone(proxy), console, entries)).abort_handle();
    sockets.accepting.push(accepting.clone());
    let mut door = door.map(|door| door.open(Arc::clone(proxy), sockets));
    proxy.readiness.send_replace(Readiness::Ready);
    tracing::info!("ready");
    if let Some(predecessor) = predecessor {
        replace(predecessor, door.as_ref()).await;
    }
    let end = until_the_end(proxy, &mut signals, door.as_mut()).await;
    proxy.readiness.send_replace(Readiness::Draining);
    let mut requests = proxy.shutdown_requests();
    let mode = match end {
        End::Stop(mode) => mode,
        End::TakenOver => {
            tracing::info!(clients = proxy.keys.len(), "another process has taken over");
            tokio::select! {
                () = outlive_clients(proxy) => ShutdownMode::WaitForServers,
                mode = signals.stop() => mode,
                mode = next_request(&mut requests) => mode,
            }
        }
    };
    tracing::info!(%mode, "shutting down");
    let stop = async {
        let delay = proxy.settings().session.shutdown_delay;
        let is_expected = mode == ShutdownMode::Immediate || matches!(end, End::TakenOver);
        if !is_expected && !delay.is_zero() {
            tracing::info!(?delay, "not ready any more; clients are taken in until the delay is over");
            tokio::time::sleep(delay).await;
        }
        accepting.abort();
        drain(proxy, mode, &mut requests).await;
    };
    tokio::select! {
        () = stop => {}
        _ = signals.stop() => tracing::info!("shutting down at once"),
    }
    send_away(proxy).await;
    averages.abort();
    Ok(())
}

/// Waits until the console is told how to shut down.
async fn next_request(requests: &mut watch::Receiver<Option<ShutdownMode>>) -> ShutdownMode {
    // whoever could ask holds the other end
    let changed = requests.changed().await.ok();
    changed.and_then(|()| *requests.borrow_and_update()).unwrap_or(ShutdownMode::Immediate)
}

/// Tells the process before that this one accepts clients, and takes its door's place.
async fn replace(predecessor: Predecessor, door: Option<&Open>) {
    match predecessor.replace().await {
        Ok(()) => tracing::info!("took over"),
        // it may have ended at this very moment; what it accepts it serves
        Err(error) => {
            tracing::warn!(%error, "the process before did not say that it accepts nobody any more")
        }
    }
    if let Some(door) = door
        && let Err(error) = door.take_place().await
    {
        tracing::error!(%error, "nobody can take over from this process");
    }
}

/// Why a process does not go on.
enum End {
    /// It was told to stop.
    Stop(ShutdownMode),
    /// Another one accepts its clients.
    TakenOver,
}

async fn until_the_end(proxy: &Proxy, signals: &mut Signals, mut door: Option<&mut Open>) -> End {
    let mut requests = proxy.shutdown_requests();
    loop {
        let taken_over = async {
            match door.as_mut() {
                Some(door) => door.taken_over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Reload => reload(proxy).await,
                Wish::Stop(mode) => return End::Stop(mode),
            },
            changed = requests.changed() => {
                let wanted = *requests.borrow_and_update();
                match wanted {
                    Some(mode) => return End::Stop(mode),
                    None if changed.is_err() => return End::Stop(ShutdownMode::Immediate),
                    None => {}
                }
            }
            () = taken_over => return End::TakenOver,
        }
    }
}

/// Waits until the last client has left, or its time is over.
async fn outlive_clients(proxy: &Proxy) {
    let limit = proxy.settings().session.takeover_timeout;
    match limit {
        None => until_empty(proxy).await,
        Some(limit) => {
            if timeout(limit, until_empty(proxy)).await.is_err() {
                tracing::info!(clients = proxy.keys.len(), "the time of clients that stayed is over");
            }
        }
    }
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

/// Lets clients finish what they are at, within the configured time; in another way if the console says so.
async fn drain(proxy: &Proxy, mut mode: ShutdownMode, requests: &mut watch::Receiver<Option<ShutdownMode>>) {
    let deadline = proxy.settings().session.shutdown_timeout;
    loop {
        let ended = async {
            match mode {
                ShutdownMode::Immediate => {}
                ShutdownMode::WaitForServers if timeout(deadline, finish(proxy)).await.is_err() => {
                    tracing::warn!(
                        clients = proxy.keys.len(),
                        "clients were still busy when the time for shutting down was over"
                    );
                }
                ShutdownMode::WaitForServers => {}
                ShutdownMode::WaitForClients => until_empty(proxy).await,
            }
        };
        tokio::select! {
            () = ended => return,
            other = next_request(requests) => mode = other,
        }
        tracing::info!(%mode, "shutting down in another way");
    }
}

/// Sends clients away as their transactions end, and waits for the last one.
async fn finish(proxy: &Proxy) {
    let mut answers = Vec::new();
    for worker in &proxy.workers {
        let (done, finished) = oneshot::channel();
        if worker.tell(Command::Drain(done)).await.is_ok() {
            answers.push(finished);
        }
    }
    for finished in answers {
        // an error means that the worker has ended, and its clients with it
        let _ = finished.await;
    }
}

/// Waits until nobody is connected or logging in any more.
async fn until_empty(proxy: &Proxy) {
    while !proxy.keys.is_empty() || proxy.greeter.logging_in() > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tells clients that are still there why they have to go, and waits a moment until they have heard it.
async fn send_away(proxy: &Proxy) {
    /// A client that does not listen is not waited for.
    const PATIENCE: Duration = Duration::from_secs(1);
    let told = async {
        for worker in &proxy.workers {
            // a worker that has ended has no clients
            let _ = worker.tell(Command::Kill(PauseScope::All)).await;
        }
        while !proxy.keys.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(PATIENCE, told).await; // however far it came, they are cut off now
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

    /// Waits for one that stops.
    async fn stop(&mut self) -> ShutdownMode {
        loop {
            if let Wish::Stop(mode) = self.next().await {
                return mode;
            }
        }
    }
}

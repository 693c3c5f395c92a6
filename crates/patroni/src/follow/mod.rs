//! The shell: asks the REST API in turn, watches the keys in etcd, and hands on what they say.

mod etcd;
mod rest;
#[cfg(test)]
mod tests;

use std::{
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use conn::{TlsFileError, WebTlsConfig};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time,
};

use crate::{Endpoint, EtcdError, HttpError, MalformedAnswer, Settings, View, http::HttpClient};

/// Sightings that may wait. A full channel holds the tasks up: the newest is worth no more than the last one taken.
const SIGHTINGS_LIMIT: usize = 16;

/// Time between two questions while there is no primary …
const EAGER_INTERVAL: Duration = Duration::from_millis(100);

/// … for this long; then as always.
const EAGER_FOR: Duration = Duration::from_secs(60);

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The REST API of some member.
    Rest,
    /// Patroni's keys in etcd.
    Etcd,
}

impl Source {
    /// The word in the console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Etcd => "etcd",
        }
    }
}

/// What was said, or why nothing was.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// By whom.
    pub source: Source,
    /// At which URL.
    pub endpoint: Endpoint,
    /// What was said was true at this moment or later.
    pub asked_at: Instant,
    /// What was said.
    pub said: Said,
}

/// What was said, as far as anything was.
#[derive(Debug, Clone)]
pub enum Said {
    /// All of it.
    All(Arc<View>),
    /// What members say of themselves, without the leader key: the store cannot be read, for this reason.
    Parts(Arc<View>, Arc<FollowError>),
    /// Nothing, for this reason.
    Nothing(Arc<FollowError>),
}

impl Said {
    /// What was said.
    #[must_use]
    pub fn view(&self) -> Option<&Arc<View>> {
        match self {
            Self::All(view) | Self::Parts(view, _) => Some(view),
            Self::Nothing(_) => None,
        }
    }

    /// Why it is not all.
    #[must_use]
    pub fn trouble(&self) -> Option<&Arc<FollowError>> {
        match self {
            Self::All(_) => None,
            Self::Parts(_, error) | Self::Nothing(error) => Some(error),
        }
    }
}

/// Why nothing was said.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A refusal: its HTTP status. Patroni's `/cluster` fails with its store.
    #[error("the answer is HTTP status {0}")]
    Status(u16),
    /// It belongs to another cluster, of this name in Patroni.
    #[error("it belongs to another cluster, {0:?}")]
    OtherScope(Box<str>),
    /// No answer of Patroni.
    #[error(transparent)]
    Rest(#[from] MalformedAnswer),
    /// No answer of etcd that is of use.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// etcd's answers stopped.
    #[error("the watch has ended")]
    Ended,
}

impl FollowError {
    /// The error and what caused it, in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

/// How often the REST API is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pace {
    /// As configured.
    #[default]
    Steady,
    /// Every 100 ms: there is no primary, and clients are being held. For a minute; then as configured.
    Eager,
}

/// A cluster that is followed. Dropping it ends that.
pub struct Follower {
    pace: watch::Sender<Pace>,
    now: Arc<Notify>,
    tasks: JoinSet<()>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("pace", &*self.pace.borrow()).finish_non_exhaustive()
    }
}

impl Follower {
    /// Begins; reads the certificate files. What is seen comes out of the receiver, each time it was asked for anew,
    /// whether it has changed or not.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file that is wrong.
    pub fn start(settings: &Settings) -> Result<(Self, mpsc::Receiver<Sighting>), TlsFileError> {
        let tls = settings.uses_tls().then(|| WebTlsConfig::load(&settings.tls)).transpose()?;
        let http = HttpClient { tls, connect: settings.timeout };
        let (out, sightings) = mpsc::channel(SIGHTINGS_LIMIT);
        let (pace, paced) = watch::channel(Pace::Steady);
        let now = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        if !settings.urls.is_empty() {
            let poller = rest::Poller {
                http: http.clone(),
                urls: settings.urls.clone(),
                interval: settings.interval,
                limit: settings.timeout,
                pace: paced,
                now: Arc::clone(&now),
                scope: settings.scope.clone(),
                last: None,
                out: out.clone(),
            };
            tasks.spawn(poller.run());
        }
        if let Some(scope) = settings.scope.as_ref().filter(|_| !settings.etcd.is_empty()) {
            let watcher = etcd::Watcher {
                http,
                endpoints: settings.etcd.clone(),
                namespace: settings.namespace.clone(),
                scope: scope.clone(),
                login: settings.etcd_login.clone(),
                interval: settings.interval,
                limit: settings.timeout,
                out,
            };
            tasks.spawn(watcher.run());
        }
        Ok((Self { pace, now, tasks }, sightings))
    }

    /// Has the REST API asked as often as this from now on.
    pub fn set_pace(&self, pace: Pace) {
        self.pace.send_if_modified(|present| std::mem::replace(present, pace) != pace);
    }

    /// Has the REST API asked at once.
    pub fn ask_now(&self) {
        self.now.notify_one();
    }

    /// Ends, and waits until its tasks have.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// `interval` ±10 %, so that many proxies do not ask in step.
fn jittered(interval: Duration) -> Duration {
    let mut random = [0; 1];
    conn::fill_random(&mut random);
    let percent = 90_u32.saturating_add(u32::from(random[0]) % 21);
    interval.saturating_mul(percent).checked_div(100).unwrap_or(interval)
}

/// This instant, by the clock that tests can pause.
fn instant() -> Instant {
    time::Instant::now().into_std()
}

//! One task per node: asks in turn, listens between.

pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use conn::{DialError, IdleMessage, Parameter, QueryError, ServerConnection, Target};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use topology::{NodeId, ProbeResult, Replication, Report, Sample, Unusable, XidSample};
use wire::SqlState;

use crate::dialer::{DialFailure, Dialer, Purpose};

/// Time between fresh connections to a node whose kept one answers: only they show that new ones can be made.
const RENEW_AFTER: Duration = Duration::from_secs(2);

/// Round trips of a login with TLS and SCRAM.
const LOGIN_ROUND_TRIPS: u32 = 8;

/// Round trips that one query may take beyond the configured timeout.
const QUERY_ROUND_TRIPS: u32 = 4;

/// How much longer than the timeout a login may take while the round trip is not known.
const FIRST_LOGIN_FACTOR: u32 = 4;

/// How long an old connection may take to say goodbye.
const FAREWELL: Duration = Duration::from_millis(100);

/// What a prober tells the supervisor.
#[derive(Debug)]
pub(crate) enum Finding {
    /// How a probe ended.
    Probed(ProbeResult),
    /// The idle connection said something, or a fresh one was refused.
    Noticed(Report),
    /// What the node reports of itself at login.
    Parameters(Vec<Parameter>),
    /// What a probe read of its transaction ids; comes before how it ended.
    Xids(XidSample),
    /// Whether connections lead to the node itself.
    Direct(bool),
    /// What the node says of its part in replication; comes before how the probe ended.
    Replication(Replication),
}

/// Watches one node. At most one probe is under way at a time.
#[derive(Debug)]
pub(crate) struct Prober {
    pub(crate) node: NodeId,
    pub(crate) target: Target,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// Notified when a probe is wanted at once.
    pub(crate) wake: Arc<Notify>,
    pub(crate) findings: mpsc::Sender<(NodeId, Finding)>,
}

/// What a prober has in hand.
#[derive(Debug, Default)]
struct State {
    kept: Option<ServerConnection>,
    /// Smoothed round trip of a query; `None` before the first.
    round_trip: Option<Duration>,
    /// The dial of a fresh connection; at most one.
    renewal: JoinSet<Result<ServerConnection, DialFailure>>,
    renew_at: Option<Instant>,
    /// Whether it was logged that no new connection can be made though the kept one answers.
    told: bool,
    /// What the last probe read of transaction ids, until it is told.
    xids: Option<XidSample>,
    /// Whether connections lead to the node itself, as far as it was seen, and told.
    direct: Option<bool>,
    direct_told: Option<bool>,
    /// What the node said last of its part in replication, until it is told; and what was told.
    replication: Option<Replication>,
    replication_told: Option<Replication>,
}

enum Turn {
    Probe,
    Heard(IdleMessage),
    Renewed(Result<ServerConnection, DialFailure>),
}

impl Prober {
    /// Runs until nobody listens to its findings any more.
    pub(crate) async fn run(self) {
        let mut state = State::default();
        let mut next = Instant::now();
        loop {
            let turn = tokio::select! {
                heard = hear(&mut state.kept) => Turn::Heard(heard),
                Some(Ok(renewed)) = state.renewal.join_next() => Turn::Renewed(renewed),
                () = self.wake.notified() => Turn::Probe,
                () = sleep_until(next) => Turn::Probe,
            };
            let told = match turn {
                Turn::Probe => {
                    let result = self.probe(&mut state).await;
                    next = Instant::now() + jittered(self.interval);
                    self.renew(&mut state);
                    if let Some(direct) = state.direct.filter(|_| state.direct != state.direct_told) {
                        state.direct_told = state.direct;
                        self.tell(Finding::Direct(direct)).await;
                    }
                    if let Some(said) = state.replication.take()
                        && state.replication_told.as_ref() != Some(&said)
                    {
                        state.replication_told = Some(said.clone());
                        self.tell(Finding::Replication(said)).await;
                    }
                    if let Some(xids) = state.xids.take() {
                        self.tell(Finding::Xids(xids)).await;
                    }
                    self.tell(Finding::Probed(result)).await
                }
                Turn::Heard(message) => match heard(message, &mut state) {
                    Some(report) => self.tell(Finding::Noticed(report)).await,
                    None => true,
                },
                Turn::Renewed(Ok(fresh)) => self.keep(fresh, &mut state).await,
                Turn::Renewed(Err(failure)) => self.renewal_failed(&failure, &mut state).await,
            };
            if !told {
                return;
            }
        }
    }

    /// False: nobody listens.
    async fn tell(&self, finding: Finding) -> bool {
        self.findings.send((self.node, finding)).await.is_ok()
    }

    async fn probe(&self, state: &mut State) -> ProbeResult {
        if let Some(mut kept) = state.kept.take() {
            match self.ask(&mut kept, state).await {
                Ok(sample) => {
                    state.kept = Some(kept);
                    return ProbeResult::Answered(sample);
                }
                // Silence is an answer of its own; what merely broke is asked again on a fresh connection, which
                // tells a stopped server from a terminated backend.
                Err(Unanswered::Silence) => return ProbeResult::NoAnswer,
                Err(Unanswered::Refused(unusable)) => {
                    state.kept = Some(kept);
                    return ProbeResult::Unusable(unusable);
                }
                Err(Unanswered::Broken) => {}
            }
        }
        let mut fresh = match self.dialer.dial(&self.target, Purpose::Probe, self.login_limit(state)).await {
            Ok(fresh) => fresh,
            Err(failure) => {
                tracing::debug!(node = %self.target, error = &failure as &dyn std::error::Error, "probe failed");
                return result_of(&failure);
            }
        };
        match self.ask(&mut fresh, state).await {
            Ok(sample) => {
                self.keep(fresh, state).await;
                ProbeResult::Answered(sample)
            }
            Err(Unanswered::Refused(unusable)) => ProbeResult::Unusable(unusable),
            Err(Unanswered::Silence | Unanswered::Broken) => ProbeResult::NoAnswer,
        }
    }

    async fn ask(&self, connection: &mut ServerConnection, state: &mut State) -> Result<Sample, Unanswered> {
        let limit = self.timeout + state.round_trip.unwrap_or_default() * QUERY_ROUND_TRIPS;
        let sent_at = Instant::now();
        let rows = match timeout(limit, sample::run(connection)).await {
            Err(_) => return Err(Unanswered::Silence),
            Ok(Err(QueryError::Server(error))) if !error.is_fatal() => {
                tracing::warn!(node = %self.target, error = %error, "the monitor's query was refused");
                return Err(Unanswered::Refused(Unusable::Query));
            }
            Ok(Err(QueryError::Protocol | QueryError::TooLarge)) => {
                return Err(Unanswered::Refused(Unusable::Protocol));
            }
            Ok(Err(QueryError::Io(_) | QueryError::Server(_) | QueryError::Unfinished)) => {
                return Err(Unanswered::Broken);
            }
            Ok(Ok(rows)) => rows,
        };
        let sample = sample::read(&rows, sent_at.into_std(), Instant::now().into_std())
            .ok_or(Unanswered::Refused(Unusable::Query))?;
        state.xids = sample::read_xids(&rows, &sample);
        state.replication = Some(sample::read_replication(&rows));
        state.direct = Some(sample::is_direct(&rows, connection.stream.local_addr()));
        let round_trip = sample.round_trip();
        state.round_trip = Some(state.round_trip.map_or(round_trip, |old| (old * 7 + round_trip) / 8));
        Ok(sample)
    }

    /// Puts `fresh` in the place of the kept connection. False: nobody listens.
    async fn keep(&self, fresh: ServerConnection, state: &mut State) -> bool {
        let parameters = fresh.parameters.clone();
        if let Some(old) = state.kept.replace(fresh) {
            // A server that does not take a goodbye is closed all the same.
            let _ = timeout(FAREWELL, old.close()).await;
        }
        state.renew_at = Some(Instant::now() + RENEW_AFTER);
        state.told = false;
        self.tell(Finding::Parameters(parameters)).await
    }

    fn renew(&self, state: &mut State) {
        let due = state.kept.is_some() && state.renew_at.is_some_and(|at| Instant::now() >= at);
        if !due || !state.renewal.is_empty() {
            return;
        }
        let (dialer, target, limit) =
            (Arc::clone(&self.dialer), self.target.clone(), self.login_limit(state));
        state.renewal.spawn(async move { dialer.dial(&target, Purpose::Probe, limit).await });
    }

    /// The kept connection may still answer: then the node is up, and only new connections fail. That moves nothing.
    async fn renewal_failed(&self, failure: &DialFailure, state: &mut State) -> bool {
        state.renew_at = Some(Instant::now() + RENEW_AFTER);
        if !std::mem::replace(&mut state.told, true) {
            let error: &dyn std::error::Error = failure;
            tracing::warn!(node = %self.target, error, "no new connection can be made though the kept one is open");
        }
        match result_of(failure) {
            ProbeResult::Refused => self.tell(Finding::Noticed(Report::DialRefused)).await,
            ProbeResult::Starting => self.tell(Finding::Noticed(Report::Starting)).await,
            ProbeResult::Answered(_) | ProbeResult::NoAnswer | ProbeResult::Unusable(_) => true,
        }
    }

    fn login_limit(&self, state: &State) -> Duration {
        match state.round_trip {
            Some(round_trip) => self.timeout + round_trip * LOGIN_ROUND_TRIPS,
            None => self.timeout * FIRST_LOGIN_FACTOR,
        }
    }
}

/// Why a query brought no sample.
#[derive(Debug)]
enum Unanswered {
    /// Nothing in time.
    Silence,
    /// The connection ended under it.
    Broken,
    /// An answer that is of no use.
    Refused(Unusable),
}

/// Waits for the kept connection to say something; for ever if there is none.
async fn hear(kept: &mut Option<ServerConnection>) -> IdleMessage {
    match kept {
        Some(connection) => connection.idle_message().await,
        None => std::future::pending().await,
    }
}

/// What an idle connection's words mean.
fn heard(message: IdleMessage, state: &mut State) -> Option<Report> {
    match message {
        IdleMessage::Parameter(name) => (*name == *b"in_hot_standby").then_some(Report::RoleChanged),
        IdleMessage::Ended(error) => {
            state.kept = None;
            Some(match error.code {
                SqlState::ADMIN_SHUTDOWN => Report::Shutdown,
                SqlState::CANNOT_CONNECT_NOW => Report::Starting,
                _ => Report::Crashed,
            })
        }
        IdleMessage::Lost(_) => {
            state.kept = None;
            Some(Report::Crashed)
        }
    }
}

/// What a failed dial says about the node.
fn result_of(failure: &DialFailure) -> ProbeResult {
    match failure {
        DialFailure::Timeout(_) => ProbeResult::NoAnswer,
        DialFailure::Dial(error) => match error {
            DialError::Refused => ProbeResult::Refused,
            DialError::Resolve(_) | DialError::Io(_) => ProbeResult::NoAnswer,
            DialError::Tls(_) => ProbeResult::Unusable(Unusable::Tls),
            DialError::Auth(_) => ProbeResult::Unusable(Unusable::Authentication),
            DialError::Protocol => ProbeResult::Unusable(Unusable::Protocol),
            DialError::Server(error) => match error.code {
                SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => {
                    ProbeResult::Starting
                }
                SqlState::TOO_MANY_CONNECTIONS => ProbeResult::Unusable(Unusable::TooManyConnections),
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION | SqlState::INVALID_PASSWORD => {
                    ProbeResult::Unusable(Unusable::Authentication)
                }
                _ => ProbeResult::Unusable(Unusable::Query),
            },
        },
    }
}

/// `interval` ±10 %, so that many proxies do not ask in step.
fn jittered(interval: Duration) -> Duration {
    let mut random = [0; 1];
    conn::fill_random(&mut random);
    interval * (230 + u32::from(random[0]) / 5) / 256
}

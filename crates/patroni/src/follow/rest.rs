use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{EAGER_FOR, EAGER_INTERVAL, FollowError, Pace, Said, Sighting, Source, instant, jittered};
use crate::{
    Endpoint, Leader, Status, View,
    http::{HttpClient, Question},
};

/// How long one member may keep silent before the next is asked as well: the first may be the one that is gone.
const HEDGE: Duration = Duration::from_millis(150);

/// Asks for `/cluster`, in turn.
#[derive(Debug)]
pub(super) struct Poller {
    pub(super) http: HttpClient,
    /// The one that answered last comes first.
    pub(super) urls: Vec<Endpoint>,
    pub(super) interval: Duration,
    pub(super) limit: Duration,
    pub(super) pace: watch::Receiver<Pace>,
    pub(super) now: Arc<Notify>,
    /// The cluster's name in Patroni, if it is known.
    pub(super) scope: Option<String>,
    /// What was last said of all members.
    pub(super) last: Option<Arc<View>>,
    pub(super) out: mpsc::Sender<Sighting>,
}

impl Poller {
    /// Runs until nobody listens any more.
    pub(super) async fn run(mut self) {
        let mut eager_since: Option<Instant> = None;
        loop {
            let sighting = self.look().await;
            if let Some(sighting) = sighting
                && self.out.send(sighting).await.is_err()
            {
                return;
            }
            let pace = *self.pace.borrow_and_update();
            eager_since = match pace {
                Pace::Steady => None,
                Pace::Eager => Some(eager_since.unwrap_or_else(Instant::now)),
            };
            let pause = match eager_since {
                Some(since) if since.elapsed() < EAGER_FOR => EAGER_INTERVAL.min(self.interval),
                _ => jittered(self.interval),
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.now.notified() => {}
                changed = self.pace.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Asks one member after the other without waiting for each to fail, and takes the first answer.
    async fn look(&mut self) -> Option<Sighting> {
        let asked_at = instant();
        let mut asked: JoinSet<(usize, Result<View, FollowError>)> = JoinSet::new();
        let mut waiting = self.urls.iter().cloned().enumerate();
        let mut failure = None;
        loop {
            if let Some((at, url)) = waiting.next() {
                let (http, limit, scope) = (self.http.clone(), self.limit, self.scope.clone());
                asked.spawn(async move { (at, cluster(&http, &url, limit, scope.as_deref()).await) });
            } else if asked.is_empty() {
                break;
            }
            let more = waiting.len() > 0;
            let answer = if more {
                let Ok(answer) = timeout(HEDGE, asked.join_next()).await else { continue };
                answer
            } else {
                asked.join_next().await
            };
            match answer {
                Some(Ok((at, Ok(view)))) => {
                    self.urls.get_mut(..=at)?.rotate_right(1);
                    let (endpoint, view) = (self.urls.first()?.clone(), Arc::new(view));
                    self.last = Some(Arc::clone(&view));
                    return Some(Sighting {
                        source: Source::Rest,
                        endpoint,
                        asked_at,
                        said: Said::All(view),
                    });
                }
                Some(Ok((at, Err(error)))) => failure = Some((at, error)),
                Some(Err(_)) | None => {}
            }
        }
        let (at, error) = failure?;
        let (endpoint, error) = (self.urls.get(at)?.clone(), Arc::new(error));
        let said = match self.ask_each().await {
            Some(view) => Said::Parts(Arc::new(view), error),
            None => Said::Nothing(error),
        };
        Some(Sighting { source: Source::Rest, endpoint, asked_at, said })
    }

    /// What the members known so far say of themselves: `/cluster` fails with the store, `/patroni` does not. `None`: none
    /// of them answers.
    async fn ask_each(&self) -> Option<View> {
        let mut asked = JoinSet::new();
        for (at, member) in self.last.as_ref()?.members.iter().enumerate() {
            let Some(api) = member.api.clone() else { continue };
            let (http, limit) = (self.http.clone(), self.limit);
            asked.spawn(async move { (at, status(&http, &api, limit).await) });
        }
        let mut view = View { leader: Leader::Unknown, ..View::clone(self.last.as_ref()?) };
        let mut answers = 0_usize;
        while let Some(answer) = asked.join_next().await {
            let Ok((at, status)) = answer else { continue };
            let Some(member) = view.members.get_mut(at) else { continue };
            match status {
                Some(status) if check(self.scope.as_deref(), status.scope.as_deref()).is_ok() => {
                    answers = answers.saturating_add(1);
                    view.automation = status.automation;
                    member.role = status.role;
                    (member.state, member.timeline, member.tags) =
                        (status.state, status.timeline, status.tags);
                }
                Some(_) | None => (member.state, member.timeline) = ("no answer".into(), None),
            }
            member.lag_bytes = None;
        }
        (answers > 0).then_some(view)
    }
}

/// What a member says of itself. A health check's status says what it is fit for, not whether it answered.
async fn status(http: &HttpClient, url: &Endpoint, limit: Duration) -> Option<Status> {
    let answer = http.ask(url, Question::get("/patroni"), limit).await.ok()?;
    Status::read(&answer.body).ok()
}

/// The members of another cluster may have the same names: they are not taken for ours.
fn check(scope: Option<&str>, told: Option<&str>) -> Result<(), FollowError> {
    match (scope, told) {
        (Some(ours), Some(other)) if ours != other => Err(FollowError::OtherScope(other.into())),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

async fn cluster(
    http: &HttpClient,
    url: &Endpoint,
    limit: Duration,
    scope: Option<&str>,
) -> Result<View, FollowError> {
    let answer = http.ask(url, Question::get("/cluster"), limit).await?;
    if answer.status != 200 {
        return Err(FollowError::Status(answer.status));
    }
    let view = View::of_cluster(&answer.body)?;
    check(scope, view.scope.as_deref())?;
    Ok(view)
}

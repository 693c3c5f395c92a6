use std::{pin::pin, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::sleep};

use super::{FollowError, Said, Sighting, Source, instant, jittered};
use crate::{
    Endpoint, EtcdError, EtcdKeys, Login, View,
    http::{HttpClient, Lines, Question},
};

/// The pause after the first member of etcd that does not serve; it grows to the interval.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Keys that are read at most.
const KEYS_MAX: u32 = 1000;

/// Watches a cluster's keys.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) http: HttpClient,
    /// The one in use comes first.
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) namespace: String,
    pub(super) scope: String,
    pub(super) login: Option<Login>,
    pub(super) interval: Duration,
    pub(super) limit: Duration,
    pub(super) out: mpsc::Sender<Sighting>,
}

/// Nobody listens any more.
struct Unheard;

impl Watcher {
    /// Runs until nobody listens any more. An etcd that does not serve is left for the next at once.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let asked_at = instant();
            let Some(endpoint) = self.endpoints.first().cloned() else { return };
            let mut served = false;
            let error = match self.watch(&endpoint, &mut served).await {
                Ok(Unheard) => return,
                Err(error) => error,
            };
            if served {
                pause = FIRST_PAUSE;
            }
            let said = Said::Nothing(Arc::new(error));
            if self.out.send(Sighting { source: Source::Etcd, endpoint, asked_at, said }).await.is_err() {
                return;
            }
            self.endpoints.rotate_left(1);
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(self.interval.max(FIRST_PAUSE));
        }
    }

    /// Reads the keys, and follows their changes. `served` becomes true once there was an answer.
    async fn watch(&self, endpoint: &Endpoint, served: &mut bool) -> Result<Unheard, FollowError> {
        let token = self.token(endpoint).await?;
        // Not those of the last connection: an etcd that was restored from an older copy begins below its revision.
        let mut keys = EtcdKeys::new(&self.namespace, &self.scope);
        if self.look(endpoint, &token, &mut keys).await?.is_none() {
            return Ok(Unheard);
        }
        *served = true;
        let mut lines = self.begin(endpoint, &token, &keys).await?;
        let mut next_look = pin!(sleep(jittered(self.interval)));
        loop {
            tokio::select! {
                line = lines.next() => {
                    let line = line?.ok_or(FollowError::Ended)?;
                    let asked_at = instant();
                    if !line.is_empty() && keys.apply_watch(&line)? && !self.tell(endpoint, asked_at, keys.view()).await {
                        return Ok(Unheard);
                    }
                }
                // A watch is silent when nothing changes and when etcd is gone. A read that needs the majority of
                // etcd's members shows which it is, and that what is known still holds.
                () = &mut next_look => {
                    if self.look(endpoint, &token, &mut keys).await?.is_none() {
                        return Ok(Unheard);
                    }
                    next_look.set(sleep(jittered(self.interval)));
                }
            }
        }
    }

    /// Reads all keys, and tells. `None`: nobody listens.
    async fn look(
        &self,
        endpoint: &Endpoint,
        token: &Option<HeaderValue>,
        keys: &mut EtcdKeys,
    ) -> Result<Option<()>, FollowError> {
        let asked_at = instant();
        let body = json!({
            "key": BASE64_STANDARD.encode(keys.first()),
            "range_end": BASE64_STANDARD.encode(keys.end()),
            "limit": KEYS_MAX,
        });
        let question = Question { authorization: token.clone(), ..Question::post("/v3/kv/range", &body) };
        let answer = self.http.ask(endpoint, question, self.limit).await?;
        // A refusal comes with a status and a reason.
        keys.apply_range(&answer.body).map_err(|error| match error {
            EtcdError::Malformed(_) if answer.status != 200 => FollowError::Status(answer.status),
            error => FollowError::Etcd(error),
        })?;
        Ok(self.tell(endpoint, asked_at, keys.view()).await.then_some(()))
    }

    async fn begin(
        &self,
        endpoint: &Endpoint,
        token: &Option<HeaderValue>,
        keys: &EtcdKeys,
    ) -> Result<Lines, FollowError> {
        let body = json!({ "create_request": {
            "key": BASE64_STANDARD.encode(keys.first()),
            "range_end": BASE64_STANDARD.encode(keys.end()),
            "start_revision": keys.revision().saturating_add(1).to_string(),
        }});
        let question = Question { authorization: token.clone(), ..Question::post("/v3/watch", &body) };
        let (status, lines) = self.http.stream(endpoint, question, self.limit).await?;
        if status == 200 { Ok(lines) } else { Err(FollowError::Status(status)) }
    }

    /// What etcd knows us by, if it wants to. It expires; then the watch ends, and begins anew with another.
    async fn token(&self, endpoint: &Endpoint) -> Result<Option<HeaderValue>, FollowError> {
        let Some(login) = &self.login else { return Ok(None) };
        let body = json!({ "name": login.user, "password": login.secret.clear_text() });
        let question = Question::post("/v3/auth/authenticate", &body);
        let answer = self.http.ask(endpoint, question, self.limit).await?;
        if answer.status != 200 {
            return Err(FollowError::Status(answer.status));
        }
        let answer: Value = serde_json::from_slice(&answer.body).map_err(EtcdError::Malformed)?;
        let token =
            answer.get("token").and_then(Value::as_str).and_then(|token| token.parse::<HeaderValue>().ok());
        Ok(token.map(|mut token| {
            token.set_sensitive(true);
            token
        }))
    }

    /// False: nobody listens.
    async fn tell(&self, endpoint: &Endpoint, asked_at: std::time::Instant, view: View) -> bool {
        let (source, endpoint) = (Source::Etcd, endpoint.clone());
        self.out.send(Sighting { source, endpoint, asked_at, said: Said::All(Arc::new(view)) }).await.is_ok()
    }
}

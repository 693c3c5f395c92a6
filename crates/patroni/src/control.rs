//! Patroni's verbs: what a planned move is asked for with.

use std::time::Duration;

use conn::{TlsFileError, WebTlsConfig};
use hyper::{Method, header::HeaderValue};
use serde_json::{Value, json};

use crate::{
    Endpoint, HttpError, Settings, View,
    http::{Answer, HttpClient, Question, basic},
    rest::MalformedAnswer,
    view::word,
};

/// How long Patroni may take for a verb: it waits itself until a switchover or a restart is over.
const VERB_LIMIT: Duration = Duration::from_secs(60);

/// Patroni did it; in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What it said.
    pub text: Box<str>,
    /// Whether it is over, or was merely begun or put down for later (HTTP 202).
    pub progress: Progress,
}

/// How far a verb has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    /// It is over.
    Over,
    /// It was accepted.
    Accepted,
}

/// Why Patroni did not.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No member's REST API is known.
    #[error("no REST API of Patroni is known")]
    NoUrl,
    /// Patroni does not know this member, or not where its REST API is.
    #[error("Patroni tells of no member {0:?} with a REST API")]
    NoMember(Box<str>),
    /// None of them answered; why the last did not.
    #[error("Patroni cannot be asked at {url}")]
    Unreachable {
        /// The last that was tried.
        url: Endpoint,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// The exchange broke after the request was sent: it may have been carried out.
    #[error("Patroni at {url} was asked, and its answer was lost")]
    Lost {
        /// Which.
        url: Endpoint,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// It wants to know who asks (401, 403).
    #[error("Patroni refuses: user and password of its REST API are needed, or are wrong")]
    Unauthorized,
    /// It refuses (4xx), or tried and failed (5xx); in its own words.
    #[error("Patroni refuses ({status}): {text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        text: Box<str>,
    },
    /// The answer cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedAnswer),
}

/// Asks Patroni to do something. Cheap to make; holds no connection.
#[derive(Debug, Clone)]
pub struct Control {
    http: HttpClient,
    urls: Vec<Endpoint>,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl Control {
    /// Reads the certificate files.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file that is wrong.
    pub fn new(settings: &Settings) -> Result<Self, TlsFileError> {
        let tls = settings.uses_tls().then(|| WebTlsConfig::load(&settings.tls)).transpose()?;
        Ok(Self {
            http: HttpClient { tls, connect: settings.timeout },
            urls: settings.urls.clone(),
            authorization: settings.login.as_ref().and_then(basic),
            timeout: settings.timeout,
        })
    }

    /// What Patroni says of the cluster now.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn cluster(&self) -> Result<View, ControlError> {
        let answer = self.first(&self.urls, &Question::get("/cluster"), self.timeout).await?;
        Ok(View::of_cluster(&accepted(answer)?.body)?)
    }

    /// Hands the leadership over in good order: from `leader`, which must be the present one, to `candidate`, or to the
    /// best. Returns when it is over.
    ///
    /// # Errors
    /// [`ControlError`]; with [`ControlError::Refused`] nothing was changed.
    pub async fn switchover(&self, leader: &str, candidate: Option<&str>) -> Result<Done, ControlError> {
        let mut body = json!({ "leader": leader });
        add(&mut body, "candidate", candidate);
        self.verb(&self.urls, &Question::post("/switchover", &body)).await
    }

    /// Makes `candidate` the leader although there is none, or none that can be asked.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn failover(&self, candidate: &str) -> Result<Done, ControlError> {
        self.verb(&self.urls, &Question::post("/failover", &json!({ "candidate": candidate }))).await
    }

    /// Restarts the PostgreSQL of `member`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn restart(&self, member: &str) -> Result<Done, ControlError> {
        let api = self.api(member).await?;
        self.verb(&[api], &Question::post("/restart", &json!({}))).await
    }

    /// Makes the data directory of `member` anew from the leader. Returns when that has begun.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn reinitialize(&self, member: &str) -> Result<Done, ControlError> {
        let api = self.api(member).await?;
        self.verb(&[api], &Question::post("/reinitialize", &json!({}))).await
    }

    /// Has Patroni act no more by itself.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn pause(&self) -> Result<Done, ControlError> {
        self.configure(&json!({ "pause": true })).await
    }

    /// Has Patroni act by itself again.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn resume(&self) -> Result<Done, ControlError> {
        self.configure(&json!({ "pause": null })).await
    }

    async fn configure(&self, change: &Value) -> Result<Done, ControlError> {
        let question = Question { method: Method::PATCH, ..Question::post("/config", change) };
        // It answers with the whole configuration, which is of no interest here.
        self.verb(&self.urls, &question).await.map(|done| Done { text: "ok".into(), ..done })
    }

    /// Where the REST API of a member is, as Patroni tells.
    async fn api(&self, member: &str) -> Result<Endpoint, ControlError> {
        let view = self.cluster().await?;
        let api = view.member(member).and_then(|member| member.api.clone());
        api.ok_or_else(|| ControlError::NoMember(word(member)))
    }

    async fn verb(&self, urls: &[Endpoint], question: &Question<'_>) -> Result<Done, ControlError> {
        let answer = accepted(self.first(urls, question, VERB_LIMIT).await?)?;
        let progress = if answer.status == 202 { Progress::Accepted } else { Progress::Over };
        Ok(Done { text: said(&answer), progress })
    }

    /// User and password, for hosts that were configured: an answer that names another must not lead them astray.
    fn authorization(&self, url: &Endpoint) -> Option<HeaderValue> {
        let is_known = |known: &Endpoint| (&known.host, known.scheme) == (&url.host, url.scheme);
        self.authorization.clone().filter(|_| self.urls.iter().any(is_known))
    }

    /// Asks one after the other until one answers. Only one that was certainly not asked is passed over, unless the
    /// question changes nothing: a verb is not to be carried out twice.
    async fn first(
        &self,
        urls: &[Endpoint],
        question: &Question<'_>,
        limit: Duration,
    ) -> Result<Answer, ControlError> {
        let mut last = ControlError::NoUrl;
        for url in urls {
            let asked = Question { authorization: self.authorization(url), ..question.clone() };
            match self.http.ask(url, asked, limit).await {
                Ok(answer) => return Ok(answer),
                Err(source) => {
                    let untouched = question.method == Method::GET
                        || matches!(source, HttpError::Dial(_) | HttpError::Unreached(_));
                    if !untouched {
                        return Err(ControlError::Lost { url: url.clone(), source });
                    }
                    last = ControlError::Unreachable { url: url.clone(), source };
                }
            }
        }
        Err(last)
    }
}

fn add(body: &mut Value, name: &str, value: Option<&str>) {
    if let (Some(object), Some(value)) = (body.as_object_mut(), value) {
        object.insert(name.to_owned(), value.into());
    }
}

fn accepted(answer: Answer) -> Result<Answer, ControlError> {
    match answer.status {
        200..300 => Ok(answer),
        401 | 403 => Err(ControlError::Unauthorized),
        status => Err(ControlError::Refused { status, text: said(&answer) }),
    }
}

/// Patroni answers verbs with a sentence.
fn said(answer: &Answer) -> Box<str> {
    word(&String::from_utf8_lossy(&answer.body))
}

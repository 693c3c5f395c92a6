//! One request and its answer.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Body, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{
    api::{ErrorBody, Kind, Refusal, SourceRequest, Verb},
    node::{Node, Task},
};

/// Most bytes of a request's body.
const BODY_MAX: usize = 64 * 1024;
/// How long a body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Answers whatever is asked.
pub(super) async fn answer<B>(
    node: Arc<Node>,
    request: Request<B>,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Ok(match verb_of(&request) {
        Ok(Verb::Status) => json(StatusCode::OK, &node.status().await),
        Ok(verb) => match task_of(verb, request).await {
            Ok(task) => match node.perform(task).await {
                Ok(report) => json(StatusCode::OK, &report),
                Err(refusal) => refused(refusal),
            },
            Err(refusal) => refused(refusal),
        },
        Err(WrongVerb::Unknown) => {
            let known: Vec<&str> = Verb::ALL.iter().map(|verb| verb.name()).collect();
            refused(Refusal::new(Kind::UnknownVerb, format!("the verbs are {}", known.join(", "))))
        }
        Err(WrongVerb::Method(method)) => {
            let refusal = Refusal::new(Kind::Malformed, format!("this verb wants the method {method}"));
            let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &ErrorBody { error: refusal });
            response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(method));
            response
        }
    })
}

enum WrongVerb {
    Unknown,
    Method(&'static str),
}

fn verb_of<B>(request: &Request<B>) -> Result<Verb, WrongVerb> {
    let name = request.uri().path().strip_prefix('/').unwrap_or_default();
    let verb = Verb::named(name).ok_or(WrongVerb::Unknown)?;
    let method = if verb == Verb::Status { Method::GET } else { Method::POST };
    let name = if verb == Verb::Status { "GET" } else { "POST" };
    if *request.method() == method { Ok(verb) } else { Err(WrongVerb::Method(name)) }
}

async fn task_of<B>(verb: Verb, request: Request<B>) -> Result<Task, Refusal>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = timeout(BODY_PATIENCE, Limited::new(request.into_body(), BODY_MAX).collect()).await;
    let body = body.map_err(|_| Refusal::new(Kind::Malformed, "the body takes too long"))?;
    let body = body.map_err(|error| Refusal::new(Kind::Malformed, format!("the body: {error}")))?.to_bytes();
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    Ok(match verb {
        Verb::Start => Task::Start(parse(body)?),
        Verb::Stop => Task::Stop(parse(body)?),
        Verb::Restart => Task::Restart(parse(body)?),
        Verb::Rewind => Task::Rewind(source(body)?),
        Verb::Reinit => Task::Reinit(source(body)?),
        Verb::Fence => parse(body).map(|Nothing {}| Task::Fence)?,
        Verb::Unfence => parse(body).map(|Nothing {}| Task::Unfence)?,
        Verb::Status => return Err(Refusal::new(Kind::Malformed, "status changes nothing")),
    })
}

/// A body without keys.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new(Kind::Malformed, format!("the body: {error}")))
}

fn source(body: &[u8]) -> Result<SourceRequest, Refusal> {
    let request: SourceRequest = parse(body)?;
    match request.problem() {
        None => Ok(request),
        Some(problem) => Err(Refusal::new(Kind::Malformed, problem)),
    }
}

fn refused(refusal: Refusal) -> Response<Full<Bytes>> {
    let code = StatusCode::from_u16(refusal.kind.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(code, &ErrorBody { error: refusal })
}

fn json(code: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let mut text = serde_json::to_vec(body).expect("maps have text keys and numbers are finite");
    text.push(b'\n');
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = code;
    let plain = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

//! Questions over HTTP/1.1, each on a connection of its own: Patroni's server closes them anyway.

use std::{pin::pin, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Buf, Bytes, BytesMut};
use conn::{DialError, Stream, Target, WebTlsConfig};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    client::conn::http1::{self, Connection, SendRequest},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{task::JoinSet, time::timeout};

use crate::{Endpoint, Login, Scheme};

/// The longest answer that is read, in bytes: a cluster of 256 members with long tags.
const BODY_MAX: usize = 4 << 20;

/// The longest line of a stream that is read, in bytes.
const LINE_MAX: usize = 4 << 20;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody is there, or it is not who it should be.
    #[error("cannot connect")]
    Dial(#[from] DialError),
    /// No connection in time.
    #[error("no connection within {0:?}")]
    Unreached(Duration),
    /// Not in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It does not speak HTTP, or the connection ended early.
    #[error("the HTTP exchange failed")]
    Exchange(#[from] hyper::Error),
    /// The answer is longer than anything that is asked for here.
    #[error("the answer is too long")]
    TooLong,
    /// A user's name or token that cannot be sent.
    #[error("the request cannot be written")]
    Request(#[from] hyper::http::Error),
}

/// What a server said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// A question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    /// With a slash.
    pub(crate) path: &'a str,
    /// JSON.
    pub(crate) body: Option<String>,
    pub(crate) authorization: Option<HeaderValue>,
}

impl<'a> Question<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        Self { path, ..Self::default() }
    }

    pub(crate) fn post(path: &'a str, body: &serde_json::Value) -> Self {
        Self { method: Method::POST, path, body: Some(body.to_string()), authorization: None }
    }
}

/// The header that tells who asks (RFC 7617). `None` for a secret that is not known in clear text.
pub(crate) fn basic(login: &Login) -> Option<HeaderValue> {
    let pair = format!("{}:{}", login.user, login.secret.clear_text()?);
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Asks HTTP servers.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    /// `None`: no `https` URL is configured.
    pub(crate) tls: Option<WebTlsConfig>,
    /// How long a connection may take.
    pub(crate) connect: Duration,
}

impl HttpClient {
    /// Asks, and reads the whole answer.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; what was asked for may happen.
    pub(crate) async fn ask(
        &self,
        endpoint: &Endpoint,
        question: Question<'_>,
        limit: Duration,
    ) -> Result<Answer, HttpError> {
        let exchange = async {
            let (mut sender, connection) = self.connect(endpoint).await?;
            let request = request(endpoint, question)?;
            let mut answer = pin!(async {
                let response = sender.send_request(request).await?;
                let status = response.status().as_u16();
                let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
                let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
                    Ok(error) => HttpError::Exchange(*error),
                    Err(other) => {
                        debug_assert!(other.is::<LengthLimitError>());
                        HttpError::TooLong
                    }
                })?;
                Ok(Answer { status, body: body.to_bytes() })
            });
            let connection = pin!(connection);
            tokio::select! {
                biased;
                answer = &mut answer => answer,
                // The server closed its side; what it said before is still to be read.
                _ = connection => answer.await,
            }
        };
        timeout(limit, exchange).await.unwrap_or(Err(HttpError::Timeout(limit)))
    }

    /// Asks for an answer that comes in lines, without end. `limit` holds for its beginning.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub(crate) async fn stream(
        &self,
        endpoint: &Endpoint,
        question: Question<'_>,
        limit: Duration,
    ) -> Result<(u16, Lines), HttpError> {
        let begin = async {
            let (mut sender, connection) = self.connect(endpoint).await?;
            let request = request(endpoint, question)?;
            let mut task = JoinSet::new();
            task.spawn(async move {
                // How it ended is told by the body's end.
                let _ = connection.await;
            });
            let response: Response<Incoming> = sender.send_request(request).await?;
            let status = response.status().as_u16();
            Ok((
                status,
                Lines { body: response.into_body(), buffer: BytesMut::new(), _sender: sender, _task: task },
            ))
        };
        timeout(limit, begin).await.unwrap_or(Err(HttpError::Timeout(limit)))
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(SendRequest<Full<Bytes>>, Connection<TokioIo<Stream>, Full<Bytes>>), HttpError> {
        let target = Target { host: endpoint.host.clone(), port: endpoint.port };
        let tls = match endpoint.scheme {
            Scheme::Http => None,
            // Without trusted authorities nobody can be checked.
            Scheme::Https => Some(self.tls.as_ref().ok_or(DialError::Tls(conn::TlsFailure::NotOffered))?),
        };
        let dialing = timeout(self.connect, conn::dial_web(&target, tls));
        let stream = dialing.await.map_err(|_| HttpError::Unreached(self.connect))??;
        Ok(http1::Builder::new()
            .max_headers(64)
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await?)
    }
}

fn request(endpoint: &Endpoint, question: Question<'_>) -> Result<Request<Full<Bytes>>, HttpError> {
    let mut builder = Request::builder()
        .method(question.method)
        .uri(question.path)
        .header(HOST, endpoint.authority())
        .header(USER_AGENT, "pgherd");
    if question.body.is_some() {
        builder = builder.header(CONTENT_TYPE, "application/json");
    }
    if let Some(authorization) = question.authorization {
        builder = builder.header(AUTHORIZATION, authorization);
    }
    Ok(builder.body(Full::new(Bytes::from(question.body.unwrap_or_default())))?)
}

/// An answer that comes in lines. Dropping it closes its connection.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// Without it the connection would be closed.
    _sender: SendRequest<Full<Bytes>>,
    _task: JoinSet<()>,
}

impl Lines {
    /// The next line without its end; `None` after the last.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        let mut searched = 0;
        loop {
            let unseen = self.buffer.get(searched..).unwrap_or_default();
            if let Some(at) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(searched.saturating_add(at)).freeze();
                self.buffer.advance(1);
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if searched > LINE_MAX {
                return Err(HttpError::TooLong);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

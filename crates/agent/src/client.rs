//! The caller's side.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    address::Address,
    api::{
        ErrorBody, Refusal, Report, RestartRequest, SourceRequest, StartRequest, Status, StopRequest, Verb,
    },
    tls::ClientTls,
};

/// Most bytes of an answer.
const ANSWER_MAX: usize = 256 * 1024;

/// Calls one agent. Each call is a connection of its own. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    tls: ClientTls,
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there, or the way there is cut.
    #[error("cannot connect to the agent at {address}")]
    Connect {
        /// The agent.
        address: Address,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// One of the two does not trust the other's certificate.
    #[error("the agent at {address} and this proxy do not agree on TLS")]
    Tls {
        /// The agent.
        address: Address,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The deadline has passed. What was asked for may still be done: a verb goes on without its caller.
    #[error("the agent at {address} did not answer {verb} within {after:?}")]
    Timeout {
        /// The agent.
        address: Address,
        /// What was asked.
        verb: Verb,
        /// The deadline.
        after: Duration,
    },
    /// The connection was lost. What was asked for may still be done.
    #[error("the connection to the agent at {address} was lost")]
    Lost {
        /// The agent.
        address: Address,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// Whoever answered is no agent that this version understands.
    #[error("the agent at {address} answered {code} with something unintelligible")]
    Unintelligible {
        /// The agent.
        address: Address,
        /// The HTTP status code.
        code: u16,
    },
    /// The agent says why not.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

impl CallError {
    /// The agent's own reason, if it has answered.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::Lost { .. }
            | Self::Unintelligible { .. } => None,
        }
    }

    /// Whether nothing was asked yet when it failed, so that nothing can have been done.
    #[must_use]
    pub fn is_before_the_request(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Tls { .. })
    }
}

impl Client {
    /// For the agent at an address.
    #[must_use]
    pub fn new(address: Address, tls: ClientTls) -> Self {
        Self { address, tls }
    }

    /// Where the agent is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks how things are. `deadline` bounds the whole call, as in all of these.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// A dropped call closes its connection; a changing verb that the agent has begun goes on there.
    pub async fn status(&self, deadline: Duration) -> Result<Status, CallError> {
        self.call(Verb::Status, &(), deadline).await
    }

    /// Starts PostgreSQL and waits until it accepts connections.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn start(&self, request: &StartRequest, deadline: Duration) -> Result<Report, CallError> {
        self.call(Verb::Start, request, deadline).await
    }

    /// Stops PostgreSQL and waits until it is gone.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stop(&self, request: &StopRequest, deadline: Duration) -> Result<Report, CallError> {
        self.call(Verb::Stop, request, deadline).await
    }

    /// Stops and starts PostgreSQL.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn restart(&self, request: &RestartRequest, deadline: Duration) -> Result<Report, CallError> {
        self.call(Verb::Restart, request, deadline).await
    }

    /// Rewinds the node to another server's history and makes it a standby of that, stopped.
    ///
    /// # Errors
    /// [`CallError`]; [`crate::Kind::needs_copy`] says when [`Client::reinit`] helps.
    pub async fn rewind(&self, request: &SourceRequest, deadline: Duration) -> Result<Report, CallError> {
        self.call(Verb::Rewind, request, deadline).await
    }

    /// Replaces the node's data by a copy of another server's and makes it a standby of that, stopped.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn reinit(&self, request: &SourceRequest, deadline: Duration) -> Result<Report, CallError> {
        self.call(Verb::Reinit, request, deadline).await
    }

    /// Stops PostgreSQL by whatever it takes and keeps it from being started. Never waits for another verb.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn fence(&self, deadline: Duration) -> Result<Report, CallError> {
        self.call(Verb::Fence, &(), deadline).await
    }

    /// Lets PostgreSQL be started again.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unfence(&self, deadline: Duration) -> Result<Report, CallError> {
        self.call(Verb::Unfence, &(), deadline).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        verb: Verb,
        body: &impl Serialize,
        deadline: Duration,
    ) -> Result<T, CallError> {
        let address = || self.address.clone();
        let answer = timeout(deadline, self.exchange(verb, body)).await;
        let (code, body) =
            answer.map_err(|_| CallError::Timeout { address: address(), verb, after: deadline })??;
        let unintelligible = || CallError::Unintelligible { address: address(), code: code.as_u16() };
        if code == StatusCode::OK {
            serde_json::from_slice(&body).map_err(|_| unintelligible())
        } else {
            let body: ErrorBody = serde_json::from_slice(&body).map_err(|_| unintelligible())?;
            Err(CallError::Refused(body.error))
        }
    }

    async fn exchange(&self, verb: Verb, body: &impl Serialize) -> Result<(StatusCode, Bytes), CallError> {
        let address = || self.address.clone();
        let lost = |source| CallError::Lost { address: address(), source };
        let connected = TcpStream::connect((self.address.host.as_str(), self.address.port)).await;
        let socket = connected.map_err(|source| CallError::Connect { address: address(), source })?;
        let name = ServerName::try_from(self.address.host.clone());
        let name =
            name.map_err(|error| CallError::Tls { address: address(), source: io::Error::other(error) })?;
        let stream = self.tls.0.connect(name, socket).await;
        let stream = stream.map_err(|source| CallError::Tls { address: address(), source })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let request = self.request(verb, body);
        let talk = async {
            let response = sender.send_request(request).await.map_err(lost)?;
            let code = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
            let body =
                body.map_err(|_| CallError::Unintelligible { address: address(), code: code.as_u16() })?;
            Ok((code, body.to_bytes()))
        };
        tokio::pin!(talk);
        // the connection moves the bytes; when it ends first, the exchange is told
        tokio::select! {
            answer = &mut talk => answer,
            ended = connection => match ended {
                Ok(()) => talk.await,
                Err(error) => Err(self.ended(error)),
            },
        }
    }

    /// In TLS 1.3 a client learns only after its own handshake that its certificate is not wanted.
    fn ended(&self, error: hyper::Error) -> CallError {
        let address = self.address.clone();
        let alert = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        let is_alert = alert.is_some_and(|source| source.kind() == io::ErrorKind::InvalidData);
        if is_alert {
            CallError::Tls { address, source: io::Error::other(error) }
        } else {
            CallError::Lost { address, source: error }
        }
    }

    fn request(&self, verb: Verb, body: &impl Serialize) -> Request<Full<Bytes>> {
        let method = if verb == Verb::Status { Method::GET } else { Method::POST };
        // a unit is `null` in JSON; it stands for no body
        let text = serde_json::to_vec(body).expect("maps have text keys and numbers are finite");
        let text = if text == b"null" { Bytes::new() } else { Bytes::from(text) };
        let mut request = Request::new(Full::new(text));
        *request.method_mut() = method;
        *request.uri_mut() = format!("/{verb}").parse().expect("a verb's name is a path");
        let host = header::HeaderValue::from_str(&self.address.to_string());
        if let Ok(host) = host {
            request.headers_mut().insert(header::HOST, host);
        }
        let plain = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, plain);
        request
    }
}

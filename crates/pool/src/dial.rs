use std::{fmt, sync::Arc, time::Duration};

use conn::{DialError, ServerTlsConfig, Target};
use topology::{NodeId, Report, Stamp};
use wire::{SqlState, message::error::ErrorMessage};

/// Everything needed to make one more server connection of a pool.
#[derive(Clone)]
pub struct DialPlan {
    /// The node, for reports.
    pub node: NodeId,
    /// Where it listens.
    pub target: Target,
    /// Whether and how to speak TLS.
    pub tls: Arc<ServerTlsConfig>,
    /// The role to log in as.
    pub user: Box<str>,
    /// The database on the server.
    pub database: Box<str>,
    /// The role's secret; `None`: the server asks for none.
    pub secret: Option<Arc<auth::Secret>>,
    /// How long all of it may take.
    pub timeout: Duration,
}

impl fmt::Debug for DialPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.target.host, self.target.port, self.database)
    }
}

impl DialPlan {
    /// Dials and logs in, with these startup parameters beside user and database.
    ///
    /// # Errors
    /// [`DialFailure`]; at the latest after the plan's timeout.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn connect(&self, parameters: &[(&str, &str)]) -> Result<conn::ServerConnection, DialFailure> {
        let login = conn::Login {
            user: &self.user,
            database: &self.database,
            secret: self.secret.as_deref(),
            parameters,
        };
        let dialing = conn::dial(&self.target, &self.tls, &login);
        match tokio::time::timeout(self.timeout, dialing).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(DialFailure::Timeout(self.timeout)),
        }
    }
}

/// What a pool has to know of the topology, and what it tells about it.
pub trait Gate: fmt::Debug {
    /// Under which stamp a connection to `node` made now belongs; `None`: none may be made.
    fn stamp(&self, node: NodeId) -> Option<Stamp>;
    /// Whether a connection of this stamp may still be used.
    fn admits(&self, stamp: &Stamp) -> bool;
    /// Takes note of what was learned about `node`.
    fn report(&self, node: NodeId, report: Report);
}

/// Why a server connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialFailure {
    /// Not within the time allowed.
    #[error("no login within {0:?}")]
    Timeout(Duration),
    /// The dialing itself failed.
    #[error(transparent)]
    Dial(#[from] DialError),
}

impl DialFailure {
    /// Whether the node may well answer a moment later, here or after a failover: then waiting beats failing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Dial(DialError::Refused | DialError::Resolve(_) | DialError::Io(_)) => true,
            Self::Dial(error) => error.sqlstate().is_some_and(|code| {
                matches!(
                    code,
                    SqlState::ADMIN_SHUTDOWN
                        | SqlState::CRASH_SHUTDOWN
                        | SqlState::CANNOT_CONNECT_NOW
                        | SqlState::TOO_MANY_CONNECTIONS
                )
            }),
        }
    }

    /// What a client that asked for the connection is told. A server's own refusal is passed on; anything else may
    /// name hosts and keys, and is for the log.
    #[must_use]
    pub fn error_message(&self) -> ErrorMessage {
        match self {
            Self::Dial(DialError::Server(error)) => {
                let mut message = ErrorMessage::error(error.code, error.message.to_string());
                message.detail = error.detail.as_deref().map(|text| text.to_owned().into());
                message.hint = error.hint.as_deref().map(|text| text.to_owned().into());
                message
            }
            Self::Dial(DialError::Auth(error)) => ErrorMessage::error(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "the proxy could not log in to the server",
            )
            .with_detail(error.to_string()),
            Self::Dial(DialError::Tls(error)) => {
                ErrorMessage::error(SqlState::CONNECTION_FAILURE, "the proxy could not connect to the server")
                    .with_detail(error.to_string())
            }
            Self::Timeout(_) | Self::Dial(_) => {
                ErrorMessage::error(SqlState::CANNOT_CONNECT_NOW, "no server could be reached")
                    .with_detail(self.to_string())
            }
        }
    }

    /// What it says about the node, if anything.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        match self {
            Self::Timeout(_) => None,
            Self::Dial(DialError::Refused) => Some(Report::DialRefused),
            Self::Dial(error) => match error.sqlstate() {
                Some(SqlState::ADMIN_SHUTDOWN) => Some(Report::Shutdown),
                Some(SqlState::CRASH_SHUTDOWN) => Some(Report::Crashed),
                Some(SqlState::CANNOT_CONNECT_NOW) => Some(Report::Starting),
                _ => None,
            },
        }
    }
}

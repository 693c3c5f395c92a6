//! From an accepted socket to a client that is known to be who it says. Runs on the control runtime, so that a
//! thousand handshakes slow no query down.

use std::{
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use auth::{Authenticated, MockKey, ScramServer, Secret, scram};
use conn::{
    ClientTlsConfig, Greeting, ProxyHeaderFailure, Socket, Stream, accept_startup, fill_random,
    read_proxy_header,
};
use routing::Policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::{
    SqlState,
    frame::{Direction, HEADER_LEN, Header},
    message::{
        backend::{Authentication, negotiate_protocol_version},
        error::ErrorMessage,
    },
};

use crate::{
    CancelKeys, ClientId, Command, Elsewhere, NewClient, Purpose, WorkerHandle, World,
    startup::StartupParameters,
};

/// A boxed future that can go to another thread.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = Result<Option<Arc<Secret>>, Unavailable>> + Send + 'a>>;

/// Whether there is such a role cannot be found out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// Where the secrets of roles come from.
pub trait Users: Send + Sync {
    /// The secret of `user`; `None` if there is no such role, or it has none. `fresh`: a remembered answer will not
    /// do, since a login with it has just failed.
    ///
    /// # Errors
    /// [`Unavailable`], which is no verdict about the client and must not sound like one.
    fn secret<'a>(&'a self, user: &'a str, fresh: bool) -> Lookup<'a>;
}

/// How a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// What its listener is for.
    pub policy: Policy,
    /// Where it comes from; `None`: over a Unix-domain socket.
    pub address: Option<SocketAddr>,
    /// Whether it comes by way of a load balancer.
    pub via: Via,
}

/// The way of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Its own connection.
    Direct,
    /// A load balancer's, which first says for whom it is (PROXY protocol).
    Balancer,
}

/// What became of a socket.
#[derive(Debug)]
pub enum Greeted {
    /// Its client is on its way to a worker.
    Adopted(ClientId),
    /// It asked for the console, and is who it says; nothing has been sent since its password.
    Console {
        /// The connection.
        stream: Stream,
        /// Who it is.
        user: Authenticated,
        /// Its id.
        id: ClientId,
    },
    /// It wanted a cancel, or was told to go.
    Done,
}

/// Takes clients in.
pub struct Greeter {
    /// Client TLS, replaced by a reload.
    pub tls: Arc<ArcSwap<ClientTlsConfig>>,
    /// The configuration, replaced by a reload.
    pub world: Arc<ArcSwap<World>>,
    /// Who may log in.
    pub users: Arc<dyn Users>,
    /// Who serves.
    pub workers: Vec<WorkerHandle>,
    /// Who may be cancelled.
    pub keys: Arc<CancelKeys>,
    /// What unknown users are led on with.
    pub mock: MockKey,
    /// Where cancel requests go whose client is not here.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    next_id: AtomicU64,
    logging_in: AtomicU32,
}

/// Databases that lead to the console.
const CONSOLE: [&str; 2] = ["pgherd", "pgbouncer"];

/// The newest minor version of protocol 3 that is served.
const NEWEST_MINOR: u32 = 2;

impl Greeter {
    /// Takes in nobody yet.
    #[must_use]
    pub fn new(
        tls: Arc<ArcSwap<ClientTlsConfig>>,
        world: Arc<ArcSwap<World>>,
        users: Arc<dyn Users>,
        workers: Vec<WorkerHandle>,
        keys: Arc<CancelKeys>,
    ) -> Self {
        let mock = MockKey::new(&mut fill_random);
        let (next_id, logging_in) = (AtomicU64::new(1), AtomicU32::new(0));
        Self { tls, world, users, workers, keys, mock, elsewhere: None, next_id, logging_in }
    }

    /// Deals with one socket, within the login timeout. Errors are told to the client and logged here.
    pub async fn greet(&self, socket: Socket, arrival: Arrival) -> Greeted {
        let timeout = self.world.load().session.login_timeout;
        self.logging_in.fetch_add(1, Ordering::Relaxed);
        let greeted = tokio::time::timeout(timeout, self.greet_in_time(socket, arrival)).await;
        self.logging_in.fetch_sub(1, Ordering::Relaxed);
        greeted.unwrap_or_else(|_| {
            tracing::debug!("a client did not log in in time");
            Greeted::Done
        })
    }

    /// Clients between accept and the end of their login.
    pub fn logging_in(&self) -> u32 {
        self.logging_in.load(Ordering::Relaxed)
    }

    async fn greet_in_time(&self, mut socket: Socket, mut arrival: Arrival) -> Greeted {
        if arrival.via == Via::Balancer {
            match read_proxy_header(&mut socket).await {
                Ok(source) => arrival.address = source.or(arrival.address),
                Err(ProxyHeaderFailure::Io(error)) => {
                    tracing::debug!(peer = ?arrival.address, %error, "a load balancer said nothing");
                    return Greeted::Done;
                }
                Err(ProxyHeaderFailure::Header(error)) => {
                    tracing::warn!(peer = ?arrival.address, %error, "connection refused");
                    return Greeted::Done;
                }
            }
        }
        let tls = match socket {
            Socket::Tcp(_) => self.tls.load_full(),
            // nobody can read along; as with PostgreSQL there is none and none is required
            Socket::Unix(_) => Arc::new(ClientTlsConfig::Off),
        };
        match accept_startup(socket, &tls).await {
            Ok(Greeting::Cancel { stream, pid, secret }) => {
                self.cancel_anywhere(pid, &secret).await;
                drop(stream);
                Greeted::Done
            }
            Ok(Greeting::Session { mut stream, version, parameters }) => {
                match self.log_in(&mut stream, version, &parameters).await {
                    Ok(LoggedIn::Console(user)) => Greeted::Console { stream, user, id: self.next_id() },
                    Ok(LoggedIn::Session(session)) => self.adopt(stream, *session, arrival).await,
                    Err(refusal) => {
                        refuse(stream, arrival, refusal).await;
                        Greeted::Done
                    }
                }
            }
            Err(error) => {
                tracing::debug!(peer = ?arrival.address, %error, "a client was not greeted");
                Greeted::Done
            }
        }
    }

    fn next_id(&self) -> ClientId {
        ClientId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    async fn log_in(
        &self,
        stream: &mut Stream,
        version: u32,
        parameters: &[u8],
    ) -> Result<LoggedIn, Refusal> {
        let asked = StartupParameters::read(parameters).map_err(Refusal::told)?;
        let minor = version & 0xffff;
        if minor > NEWEST_MINOR || !asked.unknown_options.is_empty() {
            let mut out = Vec::new();
            let unknown: Vec<_> = asked.unknown_options.iter().map(|option| &**option).collect();
            negotiate_protocol_version(minor.min(NEWEST_MINOR), &unknown, &mut out);
            stream.write_all(&out).await?;
        }
        let (user, secret) = self.authenticate(stream, &asked.user).await?;
        if CONSOLE.contains(&&*asked.database) {
            return Ok(LoggedIn::Console(user));
        }
        let world = self.world.load_full();
        let Some(database) = served_database(&world, &asked) else {
            let text = format!("database \"{}\" does not exist", asked.database);
            return Err(Refusal::told(ErrorMessage::fatal(SqlState::INVALID_CATALOG_NAME, text)));
        };
        if world.disabled.contains(&asked.database) {
            let text = format!("database \"{}\" is disabled", asked.database);
            let error = ErrorMessage::fatal(SqlState::CANNOT_CONNECT_NOW, text).with_hint(
                "An administrator disabled it here; ENABLE in the console ends that. Try another host.",
            );
            return Err(Refusal::told(error));
        }
        if self.keys.len() >= world.session.max_clients as usize {
            let error =
                ErrorMessage::fatal(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
                    .with_detail(format!("The limit is {}.", world.session.max_clients))
                    .with_hint("Raise [session] max_clients.");
            return Err(Refusal::told(error));
        }
        if asked.purpose == Purpose::Session {
            world.until_functions_are_known(&database).await;
        }
        let StartupParameters { purpose, settings, .. } = asked;
        Ok(LoggedIn::Session(Box::new(SessionLogin { user, secret, database, purpose, settings })))
    }

    /// SCRAM-SHA-256. An unknown user goes through the same exchange and fails at its end in the same words.
    async fn authenticate(
        &self,
        stream: &mut Stream,
        user: &str,
    ) -> Result<(Authenticated, Arc<Secret>), Refusal> {
        let secret = self.users.secret(user, false).await.map_err(|_| cannot_look_up())?;
        match self.scram(stream, user, secret.clone()).await {
            Ok(authenticated) => match secret {
                Some(secret) => Ok((authenticated, secret)),
                None => Err(wrong_password(user)),
            },
            Err(refusal) => {
                // the password may have been changed since it was looked up: the next try gets the new one
                let _ = self.users.secret(user, true).await;
                Err(refusal)
            }
        }
    }

    async fn scram(
        &self,
        stream: &mut Stream,
        user: &str,
        secret: Option<Arc<Secret>>,
    ) -> Result<Authenticated, Refusal> {
        send(stream, Authentication::Sasl { mechanisms: scram::MECHANISMS }).await?;
        let first = read_password(stream).await?;
        let server = ScramServer::new(user, secret, &self.mock);
        let (awaits, reply) =
            server.client_first(&first, &mut fill_random).map_err(|error| scram_refusal(user, &error))?;
        send(stream, Authentication::SaslContinue(&reply)).await?;
        let last = read_password(stream).await?;
        let (authenticated, reply) =
            awaits.client_final(&last).map_err(|error| scram_refusal(user, &error))?;
        send(stream, Authentication::SaslFinal(&reply)).await?;
        Ok(authenticated)
    }

    /// All clients of one database and user go to one worker, so that their pools are not shared between threads.
    async fn adopt(&self, stream: Stream, session: SessionLogin, arrival: Arrival) -> Greeted {
        let SessionLogin { user, secret, database, purpose, settings } = session;
        let mut hasher = DefaultHasher::new();
        (&database, user.user()).hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % self.workers.len().max(1) as u64).unwrap_or(0);
        let Some(worker) = self.workers.get(at) else { return Greeted::Done };
        let id = self.next_id();
        let key = self.keys.issue(worker.id, id, |bytes| fill_random(bytes));
        let Arrival { policy, address, .. } = arrival;
        let secret = Some(secret);
        let client =
            NewClient { id, stream, address, user, database, settings, secret, policy, purpose, key };
        if worker.tell(Command::Adopt(Box::new(client))).await.is_err() {
            self.keys.revoke(&key);
            return Greeted::Done;
        }
        Greeted::Adopted(id)
    }
}

enum LoggedIn {
    Session(Box<SessionLogin>),
    Console(Authenticated),
}

struct SessionLogin {
    user: Authenticated,
    secret: Arc<Secret>,
    database: Box<str>,
    purpose: Purpose,
    settings: Vec<crate::client::Setting>,
}

/// The database as it is configured; `None`: there is none of this name. Who asks for a cluster's WAL as a whole
/// names any or none (`pg_basebackup`: `replication`), which says enough where there is one cluster.
fn served_database(world: &World, asked: &StartupParameters) -> Option<Box<str>> {
    if world.database(&asked.database).is_some() {
        return Some(asked.database.clone());
    }
    let whole_cluster = asked.purpose == Purpose::PhysicalReplication && world.clusters.len() == 1;
    world.databases.first().filter(|_| whole_cluster).map(|database| database.name.as_str().into())
}

/// Why a login came to nothing.
enum Refusal {
    /// The client is told.
    Told(Box<ErrorMessage>),
    /// It has gone.
    Gone,
}

impl Refusal {
    fn told(error: ErrorMessage) -> Self {
        Self::Told(Box::new(error))
    }
}

impl From<std::io::Error> for Refusal {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

/// Told before the exchange begins, so that it tells nothing about the role.
fn cannot_look_up() -> Refusal {
    let text = "roles cannot be looked up now";
    let error = ErrorMessage::fatal(SqlState::CANNOT_CONNECT_NOW, text);
    Refusal::told(error.with_hint("Try again later, or another host."))
}

fn wrong_password(user: &str) -> Refusal {
    let text = format!("password authentication failed for user \"{user}\"");
    Refusal::told(ErrorMessage::fatal(SqlState::INVALID_PASSWORD, text))
}

fn scram_refusal(user: &str, error: &scram::ScramError) -> Refusal {
    match error.sqlstate() {
        SqlState::INVALID_PASSWORD => wrong_password(user),
        code => Refusal::told(ErrorMessage::fatal(code, error.to_string())),
    }
}

async fn refuse(mut stream: Stream, arrival: Arrival, refusal: Refusal) {
    let Refusal::Told(error) = refusal else { return };
    tracing::info!(peer = ?arrival.address, code = %error.code, "login refused");
    let mut out = Vec::new();
    error.write(&mut out);
    // whether the client still listens changes nothing about the refusal
    let _ = stream.write_all(&out).await;
    let _ = stream.shutdown().await;
}

async fn send(stream: &mut Stream, request: Authentication<'_>) -> std::io::Result<()> {
    let mut out = Vec::new();
    request.write(&mut out);
    stream.write_all(&out).await?;
    stream.flush().await
}

/// The body of the next message, which must be a password message of reasonable length.
async fn read_password(stream: &mut Stream) -> Result<Vec<u8>, Refusal> {
    let mut head = [0; HEADER_LEN];
    stream.read_exact(&mut head).await?;
    let limit = u32::try_from(scram::MESSAGE_LIMIT).unwrap_or(u32::MAX);
    let violation = |text: String| Refusal::told(ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, text));
    let header =
        Header::parse(head, Direction::Frontend, limit).map_err(|error| violation(error.to_string()))?;
    if header.tag != b'p' {
        return Err(violation(format!("expected a SASL response, got message type {:#04x}", header.tag)));
    }
    let mut body = vec![0; header.body_len as usize];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

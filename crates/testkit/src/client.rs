use std::{
    collections::hash_map::RandomState,
    fmt,
    future::Future,
    hash::{BuildHasher, Hasher},
    io,
    net::SocketAddr,
    time::Duration,
};

use auth::{ScramClient, Secret};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use wire::message::{
    backend::{Authentication, TxStatus, read_backend_key_data},
    frontend, startup,
};

use crate::{Batch, Message, PATIENCE};

/// A client that sends what it is told to and shows what it gets. It panics when nothing comes within
/// [`PATIENCE`], and when the server breaks the framing.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are not read yet begin here.
    at: usize,
    key: (u32, Vec<u8>),
    parameters: Vec<(String, String)>,
}

/// Who logs in to what.
#[derive(Debug, Clone)]
pub struct ConnectionParameters {
    /// Where.
    pub address: SocketAddr,
    /// The role.
    pub user: String,
    /// Its password in clear text.
    pub password: String,
    /// The database.
    pub database: String,
    /// More startup parameters.
    pub more: Vec<(String, String)>,
    /// Major version in the high 16 bits, minor in the low ones.
    pub version: u32,
}

/// A login that was refused: what the server said, or nothing if it just hung up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub Option<Message>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {:?}", self.0)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// The error's SQLSTATE.
    #[must_use]
    pub fn sqlstate(&self) -> Option<String> {
        self.0.as_ref()?.sqlstate()
    }
}

/// How a login went besides its result.
pub type Connecting = Result<Client, Refused>;

impl ConnectionParameters {
    /// The same with one more startup parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.more.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn connect(&self) -> Connecting {
        Ok(self.connect_and_listen().await?.0)
    }

    /// The same; gives everything that came before the first ReadyForQuery, too.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn connect_and_listen(&self) -> Result<(Client, Vec<Message>), Refused> {
        let mut client = Client::open(self.address).await.map_err(|_| Refused(None))?;
        let mut pairs: Vec<(&[u8], &[u8])> =
            vec![(b"user", self.user.as_bytes()), (b"database", self.database.as_bytes())];
        pairs.extend(self.more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let mut packet = Vec::new();
        startup::session(self.version, &pairs, &mut packet);
        client.send(&packet).await.map_err(|_| Refused(None))?;
        let heard = client.log_in(&self.password).await?;
        Ok((client, heard))
    }
}

impl Client {
    /// A connection on which nothing was said yet.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(in_time("connect", TcpStream::connect(address)).await?)
    }

    /// The same over a connection that the test has made itself.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), at: 0, key: (0, Vec::new()), parameters: Vec::new() })
    }

    /// Answers the authentication requests that follow a startup packet, up to the first ReadyForQuery. Gives
    /// everything that came.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn log_in(&mut self, password: &str) -> Result<Vec<Message>, Refused> {
        let secret = Secret::parse(password).expect("a test's password is valid");
        let mut heard = Vec::new();
        let (mut scram, mut proof) = (None, None);
        loop {
            let message = self.next().await.ok_or(Refused(None))?;
            heard.push(message.clone());
            match message.tag {
                b'R' => match Authentication::read(&message.body).expect("the request is well-formed") {
                    Authentication::Ok => {}
                    Authentication::Sasl { mechanisms } => {
                        let (client, body) = ScramClient::new(&secret, mechanisms, &mut fill)
                            .expect("SCRAM-SHA-256 is offered");
                        scram = Some(client);
                        self.answer(&body).await?;
                    }
                    Authentication::SaslContinue(data) => {
                        let client = scram.take().expect("the exchange began");
                        let challenge = client.server_first(data).expect("server-first is well-formed");
                        let derived = challenge.derivation().map(auth::Derivation::run);
                        let (sent, body) = challenge.respond(derived);
                        proof = Some(sent);
                        self.answer(&body).await?;
                    }
                    Authentication::SaslFinal(data) => {
                        let sent = proof.take().expect("a proof was sent");
                        sent.server_final(data).expect("the server knows the password as well");
                    }
                    request => panic!("unexpected {request:?}"),
                },
                b'E' => return Err(Refused(Some(message))),
                b'Z' => return Ok(heard),
                _ => {}
            }
        }
    }

    async fn answer(&mut self, body: &[u8]) -> Result<(), Refused> {
        let mut message = Vec::new();
        frontend::password(body, &mut message);
        self.send(&message).await.map_err(|_| Refused(None))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        in_time("send", self.stream.write_all(bytes)).await
    }

    /// The next message; `None` at the end of the stream, however it came about.
    pub async fn next(&mut self) -> Option<Message> {
        in_time("a message", self.next_unhurried()).await
    }

    /// The next message if one comes within `patience`.
    ///
    /// # Errors
    /// When none comes in time. Nothing is lost: what has arrived of it is read with the next one.
    pub async fn next_within(
        &mut self,
        patience: Duration,
    ) -> Result<Option<Message>, tokio::time::error::Elapsed> {
        timeout(patience, self.next_unhurried()).await
    }

    /// # Cancel safety
    /// Loses nothing when dropped.
    async fn next_unhurried(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.take_message() {
                return Some(message);
            }
            if self.at > 0 {
                self.buffer.drain(..self.at);
                self.at = 0;
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn take_message(&mut self) -> Option<Message> {
        let unread = self.buffer.get(self.at..)?;
        let &[tag, a, b, c, d] = unread.first_chunk()?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        assert!(length >= 4, "a message of type {tag:#x} claims {length} bytes");
        let body = unread.get(5..=length)?.to_vec();
        self.at += length + 1;
        let message = Message { tag, body };
        match tag {
            b'K' => {
                let (pid, secret) =
                    read_backend_key_data(&message.body).expect("BackendKeyData is well-formed");
                self.key = (pid, secret.to_vec());
            }
            b'S' => {
                let (name, value) = message.parameter();
                self.parameters.retain(|(its, _)| *its != name);
                self.parameters.push((name, value));
            }
            _ => {}
        }
        Some(message)
    }

    /// All messages up to the next ReadyForQuery, which is the last of them; or up to the end of the stream.
    pub async fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            let is_last = message.tag == b'Z';
            messages.push(message);
            if is_last {
                break;
            }
        }
        messages
    }

    /// Sends a batch and reads up to the next ReadyForQuery. A connection that broke shows as messages that do not
    /// end with one.
    pub async fn run(&mut self, batch: &Batch) -> Vec<Message> {
        // The server may have hung up with a last word, which is read all the same.
        let _ = self.send(batch.bytes()).await;
        self.until_ready().await
    }

    /// Runs a Query and gives its messages up to ReadyForQuery.
    pub async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.run(&Batch::new().query(sql)).await
    }

    /// Runs a Query and gives its rows, values as text.
    ///
    /// # Errors
    /// The SQLSTATE and text of the first error, or a word about a lost connection.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let messages = self.query(sql).await;
        if let Some(error) = messages.iter().find(|message| message.tag == b'E') {
            return Err(format!("{} {}", error.sqlstate().unwrap_or_default(), error.complaint()));
        }
        if messages.last().is_none_or(|message| message.tag != b'Z') {
            return Err(format!("the connection ended after {messages:?}"));
        }
        Ok(messages.iter().filter(|message| message.tag == b'D').map(Message::row).collect())
    }

    /// The one value of a Query with one row of one column.
    ///
    /// # Panics
    /// When it fails or gives anything else.
    #[track_caller]
    pub fn value(&mut self, sql: &str) -> impl Future<Output = String> {
        let place = std::panic::Location::caller();
        let sql = sql.to_owned();
        async move {
            let rows = self.rows(&sql).await.unwrap_or_else(|error| panic!("{place}: {sql}: {error}"));
            match rows.as_slice() {
                [row] if row.len() == 1 => row[0].clone().unwrap_or_default(),
                rows => panic!("{place}: {sql}: {} rows instead of one value: {rows:?}", rows.len()),
            }
        }
    }

    /// Runs a Query that has to succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn execute(&mut self, sql: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        let sql = sql.to_owned();
        async move {
            self.rows(&sql).await.unwrap_or_else(|error| panic!("{place}: {sql}: {error}"));
        }
    }

    /// The SQLSTATE of the error that a Query ends with; `None` if it succeeds.
    pub async fn failure(&mut self, sql: &str) -> Option<String> {
        let messages = self.query(sql).await;
        messages.iter().find(|message| message.tag == b'E').and_then(Message::sqlstate)
    }

    /// Process id and secret of BackendKeyData.
    #[must_use]
    pub fn key(&self) -> (u32, &[u8]) {
        (self.key.0, &self.key.1)
    }

    /// What ParameterStatus told last about `name`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(its, _)| its == name).map(|(_, value)| &**value)
    }

    /// Sends a CancelRequest for this client over a connection of its own and waits until the server hangs up.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn cancel(&self) -> io::Result<()> {
        cancel(self.stream.peer_addr()?, self.key.0, &self.key.1).await
    }

    /// Leaves politely.
    pub async fn terminate(mut self) {
        // One that has gone already needs no farewell.
        let _ = self.send(Batch::new().message(b'X', b"").bytes()).await;
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection at once, with RST instead of FIN.
    pub fn reset(self) {
        // Linger of zero is what makes the kernel drop the connection; if it cannot be set, FIN must do.
        let _ = self.stream.set_zero_linger();
    }

    /// Its socket, blocking, for tests that must not do more than the least.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn into_blocking(self) -> io::Result<std::net::TcpStream> {
        let stream = self.stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// The status at the end of these messages.
    ///
    /// # Panics
    /// When they do not end with ReadyForQuery.
    #[track_caller]
    #[must_use]
    pub fn status(messages: &[Message]) -> TxStatus {
        messages.last().expect("there are messages").status()
    }
}

/// Sends a CancelRequest and waits until the server hangs up.
async fn cancel(address: SocketAddr, pid: u32, secret: &[u8]) -> io::Result<()> {
    let mut client = Client::open(address).await?;
    let mut packet = Vec::new();
    startup::cancel_request(pid, secret, &mut packet);
    client.send(&packet).await?;
    while client.next().await.is_some() {}
    Ok(())
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// Nonces of a test need to differ, not to be secret.
fn fill(bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        let number = RandomState::new().build_hasher().finish();
        chunk.copy_from_slice(&number.to_ne_bytes()[..chunk.len()]);
    }
}

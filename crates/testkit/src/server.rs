use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use wire::message::{
    backend::{
        Authentication, TxStatus, backend_key_data, command_complete, data_row, parameter_status,
        ready_for_query,
    },
    error::ErrorMessage,
    startup,
};

use crate::{Message, PATIENCE};

/// A server on a free port that treats each connection as a script says. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl FakeServer {
    /// Listens; `script` is run for every connection, at the same time.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start<F>(script: impl Fn(Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Answers are written whole, so nothing is gained by waiting for more; if it fails they come later.
                let _ = stream.set_nodelay(true);
                connections.spawn(script(Peer { stream, buffer: Vec::new(), parameters: Vec::new() }));
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection of a [`FakeServer`].
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    parameters: Vec<(String, String)>,
}

impl Peer {
    /// Reads the startup packet (SSLRequest is answered `N`) and lets the client in without a password. `None` when
    /// it hung up or wanted a cancel.
    pub async fn admit(&mut self) -> Option<()> {
        self.read_startup().await?;
        let mut out = Vec::new();
        Authentication::Ok.write(&mut out);
        for (name, value) in
            [("server_version", "16.0"), ("client_encoding", "UTF8"), ("in_hot_standby", "off")]
        {
            parameter_status(name.as_bytes(), value.as_bytes(), &mut out);
        }
        backend_key_data(1, b"fake", &mut out);
        ready_for_query(TxStatus::Idle, &mut out);
        self.send(&out).await.ok()
    }

    /// Reads up to the startup packet of a session and keeps its parameters.
    pub async fn read_startup(&mut self) -> Option<()> {
        loop {
            let length = self.peek(4).await?;
            let length = u32::from_be_bytes(*length.first_chunk()?) as usize;
            let packet = self.take(length).await?;
            match startup::Startup::read(packet.get(4..)?).ok()? {
                startup::Startup::SslRequest | startup::Startup::GssEncRequest => {
                    self.send(b"N").await.ok()?
                }
                startup::Startup::Cancel { .. } => return None,
                startup::Startup::Session { parameters, .. } => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let pairs = startup::parameters(parameters).map_while(Result::ok);
                    self.parameters = pairs.map(|(name, value)| (text(name), text(value))).collect();
                    return Some(());
                }
            }
        }
    }

    /// The startup parameters.
    #[must_use]
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// The client's next message; `None` at the end of the stream, or when nothing came within [`PATIENCE`].
    pub async fn next(&mut self) -> Option<Message> {
        let head = self.peek(5).await?;
        let &[tag, a, b, c, d] = head.first_chunk()?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let bytes = self.take(length + 1).await?;
        Some(Message { tag, body: bytes.get(5..)?.to_vec() })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Answers a Query with one row of these values.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn send_row(&mut self, values: &[&str], status: TxStatus) -> io::Result<()> {
        let mut out = Vec::new();
        let columns: Vec<_> =
            values.iter().map(|_| ("value", wire::message::backend::ColumnType::Text)).collect();
        wire::message::backend::row_description(&columns, &mut out);
        data_row(values.iter().map(|value| Some(value.as_bytes())), &mut out);
        command_complete("SELECT 1", &mut out);
        ready_for_query(status, &mut out);
        self.send(&out).await
    }

    /// Answers a Query with an error.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn send_error(&mut self, error: &ErrorMessage, status: TxStatus) -> io::Result<()> {
        let mut out = Vec::new();
        error.write(&mut out);
        ready_for_query(status, &mut out);
        self.send(&out).await
    }

    async fn peek(&mut self, length: usize) -> Option<&[u8]> {
        while self.buffer.len() < length {
            match timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await {
                Ok(Ok(read)) if read > 0 => {}
                _ => return None,
            }
        }
        self.buffer.get(..length)
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        self.peek(length).await?;
        Some(self.buffer.drain(..length).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConnectionParameters;

    #[tokio::test]
    async fn client_and_server_understand_each_other() {
        let server = FakeServer::start(|mut peer| async move {
            if peer.admit().await.is_none() {
                return;
            }
            while let Some(message) = peer.next().await {
                if message.tag == b'Q' && peer.send_row(&["hello"], TxStatus::Idle).await.is_err() {
                    return;
                }
            }
        })
        .await;
        let parameters = ConnectionParameters {
            address: server.address(),
            user: "u".into(),
            password: "p".into(),
            database: "d".into(),
            more: Vec::new(),
            version: startup::PROTOCOL_3_0,
        };
        let mut client = parameters.connect().await.unwrap();
        assert_eq!(client.value("select 'hello'").await, "hello");
        assert_eq!(client.key().0, 1);
        assert_eq!(client.parameter("server_version"), Some("16.0"));
    }
}

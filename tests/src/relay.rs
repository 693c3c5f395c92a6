use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::oneshot,
};

use crate::eventually;

/// What a [`Relay`] keeps to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swallow {
    /// Nothing.
    Nothing,
    /// The answer to each COMMIT, and whatever the server says after it.
    Answers,
    /// Each COMMIT, and whatever the client says after it.
    Commits,
}

/// Stands between the proxies and a node, which is asked for no TLS, and passes whole messages until it is told to
/// swallow some. What it has swallowed something of stays open and silent until one of its peers closes it.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    swallow: AtomicU8,
    swallowed: AtomicU32,
}

impl Relay {
    /// Listens on a free port and leads to `target` of 127.0.0.1.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(target: u16) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        listener.set_nonblocking(true).expect("a socket can be told not to block");
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::<Shared>::default();
        let accepting = accept(listener, ([127, 0, 0, 1], target).into(), Arc::clone(&shared));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(async {
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        Self { port, shared, stop: Some(stop) }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on it swallows this; what it has swallowed is counted anew.
    pub fn swallow(&self, what: Swallow) {
        self.shared.swallowed.store(0, SeqCst);
        self.shared.swallow.store(what as u8, SeqCst);
    }

    /// Waits until it has swallowed something on so many connections.
    ///
    /// # Panics
    /// When it has not after 20 s.
    pub fn wait_until_swallowed(&self, count: u32) {
        eventually(&format!("{count} commits swallowed"), Duration::from_secs(20), || {
            (self.shared.swallowed.load(SeqCst) >= count).then_some(())
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // An error means that it has ended.
        self.stop.take().map(|stop| stop.send(()));
    }
}

impl Shared {
    /// Whether this is to be swallowed; counts it.
    fn takes(&self, what: Swallow) -> bool {
        let takes = self.swallow.load(SeqCst) == what as u8;
        if takes {
            self.swallowed.fetch_add(1, SeqCst);
        }
        takes
    }
}

async fn accept(listener: std::net::TcpListener, target: SocketAddr, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("the runtime takes a socket");
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // The client sees a refused connection as one that is closed at once.
            let Ok(server) = TcpStream::connect(target).await else { return };
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let is_commit = |message: &[u8]| {
                let text = String::from_utf8_lossy(message).to_ascii_lowercase();
                matches!(message.first(), Some(b'Q' | b'P')) && text.contains("commit")
            };
            let answers = |message: &[u8]| message.starts_with(b"C\0\0\0\x0bCOMMIT\0");
            // Either end takes the other with it.
            tokio::select! {
                () = pass(from_client, to_server, true, Swallow::Commits, is_commit, &shared) => {}
                () = pass(from_server, to_client, false, Swallow::Answers, answers, &shared) => {}
            }
        });
    }
}

/// Passes whole messages until one that is `found` is to be swallowed, and nothing more then.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    begins_with_startup: bool,
    what: Swallow,
    found: impl Fn(&[u8]) -> bool,
    shared: &Shared,
) {
    let (mut buffer, mut startup, mut silent) = (Vec::new(), begins_with_startup, false);
    loop {
        if !matches!(from.read_buf(&mut buffer).await, Ok(read) if read > 0) {
            return;
        }
        let mut at = 0;
        while let Some(length) = message_length(&buffer[at..], startup) {
            let message = &buffer[at..at + length];
            silent = silent || !startup && found(message) && shared.takes(what);
            if silent {
                break;
            }
            startup = false;
            at += length;
        }
        if to.write_all(&buffer[..at]).await.is_err() {
            return;
        }
        if silent { buffer.clear() } else { drop(buffer.drain(..at)) }
    }
}

/// The length of the whole message at the start of `bytes`.
fn message_length(bytes: &[u8], startup: bool) -> Option<usize> {
    let head = usize::from(!startup);
    let length = u32::from_be_bytes(*bytes.get(head..)?.first_chunk()?) as usize + head;
    (bytes.len() >= length).then_some(length)
}

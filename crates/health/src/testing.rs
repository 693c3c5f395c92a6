//! A scripted node: it welcomes everybody, answers every query with what it is told to, and can be told to die.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use wire::{
    SqlState,
    message::{
        backend::{self, Authentication, TxStatus},
        error::ErrorMessage,
    },
};

/// How the node behaves towards new connections and queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It answers every query with this row (`-` is NULL).
    Row(String),
    /// It answers every startup packet with a FATAL of this code, and nobody else.
    Fatal(SqlState),
    /// It takes everything and says nothing.
    Silent,
    /// It answers every query with an ERROR.
    Error,
}

/// A primary's answer to a probe.
pub(crate) fn primary(timeline: u32) -> Mode {
    Mode::Row(format!("f 7412345678901234567 {timeline:08X}00000000000000A1 1 - - - 0/A1000028 - 150020"))
}

/// A standby's.
pub(crate) fn standby(timeline: u32) -> Mode {
    Mode::Row(format!("t 7412345678901234567 - 1 {timeline} t 20 0/A1000028 0/A1000028 150020"))
}

/// Bytes that every open connection is sent and then closed with.
type Farewell = Option<Vec<u8>>;

pub(crate) struct FakeNode {
    pub(crate) port: u16,
    mode: Arc<Mutex<Mode>>,
    farewell: watch::Sender<Farewell>,
    /// Connections that were accepted.
    pub(crate) accepted: watch::Receiver<u32>,
    task: JoinHandle<()>,
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeNode {
    pub(crate) async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(Mutex::new(mode));
        let (farewell, end) = watch::channel(None);
        let (count, accepted) = watch::channel(0);
        let shared = Arc::clone(&mode);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.send_modify(|count| *count += 1);
                tokio::spawn(converse(stream, Arc::clone(&shared), end.clone()));
            }
        });
        Self { port, mode, farewell, accepted, task }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Ends every open connection with this FATAL; later ones are served again.
    pub(crate) fn end_connections(&self, code: SqlState) {
        let mut out = Vec::new();
        ErrorMessage::fatal(code, "the end").write(&mut out);
        self.farewell.send_replace(Some(out));
    }
}

async fn converse(stream: TcpStream, mode: Arc<Mutex<Mode>>, mut end: watch::Receiver<Farewell>) {
    let (mut reader, mut writer) = stream.into_split();
    end.mark_unchanged();
    let (out, mut answers) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
    let reading = async move {
        let mut skip = 0;
        loop {
            let mut head = vec![0; skip + 4];
            if reader.read_exact(&mut head).await.is_err() {
                return;
            }
            let len = u32::from_be_bytes(head[skip..].try_into().unwrap());
            let mut body = vec![0; len as usize - 4];
            if reader.read_exact(&mut body).await.is_err() {
                return;
            }
            // Parse, Bind and Execute are answered with the Sync that follows them.
            if skip == 1 && matches!(head[0], b'P' | b'B' | b'E') {
                continue;
            }
            let mode = mode.lock().unwrap().clone();
            let Some(answer) = answer(&mode, skip == 0) else { std::future::pending().await };
            let fatal = matches!(mode, Mode::Fatal(_));
            if out.send(answer).await.is_err() || fatal {
                return;
            }
            skip = 1;
        }
    };
    let writing = async move {
        loop {
            tokio::select! {
                answer = answers.recv() => match answer {
                    Some(answer) => if writer.write_all(&answer).await.is_err() { return },
                    None => return,
                },
                _ = end.changed() => {
                    let last = end.borrow_and_update().clone().unwrap_or_default();
                    let _ = writer.write_all(&last).await;
                    return;
                }
            }
        }
    };
    // What was read is answered before the connection ends; a farewell ends both.
    let reading = async {
        reading.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

fn answer(mode: &Mode, startup: bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match mode {
        Mode::Silent => return None,
        Mode::Fatal(code) => ErrorMessage::fatal(*code, "no").write(&mut out),
        Mode::Row(_) | Mode::Error if startup => {
            Authentication::Ok.write(&mut out);
            backend::parameter_status(b"server_version", b"15.20", &mut out);
            backend::ready_for_query(TxStatus::Idle, &mut out);
        }
        Mode::Row(row) => {
            let values: Vec<_> = row.split(' ').map(|v| (v != "-").then_some(v.as_bytes())).collect();
            backend::data_row(values.into_iter(), &mut out);
            backend::ready_for_query(TxStatus::Idle, &mut out);
        }
        Mode::Error => {
            ErrorMessage::error(SqlState::INSUFFICIENT_PRIVILEGE, "no").write(&mut out);
            backend::ready_for_query(TxStatus::Idle, &mut out);
        }
    }
    Some(out)
}

/// The answer of a future that must come soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it comes within 10 s")
}

/// Settings without TLS and secret; the interval is longer than any test, so every probe has its reason.
pub(crate) fn settings() -> crate::Settings {
    crate::Settings {
        user: "monitor".into(),
        secret: None,
        database: "postgres".into(),
        interval: Duration::from_secs(3600),
        timeout: Duration::from_millis(200),
        tls: conn::ServerTls { mode: conn::ServerTlsMode::Disable, root_certificate: None },
        state_file: None,
        management: None,
        patroni: None,
        planned: None,
    }
}

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex},
};

use testkit::PATIENCE;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};
use wire::message::{
    backend::{
        Authentication, ColumnType, backend_key_data, bare, command_complete, data_row, finish,
        parameter_status, ready_for_query, row_description,
    },
    error::ErrorMessage,
    startup::{Startup, body_len},
};

use super::backend::{Backend, Fault, Reply};

/// A server whose connections are [`Backend`]s. A statement that kills it does so once, so that it can be run again.
#[derive(Debug, Default)]
pub(super) struct Server {
    cancels: Mutex<HashMap<u32, Arc<Notify>>>,
    killed_by: Mutex<HashSet<String>>,
}

/// Starts it; gives its port.
pub(super) async fn start() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Arc::new(Server::default());
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            number += 1;
            let server = Arc::clone(&server);
            // It ends with the connection, and an error means no more than that.
            tokio::spawn(async move { server.serve(stream, number).await });
        }
    });
    port
}

impl Server {
    async fn serve(&self, mut stream: TcpStream, number: u32) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let cancel = Arc::new(Notify::new());
        if !self.admit(&mut stream, number, &cancel).await? {
            return Ok(());
        }
        let mut backend = Backend::default();
        let mut head = [0; 5];
        loop {
            stream.read_exact(&mut head).await?;
            let [tag, length @ ..] = head;
            let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
            stream.read_exact(&mut body).await?;
            if tag == b'X' {
                return Ok(());
            }
            let step = backend.take(tag, &body);
            let mut out = Vec::new();
            match step.fault {
                None => write(&step.replies, &mut out),
                Some((Fault::Hangs, _)) => {
                    write(&step.replies, &mut out);
                    stream.write_all(&out).await?;
                    out.clear();
                    timeout(PATIENCE, cancel.notified()).await?;
                    write(&backend.cancelled(tag == b'Q'), &mut out);
                }
                Some((fault, by)) => {
                    if self.killed_by.lock().unwrap().insert(by) {
                        if fault == Fault::Breaks {
                            write(&step.replies, &mut out);
                            out.pop();
                            stream.write_all(&out).await?;
                        }
                        return Ok(());
                    }
                    write(&step.replies, &mut out);
                    write(&step.rest, &mut out);
                }
            }
            stream.write_all(&out).await?;
        }
    }

    /// Lets a session in; false when it was no session.
    async fn admit(&self, stream: &mut TcpStream, number: u32, cancel: &Arc<Notify>) -> io::Result<bool> {
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length).await?;
            let mut body = vec![0; body_len(length).map_err(io::Error::other)?];
            stream.read_exact(&mut body).await?;
            match Startup::read(&body) {
                Ok(Startup::Session { .. }) => break,
                Ok(Startup::Cancel { pid, .. }) => {
                    let found = self.cancels.lock().unwrap().get(&pid).cloned();
                    found.into_iter().for_each(|cancel| cancel.notify_waiters());
                    return Ok(false);
                }
                _ => stream.write_all(b"N").await?,
            }
        }
        self.cancels.lock().unwrap().insert(number, Arc::clone(cancel));
        let mut out = Vec::new();
        Authentication::Ok.write(&mut out);
        for (name, value) in
            [("server_version", "16.0"), ("client_encoding", "UTF8"), ("in_hot_standby", "off")]
        {
            parameter_status(name.as_bytes(), value.as_bytes(), &mut out);
        }
        backend_key_data(number, b"fake", &mut out);
        ready_for_query(wire::message::backend::TxStatus::Idle, &mut out);
        stream.write_all(&out).await?;
        Ok(true)
    }
}

fn write(replies: &[Reply], out: &mut Vec<u8>) {
    for reply in replies {
        match reply {
            Reply::Bare(b'T') => row_description(&[("value", ColumnType::Text)], out),
            Reply::Bare(b't') => finish(out, b't', |out| out.extend_from_slice(&[0, 0])),
            Reply::Bare(b'G') => finish(out, b'G', |out| out.extend_from_slice(&[0, 0, 0])),
            Reply::Bare(tag) => bare(*tag, out),
            Reply::Row(value) => data_row([Some(value.as_bytes())].into_iter(), out),
            Reply::Complete(tag) => command_complete(tag, out),
            Reply::Error(code) => {
                let code = wire::SqlState::from_bytes(code.as_bytes()).unwrap();
                ErrorMessage::error(code, "as the test wants it").write(out);
            }
            Reply::Ready(status) => ready_for_query(*status, out),
        }
    }
}

//! One process takes over from another: the old one gives its listening sockets away over a Unix-domain socket, its
//! door, and goes on to serve the clients that it has.
//!
//! ```text
//! new: takeover 1        old: listen 0.0.0.0:5432 ⏎ … ⏎ ⏎, and the sockets
//! new: accepting         old: yours (it accepts nobody any more)
//! any: cancel <pid> <key>     done
//! ```
//!
//! The door of the process that has the sockets is at the configured path, all others' beside it with their process ids
//! behind it. Cancel requests for other processes' clients are passed to every other door.

mod ask;
mod door;
mod elsewhere;

pub(crate) use ask::{Predecessor, ask};
pub(crate) use door::{Door, Open, Sockets};
pub(crate) use elsewhere::OtherDoors;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// How long an answer may take that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first line of who wants to take over; the number changes with the conversation.
const TAKEOVER: &str = "takeover 1";
const ACCEPTING: &str = "accepting";
const YOURS: &str = "yours";
const CANCEL: &str = "cancel ";
const DONE: &str = "done";

/// Where the door of a process is that has not taken over yet, or has been taken over from.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}", std::process::id()));
    name.into()
}

/// Reads a line without its end; what comes behind it is not read.
///
/// # Errors
/// `InvalidData` if it is too long to be one of ours.
async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    const LINE_MAX: usize = 1024;
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte if line.len() < LINE_MAX => line.push(byte),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The same, within [`PATIENCE`].
async fn read_line_soon(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    timeout(PATIENCE, read_line(stream)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

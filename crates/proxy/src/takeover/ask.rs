//! The new process.

use std::{io, os::fd::OwnedFd, path::Path};

use anyhow::Context;
use tokio::{io::AsyncWriteExt, net::UnixStream};

use super::{ACCEPTING, PATIENCE, TAKEOVER, YOURS, read_line_soon};

/// A process that has given its sockets away, and keeps on accepting until it is told that this one does.
#[derive(Debug)]
pub(crate) struct Predecessor {
    stream: UnixStream,
    sockets: Vec<(String, OwnedFd)>,
}

/// Asks the process whose door is at `path` for its sockets; `None`: there is none.
///
/// # Errors
/// When it belongs to somebody else, or breaks off.
pub(crate) async fn ask(path: &Path) -> anyhow::Result<Option<Predecessor>> {
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            tracing::info!(path = %path.display(), "there is nobody to take over from");
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(|| format!("cannot take over at {}", path.display())),
    };
    anyhow::ensure!(conn::is_own_user(&stream)?, "{} belongs to a process of another user", path.display());
    stream.write_all(format!("{TAKEOVER}\n").as_bytes()).await?;
    let sockets = tokio::time::timeout(PATIENCE, receive(&stream))
        .await
        .context("the process to take over from does not answer")?
        .context("the process to take over from broke off")?;
    tracing::info!(sockets = sockets.len(), "taking over");
    Ok(Some(Predecessor { stream, sockets }))
}

/// Labels, a line each up to an empty one, and as many sockets.
async fn receive(stream: &UnixStream) -> io::Result<Vec<(String, OwnedFd)>> {
    const TEXT_MAX: usize = 64 * 1024;
    let (mut text, mut descriptors) = (Vec::new(), Vec::new());
    while !text.ends_with(b"\n\n") {
        let mut buffer = vec![0; TEXT_MAX - text.len()];
        let (length, more) = conn::receive_descriptors(stream, &mut buffer).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.extend_from_slice(buffer.get(..length).unwrap_or_default());
        descriptors.extend(more);
    }
    let text = String::from_utf8(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let labels: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if labels.len() != descriptors.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(labels.into_iter().zip(descriptors).collect())
}

impl Predecessor {
    /// The socket with this label, if there is one that is not taken yet.
    pub(crate) fn take(&mut self, label: &str) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|(its, _)| its == label)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Tells it that this process accepts clients, and waits until it does not any more.
    ///
    /// # Errors
    /// When it breaks off.
    pub(crate) async fn replace(mut self) -> io::Result<()> {
        for (label, _) in &self.sockets {
            tracing::warn!(label, "a socket that is not configured any more is closed");
        }
        self.stream.write_all(format!("{ACCEPTING}\n").as_bytes()).await?;
        let answer = read_line_soon(&mut self.stream).await?;
        if answer == YOURS { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

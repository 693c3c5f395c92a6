//! What a process answers to others of its kind.

use std::{
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use conn::{ListenAddress, Listener, Socket};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::timeout,
};

use super::{ACCEPTING, CANCEL, DONE, TAKEOVER, YOURS, beside, read_line, read_line_soon};
use crate::{accept::Entry, proxy::Proxy, readiness::LABEL};

/// Conversations at a time; who comes then waits.
const CONVERSATIONS_MAX: usize = 64;

/// How long a process that takes over may take to start.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Only this user may come in.
const MODE: u32 = 0o600;

/// The sockets that clients come over, and who accepts from them.
pub(crate) struct Sockets {
    pub(crate) entries: Arc<[Entry]>,
    pub(crate) health: Option<Arc<Listener>>,
    pub(crate) accepting: Vec<AbortHandle>,
}

impl Sockets {
    /// Each with its label.
    fn list(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let clients = self.entries.iter().map(|entry| (entry.label(), entry.listener.as_fd()));
        let health = self.health.iter().map(|listener| (LABEL.to_owned(), listener.as_fd()));
        clients.chain(health).collect()
    }

    /// Accepts nobody any more and leaves the sockets to another process.
    fn let_go(self) {
        for accepting in &self.accepting {
            accepting.abort();
        }
        let listeners = self.entries.iter().map(|entry| &entry.listener);
        listeners.chain(self.health.as_deref()).for_each(Listener::disown);
    }
}

/// What the door is told.
enum Word {
    /// Somebody else accepts the clients now, and is about to be told so.
    LetGo(oneshot::Sender<()>),
    /// Whoever took over was told.
    Left,
    /// This process is the one that has the sockets: the door moves to the configured path.
    Move(oneshot::Sender<io::Result<()>>),
}

/// See the module.
pub(crate) struct Door {
    listener: Listener,
    path: PathBuf,
    place: Arc<watch::Sender<PathBuf>>,
}

/// A door that answers.
pub(crate) struct Open {
    words: mpsc::Sender<Word>,
    taken_over: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Door {
    /// Listens at `path`, or beside it while another process is there.
    ///
    /// # Errors
    /// When there is no such folder, or somebody is there already.
    pub(crate) fn make(
        path: &Path,
        has_predecessor: bool,
        place: &Arc<watch::Sender<PathBuf>>,
    ) -> anyhow::Result<Self> {
        let first = if has_predecessor { beside(path) } else { path.to_owned() };
        let listener = Listener::bind(&ListenAddress::Unix(first.clone()), MODE).map_err(|error| {
            anyhow::anyhow!("cannot listen on {} for --takeover: {error}", first.display())
        })?;
        place.send_replace(first);
        Ok(Self { listener, path: path.to_owned(), place: Arc::clone(place) })
    }

    /// Answers from now on.
    pub(crate) fn open(self, proxy: Arc<Proxy>, sockets: Sockets) -> Open {
        let (words, inbox) = mpsc::channel(1);
        let (told, taken_over) = watch::channel(false);
        let task = tokio::spawn(self.serve(proxy, sockets, (words.clone(), inbox), told));
        Open { words, taken_over, task }
    }

    async fn serve(
        mut self,
        proxy: Arc<Proxy>,
        sockets: Sockets,
        (words, mut inbox): (mpsc::Sender<Word>, mpsc::Receiver<Word>),
        taken_over: watch::Sender<bool>,
    ) {
        let mut conversations = JoinSet::new();
        let sockets = Arc::new(tokio::sync::Mutex::new(Some(sockets)));
        loop {
            tokio::select! {
                Some(word) = inbox.recv() => match word {
                    Word::LetGo(done) => {
                        let _ = self.rename(&beside(&self.path)); // it is removed and nobody else's then
                        let _ = done.send(()); // the other process may have gone: the sockets are still its
                    }
                    // not before: without clients this process ends at once, and with it what it was about to say
                    Word::Left => {
                        taken_over.send_replace(true);
                    }
                    Word::Move(done) => {
                        let path = self.path.clone();
                        let _ = done.send(self.rename(&path)); // whoever asked waits
                    }
                },
                accepted = self.listener.accept(), if conversations.len() < CONVERSATIONS_MAX => {
                    if let Ok((Socket::Unix(stream), _)) = accepted {
                        let (proxy, sockets) = (Arc::clone(&proxy), Arc::clone(&sockets));
                        let words = words.clone();
                        conversations.spawn(async move {
                            if let Err(error) = converse(stream, &proxy, &sockets, &words).await {
                                tracing::warn!(%error, "another process broke off");
                            }
                        });
                    }
                }
                Some(_) = conversations.join_next() => {}
            }
        }
    }

    fn rename(&mut self, path: &Path) -> io::Result<()> {
        self.listener.rename(path)?;
        self.place.send_replace(path.to_owned());
        Ok(())
    }
}

impl Open {
    /// Moves to the configured path, which the process before has left.
    ///
    /// # Errors
    /// As of renaming a file.
    pub(crate) async fn take_place(&self) -> io::Result<()> {
        let (done, when_done) = oneshot::channel();
        let told = self.words.send(Word::Move(done)).await;
        told.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        when_done.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Waits until another process has taken over.
    ///
    /// # Cancel safety
    /// It may be called again.
    pub(crate) async fn taken_over(&mut self) {
        if self.taken_over.wait_for(|over| *over).await.is_err() {
            std::future::pending::<()>().await; // the door is gone: nobody can take over
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    mut stream: UnixStream,
    proxy: &Proxy,
    sockets: &tokio::sync::Mutex<Option<Sockets>>,
    words: &mpsc::Sender<Word>,
) -> io::Result<()> {
    if !conn::is_own_user(&stream)? {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let line = read_line_soon(&mut stream).await?;
    if let Some((pid, key)) = line.strip_prefix(CANCEL).and_then(parse_cancel) {
        proxy.greeter.cancel(pid, &key).await;
        return stream.write_all(format!("{DONE}\n").as_bytes()).await;
    }
    if line != TAKEOVER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // one at a time; whoever comes second finds nothing to take over any more
    let mut held = sockets.lock().await;
    let Some(list) = held.as_ref().map(Sockets::list) else { return Ok(()) };
    let text: String = list.iter().map(|(label, _)| format!("{label}\n")).chain(["\n".to_owned()]).collect();
    let descriptors: Vec<_> = list.iter().map(|(_, descriptor)| *descriptor).collect();
    conn::send_descriptors(&stream, text.as_bytes(), &descriptors).await?;
    tracing::info!("another process is about to take over");
    // if it fails, this one goes on as before
    let said = timeout(START_PATIENCE, read_line(&mut stream)).await;
    if said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))? != ACCEPTING {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if let Some(sockets) = held.take() {
        sockets.let_go();
    }
    let (done, when_done) = oneshot::channel();
    if words.send(Word::LetGo(done)).await.is_ok() {
        let _ = when_done.await; // the door is gone with the process
    }
    let told = stream.write_all(format!("{YOURS}\n").as_bytes()).await;
    let _ = words.send(Word::Left).await; // the door is gone with the process
    told
}

/// A process id, and a key in hexadecimal digits.
fn parse_cancel(text: &str) -> Option<(u32, Vec<u8>)> {
    let (pid, key) = text.split_once(' ')?;
    let digits: Option<Vec<u32>> = key.chars().map(|digit| digit.to_digit(16)).collect();
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits?.chunks(2).map(byte).collect();
    Some((pid.parse().ok()?, bytes?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_is_read_or_refused() {
        assert_eq!(parse_cancel("7 00ff10"), Some((7, vec![0, 255, 16])));
        for text in ["", "7", "x 00", "7 0", "7 0g", "7 é", "-1 00"] {
            assert_eq!(parse_cancel(text), None, "{text}");
        }
    }
}

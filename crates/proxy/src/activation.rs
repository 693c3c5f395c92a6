//! Listening sockets that systemd opened (sd_listen_fds(3)): they stay open while the proxy is restarted, so that
//! nobody is refused.

use std::os::fd::OwnedFd;

use conn::ListenAddress;
use listenfd::ListenFd;

/// The sockets that came with this process, by where they listen.
#[derive(Debug, Default)]
pub(crate) struct Activated(Vec<(ListenAddress, OwnedFd)>);

impl Activated {
    /// Those that LISTEN_FDS and LISTEN_PID speak of.
    pub(crate) fn from_environment() -> Self {
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..passed.len() {
            match socket(&mut passed, at) {
                Some(socket) => sockets.push(socket),
                None => tracing::warn!(at, "what was passed as a listening socket is none"),
            }
        }
        Self(sockets)
    }

    /// The one that listens there.
    pub(crate) fn take(&mut self, address: &ListenAddress) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(its, _)| its == address)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Closes those that no `[[listen]]` is for.
    pub(crate) fn close_the_rest(self) {
        for (address, _) in self.0 {
            tracing::warn!(%address, "a socket was passed that no [[listen]] is for");
        }
    }
}

fn socket(passed: &mut ListenFd, at: usize) -> Option<(ListenAddress, OwnedFd)> {
    if let Ok(Some(listener)) = passed.take_tcp_listener(at) {
        return Some((ListenAddress::Tcp(listener.local_addr().ok()?), listener.into()));
    }
    let listener = passed.take_unix_listener(at).ok()??;
    let path = listener.local_addr().ok()?.as_pathname()?.to_owned();
    Some((ListenAddress::Unix(path), listener.into()))
}

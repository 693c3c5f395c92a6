//! Cancel keys of clients. Any thread that accepts a CancelRequest looks the key up and tells the client's worker.

use std::{future::Future, pin::Pin};

use dashmap::DashMap;

use crate::{ClientId, Command, Greeter, WorkerId};

/// What BackendKeyData tells a client: a process id and a secret that it did not choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CancelKey {
    /// Looks like a process id; positive.
    pub pid: u32,
    /// Random.
    pub secret: [u8; 4],
}

/// Other processes that have clients of the same listeners.
pub trait Elsewhere: Send + Sync {
    /// Cancels what a client with this key runs there, if it has one.
    fn cancel<'a>(&'a self, pid: u32, secret: &'a [u8]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// Which client has which key: the one map that several threads change.
#[derive(Debug, Default)]
pub struct CancelKeys {
    keys: DashMap<CancelKey, (WorkerId, ClientId)>,
}

impl CancelKeys {
    /// A key that no client has. `random` fills its argument with unpredictable bytes.
    pub fn issue(
        &self,
        worker: WorkerId,
        client: ClientId,
        mut random: impl FnMut(&mut [u8; 8]),
    ) -> CancelKey {
        loop {
            let mut bytes = [0; 8];
            random(&mut bytes);
            let [a, b, c, d, secret @ ..] = bytes;
            let key = CancelKey { pid: u32::from_be_bytes([a, b, c, d]) >> 1, secret };
            if let dashmap::Entry::Vacant(vacant) = self.keys.entry(key) {
                vacant.insert((worker, client));
                return key;
            }
        }
    }

    /// Whose key this is. A secret of another length is nobody's.
    #[must_use]
    pub fn owner(&self, pid: u32, secret: &[u8]) -> Option<(WorkerId, ClientId)> {
        let key = CancelKey { pid, secret: secret.try_into().ok()? };
        self.keys.get(&key).map(|entry| *entry.value())
    }

    /// How many keys are out: the number of clients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes a key back when its client has left.
    pub fn revoke(&self, key: &CancelKey) {
        self.keys.remove(key);
    }
}

impl Greeter {
    /// Cancels what the client with this key runs; whether it is one of this process.
    pub async fn cancel(&self, pid: u32, secret: &[u8]) -> bool {
        let Some((worker, client)) = self.keys.owner(pid, secret) else { return false };
        if let Some(handle) = self.workers.get(worker.0) {
            // a worker that has ended has nothing to cancel
            let _ = handle.tell(Command::Cancel(client)).await;
        }
        true
    }

    /// The same for clients of other processes as well.
    pub(crate) async fn cancel_anywhere(&self, pid: u32, secret: &[u8]) {
        if !self.cancel(pid, secret).await
            && let Some(elsewhere) = &self.elsewhere
        {
            elsewhere.cancel(pid, secret).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_its_client_until_it_is_revoked() {
        let keys = CancelKeys::default();
        let mut n = 0;
        let key = keys.issue(WorkerId(1), ClientId(7), |bytes| {
            n += 1;
            bytes.fill(n);
        });
        assert_eq!(keys.owner(key.pid, &key.secret), Some((WorkerId(1), ClientId(7))));
        assert_eq!(keys.owner(key.pid, b"nope"), None);
        assert_eq!(keys.owner(key.pid, b"longer"), None);
        keys.revoke(&key);
        assert_eq!(keys.owner(key.pid, &key.secret), None);
    }

    #[test]
    fn a_key_in_use_is_not_issued_again() {
        let keys = CancelKeys::default();
        let first = keys.issue(WorkerId(0), ClientId(1), |bytes| bytes.fill(1));
        let mut n = 0;
        let second = keys.issue(WorkerId(0), ClientId(2), |bytes| {
            n += 1;
            bytes.fill(n);
        });
        assert_ne!(first, second);
    }
}

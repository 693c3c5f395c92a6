use std::{
    fmt,
    num::NonZeroU32,
    sync::{Mutex, OnceLock, PoisonError},
};

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::{
    Unable,
    keys::{Derivation, KEY_LEN, Key, SaltedKeys, sha256},
    md5::MD5_LEN,
    verifier::{ITERATIONS, ParseVerifierError, SALT_LEN, ScramVerifier},
};

/// The longest clear-text password, in bytes; PostgreSQL's clients send no longer ones.
const PASSWORD_LIMIT: usize = 1024;

/// Derived keys that are remembered: one per (salt, iterations), and a cluster's servers share theirs.
const DERIVED_LIMIT: usize = 4;

/// Everything known about one role's password: what was configured, and what was learned or derived from it. Wiped
/// when it is dropped; no way of printing shows it.
pub struct Secret {
    kind: Kind,
    /// Of a clear-text password: its verifier, derived once.
    verifier: OnceLock<ScramVerifier>,
    /// Of a verifier: the ClientKey that a client's login revealed.
    client_key: OnceLock<Key>,
    /// Of a clear-text password: its keys under the salts that servers named.
    derived: Mutex<Vec<SaltedKeys>>,
}

/// What was configured.
pub(crate) enum Kind {
    Clear(Zeroizing<String>),
    Verifier(ScramVerifier),
    /// The 32 hexadecimal digits.
    Md5(Zeroizing<String>),
}

/// A text that is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// PostgreSQL never accepts an empty password either.
    #[error("the password is empty")]
    Empty,
    /// Longer than any client could send.
    #[error("the password is longer than {PASSWORD_LIMIT} bytes")]
    TooLong,
    /// A NUL cannot be sent.
    #[error("the password contains a NUL")]
    Nul,
    /// It begins like a verifier and is none.
    #[error(transparent)]
    Verifier(#[from] ParseVerifierError),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Reads a `SCRAM-SHA-256$…` verifier, an `md5` hash, or else a clear-text password.
    ///
    /// # Errors
    /// [`SecretError`]; the text itself is never part of it.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let kind = if text.is_empty() {
            return Err(SecretError::Empty);
        } else if text.len() > PASSWORD_LIMIT {
            return Err(SecretError::TooLong);
        } else if text.contains('\0') {
            return Err(SecretError::Nul);
        } else if ScramVerifier::is_meant(text) {
            Kind::Verifier(text.parse()?)
        } else {
            match text.strip_prefix("md5") {
                Some(hex) if text.len() == MD5_LEN && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    Kind::Md5(Zeroizing::new(hex.to_ascii_lowercase()))
                }
                _ => Kind::Clear(Zeroizing::new(text.to_owned())),
            }
        };
        Ok(Self { kind, verifier: OnceLock::new(), client_key: OnceLock::new(), derived: Mutex::default() })
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The password, if it is stored in clear text: for servers that ask for it over TLS.
    #[must_use]
    pub fn clear_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Clear(password) => Some(password),
            Kind::Verifier(_) | Kind::Md5(_) => None,
        }
    }

    /// What a client's proof is checked against. A clear-text password is hashed under `salt` at the first call (about
    /// 1 ms) and the result kept.
    ///
    /// # Errors
    /// [`Unable::Md5Only`]: an MD5 hash is no SCRAM verifier.
    pub fn verifier(&self, salt: impl FnOnce() -> [u8; SALT_LEN]) -> Result<&ScramVerifier, Unable> {
        match &self.kind {
            Kind::Verifier(verifier) => Ok(verifier),
            Kind::Md5(_) => Err(Unable::Md5Only),
            Kind::Clear(password) => Ok(self
                .verifier
                .get_or_init(|| ScramVerifier::of_keys(&SaltedKeys::derive(password, &salt(), ITERATIONS)))),
        }
    }

    /// Remembers the ClientKey that a client's login revealed, so that servers with the same verifier can be logged
    /// in to. A key that does not fit the verifier is ignored.
    pub(crate) fn learn_client_key(&self, key: Key) {
        if let Kind::Verifier(verifier) = &self.kind
            && bool::from(sha256(&*key).ct_eq(&*verifier.stored_key))
        {
            // Any key that fits is the same key, so being second does not matter.
            let _ = self.client_key.set(key);
        }
    }

    /// Takes over what `previous` has learned, if it was the same secret: after a reload, or when a lookup gave the
    /// same verifier again.
    pub fn adopt(&self, previous: &Secret) {
        if !self.is_same(previous) {
            return;
        }
        if let Some(key) = previous.client_key.get() {
            self.learn_client_key(key.clone());
        }
        if let Some(verifier) = previous.verifier.get() {
            let _ = self.verifier.set(verifier.clone());
        }
    }

    /// Whether both were configured the same; in constant time for secrets of one kind.
    #[must_use]
    pub fn is_same(&self, other: &Secret) -> bool {
        let same: Choice = match (&self.kind, &other.kind) {
            (Kind::Clear(a), Kind::Clear(b)) | (Kind::Md5(a), Kind::Md5(b)) => {
                a.as_bytes().ct_eq(b.as_bytes())
            }
            (Kind::Verifier(a), Kind::Verifier(b)) => a.ct_eq(b),
            (Kind::Clear(_) | Kind::Verifier(_) | Kind::Md5(_), _) => Choice::from(0),
        };
        same.into()
    }

    /// Whether a SCRAM login to a server could be tried now; false for a verifier that no client has used yet.
    #[must_use]
    pub fn opens_servers(&self) -> bool {
        match &self.kind {
            Kind::Clear(_) | Kind::Md5(_) => true,
            Kind::Verifier(_) => self.client_key.get().is_some(),
        }
    }

    /// The keys for a server that named this salt and iteration count, or the derivation that yields them.
    pub(crate) fn keys(
        &self,
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> Result<Result<SaltedKeys, Derivation>, Unable> {
        match &self.kind {
            Kind::Md5(_) => Err(Unable::Md5Only),
            Kind::Verifier(verifier) => {
                if *verifier.salt != *salt || verifier.iterations != iterations {
                    return Err(Unable::OtherVerifier);
                }
                let client_key = self.client_key.get().ok_or(Unable::ClientKeyUnknown)?.clone();
                let server_key = verifier.server_key.clone();
                Ok(Ok(SaltedKeys { salt: salt.into(), iterations, client_key, server_key }))
            }
            Kind::Clear(password) => {
                let derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(match derived.iter().find(|keys| keys.is_of(salt, iterations)) {
                    Some(keys) => Ok(keys.clone()),
                    None => Err(Derivation { password: password.clone(), salt: salt.into(), iterations }),
                })
            }
        }
    }

    /// Keeps derived keys for the next login.
    pub(crate) fn remember(&self, keys: &SaltedKeys) {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if derived.iter().any(|known| known.is_of(&keys.salt, keys.iterations)) {
            return;
        }
        if derived.len() >= DERIVED_LIMIT {
            derived.remove(0);
        }
        derived.push(keys.clone());
    }
}

const _: () = assert!(KEY_LEN == 32, "StoredKey and ServerKey are SHA-256 hashes");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_verifier_an_md5_hash_or_else_clear_text() {
        let verifier = ScramVerifier::of_password("pencil", &mut |salt| salt.fill(1)).to_text();
        assert!(matches!(Secret::parse(&verifier).unwrap().kind, Kind::Verifier(_)));
        assert!(matches!(Secret::parse(&format!("md5{}", "aB".repeat(16))).unwrap().kind, Kind::Md5(_)));
        for clear in ["secret", "md5", "md5abc", "SCRAM-SHA-1$x", &format!("md5{}", "z".repeat(32))] {
            assert_eq!(Secret::parse(clear).unwrap().clear_text(), Some(clear));
        }
    }

    #[test]
    fn what_could_never_be_sent_is_no_secret() {
        assert_eq!(Secret::parse("").unwrap_err(), SecretError::Empty);
        assert_eq!(Secret::parse("a\0b").unwrap_err(), SecretError::Nul);
        assert_eq!(Secret::parse(&"x".repeat(1025)).unwrap_err(), SecretError::TooLong);
        assert!(matches!(Secret::parse("SCRAM-SHA-256$oops").unwrap_err(), SecretError::Verifier(_)));
    }

    #[test]
    fn no_way_of_printing_shows_it() {
        assert_eq!(format!("{:?}", Secret::parse("hunter2").unwrap()), "Secret(..)");
    }

    #[test]
    fn a_wrong_client_key_is_not_learned() {
        let verifier = ScramVerifier::of_password("pencil", &mut |salt| salt.fill(1)).to_text();
        let secret = Secret::parse(&verifier).unwrap();
        secret.learn_client_key([0; KEY_LEN].into());
        assert!(!secret.opens_servers());
    }

    #[test]
    fn only_the_same_secret_hands_down_what_it_learned() {
        let verifier = |byte| ScramVerifier::of_password("pencil", &mut |salt| salt.fill(byte)).to_text();
        let old = Secret::parse(&verifier(1)).unwrap();
        old.learn_client_key(SaltedKeys::derive("pencil", &[1; SALT_LEN], ITERATIONS).client_key);
        assert!(old.opens_servers());
        let (same, other) = (Secret::parse(&verifier(1)).unwrap(), Secret::parse(&verifier(2)).unwrap());
        same.adopt(&old);
        other.adopt(&old);
        assert!(same.opens_servers() && !other.opens_servers());
    }
}

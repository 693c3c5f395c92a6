use std::{
    fmt,
    num::{NonZeroU32, ParseIntError},
    str::FromStr,
};

use base64::{DecodeError, Engine, prelude::BASE64_STANDARD};
use subtle::{Choice, ConstantTimeEq};

use crate::{
    Random,
    keys::{KEY_LEN, Key, SaltedKeys, sha256},
};

/// Iterations of PBKDF2 in a verifier made here: PostgreSQL's default (`scram_iterations`).
pub(crate) const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("4096 is not zero");

/// Bytes of the salt in a verifier made here, as in PostgreSQL's.
pub(crate) const SALT_LEN: usize = 16;

const PREFIX: &str = "SCRAM-SHA-256$";

/// The longest salt that is read, in bytes.
const SALT_LIMIT: usize = 256;

/// What PostgreSQL stores in `pg_authid.rolpassword` (manual, "pg_authid"): enough to check a password, not to know it.
#[derive(Clone)]
pub struct ScramVerifier {
    pub(crate) iterations: NonZeroU32,
    pub(crate) salt: Box<[u8]>,
    pub(crate) stored_key: Key,
    pub(crate) server_key: Key,
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier(..)")
    }
}

/// Not of the form `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseVerifierError {
    /// The prefix or a separator is missing.
    #[error("a SCRAM verifier reads SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>")]
    Shape,
    /// The iteration count is no positive number.
    #[error("a SCRAM verifier's iteration count is a positive number")]
    Iterations(#[from] ParseIntError),
    /// A part is not base64.
    #[error("a SCRAM verifier's salt and keys are base64")]
    Base64(#[from] DecodeError),
    /// A key has not 32 bytes, or the salt none or too many.
    #[error("a SCRAM verifier's keys have 32 bytes and its salt 1 to {SALT_LIMIT}")]
    Length,
}

impl FromStr for ScramVerifier {
    type Err = ParseVerifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = ParseVerifierError::Shape;
        let rest = text.strip_prefix(PREFIX).ok_or(shape.clone())?;
        let (head, keys) = rest.split_once('$').ok_or(shape.clone())?;
        let (iterations, salt) = head.split_once(':').ok_or(shape.clone())?;
        let (stored, server) = keys.split_once(':').ok_or(shape)?;
        let salt = BASE64_STANDARD.decode(salt)?.into_boxed_slice();
        if !(1..=SALT_LIMIT).contains(&salt.len()) {
            return Err(ParseVerifierError::Length);
        }
        Ok(Self { iterations: iterations.parse()?, salt, stored_key: key(stored)?, server_key: key(server)? })
    }
}

fn key(text: &str) -> Result<Key, ParseVerifierError> {
    let bytes = BASE64_STANDARD.decode(text)?;
    let key: [u8; KEY_LEN] = bytes.try_into().map_err(|_| ParseVerifierError::Length)?;
    Ok(key.into())
}

impl ScramVerifier {
    /// Makes a new one of `password`: a random salt, 4096 iterations. Takes about 1 ms.
    #[must_use]
    pub fn of_password(password: &str, random: Random<'_>) -> Self {
        let mut salt = [0; SALT_LEN];
        random(&mut salt);
        Self::of_keys(&SaltedKeys::derive(password, &salt, ITERATIONS))
    }

    /// Whether `text` is meant to be one, well-formed or not.
    pub(crate) fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    pub(crate) fn of_keys(keys: &SaltedKeys) -> Self {
        Self {
            iterations: keys.iterations,
            salt: keys.salt.clone(),
            stored_key: sha256(&*keys.client_key).into(),
            server_key: keys.server_key.clone(),
        }
    }

    /// The text that PostgreSQL stores and `ALTER ROLE … PASSWORD` takes. Whoever has it and watches one login can
    /// log in as the role: it is a secret.
    #[must_use]
    pub fn to_text(&self) -> zeroize::Zeroizing<String> {
        let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        format!(
            "{PREFIX}{}:{}${}:{}",
            self.iterations,
            base64(&self.salt),
            base64(&*self.stored_key),
            base64(&*self.server_key)
        )
        .into()
    }

    pub(crate) fn ct_eq(&self, other: &Self) -> Choice {
        let same_keys = self.stored_key.ct_eq(&*other.stored_key) & self.server_key.ct_eq(&*other.server_key);
        let same_salt =
            self.salt.ct_eq(&other.salt) & Choice::from(u8::from(self.iterations == other.iterations));
        same_keys & same_salt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_survives_the_round_trip_through_text() {
        let verifier = ScramVerifier::of_password("pencil", &mut |salt| salt.fill(7));
        let text = verifier.to_text();
        let read: ScramVerifier = text.parse().unwrap();
        assert!(bool::from(verifier.ct_eq(&read)));
        assert_eq!(*read.to_text(), *text);
    }

    #[test]
    fn a_broken_verifier_is_refused_with_the_reason() {
        let verifier = ScramVerifier::of_password("pencil", &mut |salt| salt.fill(7)).to_text();
        let check = |from: &str, to: &str, expected: fn(&ParseVerifierError) -> bool| {
            let broken = verifier.replacen(from, to, 1);
            let error = broken.parse::<ScramVerifier>().unwrap_err();
            assert!(expected(&error), "{broken}: {error:?}");
        };
        check("SCRAM-SHA-256$", "SCRAM-SHA-1$", |e| *e == ParseVerifierError::Shape);
        check("$4096:", "$4096", |e| *e == ParseVerifierError::Shape);
        check("$4096", "$0", |e| matches!(e, ParseVerifierError::Iterations(_)));
        check("$4096", "$99999999999", |e| matches!(e, ParseVerifierError::Iterations(_)));
        check(":Bw", ":!!", |e| matches!(e, ParseVerifierError::Base64(_)));
        check("=:", "=:AAAA", |e| matches!(e, ParseVerifierError::Base64(_) | ParseVerifierError::Length));
    }
}

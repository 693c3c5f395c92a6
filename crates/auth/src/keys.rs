//! The key derivation of SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677).

use std::{borrow::Cow, fmt, num::NonZeroU32};

use aws_lc_rs::{digest, hmac as aws_hmac, pbkdf2};
use zeroize::Zeroizing;

/// Bytes of a SHA-256 hash, and so of every key and signature here.
pub(crate) const KEY_LEN: usize = 32;

/// A key that is wiped when it is dropped.
pub(crate) type Key = Zeroizing<[u8; KEY_LEN]>;

/// HMAC-SHA-256 over the concatenation of `parts`.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_LEN] {
    let mut context = aws_hmac::Context::with_key(&aws_hmac::Key::new(aws_hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("an HMAC-SHA-256 tag has 32 bytes")
}

/// SHA-256.
pub(crate) fn sha256(data: &[u8]) -> [u8; KEY_LEN] {
    digest::digest(&digest::SHA256, data).as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

/// Bitwise exclusive or.
pub(crate) fn xor(mut a: [u8; KEY_LEN], b: &[u8; KEY_LEN]) -> [u8; KEY_LEN] {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
    a
}

/// The password as it is hashed: SASLprep of it, or the password itself where SASLprep refuses it, as PostgreSQL
/// does (`pg_saslprep`).
fn prepared(password: &str) -> Cow<'_, str> {
    match stringprep::saslprep(password) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        Ok(_) | Err(_) => Cow::Borrowed(password),
    }
}

/// What a password becomes under one salt and iteration count.
#[derive(Clone)]
pub struct SaltedKeys {
    pub(crate) salt: Box<[u8]>,
    pub(crate) iterations: NonZeroU32,
    pub(crate) client_key: Key,
    pub(crate) server_key: Key,
}

impl fmt::Debug for SaltedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltedKeys(..)")
    }
}

impl SaltedKeys {
    pub(crate) fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = Zeroizing::new([0; KEY_LEN]);
        let prepared = Zeroizing::new(prepared(password).into_owned());
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, prepared.as_bytes(), &mut *salted);
        Self {
            salt: salt.into(),
            iterations,
            client_key: Zeroizing::new(hmac(&*salted, &[b"Client Key"])),
            server_key: Zeroizing::new(hmac(&*salted, &[b"Server Key"])),
        }
    }

    pub(crate) fn is_of(&self, salt: &[u8], iterations: NonZeroU32) -> bool {
        *self.salt == *salt && self.iterations == iterations
    }
}

/// A key derivation that is still to be run: milliseconds of hashing, so not on a thread that serves traffic.
#[derive(Clone)]
pub struct Derivation {
    pub(crate) password: Zeroizing<String>,
    pub(crate) salt: Box<[u8]>,
    pub(crate) iterations: NonZeroU32,
}

impl fmt::Debug for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derivation(..)")
    }
}

impl Derivation {
    /// Runs it: about 1 ms for PostgreSQL's 4096 iterations.
    #[must_use]
    pub fn run(self) -> SaltedKeys {
        SaltedKeys::derive(&self.password, &self.salt, self.iterations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saslprep_maps_what_it_can_and_leaves_the_rest_as_it_is() {
        assert_eq!(prepared("I\u{ad}X"), "IX");
        assert_eq!(prepared("\u{2168}"), "IX");
        assert_eq!(prepared("a\u{a0}b"), "a b");
        assert_eq!(prepared("\u{7}"), "\u{7}");
        assert_eq!(prepared("\u{627}1"), "\u{627}1");
        assert_eq!(prepared("\u{ad}"), "\u{ad}");
    }
}

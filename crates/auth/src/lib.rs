//! Password exchanges, both ends: SCRAM-SHA-256 with clients, SCRAM-SHA-256, MD5 and clear text with servers.
//!
//! Pure: no socket, no clock; random bytes come in through a [`Random`]. What is compared is compared in constant
//! time and what is secret is wiped when it is dropped. Everything here reads hostile bytes: clients that are not
//! logged in yet, and servers that may not be who they say.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod keys;
mod md5;
mod proof;
pub mod scram;
mod secret;
mod verifier;

pub use keys::{Derivation, SaltedKeys};
pub use md5::md5_response;
pub use proof::Authenticated;
pub use scram::{MockKey, ScramClient, ScramServer};
pub use secret::{Secret, SecretError};
pub use verifier::{ParseVerifierError, ScramVerifier};

/// Fills a slice with bytes that nobody can guess.
pub type Random<'a> = &'a mut dyn FnMut(&mut [u8]);

/// What a stored secret cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unable {
    /// A SCRAM verifier does not contain the password. A client that logs in through the proxy proves that it knows
    /// the key; until one did, the proxy has nothing to log in with.
    #[error("the stored SCRAM verifier becomes usable for servers when a client has logged in with it")]
    ClientKeyUnknown,
    /// The server's verifier has another salt or iteration count than the stored one.
    #[error("the stored SCRAM verifier is not the server's: salt or iterations differ")]
    OtherVerifier,
    /// An MD5 hash serves for MD5 authentication only.
    #[error("the stored secret is an MD5 hash and the server asks for another method")]
    Md5Only,
    /// The server asks for MD5 or clear text and only a SCRAM verifier is stored.
    #[error("the stored secret is a SCRAM verifier and the server asks for another method")]
    ScramOnly,
}

//! SCRAM-SHA-256 (RFC 5802, RFC 7677; manual, "SASL Authentication"), without channel binding.
//!
//! Each state of an exchange is a type and each message consumes it, so no step can be left out or run twice.

mod attributes;
mod client;
mod server;
#[cfg(test)]
mod tests;

pub use attributes::MalformedScram;
pub use client::{Challenge, ScramClient, ScramClientError, SentProof};
pub use server::{AwaitsProof, MockKey, ScramError, ScramServer};

/// The one mechanism that is offered and chosen.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// [`MECHANISM`] as the body of AuthenticationSASL lists it.
pub const MECHANISMS: &[u8] = b"SCRAM-SHA-256\0\0";

/// The longest SASL message that is read, in bytes (PostgreSQL's `PG_MAX_SASL_MESSAGE_LENGTH`).
pub const MESSAGE_LIMIT: usize = 1024;

/// Random bytes in a nonce made here, before base64: as many as PostgreSQL uses (`SCRAM_RAW_NONCE_LEN`).
const NONCE_LEN: usize = 18;

fn fresh_nonce(random: crate::Random<'_>) -> String {
    use base64::Engine;
    let mut raw = [0; NONCE_LEN];
    random(&mut raw);
    base64::prelude::BASE64_STANDARD.encode(raw)
}

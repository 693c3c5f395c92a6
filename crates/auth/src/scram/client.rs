use std::num::NonZeroU32;

use base64::{Engine, prelude::BASE64_STANDARD};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    MECHANISM, MESSAGE_LIMIT,
    attributes::{Attributes, MalformedScram, nonce, signature},
    fresh_nonce,
};
use crate::{
    Derivation, Random, SaltedKeys, Secret, Unable,
    keys::{hmac, sha256, xor},
};

/// The most PBKDF2 iterations that a server may ask for: about 30 ms of hashing. A hostile one could otherwise keep
/// a processor busy for ever.
const ITERATIONS_LIMIT: u32 = 100_000;

/// No channel binding, no authorization identity.
const GS2_HEADER: &str = "n,,";

/// Why the proxy does not log in to a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramClientError {
    /// The server does not offer SCRAM-SHA-256.
    #[error("the server offers no SASL mechanism that is known here")]
    Mechanism,
    /// The stored secret does not suffice.
    #[error(transparent)]
    Unable(#[from] Unable),
    /// The server asks for an absurd amount of hashing, or none.
    #[error("the server asks for {0} iterations; 1 to {ITERATIONS_LIMIT} are accepted")]
    Iterations(u64),
    /// The server's nonce does not continue ours: an answer to somebody else.
    #[error("the server's nonce does not begin with ours")]
    Nonce,
    /// The server does not know the password either: it is not the one it claims to be.
    #[error("the server's signature is wrong")]
    ServerSignature,
    /// The server ended the exchange with an error (`e=`).
    #[error("the server reports a SCRAM error")]
    Reported,
    /// It contradicts the grammar.
    #[error(transparent)]
    Malformed(#[from] MalformedScram),
}

/// The client's side, after its first message.
///   `ScramClient` --server-first--> [`Challenge`] --proof--> [`SentProof`] --server-final--> done
#[derive(Debug)]
pub struct ScramClient<'a> {
    secret: &'a Secret,
    nonce: Box<str>,
}

impl<'a> ScramClient<'a> {
    /// Begins an exchange with a server that offers `mechanisms` (as on the wire). Gives the body of the
    /// SASLInitialResponse.
    ///
    /// # Errors
    /// [`ScramClientError::Mechanism`] if SCRAM-SHA-256 is not among them.
    pub fn new(
        secret: &'a Secret,
        mechanisms: &[u8],
        random: Random<'_>,
    ) -> Result<(Self, Vec<u8>), ScramClientError> {
        if !mechanisms.split(|b| *b == 0).any(|name| name == MECHANISM.as_bytes()) {
            return Err(ScramClientError::Mechanism);
        }
        let nonce = fresh_nonce(random).into_boxed_str();
        // The server takes the user from the startup packet, so libpq leaves it empty here as well.
        let message = format!("{GS2_HEADER}n=,r={nonce}");
        let mut body = Vec::with_capacity(64);
        body.extend_from_slice(MECHANISM.as_bytes());
        body.push(0);
        body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(message.as_bytes());
        Ok((Self { secret, nonce }, body))
    }

    /// Takes server-first, the data of AuthenticationSASLContinue.
    ///
    /// # Errors
    /// [`ScramClientError`]: malformed, a foreign nonce, too many iterations, or a secret that does not suffice.
    pub fn server_first(self, data: &[u8]) -> Result<Challenge<'a>, ScramClientError> {
        let mut attributes = Attributes::new(data)?;
        let server_nonce = nonce(attributes.expect('r', "a nonce was expected")?)?;
        if !server_nonce.starts_with(&*self.nonce) || server_nonce.len() == self.nonce.len() {
            return Err(ScramClientError::Nonce);
        }
        let salt = BASE64_STANDARD
            .decode(attributes.expect('s', "a salt was expected")?)
            .ok()
            .filter(|salt| !salt.is_empty())
            .ok_or(MalformedScram("a salt is base64 and not empty"))?;
        let iterations: u64 = attributes
            .expect('i', "an iteration count was expected")?
            .parse()
            .map_err(|_| MalformedScram("an iteration count is a number"))?;
        while attributes.next()?.is_some() {}
        let iterations = u32::try_from(iterations)
            .ok()
            .filter(|count| *count <= ITERATIONS_LIMIT)
            .and_then(NonZeroU32::new)
            .ok_or(ScramClientError::Iterations(iterations))?;
        let server_first = std::str::from_utf8(data).map_err(|_| MalformedScram("it is not UTF-8"))?;
        let without_proof = format!("c={},r={server_nonce}", BASE64_STANDARD.encode(GS2_HEADER));
        let auth_message = format!("n=,r={},{server_first},{without_proof}", self.nonce);
        let keys = match self.secret.keys(&salt, iterations)? {
            Ok(keys) => Keys::Known(keys),
            Err(derivation) => Keys::Missing(derivation),
        };
        Ok(Challenge { secret: self.secret, keys, without_proof, auth_message })
    }
}

#[derive(Debug)]
pub(super) enum Keys {
    Known(SaltedKeys),
    Missing(Derivation),
}

/// The client's side once it knows salt and iterations.
#[derive(Debug)]
pub struct Challenge<'a> {
    pub(super) secret: &'a Secret,
    pub(super) keys: Keys,
    pub(super) without_proof: String,
    pub(super) auth_message: String,
}

impl Challenge<'_> {
    /// What has to be hashed first, if anything: run it where it stops nobody and hand the result to
    /// [`Challenge::respond`]. `None` when the keys are known, as after the first login under this salt.
    #[must_use]
    pub fn derivation(&self) -> Option<Derivation> {
        match &self.keys {
            Keys::Known(_) => None,
            Keys::Missing(derivation) => Some(derivation.clone()),
        }
    }

    /// Gives client-final, the body of the SASLResponse. `derived`: the result of [`Challenge::derivation`]; without
    /// it a missing derivation is run here.
    #[must_use]
    pub fn respond(self, derived: Option<SaltedKeys>) -> (SentProof, Vec<u8>) {
        let keys = match self.keys {
            Keys::Known(keys) => keys,
            Keys::Missing(derivation) => {
                let keys = derived
                    .filter(|keys| keys.is_of(&derivation.salt, derivation.iterations))
                    .unwrap_or_else(|| derivation.run());
                self.secret.remember(&keys);
                keys
            }
        };
        let auth_message = [self.auth_message.as_bytes()];
        let stored_key = Zeroizing::new(sha256(&*keys.client_key));
        let proof = Zeroizing::new(xor(hmac(&*stored_key, &auth_message), &keys.client_key));
        let response = format!("{},p={}", self.without_proof, BASE64_STANDARD.encode(proof.as_slice()));
        (SentProof { server_signature: hmac(&*keys.server_key, &auth_message) }, response.into_bytes())
    }
}

/// The client's side after its proof. Until [`SentProof::server_final`] said yes the server has proven nothing, and
/// its AuthenticationOk is not to be believed.
#[derive(Debug)]
pub struct SentProof {
    server_signature: [u8; 32],
}

impl SentProof {
    /// Takes server-final, the data of AuthenticationSASLFinal.
    ///
    /// # Errors
    /// [`ScramClientError::ServerSignature`] if the server does not know the keys, [`ScramClientError::Reported`] if
    /// it sent an error.
    pub fn server_final(self, data: &[u8]) -> Result<(), ScramClientError> {
        if data.len() > MESSAGE_LIMIT {
            return Err(MalformedScram("it is too long").into());
        }
        let mut attributes = Attributes::new(data)?;
        let found = match attributes.next()? {
            Some(('v', value)) => signature(value)?,
            Some(('e', _)) => return Err(ScramClientError::Reported),
            _ => return Err(MalformedScram("a server signature was expected").into()),
        };
        if !attributes.rest().is_empty() {
            return Err(MalformedScram("the signature is the last attribute").into());
        }
        if bool::from(found.ct_eq(&self.server_signature)) {
            Ok(())
        } else {
            Err(ScramClientError::ServerSignature)
        }
    }
}

use std::{fmt, num::NonZeroU32, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use subtle::{Choice, ConstantTimeEq};
use wire::{Reader, SqlState};
use zeroize::Zeroizing;

use super::{
    MECHANISM,
    attributes::{Attributes, MalformedScram, nonce, signature},
    fresh_nonce,
};
use crate::{
    Authenticated, Random, Secret,
    keys::{Key, hmac, sha256, xor},
    verifier::{ITERATIONS, SALT_LEN, ScramVerifier},
};

/// Makes up salts for users that do not exist, the same one for the same name while the process lives, so that an
/// exchange does not tell who exists (PostgreSQL's "mock authentication").
#[derive(Clone)]
pub struct MockKey(Key);

impl fmt::Debug for MockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockKey(..)")
    }
}

impl MockKey {
    /// A new one: one per process is meant.
    #[must_use]
    pub fn new(random: Random<'_>) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        random(&mut *key);
        Self(key)
    }

    fn salt(&self, user: &str) -> [u8; SALT_LEN] {
        let hash = hmac(&*self.0, &[b"salt ", user.as_bytes()]);
        *hash.first_chunk().expect("a salt is shorter than a hash")
    }

    fn verifier(&self, user: &str) -> ScramVerifier {
        ScramVerifier {
            iterations: ITERATIONS,
            salt: self.salt(user).into(),
            stored_key: hmac(&*self.0, &[b"stored ", user.as_bytes()]).into(),
            server_key: hmac(&*self.0, &[b"server ", user.as_bytes()]).into(),
        }
    }
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// Wrong password, no such user, or no password that SCRAM can check: which one is not told.
    #[error("password authentication failed")]
    Refused,
    /// The client chose a mechanism that was not offered.
    #[error("the client selected an invalid SASL authentication mechanism")]
    Mechanism,
    /// The client wants to act as somebody else.
    #[error("the client uses an authorization identity, which is not supported")]
    AuthorizationIdentity,
    /// The client wants channel binding, which was not offered.
    #[error("the client requires channel binding, which is not supported")]
    ChannelBinding,
    /// It contradicts the grammar or the first half of the exchange.
    #[error(transparent)]
    Malformed(#[from] MalformedScram),
}

impl ScramError {
    /// What the client sees: 28P01 for a refusal, else as PostgreSQL answers.
    #[must_use]
    pub fn sqlstate(&self) -> SqlState {
        match self {
            Self::Refused => SqlState::INVALID_PASSWORD,
            Self::AuthorizationIdentity => SqlState::FEATURE_NOT_SUPPORTED,
            Self::Mechanism | Self::ChannelBinding | Self::Malformed(_) => SqlState::PROTOCOL_VIOLATION,
        }
    }
}

/// Who wants to log in, and what the stored secret says of them.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: Box<str>,
    pub(super) verifier: ScramVerifier,
    /// `None`: there is no such user, or none that could log in; the exchange goes on and fails at its end.
    pub(super) secret: Option<Arc<Secret>>,
}

/// The server's side, before the client has said anything.
///   `ScramServer` --client-first--> [`AwaitsProof`] --client-final--> [`Authenticated`]
#[derive(Debug)]
pub struct ScramServer {
    account: Account,
}

impl ScramServer {
    /// Begins an exchange for `user`. A user without a secret, or with one that SCRAM cannot check, goes through the
    /// whole of it and is refused at the end like one with a wrong password. A clear-text secret is hashed here when
    /// it is used for the first time (about 1 ms).
    #[must_use]
    pub fn new(user: &str, secret: Option<Arc<Secret>>, mock: &MockKey) -> Self {
        let known = secret.as_ref().and_then(|secret| secret.verifier(|| mock.salt(user)).ok()).cloned();
        let secret = secret.filter(|_| known.is_some());
        let verifier = known.unwrap_or_else(|| mock.verifier(user));
        Self { account: Account { user: user.into(), verifier, secret } }
    }

    /// Takes the body of the SASLInitialResponse; gives server-first, the data of AuthenticationSASLContinue.
    ///
    /// # Errors
    /// Any [`ScramError`] but [`ScramError::Refused`]: nothing is judged yet.
    pub fn client_first(self, body: &[u8], random: Random<'_>) -> Result<(AwaitsProof, Vec<u8>), ScramError> {
        let message = initial_response(body)?;
        let gs2_header = gs2_header(message)?;
        let mut attributes = Attributes::new(message.get(gs2_header.len()..).unwrap_or_default())?;
        // The name is the startup packet's, as in PostgreSQL; a mandatory extension (`m=`) is not known here and fails.
        attributes.expect('n', "a user name was expected")?;
        let client_nonce = nonce(attributes.expect('r', "a nonce was expected")?)?;
        while attributes.next()?.is_some() {}
        let nonce = format!("{client_nonce}{}", fresh_nonce(random)).into_boxed_str();
        let verifier = &self.account.verifier;
        let server_first =
            format!("r={nonce},s={},i={}", BASE64_STANDARD.encode(&verifier.salt), verifier.iterations);
        let first_messages = format!("{},{server_first},", attributes.taken()).into_boxed_str();
        let state = AwaitsProof { account: self.account, gs2_header, nonce, first_messages };
        Ok((state, server_first.into_bytes()))
    }
}

/// The server's side between its challenge and the client's proof.
#[derive(Debug)]
pub struct AwaitsProof {
    pub(super) account: Account,
    pub(super) gs2_header: &'static str,
    /// The client's nonce and ours after it.
    pub(super) nonce: Box<str>,
    /// The AuthMessage up to client-final-without-proof.
    pub(super) first_messages: Box<str>,
}

impl AwaitsProof {
    /// Takes the body of the SASLResponse; gives the proof of login and server-final, the data of
    /// AuthenticationSASLFinal. The client's key is kept in its [`Secret`] for logins to servers.
    ///
    /// # Errors
    /// [`ScramError::Refused`] for a wrong proof or an unknown user, otherwise what is malformed.
    pub fn client_final(self, body: &[u8]) -> Result<(Authenticated, Vec<u8>), ScramError> {
        let mut attributes = Attributes::new(body)?;
        let binding = attributes.expect('c', "a channel binding was expected")?;
        if binding != BASE64_STANDARD.encode(self.gs2_header) {
            return Err(MalformedScram("the channel binding differs from the first message's").into());
        }
        if attributes.expect('r', "a nonce was expected")? != &*self.nonce {
            return Err(MalformedScram("the nonce differs from the one agreed upon").into());
        }
        let (proof, without_proof) = loop {
            let without_proof = attributes.taken();
            match attributes.next()? {
                Some(('p', proof)) => break (signature(proof)?, without_proof),
                Some(_) => {}
                None => return Err(MalformedScram("a proof was expected").into()),
            }
        };
        if attributes.next()?.is_some() {
            return Err(MalformedScram("the proof is the last attribute").into());
        }
        let auth_message = [self.first_messages.as_bytes(), without_proof.as_bytes()];
        let verifier = &self.account.verifier;
        let client_signature = hmac(&*verifier.stored_key, &auth_message);
        let client_key = Key::new(xor(proof, &client_signature));
        let right = sha256(&*client_key).ct_eq(&*verifier.stored_key);
        let known = Choice::from(u8::from(self.account.secret.is_some()));
        if !bool::from(right & known) {
            return Err(ScramError::Refused);
        }
        if let Some(secret) = &self.account.secret {
            secret.learn_client_key(client_key);
        }
        let server_signature = hmac(&*verifier.server_key, &auth_message);
        let server_final = format!("v={}", BASE64_STANDARD.encode(server_signature));
        Ok((Authenticated::new(self.account.user), server_final.into_bytes()))
    }
}

/// The SASL data of a SASLInitialResponse body: mechanism, length, data.
fn initial_response(body: &[u8]) -> Result<&[u8], ScramError> {
    let malformed = MalformedScram("the initial response's parts do not fit its length");
    let mut reader = Reader::new(body);
    let mechanism = reader.cstr().map_err(|_| malformed)?;
    if mechanism != MECHANISM.as_bytes() {
        return Err(ScramError::Mechanism);
    }
    let len: NonZeroU32 = reader.u32().ok().and_then(NonZeroU32::new).ok_or(malformed)?;
    let message = reader.rest();
    if u32::try_from(message.len()) == Ok(len.get()) { Ok(message) } else { Err(malformed.into()) }
}

/// The channel-binding flag and the (empty) authorization identity that begin client-first. `y`, "I can bind but
/// think that you cannot", is true here: SCRAM-SHA-256-PLUS is never offered.
fn gs2_header(message: &[u8]) -> Result<&'static str, ScramError> {
    match message {
        [b'n', b',', b',', ..] => Ok("n,,"),
        [b'y', b',', b',', ..] => Ok("y,,"),
        [b'n' | b'y', b',', b'a', ..] => Err(ScramError::AuthorizationIdentity),
        [b'p', ..] => Err(ScramError::ChannelBinding),
        _ => Err(MalformedScram("a channel-binding flag was expected").into()),
    }
}

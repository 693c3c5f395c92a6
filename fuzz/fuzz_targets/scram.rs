//! Hostile SASL messages, to both ends: nothing panics, and nobody gets in who does not know the password.
//!
//! Input: one byte that chooses the end, then its messages, apart by the byte 0xff (in UTF-8 it is nowhere).
#![no_main]

use std::sync::{Arc, LazyLock};

use auth::{MockKey, ScramClient, ScramServer, ScramVerifier, Secret, scram::MECHANISMS};
use libfuzzer_sys::fuzz_target;

/// Random bytes are the same in every run, so that seeds can hold whole exchanges.
const NONCE: u8 = 1;
const SALT: u8 = 9;

/// Iterations that are worth their time here.
const ITERATIONS_MAX: u64 = 16;

static VERIFIER: LazyLock<Arc<Secret>> = LazyLock::new(|| {
    let text = ScramVerifier::of_password("pencil", &mut |salt| salt.fill(SALT)).to_text();
    Arc::new(Secret::parse(&text).expect("a verifier that was just made"))
});
static MOCK: LazyLock<MockKey> = LazyLock::new(|| MockKey::new(&mut |key| key.fill(42)));

fuzz_target!(|input: &[u8]| {
    let Some((choice, messages)) = input.split_first() else { return };
    let messages: Vec<&[u8]> = messages.split(|b| *b == 0xff).collect();
    if choice & 1 == 0 {
        client_to_our_server(&messages);
    } else {
        server_to_our_client(&messages);
    }
    let _ = std::str::from_utf8(messages[0]).map(|text| text.parse::<ScramVerifier>());
});

fn client_to_our_server(messages: &[&[u8]]) {
    let [first, last, ..] = messages else { return };
    let run = |stored: Option<Arc<Secret>>| {
        let server = ScramServer::new("app", stored, &MOCK);
        let (server, challenge) = server.client_first(first, &mut |raw| raw.fill(NONCE)).ok()?;
        assert!(challenge.starts_with(b"r="));
        let (authenticated, _) = server.client_final(last).ok()?;
        assert_eq!(authenticated.user(), "app");
        Some(())
    };
    assert_eq!(run(None), None, "a user who does not exist is let in");
    // A proof that fits can be in the seeds; an empty, cut or repeated one cannot fit.
    if run(Some(VERIFIER.clone())).is_some() {
        assert!(last.windows(3).filter(|part| part == b",p=").count() == 1);
    }
}

fn server_to_our_client(messages: &[&[u8]]) {
    let [mechanisms, first, last, ..] = messages else { return };
    let secret = Secret::parse("pencil").expect("a password");
    let offered = mechanisms.split(|b| *b == 0).any(|name| name == b"SCRAM-SHA-256");
    let begun = ScramClient::new(&secret, mechanisms, &mut |raw| raw.fill(NONCE));
    assert_eq!(begun.is_ok(), offered);
    let random: auth::Random<'_> = &mut |raw| raw.fill(NONCE);
    let Ok((client, _)) = ScramClient::new(&secret, MECHANISMS, random) else { return };
    let Ok(challenge) = client.server_first(first) else { return };
    if iterations(first).is_none_or(|count| count > ITERATIONS_MAX) {
        return;
    }
    let derived = challenge.derivation().map(auth::Derivation::run);
    let (sent, proof) = challenge.respond(derived);
    assert!(proof.starts_with(b"c=biws,r="));
    if sent.server_final(last).is_ok() {
        assert!(last.starts_with(b"v="));
    }
}

/// The number behind `,i=`.
fn iterations(server_first: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(server_first).ok()?;
    text.split(',').find_map(|part| part.strip_prefix("i="))?.parse().ok()
}

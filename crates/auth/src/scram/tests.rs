use std::sync::Arc;

use super::{
    client::Keys,
    server::{Account, AwaitsProof},
    *,
};
use crate::{SaltedKeys, ScramVerifier, Secret, Unable, verifier::ITERATIONS};

/// Bytes of a SASLInitialResponse before its data: the mechanism with its NUL and a length.
const INITIAL_HEAD: usize = 18;

fn mock() -> MockKey {
    MockKey::new(&mut |key| key.fill(42))
}

fn nonce_of(byte: u8) -> impl FnMut(&mut [u8]) {
    move |raw| raw.fill(byte)
}

fn verifier() -> Arc<Secret> {
    let text = ScramVerifier::of_password("pencil", &mut |salt| salt.fill(9)).to_text();
    Arc::new(Secret::parse(&text).unwrap())
}

fn clear(password: &str) -> Secret {
    Secret::parse(password).unwrap()
}

/// An exchange of our client with our server; `tamper` may change each message on its way.
fn exchange(
    password: &Secret,
    stored: Option<Arc<Secret>>,
    mut tamper: impl FnMut(&str, Vec<u8>) -> Vec<u8>,
) -> Result<Box<str>, String> {
    let server = ScramServer::new("app", stored, &mock());
    let (client, initial) =
        ScramClient::new(password, MECHANISMS, &mut nonce_of(1)).map_err(|e| e.to_string())?;
    let initial = tamper("client-first", initial);
    let (server, server_first) =
        server.client_first(&initial, &mut nonce_of(2)).map_err(|e| e.to_string())?;
    let challenge = client.server_first(&tamper("server-first", server_first)).map_err(|e| e.to_string())?;
    let derived = challenge.derivation().map(crate::Derivation::run);
    let (client, client_final) = challenge.respond(derived);
    let (authenticated, server_final) =
        server.client_final(&tamper("client-final", client_final)).map_err(|e| e.to_string())?;
    client.server_final(&tamper("server-final", server_final)).map_err(|e| e.to_string())?;
    Ok(authenticated.user().into())
}

fn untouched(_: &str, message: Vec<u8>) -> Vec<u8> {
    message
}

/// Replaces `from` by `to` in the message named `which`.
fn replacing<'a>(which: &'a str, from: &'a str, to: &'a str) -> impl FnMut(&str, Vec<u8>) -> Vec<u8> + 'a {
    move |name, message| {
        if name != which {
            return message;
        }
        // The length in front of client-first is binary.
        let (head, text) = message.split_at(if name == "client-first" { INITIAL_HEAD } else { 0 });
        let text = std::str::from_utf8(text).unwrap();
        assert!(text.contains(from), "{text} lacks {from}");
        let text = text.replacen(from, to, 1);
        let mut message = head.to_vec();
        if let Some(at) = head.len().checked_sub(4) {
            message.splice(at.., u32::try_from(text.len()).unwrap().to_be_bytes());
        }
        message.extend_from_slice(text.as_bytes());
        message
    }
}

#[track_caller]
fn check_tampered(which: &str, from: &str, to: &str, expected: &str) {
    let error = exchange(&clear("pencil"), Some(verifier()), replacing(which, from, to)).unwrap_err();
    assert!(error.contains(expected), "{which} {from} -> {to}: {error}");
}

#[test]
fn the_right_password_logs_in_against_verifier_and_clear_text() {
    assert_eq!(exchange(&clear("pencil"), Some(verifier()), untouched).as_deref(), Ok("app"));
    assert_eq!(exchange(&clear("pencil"), Some(Arc::new(clear("pencil"))), untouched).as_deref(), Ok("app"));
}

#[test]
fn a_wrong_password_an_unknown_user_and_an_md5_hash_are_refused_alike() {
    let md5 = Arc::new(clear(&format!("md5{}", "a".repeat(32))));
    for stored in [Some(verifier()), None, Some(md5)] {
        let error = exchange(&clear("pencils"), stored, untouched).unwrap_err();
        assert_eq!(error, ScramError::Refused.to_string());
    }
    assert_eq!(ScramError::Refused.sqlstate(), wire::SqlState::INVALID_PASSWORD);
}

#[test]
fn an_unknown_user_meets_the_same_salt_every_time() {
    let first = |user| {
        let (_, initial) = ScramClient::new(&clear("x"), MECHANISMS, &mut nonce_of(1)).unwrap();
        ScramServer::new(user, None, &mock()).client_first(&initial, &mut nonce_of(2)).unwrap().1
    };
    assert_eq!(first("nobody"), first("nobody"));
    assert_ne!(first("nobody"), first("nobody2"));
}

#[test]
fn a_clear_text_user_meets_the_salt_of_an_unknown_one_so_reloads_tell_nothing() {
    let first = |stored| {
        let (_, initial) = ScramClient::new(&clear("x"), MECHANISMS, &mut nonce_of(1)).unwrap();
        ScramServer::new("app", stored, &mock()).client_first(&initial, &mut nonce_of(2)).unwrap().1
    };
    assert_eq!(first(None), first(Some(Arc::new(clear("pencil")))));
}

#[test]
fn a_login_teaches_the_verifier_to_log_in_to_servers_with_the_same_one() {
    let stored = verifier();
    let server_side = Some(verifier());
    let error = exchange(&stored, server_side.clone(), untouched).unwrap_err();
    assert_eq!(error, Unable::ClientKeyUnknown.to_string());
    exchange(&clear("pencil"), Some(stored.clone()), untouched).unwrap();
    assert_eq!(exchange(&stored, server_side, untouched).as_deref(), Ok("app"));
    let other = ScramVerifier::of_password("pencil", &mut |salt| salt.fill(8)).to_text();
    let error = exchange(&stored, Some(Arc::new(clear(&other))), untouched).unwrap_err();
    assert_eq!(error, Unable::OtherVerifier.to_string());
}

#[test]
fn a_refused_login_teaches_nothing() {
    let stored = verifier();
    exchange(&clear("pencils"), Some(stored.clone()), untouched).unwrap_err();
    assert!(!stored.opens_servers());
}

#[test]
fn keys_are_derived_once_per_salt() {
    let password = clear("pencil");
    let challenge = || {
        let (client, initial) = ScramClient::new(&password, MECHANISMS, &mut nonce_of(1)).unwrap();
        let server = ScramServer::new("app", Some(verifier()), &mock());
        let (_, first) = server.client_first(&initial, &mut nonce_of(2)).unwrap();
        client.server_first(&first).unwrap()
    };
    assert!(challenge().derivation().is_some());
    let _ = challenge().respond(None);
    assert!(challenge().derivation().is_none());
}

#[test]
fn the_example_of_rfc_7677_comes_out_as_printed() {
    let salt =
        [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let first_messages =
        format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,");
    let keys = SaltedKeys::derive("pencil", &salt, ITERATIONS);
    let password = clear("pencil");
    let without_proof = format!("c=biws,r={nonce}");
    let challenge = Challenge {
        secret: &password,
        keys: Keys::Known(keys.clone()),
        auth_message: format!("{first_messages}{without_proof}"),
        without_proof,
    };
    let (client, response) = challenge.respond(None);
    let expected = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_eq!(response, expected.as_bytes());
    let account = Account {
        user: "user".into(),
        verifier: ScramVerifier::of_keys(&keys),
        secret: Some(Arc::new(clear("pencil"))),
    };
    let server = AwaitsProof {
        account,
        gs2_header: "n,,",
        nonce: nonce.into(),
        first_messages: first_messages.into_boxed_str(),
    };
    let (_, server_final) = server.client_final(&response).unwrap();
    assert_eq!(server_final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(client.server_final(&server_final), Ok(()));
}

#[test]
fn a_server_refuses_a_tampered_exchange() {
    let check = check_tampered;
    check("client-first", "n,,", "p=tls-unique,,", "channel binding");
    check("client-first", "n,,", "n,a=root,", "authorization identity");
    check("client-first", "n,,", "x,,", "channel-binding flag");
    check("client-first", "n,,", "n,,m=ext,", "a user name");
    check("client-first", "n=,", "", "a user name");
    check("client-first", "r=", "x=", "a nonce");
    check("client-first", "r=", "r=\u{e9}", "printable");
    check("client-first", "r=", "r=\0", "NUL");
    check("client-final", "c=biws", "c=eSws", "channel binding differs");
    check("client-final", "c=biws", "c=", "channel binding differs");
    check("client-final", "c=biws,", "", "a channel binding");
    check("client-final", "r=", "r=A", "the nonce differs");
    check("client-final", ",p=", ",p=A", "base64");
    check("client-final", ",p=", ",q=", "a proof");
    check("client-final", ",p=", ",x=y,p=", "password authentication failed");
    check("client-final", "=", "", "an attribute");
    let junk = |name: &str, mut message: Vec<u8>| {
        if name == "client-final" {
            message.extend_from_slice(b",x=y");
        }
        message
    };
    let error = exchange(&clear("pencil"), Some(verifier()), junk).unwrap_err();
    assert!(error.contains("the proof is the last attribute"), "{error}");
}

#[test]
fn every_changed_byte_of_the_last_message_is_refused() {
    let len = [9, 48, 3, 44].iter().sum(); // c=biws,r= nonces ,p= proof
    for at in 0..len {
        let flip = |name: &str, mut message: Vec<u8>| {
            if name == "client-final" {
                assert_eq!(message.len(), len);
                *message.get_mut(at).unwrap() ^= 1;
            }
            message
        };
        assert!(exchange(&clear("pencil"), Some(verifier()), flip).is_err(), "byte {at}");
    }
}

#[test]
fn a_first_message_that_names_another_flag_later_is_refused() {
    let mut first = true;
    let flag = |name: &str, message: Vec<u8>| {
        let changes = name == "client-first" && std::mem::take(&mut first);
        if changes { replacing("client-first", "n,,", "y,,")(name, message) } else { message }
    };
    let error = exchange(&clear("pencil"), Some(verifier()), flag).unwrap_err();
    assert!(error.contains("channel binding differs"), "{error}");
}

#[test]
fn an_initial_response_whose_length_lies_is_refused() {
    for body in [
        &b""[..],
        b"SCRAM-SHA-256",
        b"SCRAM-SHA-256\0",
        b"SCRAM-SHA-256\0\0\0\0\x02n,,",
        b"SCRAM-SHA-256\0\0\0\0\x08n,,",
        b"SCRAM-SHA-256\0\xff\xff\xff\xff",
        b"SCRAM-SHA-256\0\xff\xff\xff\xffn,,n=,r=abc",
        b"SCRAM-SHA-256-PLUS\0\0\0\0\x03n,,",
        b"PLAIN\0\0\0\0\x03n,,",
    ] {
        let server = ScramServer::new("app", Some(verifier()), &mock());
        assert!(server.client_first(body, &mut nonce_of(2)).is_err(), "{body:?}");
    }
}

#[test]
fn a_client_refuses_a_tampered_exchange() {
    let check = check_tampered;
    check("server-first", "r=", "r=A", "does not begin with ours");
    check("server-first", "r=", "x=", "a nonce");
    check("server-first", ",s=", ",x=", "a salt");
    check("server-first", ",s=", ",s=!", "a salt is base64");
    check("server-first", ",i=4096", "", "an iteration count");
    check("server-first", "i=4096", "i=0", "0 iterations");
    check("server-first", "i=4096", "i=-1", "is a number");
    check("server-first", "i=4096", "i=100001", "100001 iterations");
    check("server-first", "i=4096", "i=2147483648", "2147483648 iterations");
    check("server-first", "i=4096", "i=99999999999999999999", "is a number");
    check("server-final", "v=", "e=other-error,v=", "reports a SCRAM error");
    check("server-final", "v=", "x=", "a server signature");
    check("server-final", "v=", "v=A", "base64");
    check("server-final", "=", "=,", "base64");
}

#[test]
fn a_server_that_adds_nothing_to_the_nonce_is_refused() {
    let password = clear("pencil");
    let (client, initial) = ScramClient::new(&password, MECHANISMS, &mut nonce_of(1)).unwrap();
    let nonce = std::str::from_utf8(&initial).unwrap().rsplit_once("r=").unwrap().1.to_owned();
    let first = format!("r={nonce},s=AAAA,i=4096");
    assert_eq!(client.server_first(first.as_bytes()).unwrap_err(), ScramClientError::Nonce);
}

#[test]
fn a_server_that_does_not_know_the_keys_is_found_out() {
    let other = |name: &str, message: Vec<u8>| {
        if name == "server-final" {
            return b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
        }
        message
    };
    let error = exchange(&clear("pencil"), Some(verifier()), other).unwrap_err();
    assert_eq!(error, ScramClientError::ServerSignature.to_string());
}

#[test]
fn messages_over_the_limit_are_refused_unread() {
    let long = "a".repeat(MESSAGE_LIMIT);
    check_tampered("client-first", "r=", &format!("r={long}"), "too long");
    check_tampered("client-final", "r=", &format!("r={long}"), "too long");
    check_tampered("server-first", ",s=", &format!("{long},s="), "too long");
    check_tampered("server-final", "v=", &format!("v={long}"), "too long");
}

#[test]
fn only_scram_sha_256_is_chosen() {
    let password = clear("pencil");
    for mechanisms in [&b""[..], b"\0", b"SCRAM-SHA-256-PLUS\0\0", b"SCRAM-SHA-1\0\0"] {
        let refused = ScramClient::new(&password, mechanisms, &mut nonce_of(1)).unwrap_err();
        assert_eq!(refused, ScramClientError::Mechanism);
    }
    assert!(ScramClient::new(&password, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", &mut nonce_of(1)).is_ok());
}

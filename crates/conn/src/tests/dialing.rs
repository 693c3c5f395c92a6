use auth::{Secret, scram::ScramClientError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wire::{
    SqlState,
    message::{
        backend::{self, Authentication, TxStatus},
        error::ErrorMessage,
    },
};

use super::{APP, listen, server_tls};
use crate::{
    AuthFailure, DialError, Login, ServerConnection, ServerTlsConfig, ServerTlsMode, TlsFailure, cancel, dial,
};

fn welcome() -> Vec<u8> {
    let mut out = Vec::new();
    Authentication::Ok.write(&mut out);
    backend::parameter_status(b"in_hot_standby", b"off", &mut out);
    backend::backend_key_data(42, b"four", &mut out);
    backend::ready_for_query(TxStatus::Idle, &mut out);
    out
}

fn request(request: Authentication<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.write(&mut out);
    out
}

/// Reads one packet or message: whatever came after `skip` bytes of tag.
async fn read_packet(stream: &mut TcpStream, skip: usize) -> Vec<u8> {
    let mut head = vec![0; skip + 4];
    stream.read_exact(&mut head).await.unwrap();
    let len = u32::from_be_bytes(head[skip..].try_into().unwrap());
    let mut body = vec![0; len as usize - 4];
    stream.read_exact(&mut body).await.unwrap();
    body
}

/// Dials a server that answers the startup packet and each later message with the next of `answers`, then closes.
async fn against(secret: Option<&Secret>, answers: &[&[u8]]) -> Result<ServerConnection, DialError> {
    let (listener, target) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (index, answer) in answers.iter().enumerate() {
            read_packet(&mut stream, usize::from(index > 0)).await;
            // The client may have hung up over the last answer.
            let _ = stream.write_all(answer).await;
        }
        stream
    };
    let login = Login { secret, ..APP };
    let tls = ServerTlsConfig::disabled();
    let dialing = dial(&target, &tls, &login);
    let (dialed, mut stream) = tokio::join!(dialing, async {
        tokio::time::timeout(std::time::Duration::from_secs(5), server).await.ok()
    });
    if dialed.is_err()
        && let Some(stream) = &mut stream
    {
        let _ = stream.shutdown().await;
    }
    dialed
}

#[tokio::test]
async fn a_login_ends_at_the_first_ready_for_query_and_reads_no_further() {
    let mut connection = against(None, &[&[&welcome()[..], b"next"].concat()]).await.unwrap();
    assert_eq!((connection.pid, &*connection.cancel_key), (42, &b"four"[..]));
    assert_eq!(connection.in_hot_standby(), Some(false));
    let mut next = [0; 4];
    connection.stream.read_exact(&mut next).await.unwrap();
    assert_eq!(&next, b"next");
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let (listener, target) = listen().await;
    drop(listener);
    assert!(matches!(dial(&target, &ServerTlsConfig::disabled(), &APP).await, Err(DialError::Refused)));
    let target = crate::Target { host: "/nonexistent".into(), port: 5432 };
    assert!(matches!(dial(&target, &ServerTlsConfig::disabled(), &APP).await, Err(DialError::Refused)));
}

#[tokio::test]
async fn a_refusal_carries_its_sqlstate_and_bounded_texts() {
    let mut out = Vec::new();
    ErrorMessage::fatal(SqlState::CANNOT_CONNECT_NOW, "x".repeat(30_000)).write(&mut out);
    let error = against(None, &[&out]).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::CANNOT_CONNECT_NOW));
    let DialError::Server(error) = error else { panic!("{error:?}") };
    assert_eq!((error.is_fatal(), error.message.len()), (true, 2048));
}

#[tokio::test]
async fn a_refusal_without_a_sqlstate_is_an_internal_error() {
    let error = against(None, &[b"E\0\0\0\x09SX\0\0\0"]).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::INTERNAL_ERROR));
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_given_up() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"R\0\0\0\x03",
        b"R\xff\xff\xff\xff",
        b"R\0\0\0\x06\0\0",
        b"R\x7f\xff\xff\xff\0\0\0\0",
        b"E\0\x01\0\x05",
        b"Z\0\0\0\x05I",
        b"S\0\0\0\x08a\0b\0",
        b"R\0\0\0\x08\0\0\0\0S\0\0\0\x07a\0b",
        b"R\0\0\0\x08\0\0\0\0K\0\0\0\x09\0\0\0\x01x",
        b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05T",
        b"R\0\0\0\x08\0\0\0\0R\0\0\0\x08\0\0\0\0",
        b"R\0\0\0\x0c\0\0\0\x0bdata",
        b"R\0\0\0\x0c\0\0\0\x0cdata",
        b"D\0\0\0\x06\0\0",
    ] {
        let error = against(None, &[answer]).await.unwrap_err();
        assert!(matches!(error, DialError::Protocol), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_never_stops_talking_is_given_up() {
    let mut out = request(Authentication::Ok);
    for _ in 0..1000 {
        backend::parameter_status(b"a", b"b", &mut out);
    }
    assert!(matches!(against(None, &[&out]).await, Err(DialError::Protocol)));
}

#[tokio::test]
async fn a_server_that_leaves_half_way_is_an_io_error() {
    let whole = welcome();
    for len in [0, 1, 4, 5, 9, whole.len() - 1] {
        let (listener, target) = listen().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_packet(&mut stream, 0).await;
            stream.write_all(&whole[..len]).await.unwrap();
        };
        let tls = ServerTlsConfig::disabled();
        let (dialed, ()) = tokio::join!(dial(&target, &tls, &APP), server);
        assert!(matches!(dialed, Err(DialError::Io(_))), "{len}");
    }
}

#[tokio::test]
async fn passwords_are_sent_only_as_the_settings_allow() {
    let clear = Secret::parse("secret").unwrap();
    let refused = against(Some(&clear), &[&request(Authentication::Cleartext)]).await;
    assert!(matches!(refused, Err(DialError::Auth(AuthFailure::ClearTextWithoutTls))));
    let refused = against(None, &[&request(Authentication::Md5 { salt: *b"salt" })]).await;
    assert!(matches!(refused, Err(DialError::Auth(AuthFailure::NoSecret))));
    let refused = against(Some(&clear), &[&request(Authentication::Other(7))]).await;
    assert!(matches!(refused, Err(DialError::Auth(AuthFailure::Method(7)))));
    against(Some(&clear), &[&request(Authentication::Md5 { salt: *b"salt" }), &welcome()]).await.unwrap();
}

#[tokio::test]
async fn a_server_that_skips_its_proof_is_not_believed() {
    let clear = Secret::parse("secret").unwrap();
    let sasl = request(Authentication::Sasl { mechanisms: b"SCRAM-SHA-256\0\0" });
    let refused = against(Some(&clear), &[&sasl, &welcome()]).await;
    assert!(matches!(refused, Err(DialError::Auth(AuthFailure::Unproven))));
}

#[tokio::test]
async fn endless_iterations_are_refused_before_any_hashing() {
    let clear = Secret::parse("secret").unwrap();
    let (listener, target) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_packet(&mut stream, 0).await;
        stream.write_all(&request(Authentication::Sasl { mechanisms: b"SCRAM-SHA-256\0\0" })).await.unwrap();
        let body = read_packet(&mut stream, 1).await;
        let nonce = String::from_utf8(body).unwrap().rsplit_once("r=").unwrap().1.to_owned();
        let first = format!("r={nonce}x,s=c2FsdA==,i=2147483647");
        stream.write_all(&request(Authentication::SaslContinue(first.as_bytes()))).await.unwrap();
        stream
    };
    let login = Login { secret: Some(&clear), ..APP };
    let tls = ServerTlsConfig::disabled();
    let (dialed, _) = tokio::join!(dial(&target, &tls, &login), server);
    let Err(DialError::Auth(AuthFailure::Scram(error))) = dialed else { panic!("{dialed:?}") };
    assert_eq!(error, ScramClientError::Iterations(2_147_483_647));
}

#[tokio::test]
async fn a_parameter_that_could_smuggle_another_is_not_sent() {
    let (_listener, target) = listen().await;
    for (name, value) in [("a\0b", "c"), ("a", "b\0c"), ("", "x"), ("a", &"x".repeat(10_000))] {
        let login = Login { parameters: &[(name, value)], ..APP };
        let refused = dial(&target, &ServerTlsConfig::disabled(), &login).await;
        assert!(matches!(refused, Err(DialError::Protocol)), "{name:?}");
    }
}

/// Dials a server that answers SSLRequest with `answer` and then listens on.
async fn answering_ssl(mode: ServerTlsMode, answer: &[u8]) -> DialError {
    let (listener, target) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_packet(&mut stream, 0).await;
        stream.write_all(answer).await.unwrap();
        stream
    };
    let tls = server_tls(mode, None);
    let (dialed, _) = tokio::join!(dial(&target, &tls, &APP), server);
    dialed.unwrap_err()
}

#[tokio::test]
async fn an_answer_other_than_s_or_n_says_nothing_of_its_text() {
    let mut out = Vec::new();
    ErrorMessage::fatal(SqlState::INTERNAL_ERROR, "visit evil.example").write(&mut out);
    for mode in [ServerTlsMode::Prefer, ServerTlsMode::Require] {
        let error = answering_ssl(mode, &out).await;
        assert!(matches!(error, DialError::Protocol), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("evil"));
    }
}

#[tokio::test]
async fn bytes_stuffed_behind_the_servers_answer_are_refused() {
    for stuffed in [&b"S"[..], b"SR\0\0\0\x08\0\0\0\0", b"N"] {
        let stuffed = [stuffed, &welcome()].concat();
        let error = answering_ssl(ServerTlsMode::Require, &stuffed).await;
        // Whether the bytes came with the answer or right behind it is the network's choice.
        let refused = matches!(error, DialError::Tls(TlsFailure::EarlyData | TlsFailure::Handshake(_)))
            || matches!((&error, stuffed[0]), (DialError::Tls(TlsFailure::NotOffered), b'N'));
        assert!(refused, "{error:?}");
    }
}

#[tokio::test]
async fn a_cancel_request_is_done_when_the_server_has_closed() {
    let (listener, target) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(read_packet(&mut stream, 0).await, b"\x04\xd2\x16\x2e\0\0\0\x2afour");
    };
    let tls = ServerTlsConfig::disabled();
    let (cancelled, ()) = tokio::join!(cancel(&target, &tls, 42, b"four"), server);
    cancelled.unwrap();
}

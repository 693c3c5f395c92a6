use std::io::ErrorKind;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;
use wire::message::{
    error::ErrorView,
    startup::{self, PROTOCOL_3_0},
};

use super::{Authority, listen, server_tls, socket_pair};
use crate::{
    ClientTls, ClientTlsConfig, GreetError, Greeting, ServerTlsMode, Socket, accept_startup, stream::Stream,
};

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

fn session() -> Vec<u8> {
    let mut out = Vec::new();
    startup::session(PROTOCOL_3_0, &[(b"user", b"app")], &mut out);
    out
}

/// The SQLSTATE of the ErrorResponse that ends the connection, or nothing if it just ends.
async fn refusal(far: &mut UnixStream) -> Option<String> {
    let mut answer = Vec::new();
    if let Err(error) = far.read_to_end(&mut answer).await {
        // What the server did not want to read any more turns its close into a reset.
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let body = answer.strip_prefix(b"E")?.get(4..)?;
    Some(ErrorView::read(body).code?.to_string())
}

/// Sends `packets` at once; the client must be refused like this.
async fn check_refused(packets: &[u8], code: Option<&str>) -> GreetError {
    let (near, mut far) = socket_pair();
    far.write_all(packets).await.unwrap();
    let error = accept_startup(near, &ClientTlsConfig::Off).await.unwrap_err();
    assert_eq!(refusal(&mut far).await.as_deref(), code, "{packets:?}: {error}");
    error
}

async fn expect_byte(far: &mut UnixStream, expected: u8) {
    assert_eq!(far.read_u8().await.unwrap(), expected);
}

#[tokio::test]
async fn a_session_is_read_to_its_last_byte_and_no_further() {
    let (near, mut far) = socket_pair();
    far.write_all(&[&session()[..], b"next"].concat()).await.unwrap();
    let greeting = accept_startup(near, &ClientTlsConfig::Off).await.unwrap();
    let Greeting::Session { mut stream, version, parameters } = greeting else { panic!("{greeting:?}") };
    assert_eq!((version, &*parameters), (PROTOCOL_3_0, &b"user\0app\0\0"[..]));
    let mut next = [0; 4];
    stream.read_exact(&mut next).await.unwrap();
    assert_eq!(&next, b"next");
}

#[tokio::test]
async fn requests_for_encryption_are_denied_once_each_in_any_order() {
    for (first, second) in [(SSL, GSS), (GSS, SSL)] {
        let (near, mut far) = socket_pair();
        let client = async {
            far.write_all(first).await.unwrap();
            expect_byte(&mut far, b'N').await;
            far.write_all(second).await.unwrap();
            expect_byte(&mut far, b'N').await;
            far.write_all(&session()).await.unwrap();
        };
        let (greeting, ()) = tokio::join!(accept_startup(near, &ClientTlsConfig::Off), client);
        assert!(matches!(greeting, Ok(Greeting::Session { .. })));
    }
}

#[tokio::test]
async fn a_second_request_of_a_kind_ends_the_connection() {
    for request in [SSL, GSS] {
        let (near, mut far) = socket_pair();
        let client = async {
            far.write_all(request).await.unwrap();
            expect_byte(&mut far, b'N').await;
            far.write_all(request).await.unwrap();
            refusal(&mut far).await
        };
        let (greeting, code) = tokio::join!(accept_startup(near, &ClientTlsConfig::Off), client);
        assert!(matches!(greeting, Err(GreetError::Repeated)));
        assert_eq!(code.as_deref(), Some("08P01"));
    }
}

#[tokio::test]
async fn bytes_stuffed_behind_a_request_for_encryption_are_refused() {
    for request in [SSL, GSS] {
        for stuffed in [&session()[..], b"Q", &[0x16, 3, 1], &[0; 65536]] {
            let error = check_refused(&[request, stuffed].concat(), Some("08P01")).await;
            assert!(matches!(error, GreetError::EarlyData), "{error:?}");
        }
    }
}

#[tokio::test]
async fn packets_that_are_none_are_refused_as_postgresql_refuses_them() {
    check_refused(b"GET / HTTP/1.1\r\n\r\n", None).await;
    check_refused(b"\0\0\x27\x11\0\x03\0\0", None).await;
    check_refused(b"\xff\xff\xff\xff\0\x03\0\0", None).await;
    check_refused(b"\0\0\0\x08\0\x02\0\0", Some("0A000")).await;
    check_refused(b"\0\0\0\x0e\0\x03\0\0user\0a", Some("08P01")).await;
}

#[tokio::test]
async fn a_client_that_leaves_half_way_is_an_error_and_nothing_more() {
    let whole = session();
    for len in 0..whole.len() {
        let (near, mut far) = socket_pair();
        far.write_all(&whole[..len]).await.unwrap();
        drop(far);
        assert!(matches!(accept_startup(near, &ClientTlsConfig::Off).await, Err(GreetError::Io(_))), "{len}");
    }
}

#[tokio::test]
async fn a_cancel_request_keeps_its_connection_until_it_was_dealt_with() {
    let (near, mut far) = socket_pair();
    let mut packet = Vec::new();
    startup::cancel_request(7, b"secret", &mut packet);
    far.write_all(&packet).await.unwrap();
    let greeting = accept_startup(near, &ClientTlsConfig::Off).await.unwrap();
    assert!(!format!("{greeting:?}").contains("115"), "the secret is not printed");
    let Greeting::Cancel { stream, pid, secret } = greeting else { panic!("{greeting:?}") };
    assert_eq!((pid, &*secret), (7, &b"secret"[..]));
    drop(stream);
    assert_eq!(refusal(&mut far).await, None);
}

#[tokio::test]
async fn required_tls_refuses_plain_sessions_but_not_plain_cancels() {
    let authority = Authority::new();
    let tls = ClientTlsConfig::load(&ClientTls::Require(authority.leaf.clone())).unwrap();
    let (near, mut far) = socket_pair();
    far.write_all(&session()).await.unwrap();
    assert!(matches!(accept_startup(near, &tls).await, Err(GreetError::TlsRequired)));
    assert_eq!(refusal(&mut far).await.as_deref(), Some("28000"));
    let (near, mut far) = socket_pair();
    let mut packet = Vec::new();
    startup::cancel_request(7, b"secret", &mut packet);
    far.write_all(&packet).await.unwrap();
    assert!(matches!(accept_startup(near, &tls).await, Ok(Greeting::Cancel { .. })));
}

/// A TLS client that checks nothing.
fn connector(alpn: &[&[u8]]) -> TlsConnector {
    let config = server_tls(ServerTlsMode::Require, None);
    let mut config = rustls::ClientConfig::clone(config.connector().unwrap().config());
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(std::sync::Arc::new(config))
}

async fn greet_tls(direct: bool, alpn: &[&[u8]]) -> Result<Greeting, GreetError> {
    let authority = Authority::new();
    let tls = ClientTlsConfig::load(&ClientTls::Require(authority.leaf.clone())).unwrap();
    let (listener, target) = listen().await;
    let client = async {
        let mut stream = TcpStream::connect((target.host.as_str(), target.port)).await.unwrap();
        if !direct {
            stream.write_all(SSL).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'S');
        }
        let Ok(mut stream) = connector(alpn).connect("localhost".try_into().unwrap(), stream).await else {
            return;
        };
        // The server may have ended the connection after the handshake.
        let _ = stream.write_all(&session()).await;
        let _ = stream.flush().await;
    };
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        accept_startup(Socket::tcp(stream).unwrap(), &tls).await
    };
    tokio::join!(server, client).0
}

#[tokio::test]
async fn tls_is_granted_with_and_without_a_protocol_name() {
    for alpn in [&[][..], &[&b"postgresql"[..]]] {
        let greeting = greet_tls(false, alpn).await.unwrap();
        let Greeting::Session { stream, .. } = greeting else { panic!("{greeting:?}") };
        assert!(stream.is_tls());
    }
}

#[tokio::test]
async fn direct_tls_needs_the_protocol_name() {
    assert!(matches!(greet_tls(true, &[b"postgresql"]).await, Ok(Greeting::Session { .. })));
    assert!(matches!(greet_tls(true, &[]).await, Err(GreetError::DirectTls)));
    assert!(matches!(greet_tls(true, &[b"http/1.1"]).await, Err(GreetError::Handshake(_))));
    let (listener, target) = listen().await;
    let mut client = TcpStream::connect((target.host.as_str(), target.port)).await.unwrap();
    client.write_all(&[0x16, 3, 1, 0, 5]).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let greeting = accept_startup(Socket::tcp(stream).unwrap(), &ClientTlsConfig::Off).await;
    assert!(matches!(greeting, Err(GreetError::DirectTls)));
}

#[test]
fn a_stream_moves_to_another_runtime_with_its_unread_bytes() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (control, worker) = (runtime(), runtime());
    let (mut stream, mut far) = control.block_on(async {
        let (near, mut far) = socket_pair();
        far.write_all(b"early").await.unwrap();
        (Stream::Plain(near), far)
    });
    worker.block_on(async {
        stream.rebind().unwrap();
        let mut read = [0; 5];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"early");
        let control = std::thread::spawn(move || {
            control.block_on(async {
                far.write_all(b"later").await.unwrap();
                far
            })
        });
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"later");
        drop(control.join().unwrap());
        assert_eq!(stream.read(&mut read).await.unwrap(), 0);
    });
}

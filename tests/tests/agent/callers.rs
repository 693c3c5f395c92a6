use std::{fs, net::SocketAddr, sync::Arc};

use agent::{CallError, Kind, SourceRequest, TlsFiles};
use e2e::Certificate;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{PATIENCE, beside::Beside, lent::Lent};

#[tokio::test(flavor = "multi_thread")]
async fn only_callers_with_a_certificate_for_callers_are_heard() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    beside.client().status(PATIENCE).await.unwrap();

    // of an authority that the agent does not know
    let foreign = Certificate::make(cluster.directory(), "foreign");
    let own_root = beside.tls("proxy").root_certificate;
    let foreign = TlsFiles { certificate: foreign.certificate, key: foreign.key, root_certificate: own_root };
    let error = beside.client_with(&foreign).status(PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::Tls { .. } | CallError::Lost { .. }), "{error:?}");

    // another agent's certificate is for being called
    let error = beside.client_with(&beside.tls("agent")).status(PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::Tls { .. } | CallError::Lost { .. }), "{error:?}");

    // none at all
    let request = "GET /status HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = raw(beside.address(), &beside.tls("proxy"), Shows::Nothing, request).await;
    assert!(!answer.contains("HTTP/1.1"), "an answer for somebody without a certificate");

    // and a caller does not believe an agent of another authority
    let other = Certificate::make(cluster.directory(), "other");
    let distrustful = TlsFiles { root_certificate: other.authority, ..beside.tls("proxy") };
    let error = beside.client_with(&distrustful).status(PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::Tls { .. }) && error.is_before_the_request(), "{error:?}");
    assert!(cluster.node(0).is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_verb_is_refused_and_does_nothing() {
    let cluster = Lent::take();
    let beside = Beside::start(&cluster, 0);
    let long = "x".repeat(100_000);
    for (request, code, word) in [
        ("GET /promote", 404, "the verbs are"),
        ("POST /stop/now", 404, "the verbs are"),
        ("POST /../stop", 404, "the verbs are"),
        ("GET /stop", 405, "method POST"),
        ("POST /status", 405, "method GET"),
        ("POST /stop {\"mode\":\"smart\"}", 400, "unknown variant"),
        ("POST /stop {\"force\":true}", 400, "unknown field"),
        ("POST /stop [", 400, "the body"),
        ("POST /fence {\"a\":1}", 400, "unknown field"),
        ("POST /rewind", 400, "missing field `host`"),
        ("POST /rewind {\"host\":\"a' b\",\"port\":1}", 400, "host"),
        ("POST /reinit {\"host\":\"a\",\"port\":1,\"slot\":\"x; drop\"}", 400, "slot"),
        (&format!("POST /stop {{\"mode\":\"{long}\"}}"), 400, "the body"),
    ] {
        let mut parts = request.splitn(3, ' ');
        let (method, path) = (parts.next().unwrap(), parts.next().unwrap());
        let body = parts.next().unwrap_or_default();
        let text =
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = raw(beside.address(), &beside.tls("proxy"), Shows::Certificate, &text).await;
        let short = &request[..request.len().min(60)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{short}: {answer}");
        assert!(answer.contains(word), "{short}: {answer}");
    }
    let garbage =
        raw(beside.address(), &beside.tls("proxy"), Shows::Certificate, "\0\0\0 what\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    assert!(cluster.node(0).is_running());
    beside.client().status(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_tells_what_went_wrong() {
    let cluster = Lent::take();
    let mut beside = Beside::start(&cluster, 0);
    let agent = beside.client();
    let request = SourceRequest { host: "a b".to_owned(), port: 1, ..SourceRequest::default() };
    let error = agent.rewind(&request, PATIENCE).await.unwrap_err();
    assert_eq!(error.refusal().map(|refusal| refusal.kind), Some(Kind::Malformed), "{error}");
    beside.kill();
    let error = agent.status(PATIENCE).await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
}

/// What a caller shows of itself.
#[derive(Clone, Copy)]
enum Shows {
    Certificate,
    Nothing,
}

/// Sends some text and gives whatever comes back.
async fn raw(address: SocketAddr, files: &TlsFiles, shows: Shows, text: &str) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.root_certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shows {
        Shows::Nothing => config.with_no_client_auth(),
        Shows::Certificate => {
            let chain = vec![CertificateDer::from_pem_slice(&fs::read(&files.certificate).unwrap()).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
    // it may have been refused already
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

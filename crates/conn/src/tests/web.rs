use std::sync::Arc;

use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::{Authority, listen};
use crate::{Certificate, Stream, Target, WebTls, WebTlsConfig, dial_web};

/// How it went.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// A byte came, in the clear.
    Plain,
    /// A byte came, encrypted.
    Encrypted,
    /// None came.
    Failed,
}

/// A server's TLS; `clients`: it wants certificates of this authority.
fn acceptor(server: &Authority, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain =
        CertificateDer::pem_file_iter(&server.leaf.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&server.leaf.key).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(&authority.root).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

async fn dialed(host: &str, server: Option<&TlsAcceptor>, tls: Option<&WebTlsConfig>) -> End {
    let (listener, target) = listen().await;
    let target = Target { host: host.into(), ..target };
    let serving = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        // Who refuses the other hangs up.
        match server {
            None => drop(socket.write_all(b"x").await),
            Some(acceptor) => {
                if let Ok(mut stream) = acceptor.accept(socket).await {
                    let _ = stream.write_all(b"x").await;
                    let _ = stream.shutdown().await;
                }
            }
        }
    };
    let dialing = async {
        let Ok(mut stream) = dial_web(&target, tls).await else { return End::Failed };
        match stream.read_u8().await {
            Ok(_) if matches!(stream, Stream::ServerTls(_)) => End::Encrypted,
            Ok(_) => End::Plain,
            Err(_) => End::Failed,
        }
    };
    tokio::join!(dialing, serving).0
}

#[tokio::test]
async fn a_web_servers_certificate_and_name_are_always_checked() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let server = acceptor(&right, None);
    let trusting = |authority: &Authority| {
        let root_certificate = Some(authority.root.clone());
        WebTlsConfig::load(&WebTls { root_certificate, certificate: None }).unwrap()
    };
    let (right, wrong) = (trusting(&right), trusting(&wrong));
    assert_eq!(dialed("localhost", Some(&server), Some(&right)).await, End::Encrypted);
    assert_eq!(dialed("127.0.0.1", Some(&server), Some(&right)).await, End::Failed);
    assert_eq!(dialed("localhost", Some(&server), Some(&wrong)).await, End::Failed);
    assert_eq!(dialed("localhost", None, Some(&right)).await, End::Failed);
    assert_eq!(dialed("127.0.0.1", None, None).await, End::Plain);
}

#[tokio::test]
async fn a_certificate_is_shown_to_web_servers_that_want_one() {
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let server = acceptor(&servers, Some(&clients));
    let showing = |certificate: Option<Certificate>| {
        let root_certificate = Some(servers.root.clone());
        WebTlsConfig::load(&WebTls { root_certificate, certificate }).unwrap()
    };
    for (certificate, expected) in [
        (Some(clients.leaf.clone()), End::Encrypted),
        (Some(others.leaf.clone()), End::Failed),
        (None, End::Failed),
    ] {
        assert_eq!(dialed("localhost", Some(&server), Some(&showing(certificate))).await, expected);
    }
    let root_certificate = Some(servers.root.clone());
    let certificate =
        Some(Certificate { certificate: clients.leaf.certificate.clone(), key: others.leaf.key.clone() });
    assert!(WebTlsConfig::load(&WebTls { root_certificate, certificate }).is_err(), "another's key");
}

use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use tokio::io::AsyncWriteExt;
use wire::message::{
    backend::{self, Authentication, TxStatus},
    error::ErrorMessage,
};

use super::{APP, Authority, Directory, listen, server_tls};
use crate::{
    Certificate, ClientTls, ClientTlsConfig, DialError, Greeting, ServerTls, ServerTlsConfig,
    ServerTlsMode::{self, Allow, Disable, Prefer, Require, VerifyCa, VerifyFull},
    Socket, Target, TlsFailure, TlsFileError, accept_startup, dial,
};

/// How dialing ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Plain,
    Encrypted,
    NotOffered,
    HandshakeFailed,
    Refused,
}

use End::{Encrypted, HandshakeFailed, NotOffered, Plain, Refused};

/// What the server's pg_hba.conf lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hba {
    Host,
    HostSsl,
    HostNoSsl,
}

/// Dials `host`, where a server greets with `server`, once or twice.
async fn dialed(
    mode: ServerTlsMode,
    root: Option<&Path>,
    host: &str,
    server: &ClientTlsConfig,
    hba: Hba,
) -> End {
    let (listener, target) = listen().await;
    let target = Target { host: host.into(), ..target };
    let server = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let greeting = accept_startup(Socket::tcp(stream).unwrap(), server).await;
            let Ok(Greeting::Session { mut stream, .. }) = greeting else { continue };
            let mut out = Vec::new();
            if matches!((hba, stream.is_tls()), (Hba::HostSsl, false) | (Hba::HostNoSsl, true)) {
                ErrorMessage::fatal(wire::SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "no")
                    .write(&mut out);
            } else {
                Authentication::Ok.write(&mut out);
                backend::ready_for_query(TxStatus::Idle, &mut out);
            }
            stream.write_all(&out).await.unwrap();
            stream.flush().await.unwrap();
        }
    };
    let tls = server_tls(mode, root);
    tokio::select! {
        result = dial(&target, &tls, &APP) => match result {
            Ok(connection) if connection.stream.is_tls() => Encrypted,
            Ok(_) => Plain,
            Err(DialError::Tls(TlsFailure::NotOffered)) => NotOffered,
            Err(DialError::Tls(TlsFailure::Handshake(_))) => HandshakeFailed,
            Err(DialError::Server(_)) => Refused,
            Err(error) => panic!("{error:?}"),
        },
        () = server => unreachable!("the server never ends"),
    }
}

#[tokio::test]
async fn each_mode_checks_what_libpq_checks() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let server = ClientTlsConfig::load(&ClientTls::Allow(right.leaf.clone())).unwrap();
    let (right, wrong) = (Some(right.root.as_path()), Some(wrong.root.as_path()));
    let (name, address) = ("localhost", "127.0.0.1");
    for (mode, root, host, expected) in [
        (Disable, None, name, Plain),
        (Allow, None, name, Plain),
        (Prefer, None, name, Encrypted),
        (Prefer, None, address, Encrypted),
        (Prefer, right, address, Encrypted),
        (Prefer, wrong, name, Plain),
        (Require, None, address, Encrypted),
        (Require, right, address, Encrypted),
        (Require, wrong, name, HandshakeFailed),
        (VerifyCa, right, name, Encrypted),
        (VerifyCa, right, address, Encrypted),
        (VerifyCa, wrong, name, HandshakeFailed),
        (VerifyFull, right, name, Encrypted),
        (VerifyFull, right, address, HandshakeFailed),
        (VerifyFull, wrong, name, HandshakeFailed),
    ] {
        let end = dialed(mode, root, host, &server, Hba::Host).await;
        assert_eq!(end, expected, "{mode:?} {root:?} {host}");
    }
}

#[tokio::test]
async fn each_mode_meets_a_server_without_tls_as_libpq_does() {
    let authority = Authority::new();
    let root = Some(authority.root.as_path());
    for (mode, expected) in [
        (Disable, Plain),
        (Allow, Plain),
        (Prefer, Plain),
        (Require, NotOffered),
        (VerifyCa, NotOffered),
        (VerifyFull, NotOffered),
    ] {
        assert_eq!(
            dialed(mode, root, "localhost", &ClientTlsConfig::Off, Hba::Host).await,
            expected,
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn allow_and_prefer_try_the_other_way_when_hba_refuses_the_first() {
    let authority = Authority::new();
    let with = ClientTlsConfig::load(&ClientTls::Allow(authority.leaf.clone())).unwrap();
    let without = ClientTlsConfig::Off;
    for (mode, server, hba, expected) in [
        (Disable, &with, Hba::HostSsl, Refused),
        (Allow, &with, Hba::HostSsl, Encrypted),
        (Allow, &without, Hba::HostSsl, Refused),
        (Prefer, &with, Hba::HostNoSsl, Plain),
        (Prefer, &without, Hba::HostSsl, Refused),
        (Require, &with, Hba::HostNoSsl, Refused),
    ] {
        assert_eq!(dialed(mode, None, "localhost", server, hba).await, expected, "{mode:?} {hba:?}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_its_own_root_if_named() {
    let directory = Directory::new();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let certificate = directory.write("server.crt", &leaf.pem());
    let key = directory.write("server.key", &key.serialize_pem());
    let files = Certificate { certificate: certificate.clone(), key };
    let server = ClientTlsConfig::load(&ClientTls::Allow(files)).unwrap();
    let root = Some(certificate.as_path());
    assert_eq!(dialed(VerifyFull, root, "localhost", &server, Hba::Host).await, Encrypted);
    assert_eq!(dialed(VerifyFull, root, "127.0.0.1", &server, Hba::Host).await, HandshakeFailed);
}

#[tokio::test]
async fn an_expired_certificate_does_not_verify() {
    let directory = Directory::new();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let root = directory.write("root.crt", &issuer.pem());
    let files = Certificate {
        certificate: directory.write("server.crt", &leaf.pem()),
        key: directory.write("server.key", &key.serialize_pem()),
    };
    let server = ClientTlsConfig::load(&ClientTls::Allow(files)).unwrap();
    assert_eq!(dialed(VerifyCa, Some(&root), "localhost", &server, Hba::Host).await, HandshakeFailed);
    assert_eq!(dialed(Require, None, "localhost", &server, Hba::Host).await, Encrypted);
}

#[test]
fn a_broken_file_is_named() {
    let (good, other) = (Authority::new(), Authority::new());
    let load = |certificate: &Path, key: &Path| {
        let files = Certificate { certificate: certificate.into(), key: key.into() };
        ClientTlsConfig::load(&ClientTls::Allow(files)).unwrap_err()
    };
    let (certificate, key) = (&good.leaf.certificate, &good.leaf.key);
    let missing = good.directory.0.join("missing");
    let junk = good.directory.write("junk", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    let empty = good.directory.write("empty", "");
    assert!(matches!(load(&missing, key), TlsFileError::Read { path, .. } if path == missing));
    assert!(matches!(load(&junk, key), TlsFileError::Pem { path, .. } if path == junk));
    assert!(matches!(load(&empty, key), TlsFileError::NoCertificate { path } if path == empty));
    assert!(matches!(load(certificate, &empty), TlsFileError::Pem { path, .. } if path == empty));
    assert!(
        matches!(load(certificate, &other.leaf.key), TlsFileError::Pair { key, .. } if key == other.leaf.key)
    );
    let settings = ServerTls { mode: VerifyFull, root_certificate: Some(missing.clone()) };
    let error = ServerTlsConfig::load(&settings).unwrap_err();
    assert!(matches!(error, TlsFileError::Read { path, .. } if path == missing));
}

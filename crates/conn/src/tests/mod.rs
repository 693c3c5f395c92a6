//! Scripted peers over loopback and socket pairs; certificates made on the spot.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics is a test that fails"
)]

mod dialing;
mod greeting;
mod listening;
mod queries;
mod tls;
mod web;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, UnixStream};

use crate::{Certificate, Login, ServerTls, ServerTlsConfig, ServerTlsMode, Socket, Target};

/// A directory of its own, gone with the value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgherd-conn-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority and a certificate that it signed for `localhost` (the name, not the address).
struct Authority {
    directory: Directory,
    root: PathBuf,
    leaf: Certificate,
}

impl Authority {
    fn new() -> Self {
        let directory = Directory::new();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
        let root = directory.write("root.crt", &issuer.pem());
        let certificate = directory.write("server.crt", &leaf.pem());
        let key = directory.write("server.key", &key.serialize_pem());
        Self { directory, root, leaf: Certificate { certificate, key } }
    }
}

fn server_tls(mode: ServerTlsMode, root: Option<&Path>) -> ServerTlsConfig {
    ServerTlsConfig::load(&ServerTls { mode, root_certificate: root.map(Into::into) }).unwrap()
}

const APP: Login<'static> = Login { user: "app", database: "shop", secret: None, parameters: &[] };

fn socket_pair() -> (Socket, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Socket::Unix(near), far)
}

async fn listen() -> (TcpListener, Target) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Target { host: "127.0.0.1".into(), port })
}

//! Mutual TLS 1.3: both sides show a certificate of the same authority. Nothing older is needed: both ends are ours.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    server::{VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// One's own certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
    /// The authority that signed the other side's certificate.
    pub root_certificate: PathBuf,
}

/// A file that cannot be used. Names it.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not PEM, or what should be in it is not.
    #[error("{path} holds no PEM of the right kind")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// No certificate in it can be an authority.
    #[error("{path} holds no usable authority")]
    Authority {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not go together.
    #[error("the certificate {certificate} and the key {key} do not go together")]
    Pair {
        /// The chain's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, TlsFileError> {
    fs::read(path).map(Into::into).map_err(|source| TlsFileError::Read { path: path.into(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsFileError::Pem { path: path.into(), source })
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|source| TlsFileError::Pem { path: path.into(), source })
}

fn authority(path: &Path) -> Result<Arc<RootCertStore>, TlsFileError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates(path)?);
    if store.is_empty() { Err(TlsFileError::Authority { path: path.into() }) } else { Ok(Arc::new(store)) }
}

impl TlsFiles {
    fn pair(&self, source: rustls::Error) -> TlsFileError {
        TlsFileError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source }
    }

    /// The agent's side: a caller without a certificate of the authority, for use by a client, gets no further than
    /// the handshake.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file that is wrong.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsFileError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(
            authority(&self.root_certificate)?,
            Arc::clone(&provider),
        );
        let verifier = verifier.build().map_err(|_: VerifierBuilderError| TlsFileError::Authority {
            path: self.root_certificate.clone(),
        })?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has cipher suites of TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(&self.certificate)?, key(&self.key)?)
            .map_err(|source| self.pair(source))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The caller's side of mutual TLS, with its files read. Cheap to clone; one serves for all agents of a cluster.
#[derive(Clone)]
pub struct ClientTls(pub(crate) TlsConnector);

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file that is wrong.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsFileError> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has cipher suites of TLS 1.3")
            .with_root_certificates(authority(&files.root_certificate)?)
            .with_client_auth_cert(certificates(&files.certificate)?, key(&files.key)?)
            .map_err(|source| files.pair(source))?;
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

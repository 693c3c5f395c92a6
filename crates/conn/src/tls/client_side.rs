use std::{fmt, sync::Arc};

use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio_rustls::TlsAcceptor;

use super::{ALPN, TlsFileError, pem};
use crate::{Certificate, ClientTls};

/// How clients are greeted: [`ClientTls`] with its files read. A reload builds a new one and swaps it; connections
/// keep the one they began with.
#[derive(Clone, Default)]
pub enum ClientTlsConfig {
    /// SSLRequest is answered `N`.
    #[default]
    Off,
    /// Both ways are served.
    Allow(TlsAcceptor),
    /// Sessions without TLS are refused; cancel requests are not, for libpq sends them unencrypted.
    Require(TlsAcceptor),
}

impl fmt::Debug for ClientTlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Allow(_) => "Allow",
            Self::Require(_) => "Require",
        })
    }
}

impl ClientTlsConfig {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file that is wrong.
    pub fn load(settings: &ClientTls) -> Result<Self, TlsFileError> {
        Ok(match settings {
            ClientTls::Off => Self::Off,
            ClientTls::Allow(certificate) => Self::Allow(acceptor(certificate)?),
            ClientTls::Require(certificate) => Self::Require(acceptor(certificate)?),
        })
    }

    pub(crate) fn acceptor(&self) -> Option<&TlsAcceptor> {
        match self {
            Self::Off => None,
            Self::Allow(acceptor) | Self::Require(acceptor) => Some(acceptor),
        }
    }
}

fn acceptor(files: &Certificate) -> Result<TlsAcceptor, TlsFileError> {
    let chain = pem::certificates(&files.certificate)?;
    let key = pem::private_key(&files.key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites of both versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|source| TlsFileError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

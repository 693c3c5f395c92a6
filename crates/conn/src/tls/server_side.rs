use std::{fmt, path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::CertificateDer;
use tokio_rustls::TlsConnector;

use super::{
    ALPN, TlsFileError, pem,
    verify::{Check, Verifier},
};
use crate::{ServerTls, ServerTlsMode};

/// How servers are dialed: [`ServerTls`] with its files read. Cheap to clone.
#[derive(Clone)]
pub struct ServerTlsConfig {
    mode: ServerTlsMode,
    /// `None` exactly for [`ServerTlsMode::Disable`].
    connector: Option<TlsConnector>,
}

impl fmt::Debug for ServerTlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTlsConfig").field(&self.mode).finish()
    }
}

impl ServerTlsConfig {
    /// Never TLS.
    #[must_use]
    pub fn disabled() -> Self {
        Self { mode: ServerTlsMode::Disable, connector: None }
    }

    /// Reads the files and decides what is checked, as libpq does (manual, "Client Verification of Server
    /// Certificates"): the chain whenever a root certificate is named or the mode asks for it, the name under
    /// `verify-full`. Names are looked for among the subject alternative names only.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file that is wrong.
    pub fn load(settings: &ServerTls) -> Result<Self, TlsFileError> {
        let root = settings.root_certificate.as_deref();
        let check = match (settings.mode, root) {
            (ServerTlsMode::Disable, _) => return Ok(Self::disabled()),
            (ServerTlsMode::Allow | ServerTlsMode::Prefer | ServerTlsMode::Require, None) => Check::Nothing,
            (ServerTlsMode::VerifyFull, root) => Check::ChainAndName(roots(root)?),
            (_, root) => Check::Chain(roots(root)?),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Verifier::new(check, &provider);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites of both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { mode: settings.mode, connector: Some(TlsConnector::from(Arc::new(config))) })
    }

    pub(crate) fn mode(&self) -> ServerTlsMode {
        self.mode
    }

    pub(crate) fn connector(&self) -> Option<&TlsConnector> {
        self.connector.as_ref()
    }
}

/// Whom to trust.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    /// The certificates of a named file as they are, so that a server's own may be named there, as with libpq.
    pub(super) named: Vec<CertificateDer<'static>>,
}

pub(super) fn roots(path: Option<&Path>) -> Result<Roots, TlsFileError> {
    let mut store = RootCertStore::empty();
    let Some(path) = path else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if store.is_empty() {
            Err(TlsFileError::NoSystemRoots)
        } else {
            Ok(Roots { store, named: Vec::new() })
        };
    };
    let named = pem::certificates(path)?;
    for certificate in &named {
        store.add(certificate.clone()).map_err(|source| TlsFileError::Root { path: path.into(), source })?;
    }
    Ok(Roots { store, named })
}

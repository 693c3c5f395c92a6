use std::{fmt, sync::Arc};

use rustls::{ClientConfig, crypto::aws_lc_rs};
use tokio_rustls::TlsConnector;

use super::{TlsFileError, pem, server_side::roots};
use crate::WebTls;

/// How HTTP servers are dialed by `https`: [`WebTls`] with its files read. Cheap to clone.
#[derive(Clone)]
pub struct WebTlsConfig(TlsConnector);

impl fmt::Debug for WebTlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebTlsConfig(..)")
    }
}

impl WebTlsConfig {
    /// Reads the files. The server's certificate is always checked, and its name.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file that is wrong.
    pub fn load(settings: &WebTls) -> Result<Self, TlsFileError> {
        let roots = roots(settings.root_certificate.as_deref())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites of both versions")
            .with_root_certificates(roots.store);
        let config = match &settings.certificate {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let chain = pem::certificates(&files.certificate)?;
                let key = pem::private_key(&files.key)?;
                builder.with_client_auth_cert(chain, key).map_err(|source| TlsFileError::Pair {
                    certificate: files.certificate.clone(),
                    key: files.key.clone(),
                    source,
                })?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(crate) fn connector(&self) -> &TlsConnector {
        &self.0
    }
}

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// A certificate or key file that cannot be used. Names the file.
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
    /// It is not PEM.
    #[error("{path} is not in PEM format")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// No certificate in it.
    #[error("{path} contains no certificate")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The chain and the key do not make a server.
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
    /// A certificate in it cannot be an authority.
    #[error("{path} contains an unusable certificate")]
    Root {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// No file was named and the system has no trusted authorities.
    #[error("the system has no trusted root certificates; name a root_certificate")]
    NoSystemRoots,
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, TlsFileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.into()),
        Err(source) => Err(TlsFileError::Read { path: path.into(), source }),
    }
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsFileError::Pem { path: path.into(), source })?;
    if certificates.is_empty() {
        Err(TlsFileError::NoCertificate { path: path.into() })
    } else {
        Ok(certificates)
    }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|source| TlsFileError::Pem { path: path.into(), source })
}

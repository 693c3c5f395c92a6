use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// The PEM files of the demo's TLS.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The authority, for clients' `sslrootcert`.
    pub(crate) authority: PathBuf,
    /// The proxies' certificate for localhost, 127.0.0.1 and ::1.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// The certificate in `directory`, made now unless a kept demo has one. The authority's key is not stored, so
    /// nobody who trusts the authority for the demo's sake can be fooled by another certificate of it.
    pub(crate) fn prepare(directory: &Path) -> Result<Self> {
        let folder = directory.join("tls");
        let files = Self {
            authority: folder.join("ca.pem"),
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        };
        if !files.key.is_file() {
            files.make(&folder).context("could not make a TLS certificate")?;
        }
        Ok(files)
    }

    fn make(&self, folder: &Path) -> Result<()> {
        let mut authority = CertificateParams::new([])?;
        authority.distinguished_name.push(DnType::CommonName, "pgherd demo authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::from_params(&authority, &authority_key);

        let names = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name.push(DnType::CommonName, "localhost");
        let leaf_key = KeyPair::generate()?;
        let leaf_certificate = leaf.signed_by(&leaf_key, &issuer)?;

        fs::create_dir_all(folder)?;
        fs::write(&self.authority, authority_certificate.pem())?;
        fs::write(&self.certificate, leaf_certificate.pem())?;
        // The key comes last: its presence says that all is there.
        lab::write_private(&self.key, &leaf_key.serialize_pem())
    }
}

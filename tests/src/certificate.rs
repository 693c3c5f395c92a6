use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

/// A certificate authority and a certificate for `localhost` and 127.0.0.1 that it signed, as files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The authority.
    pub authority: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes the files `<name>.ca.pem`, `<name>.crt` and `<name>.key`, which belong to the folder's owner.
    ///
    /// # Panics
    /// When the folder is not writable.
    #[must_use]
    pub fn make(folder: &Path, name: &str) -> Self {
        let authority_key = rcgen::KeyPair::generate().expect("keys can be made");
        let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("no names are valid names");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, format!("{name} authority"));
        let authority_certificate =
            authority.self_signed(&authority_key).expect("the parameters are complete");
        let issuer = rcgen::Issuer::new(authority, authority_key);

        let key = rcgen::KeyPair::generate().expect("keys can be made");
        let names = ["localhost", "127.0.0.1"].map(String::from).to_vec();
        let mut leaf = rcgen::CertificateParams::new(names).expect("the names are valid");
        leaf.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = leaf.signed_by(&key, &issuer).expect("the parameters are complete");

        let write = |extension: &str, text: &str| {
            let path = folder.join(format!("{name}.{extension}"));
            fs::write(&path, text).expect("the folder is writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
            let owner = fs::metadata(folder).expect("the folder exists");
            chown(&path, Some(owner.uid()), Some(owner.gid())).expect("only root works for others");
            path
        };
        Self {
            authority: write("ca.pem", &authority_certificate.pem()),
            certificate: write("crt", &certificate.pem()),
            key: write("key", &key.serialize_pem()),
        }
    }
}

//! Keys for mutual TLS between proxies and agents: a small authority, and what it signs.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// What keys are wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// The folder for the files; made if it is not there.
    pub folder: PathBuf,
    /// An agent each: a name for its files, and the host names and IP addresses that proxies know it by.
    pub agents: Vec<(String, Vec<String>)>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or folder.
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] io::Error),
    /// The authority's key that is there.
    #[error("cannot use {0}")]
    Authority(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// A certificate.
    #[error("cannot make a certificate for {0}")]
    Certificate(String, #[source] rcgen::Error),
    /// A name that cannot be a file's.
    #[error("{0:?} is no name for an agent: expected letters, digits, - _ or .")]
    Name(String),
}

/// The authority's files.
const AUTHORITY: &str = "ca";
/// The proxies' files.
const PROXY: &str = "proxy";
/// The authority's name. Certificates name their issuer by it, so all runs have the same one.
const AUTHORITY_NAME: &str = "pgherd agents";

/// Makes `ca.crt` and `ca.key`, `proxy.crt` and `proxy.key` for all proxies, and `<name>.crt` and `<name>.key` for each
/// agent. What is there stays as it is, so that agents can be added later. Only proxies may call, and only agents be
/// called: the certificates say so. Gives the files that were made.
///
/// # Errors
/// [`KeyError`].
pub fn make_keys(request: &KeyRequest) -> Result<Vec<PathBuf>, KeyError> {
    for (name, _) in &request.agents {
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty()
            || name.starts_with('.')
            || !name.chars().all(valid)
            || [AUTHORITY, PROXY].contains(&name.as_str())
        {
            return Err(KeyError::Name(name.clone()));
        }
    }
    let folder = &request.folder;
    if !folder.is_dir() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| KeyError::Write(folder.clone(), error))?;
    }
    let mut made = Vec::new();
    let issuer = authority(folder, &mut made)?;
    leaf(folder, PROXY, &[], ExtendedKeyUsagePurpose::ClientAuth, &issuer, &mut made)?;
    for (name, hosts) in &request.agents {
        leaf(folder, name, hosts, ExtendedKeyUsagePurpose::ServerAuth, &issuer, &mut made)?;
    }
    Ok(made)
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name.push(DnType::CommonName, AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// The authority that is there, or a new one.
fn authority(folder: &Path, made: &mut Vec<PathBuf>) -> Result<Issuer<'static, KeyPair>, KeyError> {
    let wrong = |error| KeyError::Certificate(AUTHORITY_NAME.to_owned(), error);
    let path = folder.join(format!("{AUTHORITY}.key"));
    let key = if path.exists() {
        let unusable =
            |error: Box<dyn std::error::Error + Send + Sync>| KeyError::Authority(path.clone(), error);
        let text = fs::read_to_string(&path).map_err(|error| unusable(error.into()))?;
        KeyPair::from_pem(&text).map_err(|error| unusable(error.into()))?
    } else {
        let key = KeyPair::generate().map_err(wrong)?;
        let certificate = authority_params().and_then(|params| params.self_signed(&key)).map_err(wrong)?;
        made.push(write(folder.join(format!("{AUTHORITY}.crt")), &certificate.pem())?);
        // the key comes last: its presence says that all is there
        made.push(write(path, &key.serialize_pem())?);
        key
    };
    Ok(Issuer::new(authority_params().map_err(wrong)?, key))
}

fn leaf(
    folder: &Path,
    name: &str,
    hosts: &[String],
    usage: ExtendedKeyUsagePurpose,
    issuer: &Issuer<'static, KeyPair>,
    made: &mut Vec<PathBuf>,
) -> Result<(), KeyError> {
    let path = folder.join(format!("{name}.key"));
    if path.exists() {
        return Ok(());
    }
    let wrong = |error| KeyError::Certificate(name.to_owned(), error);
    let mut params = CertificateParams::new(hosts).map_err(wrong)?;
    params.distinguished_name.push(DnType::CommonName, format!("pgherd {name}"));
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(wrong)?;
    let certificate = params.signed_by(&key, issuer).map_err(wrong)?;
    made.push(write(folder.join(format!("{name}.crt")), &certificate.pem())?);
    made.push(write(path, &key.serialize_pem())?);
    Ok(())
}

/// Writes a file that only its owner can read; certificates too, for the sake of one rule.
fn write(path: PathBuf, text: &str) -> Result<PathBuf, KeyError> {
    let _ = fs::remove_file(&path);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
    match written {
        Ok(()) => Ok(path),
        Err(error) => Err(KeyError::Write(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::tls::{ClientTls, TlsFiles};

    #[test]
    fn agents_can_be_added_and_old_files_stay() {
        let folder = std::env::temp_dir().join(format!("pgherd-keys-{}", std::process::id()));
        let agent = |name: &str| (name.to_owned(), vec!["127.0.0.1".to_owned(), "localhost".to_owned()]);
        let mut request = KeyRequest { folder: folder.clone(), agents: vec![agent("eu")] };
        assert_eq!(make_keys(&request).unwrap().len(), 6);
        let before = fs::read(folder.join("eu.key")).unwrap();
        request.agents.push(agent("us"));
        assert_eq!(make_keys(&request).unwrap(), [folder.join("us.crt"), folder.join("us.key")]);
        assert_eq!(fs::read(folder.join("eu.key")).unwrap(), before);
        for entry in fs::read_dir(&folder).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let files = |name: &str| TlsFiles {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
            root_certificate: folder.join("ca.crt"),
        };
        ClientTls::load(&files("proxy")).unwrap();
        files("us").acceptor().map(drop).unwrap();
        let mixed = TlsFiles { key: folder.join("eu.key"), ..files("us") };
        assert!(mixed.acceptor().is_err());
        for name in ["", "../x", "proxy", "ca", ".x"] {
            let request = KeyRequest { folder: folder.clone(), agents: vec![agent(name)] };
            assert!(matches!(make_keys(&request), Err(KeyError::Name(_))), "{name}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}

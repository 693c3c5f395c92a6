//! Files for the proxies, in the cluster's folder and for their user alone.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::Path,
};

use anyhow::{Context, Result};
use lab::Cluster;

/// Writes a file for the proxies' user alone and gives its path.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn private_file(cluster: &Cluster, name: &str, text: &str) -> Result<String> {
    let path = cluster.directory().join(name);
    write_private(&path, cluster, text).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path.display().to_string())
}

fn write_private(path: &Path, cluster: &Cluster, text: &str) -> std::io::Result<()> {
    let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    let owner = cluster.node(0).data().metadata()?;
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Where the certificate that everybody shows and its key are.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// PEM file with the certificate.
    pub(crate) certificate: String,
    /// PEM file with the key.
    pub(crate) key: String,
}

/// Makes a certificate (ECDSA, P-256) and has PostgreSQL use it, for clients who want TLS.
///
/// # Errors
/// When a file cannot be written or the server refuses the setting.
pub(crate) fn make_certificate(cluster: &Cluster) -> Result<Certificate> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).context("no certificate")?;
    let certificate = private_file(cluster, "bench.crt", &made.cert.pem())?;
    let key = private_file(cluster, "bench.key", &made.signing_key.serialize_pem())?;
    for (name, value) in [("ssl_cert_file", certificate.as_str()), ("ssl_key_file", &key), ("ssl", "on")] {
        cluster.psql(0, &format!("alter system set {name} = '{value}'"))?;
    }
    cluster.reload(0)?;
    Ok(Certificate { certificate, key })
}

/// Writes the list of users with the verifier as PostgreSQL keeps it, and gives its path.
///
/// # Errors
/// When PostgreSQL does not say or the file cannot be written.
pub(super) fn user_list(cluster: &Cluster) -> Result<String> {
    let user = &cluster.application().user;
    let verifier = cluster.psql(0, &format!("select rolpassword from pg_authid where rolname = '{user}'"))?;
    private_file(cluster, "userlist.txt", &format!("\"{user}\" \"{verifier}\"\n"))
}

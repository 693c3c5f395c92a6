use std::path::PathBuf;

/// Whether accepted clients speak TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClientTls {
    /// SSLRequest is answered `N`.
    #[default]
    Off,
    /// SSLRequest is answered `S`; plain text is served as well.
    Allow(Certificate),
    /// Clients without TLS are refused.
    Require(Certificate),
}

/// A certificate chain and its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// Whether dialed servers speak TLS, in libpq's terms (manual, "Protection Provided in Different Modes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerTlsMode {
    /// Never.
    Disable,
    /// Only if the server insists.
    Allow,
    /// If the server can.
    #[default]
    Prefer,
    /// Always, without checking who it is (unless a root certificate is given: then as `verify-ca`).
    Require,
    /// Always, signed by a trusted authority.
    VerifyCa,
    /// Always, signed by a trusted authority for this very host name.
    VerifyFull,
}

/// How to dial servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerTls {
    /// How much to insist.
    pub mode: ServerTlsMode,
    /// PEM file of trusted authorities; `None`: the system's.
    pub root_certificate: Option<PathBuf>,
}

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;

/// Where clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// Over TCP; port 0: any that is free.
    Tcp(SocketAddr),
    /// Over the Unix-domain socket of this path, whose length was checked.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The peers of a listener that begin every connection with a PROXY header. All others must not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyPeers(pub Vec<IpNet>);

impl ProxyPeers {
    /// Whether `peer` is one of them. An IPv4 peer of an IPv6 socket counts as what it is.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }
}

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

/// How to dial HTTP servers by `https`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebTls {
    /// PEM file of trusted authorities; `None`: the system's.
    pub root_certificate: Option<PathBuf>,
    /// What we show of ourselves, if the server wants to know.
    pub certificate: Option<Certificate>,
}

use std::{sync::Arc, time::Duration};

use crate::{Endpoint, Scheme};

/// How a cluster that Patroni manages is followed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// REST APIs of its members, each of which tells of all; empty: only etcd is asked.
    pub urls: Vec<Endpoint>,
    /// Members of the etcd cluster; empty: only the REST APIs are asked.
    pub etcd: Vec<Endpoint>,
    /// Under which namespace Patroni keeps its keys (default `service`).
    pub namespace: String,
    /// The cluster's name in Patroni; needed for etcd.
    pub scope: Option<String>,
    /// Time between two questions (default 1 s, ±10 %).
    pub interval: Duration,
    /// How long an answer may take (default 1 s).
    pub timeout: Duration,
    /// Who asks the REST API to do something; looking needs nobody.
    pub login: Option<Login>,
    /// Who asks etcd, if it wants to know.
    pub etcd_login: Option<Login>,
    /// TLS for every `https` URL.
    pub tls: conn::WebTls,
}

impl Settings {
    /// Whether any of the URLs is spoken to by TLS. Members may also tell of others by `https`; those are then refused.
    pub(crate) fn uses_tls(&self) -> bool {
        self.urls.iter().chain(&self.etcd).any(|endpoint| endpoint.scheme == Scheme::Https)
    }
}

/// A user and a password.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password, in clear text.
    pub secret: Arc<auth::Secret>,
}

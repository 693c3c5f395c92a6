use std::{net::SocketAddr, sync::Arc};

use auth::{Authenticated, Secret};
use conn::Stream;
use routing::Policy;

use crate::{CancelKey, ClientId};

/// A setting's name and value.
pub type Setting = (Box<[u8]>, Box<[u8]>);

/// A client that has logged in, on its way to its worker.
#[derive(Debug)]
pub struct NewClient {
    /// Its id.
    pub id: ClientId,
    /// Its connection.
    pub stream: Stream,
    /// Where it comes from; `None`: over a Unix-domain socket.
    pub address: Option<SocketAddr>,
    /// Proof that it is who it says.
    pub user: Authenticated,
    /// The database that it asked for.
    pub database: Box<str>,
    /// Settings from its startup packet, in order.
    pub settings: Vec<Setting>,
    /// What to log in to servers with.
    pub secret: Option<Arc<Secret>>,
    /// What its listener is for.
    pub policy: Policy,
    /// Its cancel key.
    pub key: CancelKey,
}

//! `pgherd agent` beside real servers: the real binary, as the servers' user, over real mutual TLS.

mod acting;
pub(crate) mod beside;
mod callers;
mod fencing;
mod lent;
mod lifecycle;
pub(crate) mod rejoining;

use std::time::Duration;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

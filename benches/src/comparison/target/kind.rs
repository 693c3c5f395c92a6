//! What is compared.

use clap::ValueEnum;
use serde::Serialize;

/// A kind of way to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// No proxy.
    Direct,
    /// PgBouncer in transaction mode.
    #[value(name = "pgbouncer")]
    PgBouncer,
    /// HAProxy, which forwards TCP and knows nothing of PostgreSQL: one server connection for each client.
    #[value(name = "haproxy")]
    HaProxy,
    /// pgherd.
    Pgherd,
    /// A proxy that somebody else started, see [`super::Outsider`].
    #[value(skip)]
    Outsider,
}

impl Kind {
    /// Those that we start, in the order of the report.
    pub(crate) const OURS: [Self; 4] = [Self::Direct, Self::PgBouncer, Self::HaProxy, Self::Pgherd];

    /// The name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::PgBouncer => "PgBouncer",
            Self::HaProxy => "HAProxy TCP",
            Self::Pgherd => "pgherd",
            Self::Outsider => "outsider",
        }
    }
}

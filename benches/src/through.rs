//! The ways to PostgreSQL that are compared.

use clap::ValueEnum;
use serde::Serialize;

/// A way to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Through {
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
}

/// Whether a proxy shares server connections and still knows its clients' prepared statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// It does, or shares none.
    Works,
    /// It does not.
    Unsupported,
}

impl Through {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::PgBouncer, Self::HaProxy, Self::Pgherd];

    /// The name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::PgBouncer => "PgBouncer",
            Self::HaProxy => "HAProxy TCP",
            Self::Pgherd => "pgherd",
        }
    }

    /// Whether the clients share server connections.
    pub(crate) fn is_pool(self) -> bool {
        matches!(self, Self::PgBouncer | Self::Pgherd)
    }
}

/// Whether PgBouncer of this version keeps prepared statements in transaction mode: from 1.21 on.
pub(crate) fn pgbouncer_prepared(version: &str) -> Prepared {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= (1, 21) { Prepared::Works } else { Prepared::Unsupported }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_statements_came_to_pgbouncer_with_1_21() {
        assert_eq!(pgbouncer_prepared("1.18.0"), Prepared::Unsupported);
        assert_eq!(pgbouncer_prepared("1.21.0"), Prepared::Works);
        assert_eq!(pgbouncer_prepared("1.100"), Prepared::Works);
        assert_eq!(pgbouncer_prepared(""), Prepared::Unsupported);
    }
}

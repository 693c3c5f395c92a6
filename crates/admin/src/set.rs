//! SET: a setting changes until the next RELOAD or restart.

use tracing::{info, warn};
use wire::{SqlState, message::error::ErrorMessage};

use crate::console::{Answer, Console, ConsoleClient, ConsoleRole};

/// How PgBouncer writes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// As we do.
    None,
    /// In seconds, perhaps with a fraction.
    Seconds,
}

/// PgBouncer's names of settings, and ours.
const NAMES: [(&str, &str, Unit); 17] = [
    ("max_client_conn", "session.max_clients", Unit::None),
    ("client_login_timeout", "session.login_timeout", Unit::Seconds),
    ("pool_mode", "pool.mode", Unit::None),
    ("default_pool_size", "pool.size", Unit::None),
    ("min_pool_size", "pool.min_size", Unit::None),
    ("reserve_pool_size", "pool.reserve_size", Unit::None),
    ("reserve_pool_timeout", "pool.reserve_timeout", Unit::Seconds),
    ("query_wait_timeout", "pool.wait_timeout", Unit::Seconds),
    ("server_lifetime", "pool.server_lifetime", Unit::Seconds),
    ("server_idle_timeout", "pool.server_idle_timeout", Unit::Seconds),
    ("server_connect_timeout", "pool.connect_timeout", Unit::Seconds),
    ("max_prepared_statements", "pool.max_prepared_statements", Unit::None),
    ("query_timeout", "pool.query_timeout", Unit::Seconds),
    ("idle_transaction_timeout", "pool.idle_transaction_timeout", Unit::Seconds),
    ("client_idle_timeout", "pool.client_idle_timeout", Unit::Seconds),
    ("shutdown_wait_timeout", "session.shutdown_timeout", Unit::Seconds),
    ("log_level", "log.level", Unit::None),
];

impl Console {
    /// A name with a dot is a setting's, one of PgBouncer's stands for ours; any other is a parameter that drivers
    /// set while they set up, and means nothing here.
    pub(crate) async fn set(
        &self,
        name: &str,
        value: Option<&str>,
        client: &ConsoleClient,
    ) -> Result<Answer, ErrorMessage> {
        let Some((key, unit)) = setting_of(name) else { return Ok(Answer::default()) };
        if client.role == ConsoleRole::Stats {
            let text = format!("SET {name} needs an administrator");
            return Err(ErrorMessage::error(SqlState::INSUFFICIENT_PRIVILEGE, text)
                .with_detail("This role may look, and so use SHOW."));
        }
        let Some(value) = value else {
            let text = format!("SET {name} takes one value");
            return Err(ErrorMessage::error(SqlState::INVALID_PARAMETER_VALUE, text)
                .with_hint("Put a value that is more than a word or a number between single quotes."));
        };
        info!(client = client.id, user = %client.user, key, "console command SET");
        match self.control.set(key, &with_unit(value, unit)).await {
            Ok(changes) if changes.is_empty() => Ok(Answer::notice("nothing has changed")),
            Ok(changes) => Ok(Answer {
                notices: changes.into_iter().map(ErrorMessage::notice).collect(),
                ..Answer::default()
            }),
            Err(refused) => {
                warn!(key, mistakes = refused.mistakes.len(), "SET refused");
                let text = format!("{key} was not changed");
                Err(ErrorMessage::error(SqlState::INVALID_PARAMETER_VALUE, text)
                    .with_detail(refused.mistakes.join("\n"))
                    .with_hint("SHOW CONFIG shows all settings, and which can be changed."))
            }
        }
    }
}

fn setting_of(name: &str) -> Option<(&str, Unit)> {
    if name.contains('.') {
        return Some((name, Unit::None));
    }
    NAMES.iter().find(|(theirs, ..)| *theirs == name).map(|(_, ours, unit)| (*ours, *unit))
}

/// PgBouncer's seconds with the unit that our durations have.
fn with_unit(value: &str, unit: Unit) -> String {
    let seconds = (unit == Unit::Seconds).then(|| value.parse::<f64>().ok()).flatten();
    match seconds.filter(|seconds| (0.0..1e9).contains(seconds)) {
        Some(seconds) => format!("{:.0}ms", seconds * 1000.0),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, expected: Option<(&str, &str)>) {
        let found = setting_of(name).map(|(key, unit)| (key.to_owned(), with_unit(value, unit)));
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())), "{name}");
    }

    #[test]
    fn settings_are_known_by_their_names_and_by_those_of_pgbouncer() {
        check("pool.size", "30", Some(("pool.size", "30")));
        check("default_pool_size", "30", Some(("pool.size", "30")));
        check("query_timeout", "2", Some(("pool.query_timeout", "2000ms")));
        check("query_timeout", "0.5", Some(("pool.query_timeout", "500ms")));
        check("query_timeout", "2s", Some(("pool.query_timeout", "2s")));
        check("query_timeout", "-1", Some(("pool.query_timeout", "-1")));
        check("application_name", "x", None);
    }
}

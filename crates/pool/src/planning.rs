//! Which settings bear on what a statement's text means and on how it is planned.

/// Settings that never do, sorted. Every other one may: literals are read by `TimeZone` or `DateStyle` when a text is
/// analysed, expressions of constants are computed when it is planned, and neither happens again when the setting
/// changes. What an extension's or the application's own setting does is not known.
const NEVER: [&[u8]; 29] = [
    b"application_name",
    b"backend_flush_after",
    b"client_connection_check_interval",
    b"client_min_messages",
    b"commit_delay",
    b"commit_siblings",
    b"deadlock_timeout",
    b"default_transaction_deferrable",
    b"default_transaction_isolation",
    b"default_transaction_read_only",
    b"idle_in_transaction_session_timeout",
    b"idle_session_timeout",
    b"lock_timeout",
    b"log_duration",
    b"log_error_verbosity",
    b"log_lock_waits",
    b"log_min_duration_statement",
    b"log_min_error_statement",
    b"log_min_messages",
    b"log_statement",
    b"statement_timeout",
    b"synchronous_commit",
    b"tcp_keepalives_idle",
    b"tcp_keepalives_interval",
    b"tcp_user_timeout",
    b"transaction_deferrable",
    b"transaction_isolation",
    b"transaction_read_only",
    b"transaction_timeout",
];

/// Whether a value of the setting `name`, in lower case, that lasts may make a prepared statement another one.
#[must_use]
pub fn bears_on_plans(name: &[u8]) -> bool {
    NEVER.binary_search(&name).is_err()
}

/// The same of a value that lasts no longer than its transaction. An application that uses one session with one such
/// value after the other must not depend on when its statements were prepared: of its own settings nothing is read
/// into plans, and for another role PostgreSQL plans anew by itself.
#[must_use]
pub fn bears_on_plans_in_transaction(name: &[u8]) -> bool {
    bears_on_plans(name) && !name.contains(&b'.') && !matches!(name, b"role" | b"session_authorization")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_how_a_literal_is_read_bears_on_plans() {
        assert!(NEVER.is_sorted());
        for name in [&b"timezone"[..], b"datestyle", b"search_path", b"role", b"client_encoding", b"", b"a.b"]
        {
            assert!(bears_on_plans(name));
        }
        for name in [&b"application_name"[..], b"statement_timeout", b"transaction_timeout"] {
            assert!(!bears_on_plans(name) && !bears_on_plans_in_transaction(name));
        }
        assert!(bears_on_plans_in_transaction(b"timezone"));
        assert!(!bears_on_plans_in_transaction(b"app.tenant"));
    }
}

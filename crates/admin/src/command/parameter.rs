//! Run-time parameters that drivers ask for while they set up a connection, with answers that let them go on.

use wire::message::backend::ColumnType;

use crate::table::Column;

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// Name, in lower case, as a result column.
    pub(crate) column: [Column; 1],
    /// Its value.
    pub(crate) value: &'static str,
    /// How ParameterStatus spells it, if it is reported at login.
    pub(crate) reported: Option<&'static str>,
}

/// A server version that drivers and psql can read (they look at the number in front), and whose it really is.
const SERVER_VERSION: &str = concat!("16.0 (pgherd ", env!("CARGO_PKG_VERSION"), ")");

/// All of them.
pub(crate) static PARAMETERS: [Parameter; 24] = [
    reported("server_version", "server_version", SERVER_VERSION),
    reported("server_encoding", "server_encoding", "UTF8"),
    reported("client_encoding", "client_encoding", "UTF8"),
    reported("application_name", "application_name", ""),
    reported("datestyle", "DateStyle", "ISO, MDY"),
    reported("intervalstyle", "IntervalStyle", "postgres"),
    reported("timezone", "TimeZone", "UTC"),
    reported("integer_datetimes", "integer_datetimes", "on"),
    reported("standard_conforming_strings", "standard_conforming_strings", "on"),
    reported("default_transaction_read_only", "default_transaction_read_only", "off"),
    reported("in_hot_standby", "in_hot_standby", "off"),
    reported("is_superuser", "is_superuser", "off"),
    plain("server_version_num", "160000"),
    plain("transaction_read_only", "off"),
    plain("transaction_isolation", "read committed"),
    plain("default_transaction_isolation", "read committed"),
    plain("extra_float_digits", "1"),
    plain("search_path", "\"$user\", public"),
    plain("bytea_output", "hex"),
    plain("max_identifier_length", "63"),
    plain("statement_timeout", "0"),
    plain("lock_timeout", "0"),
    plain("lc_collate", "C"),
    plain("lc_ctype", "C"),
];

const fn reported(name: &'static str, spelling: &'static str, value: &'static str) -> Parameter {
    Parameter { column: [(name, ColumnType::Text)], value, reported: Some(spelling) }
}

const fn plain(name: &'static str, value: &'static str) -> Parameter {
    Parameter { column: [(name, ColumnType::Text)], value, reported: None }
}

impl Parameter {
    pub(crate) fn name(&self) -> &'static str {
        self.column[0].0
    }

    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        PARAMETERS.iter().find(|parameter| parameter.name().eq_ignore_ascii_case(name))
    }
}

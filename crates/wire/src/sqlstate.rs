use std::fmt;

/// A five-character error code (PostgreSQL manual, appendix "PostgreSQL Error Codes").
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState { $($(#[$doc])* pub const $name: Self = Self(*$code);)* }
    };
}

codes! {
    /// successful_completion
    SUCCESSFUL_COMPLETION = b"00000";
    /// warning
    WARNING = b"01000";
    /// connection_exception
    CONNECTION_EXCEPTION = b"08000";
    /// connection_failure: the server was lost before it answered
    CONNECTION_FAILURE = b"08006";
    /// transaction_resolution_unknown: a COMMIT or write was sent and its outcome is not known
    TRANSACTION_RESOLUTION_UNKNOWN = b"08007";
    /// protocol_violation
    PROTOCOL_VIOLATION = b"08P01";
    /// feature_not_supported
    FEATURE_NOT_SUPPORTED = b"0A000";
    /// invalid_parameter_value
    INVALID_PARAMETER_VALUE = b"22023";
    /// read_only_sql_transaction
    READ_ONLY_SQL_TRANSACTION = b"25006";
    /// in_failed_sql_transaction
    IN_FAILED_SQL_TRANSACTION = b"25P02";
    /// idle_in_transaction_session_timeout
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = b"25P03";
    /// invalid_sql_statement_name
    INVALID_SQL_STATEMENT_NAME = b"26000";
    /// invalid_authorization_specification
    INVALID_AUTHORIZATION_SPECIFICATION = b"28000";
    /// invalid_password
    INVALID_PASSWORD = b"28P01";
    /// invalid_catalog_name: the database does not exist
    INVALID_CATALOG_NAME = b"3D000";
    /// serialization_failure: run the transaction again
    SERIALIZATION_FAILURE = b"40001";
    /// insufficient_privilege
    INSUFFICIENT_PRIVILEGE = b"42501";
    /// syntax_error
    SYNTAX_ERROR = b"42601";
    /// undefined_object
    UNDEFINED_OBJECT = b"42704";
    /// duplicate_prepared_statement
    DUPLICATE_PREPARED_STATEMENT = b"42P05";
    /// too_many_connections
    TOO_MANY_CONNECTIONS = b"53300";
    /// configuration_limit_exceeded
    CONFIGURATION_LIMIT_EXCEEDED = b"53400";
    /// program_limit_exceeded
    PROGRAM_LIMIT_EXCEEDED = b"54000";
    /// object_not_in_prerequisite_state
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000";
    /// query_canceled
    QUERY_CANCELED = b"57014";
    /// admin_shutdown
    ADMIN_SHUTDOWN = b"57P01";
    /// crash_shutdown
    CRASH_SHUTDOWN = b"57P02";
    /// cannot_connect_now
    CANNOT_CONNECT_NOW = b"57P03";
    /// idle_session_timeout
    IDLE_SESSION_TIMEOUT = b"57P05";
    /// undefined_file
    UNDEFINED_FILE = b"58P01";
    /// internal_error
    INTERNAL_ERROR = b"XX000";
}

impl SqlState {
    /// Reads the code field of an ErrorResponse; `None` unless it is five bytes.
    #[must_use]
    pub fn from_bytes(code: &[u8]) -> Option<Self> {
        code.try_into().ok().map(Self)
    }

    /// The five characters.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 5] {
        &self.0
    }

    /// The five characters; a server that sent other bytes shows as `?????`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("?????")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

use sql::PinCause;

/// Why a session keeps its server connection after the end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PinReason {
    /// The pool is in session mode.
    SessionPooling,
    /// A statement left something behind that lives on its connection.
    Statement(PinCause),
    /// A statement was too long to be looked at.
    LongStatement,
    /// Settings were undone in part, by ROLLBACK TO SAVEPOINT.
    SettingsInDoubt,
}

impl PinReason {
    /// The words in the console.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SessionPooling => "session pooling",
            Self::Statement(PinCause::TemporaryTable) => "temporary table",
            Self::Statement(PinCause::Listen) => "LISTEN",
            Self::Statement(PinCause::SqlPrepare) => "SQL PREPARE",
            Self::Statement(PinCause::AdvisoryLock) => "advisory lock",
            Self::Statement(PinCause::HoldCursor) => "WITH HOLD cursor",
            Self::Statement(PinCause::Load) => "LOAD",
            Self::Statement(PinCause::Settings) => "setting that cannot be followed",
            Self::Statement(PinCause::Mixed) => "several session changes in one text",
            Self::LongStatement => "statement too long to be looked at",
            Self::SettingsInDoubt => "settings undone in part",
        }
    }
}

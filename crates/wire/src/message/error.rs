//! ErrorResponse and NoticeResponse: reading the fields that decide, writing the proxy's own.

use std::borrow::Cow;

use super::backend::finish;
use super::frontend::push_cstr;
use crate::{Reader, SqlState};

/// How bad it is: the `S` and `V` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The connection ends.
    Fatal,
    /// The statement failed.
    Error,
    /// Sent as a NoticeResponse.
    Warning,
    /// Sent as a NoticeResponse.
    Notice,
}

impl Severity {
    /// The word on the wire, never localised here.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
        }
    }
}

/// An error or notice that the proxy itself sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorMessage {
    /// How bad it is.
    pub severity: Severity,
    /// What drivers act on.
    pub code: SqlState,
    /// What happened, one sentence.
    pub message: Cow<'static, str>,
    /// The numbers behind it.
    pub detail: Option<Cow<'static, str>>,
    /// What to do about it.
    pub hint: Option<Cow<'static, str>>,
}

impl ErrorMessage {
    /// An ERROR: the statement failed, the session goes on.
    pub fn error(code: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), detail: None, hint: None }
    }

    /// A FATAL: the connection ends after it.
    pub fn fatal(code: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, message) }
    }

    /// A NOTICE.
    pub fn notice(message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Notice, ..Self::error(SqlState::SUCCESSFUL_COMPLETION, message) }
    }

    /// With a DETAIL.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a HINT.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends an ErrorResponse or, for the milder severities, a NoticeResponse. A NUL in a text is left out.
    pub fn write(&self, out: &mut Vec<u8>) {
        let tag = match self.severity {
            Severity::Fatal | Severity::Error => b'E',
            Severity::Warning | Severity::Notice => b'N',
        };
        finish(out, tag, |out| {
            let severity = self.severity.as_str();
            let mut field = |kind: u8, text: &str| {
                out.push(kind);
                if text.contains('\0') {
                    push_cstr(out, text.replace('\0', "").as_bytes());
                } else {
                    push_cstr(out, text.as_bytes());
                }
            };
            field(b'S', severity);
            field(b'V', severity);
            field(b'C', self.code.as_str());
            field(b'M', &self.message);
            if let Some(detail) = &self.detail {
                field(b'D', detail);
            }
            if let Some(hint) = &self.hint {
                field(b'H', hint);
            }
            field(b'R', "pgherd");
            out.push(0);
        });
    }
}

/// What the proxy needs from a server's ErrorResponse or NoticeResponse. Any field may be missing, doubled or cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorView<'a> {
    /// The severity that is not localised (`V`), else `S`.
    pub severity: &'a [u8],
    /// The SQLSTATE, if it has five bytes.
    pub code: Option<SqlState>,
    /// The primary message.
    pub message: &'a [u8],
    /// The DETAIL.
    pub detail: &'a [u8],
    /// The HINT.
    pub hint: &'a [u8],
    /// The name of the source routine, which no locale changes.
    pub routine: &'a [u8],
}

impl<'a> ErrorView<'a> {
    /// Reads as many fields as are whole; never fails, since what is missing is simply not known.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Self {
        let mut view = Self::default();
        let mut reader = Reader::new(body);
        let mut unlocalised = false;
        while let Ok(kind) = reader.u8() {
            let Ok(text) = reader.cstr() else { break };
            match kind {
                0 => break,
                b'V' => (view.severity, unlocalised) = (text, true),
                b'S' if !unlocalised => view.severity = text,
                b'C' => view.code = SqlState::from_bytes(text),
                b'M' => view.message = text,
                b'D' => view.detail = text,
                b'H' => view.hint = text,
                b'R' => view.routine = text,
                _ => {}
            }
        }
        view
    }

    /// Whether the server ends the connection after this.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity, b"FATAL" | b"PANIC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_back_as_written() {
        let mut out = Vec::new();
        ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, "no").with_hint("try\0again").write(&mut out);
        let view = ErrorView::read(out.get(5..).unwrap());
        assert_eq!(view.code, Some(SqlState::PROTOCOL_VIOLATION));
        assert_eq!((view.severity, view.message, view.hint), (&b"FATAL"[..], &b"no"[..], &b"tryagain"[..]));
        assert!(view.is_fatal());
    }

    #[test]
    fn an_error_without_code_or_end_is_read_as_far_as_it_goes() {
        assert_eq!(ErrorView::read(b"").code, None);
        assert_eq!(ErrorView::read(b"SERROR\0").severity, b"ERROR");
        assert_eq!(ErrorView::read(b"VERROR\0SFEHLER\0C123\0Mx").severity, b"ERROR");
    }
}

use std::fmt;

use wire::message::{
    backend::{TxStatus, read_data_row, read_parameter_status},
    error::ErrorView,
};

/// One message, from either end.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub tag: u8,
    /// What follows the length field.
    pub body: Vec<u8>,
}

impl Message {
    /// The whole message as it was on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.body.len() + 5);
        wire::message::frontend::header(self.tag, self.body.len(), &mut bytes);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The SQLSTATE of an ErrorResponse or NoticeResponse.
    #[must_use]
    pub fn sqlstate(&self) -> Option<String> {
        ErrorView::read(&self.body).code.map(|code| code.to_string())
    }

    /// The severity and the primary message of an ErrorResponse or NoticeResponse.
    #[must_use]
    pub fn complaint(&self) -> String {
        let view = ErrorView::read(&self.body);
        format!("{}: {}", String::from_utf8_lossy(view.severity), String::from_utf8_lossy(view.message))
    }

    /// The values of a DataRow as text, `None` for NULL.
    ///
    /// # Panics
    /// When it is no DataRow.
    #[must_use]
    pub fn row(&self) -> Vec<Option<String>> {
        assert_eq!(self.tag, b'D', "{self:?} is no DataRow");
        let values = read_data_row(&self.body).expect("a DataRow is well-formed");
        values.into_iter().map(|value| Some(String::from_utf8_lossy(value?).into_owned())).collect()
    }

    /// Name and value of a ParameterStatus.
    ///
    /// # Panics
    /// When it is no ParameterStatus.
    #[must_use]
    pub fn parameter(&self) -> (String, String) {
        assert_eq!(self.tag, b'S', "{self:?} is no ParameterStatus");
        let (name, value) = read_parameter_status(&self.body).expect("a ParameterStatus is well-formed");
        (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned())
    }

    /// The status in a ReadyForQuery.
    ///
    /// # Panics
    /// When it is no ReadyForQuery.
    #[must_use]
    pub fn status(&self) -> TxStatus {
        assert_eq!(self.tag, b'Z', "{self:?} is no ReadyForQuery");
        TxStatus::read(&self.body).expect("a ReadyForQuery is well-formed")
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let tag = char::from(self.tag);
        if matches!(self.tag, b'E' | b'N') && self.sqlstate().is_some() {
            return write!(f, "{tag}[{} {}]", self.sqlstate().unwrap_or_default(), self.complaint());
        }
        let shown = self.body.get(..SHOWN).unwrap_or(&self.body);
        let more = if self.body.len() > SHOWN { "…" } else { "" };
        write!(f, "{tag}[{}{more}]", shown.escape_ascii())
    }
}

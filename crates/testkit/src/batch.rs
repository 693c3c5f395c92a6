use wire::message::{
    backend::finish,
    frontend::{self, Parse, Target},
};

/// Messages of a client, put together by hand: `Batch::new().parse("s", "select $1").sync()`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Query.
    #[must_use]
    pub fn query(mut self, sql: &str) -> Self {
        frontend::query(sql.as_bytes(), &mut self.bytes);
        self
    }

    /// Parse without declared types.
    #[must_use]
    pub fn parse(mut self, statement: &str, sql: &str) -> Self {
        let message =
            Parse { statement: statement.as_bytes(), query: sql.as_bytes(), parameter_types: &[0, 0] };
        message.write(&mut self.bytes);
        self
    }

    /// Bind with parameters and results in text format.
    ///
    /// # Panics
    /// With more than 65,535 values, or one beyond 2 GiB.
    #[must_use]
    pub fn bind(mut self, portal: &str, statement: &str, values: &[Option<&str>]) -> Self {
        finish(&mut self.bytes, b'B', |out| {
            for name in [portal, statement] {
                out.extend_from_slice(name.as_bytes());
                out.push(0);
            }
            out.extend_from_slice(&[0, 0]);
            let count = u16::try_from(values.len()).expect("a Bind has at most 65,535 values");
            out.extend_from_slice(&count.to_be_bytes());
            for value in values {
                let length =
                    value.map_or(-1, |value| i32::try_from(value.len()).expect("a value is below 2 GiB"));
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(value.unwrap_or_default().as_bytes());
            }
            out.extend_from_slice(&[0, 0]);
        });
        self
    }

    /// Describe of a statement.
    #[must_use]
    pub fn describe_statement(mut self, name: &str) -> Self {
        Target::Statement(name.as_bytes()).write(b'D', &mut self.bytes);
        self
    }

    /// Describe of a portal.
    #[must_use]
    pub fn describe_portal(mut self, name: &str) -> Self {
        Target::Portal(name.as_bytes()).write(b'D', &mut self.bytes);
        self
    }

    /// Execute; `rows` of 0 are all rows.
    #[must_use]
    pub fn execute(mut self, portal: &str, rows: u32) -> Self {
        finish(&mut self.bytes, b'E', |out| {
            out.extend_from_slice(portal.as_bytes());
            out.push(0);
            out.extend_from_slice(&rows.to_be_bytes());
        });
        self
    }

    /// Close of a statement.
    #[must_use]
    pub fn close_statement(mut self, name: &str) -> Self {
        Target::Statement(name.as_bytes()).write(b'C', &mut self.bytes);
        self
    }

    /// Close of a portal.
    #[must_use]
    pub fn close_portal(mut self, name: &str) -> Self {
        Target::Portal(name.as_bytes()).write(b'C', &mut self.bytes);
        self
    }

    /// Flush.
    #[must_use]
    pub fn flush(self) -> Self {
        self.message(b'H', b"")
    }

    /// Sync.
    #[must_use]
    pub fn sync(self) -> Self {
        self.message(b'S', b"")
    }

    /// Any message.
    #[must_use]
    pub fn message(mut self, tag: u8, body: &[u8]) -> Self {
        finish(&mut self.bytes, tag, |out| out.extend_from_slice(body));
        self
    }

    /// Any bytes.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_has_the_layout_of_the_manual() {
        let batch = Batch::new().bind("p", "s", &[Some("ab"), None]);
        let expected = b"B\0\0\0\x18p\0s\0\0\0\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0";
        assert_eq!(batch.bytes(), expected);
    }

    #[test]
    fn messages_follow_each_other() {
        let batch = Batch::new().execute("", 7).sync();
        assert_eq!(batch.bytes(), b"E\0\0\0\x09\0\0\0\0\x07S\0\0\0\x04");
    }
}

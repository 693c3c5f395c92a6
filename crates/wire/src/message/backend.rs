//! What servers send: writers for the proxy's own answers and readers for the few messages that it looks into.

use crate::{Malformed, Reader, TimelineId};

use super::frontend::push_cstr;

/// The status byte of ReadyForQuery (manual, "ReadyForQuery (B)").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TxStatus {
    /// `I`: not in a transaction block.
    #[default]
    Idle,
    /// `T`: in a transaction block.
    InTransaction,
    /// `E`: in a failed transaction block.
    Failed,
}

impl TxStatus {
    /// Reads the body of a ReadyForQuery.
    ///
    /// # Errors
    /// [`Malformed`] for anything but one byte of `I`, `T` or `E`.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        match body {
            b"I" => Ok(Self::Idle),
            b"T" => Ok(Self::InTransaction),
            b"E" => Ok(Self::Failed),
            _ => Err(Malformed),
        }
    }

    /// The byte on the wire.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// Appends one message: the body is what `body` writes, the length is filled in afterwards.
pub fn finish(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len().saturating_sub(at)).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(at..).and_then(|tail| tail.first_chunk_mut()) {
        *field = length.to_be_bytes();
    }
}

/// Appends a ReadyForQuery.
pub fn ready_for_query(status: TxStatus, out: &mut Vec<u8>) {
    finish(out, b'Z', |out| out.push(status.byte()));
}

/// Appends a CommandComplete.
pub fn command_complete(tag: &str, out: &mut Vec<u8>) {
    finish(out, b'C', |out| push_cstr(out, tag.as_bytes()));
}

/// Appends a ParameterStatus.
pub fn parameter_status(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    finish(out, b'S', |out| {
        push_cstr(out, name);
        push_cstr(out, value);
    });
}

/// Name and value of a ParameterStatus body.
///
/// # Errors
/// [`Malformed`] unless the body is exactly two strings.
pub fn read_parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let (name, value) = (reader.cstr()?, reader.cstr()?);
    reader.end()?;
    Ok((name, value))
}

/// Appends a message that consists of its tag alone: ParseComplete `1`, BindComplete `2`, CloseComplete `3`,
/// NoData `n`, EmptyQueryResponse `I`, PortalSuspended `s`, CopyDone `c`.
pub fn bare(tag: u8, out: &mut Vec<u8>) {
    finish(out, tag, |_| {});
}

/// Appends a BackendKeyData; `secret` is 4 bytes under protocol 3.0 and up to 256 from 3.2 on.
pub fn backend_key_data(pid: u32, secret: &[u8], out: &mut Vec<u8>) {
    finish(out, b'K', |out| {
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// Process id and secret of a BackendKeyData body.
///
/// # Errors
/// [`Malformed`] when the secret is shorter than 4 or longer than 256 bytes.
pub fn read_backend_key_data(body: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let pid = reader.u32()?;
    if (4..=256).contains(&reader.rest().len()) { Ok((pid, reader.rest())) } else { Err(Malformed) }
}

/// An authentication request (manual, "Authentication…" messages).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Done.
    Ok,
    /// Send the password as it is.
    Cleartext,
    /// Send `md5(md5(password, user), salt)`.
    Md5 {
        /// Four random bytes.
        salt: [u8; 4],
    },
    /// Choose one of these SASL mechanisms (NUL-separated, as on the wire).
    Sasl {
        /// The mechanism names with their NULs.
        mechanisms: &'a [u8],
    },
    /// The server's next SASL message.
    SaslContinue(&'a [u8]),
    /// The server's last SASL message.
    SaslFinal(&'a [u8]),
    /// GSS, SSPI and whatever may come; the code tells which.
    Other(u32),
}

impl<'a> Authentication<'a> {
    /// Reads the body of an `R` message.
    ///
    /// # Errors
    /// [`Malformed`] when the body is too short for its kind.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        Ok(match reader.u32()? {
            0 => Self::Ok,
            3 => Self::Cleartext,
            5 => Self::Md5 { salt: *reader.rest().first_chunk().ok_or(Malformed)? },
            10 => Self::Sasl { mechanisms: reader.rest() },
            11 => Self::SaslContinue(reader.rest()),
            12 => Self::SaslFinal(reader.rest()),
            other => Self::Other(other),
        })
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (code, data): (u32, &[u8]) = match self {
            Self::Ok => (0, b""),
            Self::Cleartext => (3, b""),
            Self::Md5 { salt } => (5, salt),
            Self::Sasl { mechanisms } => (10, mechanisms),
            Self::SaslContinue(data) => (11, data),
            Self::SaslFinal(data) => (12, data),
            Self::Other(code) => (*code, b""),
        };
        finish(out, b'R', |out| {
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(data);
        });
    }
}

/// Appends a NegotiateProtocolVersion: the newest minor version served, and the options not known.
pub fn negotiate_protocol_version(minor: u32, unknown_options: &[&[u8]], out: &mut Vec<u8>) {
    finish(out, b'v', |out| {
        out.extend_from_slice(&minor.to_be_bytes());
        let count = u32::try_from(unknown_options.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for option in unknown_options {
            push_cstr(out, option);
        }
    });
}

/// A column's type in the proxy's own result sets: its OID and size (catalog `pg_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// `bool`
    Bool,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `text`
    Text,
    /// `timestamptz`
    Timestamptz,
    /// `numeric`
    Numeric,
}

impl ColumnType {
    /// OID and length in bytes (-1: variable).
    #[must_use]
    pub fn oid_and_len(self) -> (u32, i16) {
        match self {
            Self::Bool => (16, 1),
            Self::Int4 => (23, 4),
            Self::Int8 => (20, 8),
            Self::Text => (25, -1),
            Self::Timestamptz => (1184, 8),
            Self::Numeric => (1700, -1),
        }
    }
}

/// Appends a RowDescription of text-format columns.
pub fn row_description(columns: &[(&str, ColumnType)], out: &mut Vec<u8>) {
    finish(out, b'T', |out| {
        out.extend_from_slice(&u16::try_from(columns.len()).unwrap_or(u16::MAX).to_be_bytes());
        for (name, column_type) in columns {
            let (oid, len) = column_type.oid_and_len();
            push_cstr(out, name.as_bytes());
            out.extend_from_slice(&[0; 6]); // no table, no column number
            out.extend_from_slice(&oid.to_be_bytes());
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            out.extend_from_slice(&[0; 2]); // text format
        }
    });
}

/// Appends a DataRow; `None` is NULL.
pub fn data_row<'a>(values: impl ExactSizeIterator<Item = Option<&'a [u8]>>, out: &mut Vec<u8>) {
    finish(out, b'D', |out| {
        out.extend_from_slice(&u16::try_from(values.len()).unwrap_or(u16::MAX).to_be_bytes());
        for value in values {
            let len = value.map_or(-1, |v| i32::try_from(v.len()).unwrap_or(i32::MAX));
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(value.unwrap_or_default());
        }
    });
}

/// The values of a DataRow body, for the proxy's own small queries.
///
/// # Errors
/// [`Malformed`] when counts and lengths do not fill the body exactly.
pub fn read_data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.u16()?;
    let mut values = Vec::new();
    for _ in 0..count {
        let len = reader.u32()?;
        values.push(match i32::try_from(len) {
            Ok(_) => Some(reader.bytes(len as usize)?),
            Err(_) if len == u32::MAX => None,
            Err(_) => return Err(Malformed),
        });
    }
    reader.end()?;
    Ok(values)
}

/// The timeline in the first eight hexadecimal digits of a WAL file's name (manual, "WAL Internals").
#[must_use]
pub fn timeline_of_wal_file(name: &str) -> Option<TimelineId> {
    u32::from_str_radix(name.get(..8)?, 16).ok().map(TimelineId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_written_with_nulls() {
        let mut out = Vec::new();
        data_row([Some(&b"a"[..]), None, Some(b"")].into_iter(), &mut out);
        let row = read_data_row(out.get(5..).unwrap()).unwrap();
        assert_eq!(row, [Some(&b"a"[..]), None, Some(b"")]);
    }

    #[test]
    fn a_negative_or_overlong_field_length_is_malformed() {
        assert_eq!(read_data_row(b"\0\x01\xff\xff\xff\xfe"), Err(Malformed));
        assert_eq!(read_data_row(b"\0\x01\0\0\0\x05abc"), Err(Malformed));
        assert_eq!(read_data_row(b"\xff\xff"), Err(Malformed));
    }

    #[test]
    fn every_authentication_request_reads_back_as_written() {
        for request in [
            Authentication::Ok,
            Authentication::Cleartext,
            Authentication::Md5 { salt: *b"salt" },
            Authentication::Sasl { mechanisms: b"SCRAM-SHA-256\0\0" },
            Authentication::SaslContinue(b"r=x"),
            Authentication::SaslFinal(b"v=x"),
        ] {
            let mut out = Vec::new();
            request.write(&mut out);
            assert_eq!(Authentication::read(out.get(5..).unwrap()), Ok(request));
        }
    }

    #[test]
    fn a_wal_file_tells_its_timeline() {
        assert_eq!(timeline_of_wal_file("0000000A0000000100000002"), Some(TimelineId(10)));
        assert_eq!(timeline_of_wal_file("xyz"), None);
    }
}

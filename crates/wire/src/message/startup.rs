//! The untagged packets that open a connection (manual, "Start-up", "Canceling Requests in Progress").

use super::frontend::push_cstr;
use crate::{Malformed, Reader};

/// The longest startup packet, length field included (PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`).
pub const STARTUP_LIMIT: u32 = 10_000;

/// Protocol version 3.0.
pub const PROTOCOL_3_0: u32 = 3 << 16;
/// Protocol version 3.2 (PostgreSQL 18): cancel keys of up to 256 bytes.
pub const PROTOCOL_3_2: u32 = (3 << 16) | 2;

const SSL_REQUEST: u32 = (1234 << 16) | 5679;
const GSSENC_REQUEST: u32 = (1234 << 16) | 5680;
const CANCEL_REQUEST: u32 = (1234 << 16) | 5678;

/// The body of the first packet, its length field cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Startup<'a> {
    /// May we speak TLS?
    SslRequest,
    /// May we speak GSSAPI encryption?
    GssEncRequest,
    /// End what runs under this key.
    Cancel {
        /// The process id of BackendKeyData.
        pid: u32,
        /// Its secret.
        secret: &'a [u8],
    },
    /// A session, please.
    Session {
        /// Major version in the high 16 bits, minor in the low ones.
        version: u32,
        /// Names and values, as on the wire; see [`parameters`].
        parameters: &'a [u8],
    },
}

/// A first packet that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// Shorter than a version number or longer than [`STARTUP_LIMIT`].
    #[error("invalid length of startup packet")]
    Length,
    /// A major version other than 3.
    #[error("unsupported frontend protocol {}.{}", .0 >> 16, .0 & 0xffff)]
    Version(u32),
    /// Names and values that do not pair up or do not end where the packet ends.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
}

impl From<Malformed> for StartupError {
    fn from(_: Malformed) -> Self {
        Self::Layout
    }
}

/// Length in bytes of the body that follows the length field of a first packet.
///
/// # Errors
/// [`StartupError::Length`] outside 8..=[`STARTUP_LIMIT`].
pub fn body_len(length_field: [u8; 4]) -> Result<usize, StartupError> {
    let length = u32::from_be_bytes(length_field);
    if !(8..=STARTUP_LIMIT).contains(&length) {
        return Err(StartupError::Length);
    }
    Ok(length.saturating_sub(4) as usize)
}

impl<'a> Startup<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// [`StartupError`]: accept and reject as PostgreSQL does, so bytes after the final NUL are refused.
    pub fn read(body: &'a [u8]) -> Result<Self, StartupError> {
        let mut reader = Reader::new(body);
        let version = reader.u32().map_err(|_| StartupError::Length)?;
        match version {
            SSL_REQUEST if reader.rest().is_empty() => Ok(Self::SslRequest),
            GSSENC_REQUEST if reader.rest().is_empty() => Ok(Self::GssEncRequest),
            SSL_REQUEST | GSSENC_REQUEST => Err(StartupError::Length),
            CANCEL_REQUEST => {
                let pid = reader.u32().map_err(|_| StartupError::Length)?;
                let secret = reader.rest();
                if (4..=256).contains(&secret.len()) {
                    Ok(Self::Cancel { pid, secret })
                } else {
                    Err(StartupError::Length)
                }
            }
            _ if version >> 16 == 3 => {
                let parameters_bytes = reader.rest();
                parameters(parameters_bytes).try_for_each(|pair| pair.map(|_| ()))?;
                Ok(Self::Session { version, parameters: parameters_bytes })
            }
            _ => Err(StartupError::Version(version)),
        }
    }
}

/// The names and values of a session request, in order. Ends after the first error.
pub fn parameters(bytes: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), StartupError>> {
    let mut reader = Reader::new(bytes);
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let mut pair = || {
            let name = reader.cstr()?;
            if name.is_empty() {
                return reader.end().map(|()| None);
            }
            Ok(Some((name, reader.cstr()?)))
        };
        let item = pair();
        done = !matches!(item, Ok(Some(_)));
        item.map_err(StartupError::from).transpose()
    })
}

/// Appends a session request.
pub fn session(version: u32, parameters: &[(&[u8], &[u8])], out: &mut Vec<u8>) {
    untagged(version, out, |out| {
        for (name, value) in parameters {
            push_cstr(out, name);
            push_cstr(out, value);
        }
        out.push(0);
    });
}

/// Appends an SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    untagged(SSL_REQUEST, out, |_| {});
}

/// Appends a CancelRequest.
pub fn cancel_request(pid: u32, secret: &[u8], out: &mut Vec<u8>) {
    untagged(CANCEL_REQUEST, out, |out| {
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

fn untagged(code: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&code.to_be_bytes());
    body(out);
    let length = u32::try_from(out.len().saturating_sub(at)).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(at..).and_then(|tail| tail.first_chunk_mut()) {
        *field = length.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(packet: &[u8], expected: Result<Startup<'_>, StartupError>) {
        assert_eq!(Startup::read(packet), expected);
    }

    #[test]
    fn a_session_request_reads_back_as_written() {
        let mut out = Vec::new();
        session(PROTOCOL_3_2, &[(b"user", b"app"), (b"database", b"shop")], &mut out);
        let body = out.get(4..).unwrap();
        assert_eq!(body_len(*out.first_chunk().unwrap()), Ok(body.len()));
        let Ok(Startup::Session { version, parameters: pairs }) = Startup::read(body) else {
            panic!("{body:?}")
        };
        assert_eq!(version, PROTOCOL_3_2);
        let pairs: Vec<_> = parameters(pairs).map(Result::unwrap).collect();
        assert_eq!(pairs, [(&b"user"[..], &b"app"[..]), (b"database", b"shop")]);
    }

    #[test]
    fn bytes_after_the_final_nul_are_refused_as_postgresql_refuses_them() {
        check(b"\0\x03\0\0user\0a\0\0more", Err(StartupError::Layout));
        check(b"\0\x03\0\0user\0a\0", Err(StartupError::Layout));
        check(b"\0\x03\0\0user\0", Err(StartupError::Layout));
        check(b"\0\x02\0\0", Err(StartupError::Version(2 << 16)));
    }

    #[test]
    fn requests_for_encryption_carry_nothing_else() {
        check(b"\x04\xd2\x16\x2f", Ok(Startup::SslRequest));
        check(b"\x04\xd2\x16\x30", Ok(Startup::GssEncRequest));
        check(b"\x04\xd2\x16\x2fx", Err(StartupError::Length));
    }

    #[test]
    fn a_cancel_key_has_4_to_256_bytes() {
        check(b"\x04\xd2\x16\x2e\0\0\0\x01abcd", Ok(Startup::Cancel { pid: 1, secret: b"abcd" }));
        check(b"\x04\xd2\x16\x2e\0\0\0\x01abc", Err(StartupError::Length));
    }

    #[test]
    fn a_startup_length_outside_its_bounds_is_refused() {
        assert_eq!(body_len([0, 0, 0, 7]), Err(StartupError::Length));
        assert_eq!(body_len([0, 0, 0x27, 0x11]), Err(StartupError::Length));
        assert_eq!(body_len(*b"GET "), Err(StartupError::Length));
    }
}

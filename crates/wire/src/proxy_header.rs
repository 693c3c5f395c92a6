//! The header of the PROXY protocol, versions 1 and 2, with which a load balancer says whose connection it passes on
//! (HAProxy, "The PROXY protocol").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How version 2 begins. No startup packet and no TLS handshake does.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2: signature, version and command, family and transport, length of the rest.
const HEAD_LEN: usize = 16;
/// The most bytes behind the head of version 2: addresses of any family and the usual extensions, of which a client's
/// certificate is the longest.
const REST_LIMIT: u16 = 8 * 1024;

const TEXT_START: &[u8] = b"PROXY ";
/// The shortest header of version 1: `PROXY UNKNOWN\r\n`.
const TEXT_MIN: usize = 15;
/// The longest header of version 1, line end included.
const TEXT_MAX: usize = 107;

/// What the first bytes of a connection come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The header has at least this many more bytes.
    Longer(usize),
    /// It ends with the last byte given. The client's address; `None`: that of the connection, since the load balancer
    /// speaks for itself or does not know it.
    Whole(Option<SocketAddr>),
}

/// Bytes that begin no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// They begin in another way.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// They begin like one.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// Longer than the version allows, or than the 8 KiB that are read of version 2.
    #[error("the PROXY header is too long")]
    TooLong,
}

impl ProxyHeader {
    /// Reads the header from its beginning. Whoever reads just as many bytes more as it asks for never reads past the
    /// header's end, and never much more than 8 KiB.
    ///
    /// # Errors
    /// [`ProxyHeaderError`], at the first byte that shows it or soon after.
    pub fn read(bytes: &[u8]) -> Result<Self, ProxyHeaderError> {
        if bytes.is_empty() {
            return Ok(Self::Longer(1)); // which tells apart a client that sends none, and waits
        }
        if begins_alike(bytes, &SIGNATURE) {
            return binary(bytes);
        }
        if begins_alike(bytes, TEXT_START) {
            return text(bytes);
        }
        Err(ProxyHeaderError::Missing)
    }
}

/// Whether one is the beginning of the other.
fn begins_alike(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(a, b)| a == b)
}

fn text(bytes: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        // A line feed can only be the last byte, and a header that has reached its longest must have ended.
        if bytes.contains(&b'\n') {
            return Err(ProxyHeaderError::Malformed);
        }
        let end = if bytes.last() == Some(&b'\r') { 1 } else { 2 };
        let missing = TEXT_MIN.saturating_sub(bytes.len()).max(end);
        if bytes.len().saturating_add(missing) > TEXT_MAX {
            return Err(ProxyHeaderError::TooLong);
        }
        return Ok(ProxyHeader::Longer(missing));
    };
    let line = std::str::from_utf8(line).map_err(|_| ProxyHeaderError::Malformed)?;
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or(ProxyHeaderError::Malformed);
    let source: IpAddr = match word()? {
        "UNKNOWN" => return Ok(ProxyHeader::Whole(None)),
        "TCP4" => {
            let source = address::<Ipv4Addr>(word()?)?;
            address::<Ipv4Addr>(word()?)?;
            source.into()
        }
        "TCP6" => {
            let source = address::<Ipv6Addr>(word()?)?;
            address::<Ipv6Addr>(word()?)?;
            source.into()
        }
        _ => return Err(ProxyHeaderError::Malformed),
    };
    let source = SocketAddr::new(source, port(word()?)?);
    port(word()?)?;
    if words.next().is_some() {
        return Err(ProxyHeaderError::Malformed);
    }
    Ok(ProxyHeader::Whole(Some(source)))
}

fn address<T: std::str::FromStr>(word: &str) -> Result<T, ProxyHeaderError> {
    word.parse().map_err(|_| ProxyHeaderError::Malformed)
}

/// A port without sign or leading zeros.
fn port(word: &str) -> Result<u16, ProxyHeaderError> {
    let plain = word == "0" || word.bytes().all(|b| b.is_ascii_digit()) && !word.starts_with('0');
    if plain { address(word) } else { Err(ProxyHeaderError::Malformed) }
}

fn binary(bytes: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    /// The command of a load balancer that speaks for itself, as in a health check.
    const LOCAL: u8 = 0;
    let Some((&head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else {
        // The signature first, so that a client that waits after less than a head is not waited for either.
        let next = if bytes.len() < SIGNATURE.len() { SIGNATURE.len() } else { HEAD_LEN };
        return Ok(ProxyHeader::Longer(next.saturating_sub(bytes.len())));
    };
    let [.., version_command, family_transport, high, low] = head;
    let length = u16::from_be_bytes([high, low]);
    let (version, command) = (version_command >> 4, version_command & 0xf);
    let (family, transport) = (family_transport >> 4, family_transport & 0xf);
    // of a load balancer that speaks for itself, family and addresses say nothing and may be anything
    let is_known = command == LOCAL || command == 1 && family <= 3 && transport <= 2;
    if version != 2 || !is_known {
        return Err(ProxyHeaderError::Malformed);
    }
    if length > REST_LIMIT {
        return Err(ProxyHeaderError::TooLong);
    }
    let missing = usize::from(length).saturating_sub(rest.len());
    if missing > 0 {
        return Ok(ProxyHeader::Longer(missing));
    }
    let source = match (command, family, transport) {
        (LOCAL, ..) => None,
        (_, 1, 1) => {
            let [ip @ .., _, _, _, _, high, low, _, _]: [u8; 12] = fixed(rest)?;
            let ip: [u8; 4] = ip;
            Some(SocketAddr::new(ip.into(), u16::from_be_bytes([high, low])))
        }
        (_, 2, 1) => {
            let block: [u8; 36] = fixed(rest)?;
            let ip: [u8; 16] = fixed(&block)?;
            let [.., high, low, _, _] = block;
            Some(SocketAddr::new(ip.into(), u16::from_be_bytes([high, low])))
        }
        // datagrams and Unix-domain sockets: nothing that could be shown as an address of ours
        _ => None,
    };
    Ok(ProxyHeader::Whole(source))
}

/// The beginning of `bytes`.
fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ProxyHeaderError> {
    bytes.first_chunk().copied().ok_or(ProxyHeaderError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a socket's owner does: what is asked for and no more. The result and how many bytes were read.
    fn read_from(bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyHeaderError>, usize) {
        let mut len = 0;
        loop {
            match ProxyHeader::read(bytes.get(..len).expect("it asks for no more than there is")) {
                Ok(ProxyHeader::Longer(more)) => len = len.saturating_add(more),
                Ok(ProxyHeader::Whole(source)) => return (Ok(source), len),
                Err(error) => return (Err(error), len),
            }
        }
    }

    #[track_caller]
    fn check(header: &[u8], expected: Option<&str>) {
        let (source, len) =
            read_from(&[header, b"\0\0\0\x08\x04\xd2\x16\x2f and a long tail of other bytes"].concat());
        assert_eq!(source, Ok(expected.map(|text| text.parse().unwrap())), "{}", header.escape_ascii());
        assert_eq!(len, header.len(), "{}", header.escape_ascii());
    }

    #[track_caller]
    fn check_wrong(bytes: &[u8], expected: ProxyHeaderError) {
        let filled = [bytes, &[b'x'; 200]].concat();
        let (error, len) = read_from(&filled);
        assert_eq!(error, Err(expected), "{}", bytes.escape_ascii());
        assert!(len <= HEAD_LEN + usize::from(REST_LIMIT));
    }

    fn v2(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_command, family], &length, rest].concat()
    }

    #[test]
    fn version_1_is_read_to_its_line_end_and_no_further() {
        check(b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 5432\r\n", Some("192.0.2.7:4000"));
        check(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 0\r\n", Some("1.1.1.1:1"));
        check(b"PROXY TCP6 2001:db8::7 ::1 65535 5432\r\n", Some("[2001:db8::7]:65535"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff::1 whatever follows\r\n", None);
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        check(format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n").as_bytes(), None);
    }

    #[test]
    fn version_2_is_read_to_its_length_and_no_further() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 15, 160, 21, 56];
        check(&v2(0x21, 0x11, &v4), Some("192.0.2.7:4000"));
        check(&v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), Some("192.0.2.7:4000"));
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 0x01]);
        v6[32..34].copy_from_slice(&4000_u16.to_be_bytes());
        check(&v2(0x21, 0x21, &v6), Some("[2001::]:4000"));
        check(&v2(0x20, 0x11, &v4), None);
        check(&v2(0x20, 0x00, &[]), None);
        check(&v2(0x20, 0xff, &[7; 3]), None);
        check(&v2(0x21, 0x00, b"unspecified"), None);
        check(&v2(0x21, 0x31, &[0; 216]), None);
        check(&v2(0x21, 0x12, &v4), None);
    }

    #[test]
    fn what_is_no_header_is_refused_within_its_bounds() {
        use ProxyHeaderError::{Malformed, Missing, TooLong};
        check_wrong(b"\0\0\0\x08\x04\xd2\x16\x2f", Missing);
        check_wrong(b"\x16\x03\x01", Missing);
        check_wrong(b"proxy UNKNOWN\r\n", Missing);
        check_wrong(b"\r\n\r\n\0\r\nQUIX", Missing);
        for wrong in [
            &b"PROXY \r\n       \r\n"[..],
            b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
            b"PROXY TCP4 ::1 1.1.1.1 1 1\r\n",
            b"PROXY TCP6 1.1.1.1 ::1 1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
            b"PROXY TCP4 1.1.1.1\r1.1.1.1 1 1\r\n",
            b"PROXY TCP4 \xff.1.1.1 1.1.1.1 1 1\r\n",
        ] {
            check_wrong(wrong, Malformed);
        }
        check_wrong(&[b"PROXY UNKNOWN ", &[b'x'; 100][..], b"\r\n"].concat(), TooLong);
        check_wrong(&v2(0x11, 0x11, &[0; 12]), Malformed);
        check_wrong(&v2(0x22, 0x11, &[0; 12]), Malformed);
        check_wrong(&v2(0x21, 0x41, &[0; 12]), Malformed);
        check_wrong(&v2(0x21, 0x11, &[0; 11]), Malformed);
        check_wrong(&v2(0x21, 0x21, &[0; 35]), Malformed);
        check_wrong(&v2(0x21, 0x11, &[0; 9000]), TooLong);
    }
}

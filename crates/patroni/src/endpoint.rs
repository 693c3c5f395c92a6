use std::{fmt, str::FromStr};

/// The longest URL that is taken, in bytes.
const URL_MAX: usize = 1024;

/// An HTTP server: the beginning of a URL, up to the port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Encrypted or not.
    pub scheme: Scheme,
    /// A host name or an address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Whether a URL's server is spoken to by way of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// No.
    Http,
    /// Yes; its certificate is checked.
    Https,
}

/// Not a URL that leads anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseEndpointError {
    /// Neither `http://` nor `https://`.
    #[error("it must begin with http:// or https://")]
    Scheme,
    /// A user and password in it: they belong in keys of their own, where they are not shown.
    #[error("user and password do not belong in the URL")]
    Login,
    /// No host name, or one with characters that none has.
    #[error("no host name or address")]
    Host,
    /// No port, or no number from 1 to 65535.
    #[error("no port")]
    Port,
    /// Longer than 1024 bytes.
    #[error("it is too long")]
    TooLong,
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    /// Reads the scheme, host and port of a URL; a path behind them is left out.
    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        if text.len() > URL_MAX {
            return Err(ParseEndpointError::TooLong);
        }
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (Scheme::Http, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (Scheme::Https, rest)
        } else {
            return Err(ParseEndpointError::Scheme);
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = host_and_port(authority)?;
        Ok(Self { scheme, host, port: port.ok_or(ParseEndpointError::Port)? })
    }
}

/// Reads the part of a URL that names host and port.
///
/// # Errors
/// [`ParseEndpointError`].
pub(crate) fn host_and_port(authority: &str) -> Result<(String, Option<u16>), ParseEndpointError> {
    if authority.contains('@') {
        return Err(ParseEndpointError::Login);
    }
    let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, ""))) => (host, None),
        Some(Some((host, port))) => (host, Some(port.strip_prefix(':').ok_or(ParseEndpointError::Port)?)),
        Some(None) => return Err(ParseEndpointError::Host),
        None => match authority.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return Err(ParseEndpointError::Host),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || host.len() > 255 || !host.chars().all(valid) {
        return Err(ParseEndpointError::Host);
    }
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0).ok_or(ParseEndpointError::Port)?),
        None => None,
    };
    Ok((host.to_owned(), port))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Endpoint {
    /// Host and port as the Host header has them.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, ParseEndpointError>) {
        let read = text.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
        assert_eq!(read.as_deref(), expected.as_ref().copied(), "{text}");
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        check("http://10.0.0.1:8008", Ok("http://10.0.0.1:8008"));
        check("https://pg-eu.example:8008/patroni", Ok("https://pg-eu.example:8008"));
        check("http://[::1]:2379/", Ok("http://[::1]:2379"));
        check("10.0.0.1:8008", Err(ParseEndpointError::Scheme));
        check("http://user:secret@h:1", Err(ParseEndpointError::Login));
        check("http://h", Err(ParseEndpointError::Port));
        check("http://h:0", Err(ParseEndpointError::Port));
        check("http://h:99999", Err(ParseEndpointError::Port));
        check("http://:1", Err(ParseEndpointError::Host));
        check("http://::1:1", Err(ParseEndpointError::Host));
        check("http://[::1:1", Err(ParseEndpointError::Host));
        check("http://a b:1", Err(ParseEndpointError::Host));
        check("http://h\r\nX: y:1", Err(ParseEndpointError::Host));
        check(&format!("http://{}:1", "h".repeat(2000)), Err(ParseEndpointError::TooLong));
    }
}

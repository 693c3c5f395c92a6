//! A proxy that somebody else configured and started.

use std::str::FromStr;

/// `name=host:port,pid`; without the pid nothing is known of its processor time and memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outsider {
    /// The name for people.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) host: String,
    /// And on which port.
    pub(crate) port: u16,
    /// Its first process.
    pub(crate) pid: Option<u32>,
}

/// What is wrong with the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MalformedOutsider;

impl std::fmt::Display for MalformedOutsider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it should be name=host:port,pid or name=host:port")
    }
}

impl std::error::Error for MalformedOutsider {}

impl FromStr for Outsider {
    type Err = MalformedOutsider;

    fn from_str(text: &str) -> Result<Self, MalformedOutsider> {
        let (name, rest) = text.split_once('=').ok_or(MalformedOutsider)?;
        let (address, pid) = match rest.split_once(',') {
            Some((address, pid)) => (address, Some(pid.parse().map_err(|_| MalformedOutsider)?)),
            None => (rest, None),
        };
        let (host, port) = address.rsplit_once(':').ok_or(MalformedOutsider)?;
        let port = port.parse().map_err(|_| MalformedOutsider)?;
        if name.is_empty() || host.is_empty() {
            return Err(MalformedOutsider);
        }
        Ok(Self { name: name.to_owned(), host: host.to_owned(), port, pid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_name_an_address_and_perhaps_a_process() {
        let outsider = |pid| Outsider { name: "odyssey".to_owned(), host: "::1".to_owned(), port: 6433, pid };
        assert_eq!("odyssey=::1:6433,17".parse(), Ok(outsider(Some(17))));
        assert_eq!("odyssey=::1:6433".parse(), Ok(outsider(None)));
        for text in ["", "x", "x=", "x=host", "x=host:", "x=host:1,", "=host:1", "x=:1", "x=host:1,-2"] {
            assert_eq!(text.parse::<Outsider>(), Err(MalformedOutsider), "{text}");
        }
    }
}

//! `primary_conninfo`: the same connection to another server, and the epoch in which it was last changed.
//!
//! The epoch rides in `fallback_application_name`, which a WAL receiver overrides anyway, so that it changes nothing for
//! the connection; and it is on the node's disk, so that a manager of a lower epoch finds it whatever has restarted.

use std::fmt::Write;

use topology::Epoch;

/// The parameter that the epoch rides in.
const TAG: &str = "fallback_application_name";
/// What its value begins with.
const TAG_PREFIX: &str = "pgherd_e";
/// What a standby that is cut off connects to: nobody listens there.
const NOWHERE: (&str, u16) = ("127.0.0.1", 1);

/// A connection string in the `keyword=value` form, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConnInfo(Vec<(String, String)>);

/// Why a connection string cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnInfoError {
    #[error("primary_conninfo is empty: it is not known how to connect to another primary")]
    Empty,
    #[error("primary_conninfo is a URI; only the keyword=value form can be changed")]
    Uri,
    #[error("primary_conninfo is not as libpq's documentation says")]
    Malformed,
}

impl ConnInfo {
    /// Reads it as libpq does (manual, "Connection Strings").
    pub(super) fn parse(text: &str) -> Result<Self, ConnInfoError> {
        if text.trim().is_empty() {
            return Err(ConnInfoError::Empty);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Err(ConnInfoError::Uri);
        }
        let mut pairs = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (keyword, behind) = rest.split_once('=').ok_or(ConnInfoError::Malformed)?;
            let keyword = keyword.trim_end();
            if keyword.is_empty() || keyword.contains(char::is_whitespace) {
                return Err(ConnInfoError::Malformed);
            }
            let (value, behind) = read_value(behind.trim_start())?;
            pairs.push((keyword.to_owned(), value));
            rest = behind.trim_start();
        }
        Ok(Self(pairs))
    }

    /// The epoch in which it was changed last, if it ever was.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        let value = self.get(TAG)?.strip_prefix(TAG_PREFIX)?;
        value.parse().ok().map(Epoch)
    }

    fn get(&self, keyword: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == keyword).map(|(_, value)| value.as_str())
    }

    /// The same to another server.
    pub(super) fn to(&self, host: &str, port: u16, epoch: Epoch) -> Self {
        let replaced = ["host", "hostaddr", "port", TAG];
        let kept = self.0.iter().filter(|(keyword, _)| !replaced.contains(&keyword.as_str())).cloned();
        let new =
            [("host", host.to_owned()), ("port", port.to_string()), (TAG, format!("{TAG_PREFIX}{epoch}"))];
        Self(new.into_iter().map(|(keyword, value)| (keyword.to_owned(), value)).chain(kept).collect())
    }

    /// One to nobody, for a standby that has none.
    pub(super) fn nowhere(epoch: Epoch) -> Self {
        Self(Vec::new()).cut_off(epoch)
    }

    /// The same to nobody.
    pub(super) fn cut_off(&self, epoch: Epoch) -> Self {
        self.to(NOWHERE.0, NOWHERE.1, epoch)
    }
}

impl std::fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (keyword, value)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_char(' ')?;
            }
            write!(f, "{keyword}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))?;
        }
        Ok(())
    }
}

/// A value and what stands behind it.
fn read_value(text: &str) -> Result<(String, &str), ConnInfoError> {
    let mut value = String::new();
    let is_quoted = text.starts_with('\'');
    let mut chars = text.char_indices().skip(usize::from(is_quoted));
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if is_quoted => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            char if !is_quoted && char.is_whitespace() => {
                return Ok((value, text.get(at..).unwrap_or_default()));
            }
            char => value.push(char),
        }
    }
    if is_quoted { Err(ConnInfoError::Malformed) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_server_is_named_and_all_else_stays() {
        let text = r"user=replicator password = 'it''s' host=a,b hostaddr=10.0.0.1 port=5432 application_name='my \'x\\'";
        // two quotes in a row end a value: libpq knows only the backslash
        assert_eq!(ConnInfo::parse(text), Err(ConnInfoError::Malformed));
        let text =
            r"user=replicator password = 'it\'s' host=a,b hostaddr=10.0.0.1 port=5432 application_name='x y'";
        let conninfo = ConnInfo::parse(text).unwrap();
        assert_eq!(conninfo.epoch(), None);
        let moved = conninfo.to("c.example", 5433, Epoch(7));
        assert_eq!(
            moved.to_string(),
            r"host='c.example' port='5433' fallback_application_name='pgherd_e7' user='replicator' password='it\'s' application_name='x y'"
        );
        let again = ConnInfo::parse(&moved.to_string()).unwrap();
        assert_eq!((again.epoch(), &again), (Some(Epoch(7)), &moved));
        assert_eq!(again.cut_off(Epoch(8)).to("c.example", 5433, Epoch(7)), moved);
    }

    #[test]
    fn what_cannot_be_changed_is_said() {
        for (text, expected) in [
            ("  ", ConnInfoError::Empty),
            ("postgresql://a/b", ConnInfoError::Uri),
            ("host", ConnInfoError::Malformed),
            ("host='a", ConnInfoError::Malformed),
            ("=a", ConnInfoError::Malformed),
        ] {
            assert_eq!(ConnInfo::parse(text), Err(expected), "{text}");
        }
    }
}

//! Connection strings of libpq (manual, "Connection Strings"), as `primary_conninfo` has them.

/// What one says, as far as it is looked at. The password is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Conninfo {
    /// Host name or address; empty: a Unix-domain socket.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: String,
    /// The role.
    pub(crate) user: String,
    /// `application_name`, by which `synchronous_standby_names` knows a standby.
    pub(crate) application_name: String,
    /// `sslmode`; empty: libpq's default, `prefer`.
    pub(crate) sslmode: String,
}

impl Conninfo {
    /// Reads `keyword = value` pairs or a URI; `None` if it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut conninfo = Self { port: "5432".to_owned(), ..Self::default() };
        let uri = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
        if let Some(rest) = uri {
            conninfo.read_uri(rest);
            return Some(conninfo);
        }
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (name, behind) = rest.split_once('=')?;
            let name = name.trim_end();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return None;
            }
            let (value, behind) = value(behind.trim_start())?;
            conninfo.set(name, value);
            rest = behind.trim_start();
        }
        Some(conninfo)
    }

    fn set(&mut self, name: &str, value: String) {
        match name {
            // an address goes above a name
            "hostaddr" if !value.is_empty() => self.host = value,
            "host" if self.host.is_empty() => self.host = value,
            "port" if !value.is_empty() => self.port = value,
            "user" => self.user = value,
            "sslmode" => self.sslmode = value,
            "application_name" => self.application_name = value,
            _ => {}
        }
    }

    fn read_uri(&mut self, rest: &str) {
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = rest.split('/').next().unwrap_or_default();
        let (who, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        self.set("user", decoded(who.split(':').next().unwrap_or_default()));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (place, ""),
        };
        self.set("host", decoded(host.trim_start_matches('[').trim_end_matches(']')));
        self.set("port", port.to_owned());
        for (name, value) in parameters.split('&').filter_map(|pair| pair.split_once('=')) {
            self.set(name, decoded(value));
        }
    }
}

/// The value at the start of `text`, and what follows it; `None` if a quote is not closed.
fn value(text: &str) -> Option<(String, &str)> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(inside) => (true, inside),
        None => (false, text),
    };
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.push(letters.next()?.1),
            '\'' if quoted => return Some((value, text.get(at + 1..)?)),
            space if space.is_whitespace() && !quoted => return Some((value, text.get(at..)?)),
            other => value.push(other),
        }
    }
    if quoted { None } else { Some((value, "")) }
}

/// Percent-encoding undone; what is wrongly encoded stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = Conninfo::parse(&text);
            let _ = Conninfo::parse(&format!("postgres://{text}"));
        }

        #[test]
        fn a_quoted_value_means_itself(user in ".*") {
            let quoted = user.replace('\\', "\\\\").replace('\'', "\\'");
            let read = Conninfo::parse(&format!("host=h user='{quoted}' port=1")).unwrap();
            prop_assert_eq!((read.user, read.port), (user, "1".to_owned()));
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str, &str, &str)>) {
        let found = Conninfo::parse(text);
        let found = found.as_ref().map(|one| {
            (one.host.as_str(), one.port.as_str(), one.user.as_str(), one.application_name.as_str())
        });
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn pairs_are_read_with_their_quotes() {
        check(
            "host=10.0.0.1 port=5433 user=rep password='o\\'c lock' application_name=us",
            Some(("10.0.0.1", "5433", "rep", "us")),
        );
        check("user = 'a b' host = x", Some(("x", "5432", "a b", "")));
        check("host=name hostaddr=10.0.0.1", Some(("10.0.0.1", "5432", "", "")));
        check("", Some(("", "5432", "", "")));
        check("host='x", None);
        check("host", None);
    }

    #[test]
    fn uris_are_read() {
        check(
            "postgres://rep:pw@h:5433/db?application_name=us%20east",
            Some(("h", "5433", "rep", "us east")),
        );
        check("postgresql://[::1]/?user=rep", Some(("::1", "5432", "rep", "")));
    }
}

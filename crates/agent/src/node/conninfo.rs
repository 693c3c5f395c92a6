//! Connection strings as libpq reads them (manual, "Connection Strings"), as far as `primary_conninfo` needs.

use std::fmt::Write as _;

/// Keywords and values in their order; of a keyword that occurs twice the last one holds.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Conninfo(Vec<(String, String)>);

/// Values may be secrets.
impl std::fmt::Debug for Conninfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(keyword, _)| keyword)).finish()
    }
}

/// It is not a connection string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no connection string")]
pub(crate) struct NoConninfo;

impl Conninfo {
    /// Reads `keyword = value` pairs, or a URI.
    ///
    /// # Errors
    /// [`NoConninfo`] where libpq would complain too.
    pub(crate) fn parse(text: &str) -> Result<Self, NoConninfo> {
        let uri = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"));
        uri.map_or_else(|| parse_pairs(text), parse_uri)
    }

    /// The value of a keyword.
    pub(crate) fn value(&self, keyword: &str) -> Option<&str> {
        self.0.iter().rev().find(|(its, _)| its == keyword).map(|(_, value)| value.as_str())
    }

    /// Gives a keyword another value.
    pub(crate) fn set(&mut self, keyword: &str, value: impl Into<String>) {
        self.remove(keyword);
        self.0.push((keyword.to_owned(), value.into()));
    }

    /// Gives a keyword a value if it has none.
    pub(crate) fn set_missing(&mut self, keyword: &str, value: impl Into<String>) {
        if self.value(keyword).is_none_or(str::is_empty) {
            self.set(keyword, value);
        }
    }

    /// Forgets a keyword.
    pub(crate) fn remove(&mut self, keyword: &str) {
        self.0.retain(|(its, _)| its != keyword);
    }

    /// As `keyword='value'` pairs.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (keyword, value) in &self.0 {
            let gap = if text.is_empty() { "" } else { " " };
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:%+,".contains(c);
            if !value.is_empty() && value.chars().all(is_plain) {
                let _ = write!(text, "{gap}{keyword}={value}");
            } else {
                let _ = write!(text, "{gap}{keyword}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
            }
        }
        text
    }
}

fn parse_pairs(text: &str) -> Result<Conninfo, NoConninfo> {
    let mut rest = text.trim_start();
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (keyword, behind) = rest.split_once('=').ok_or(NoConninfo)?;
        let keyword = keyword.trim();
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if keyword.is_empty() || !keyword.chars().all(valid) {
            return Err(NoConninfo);
        }
        let (value, behind) = take_value(behind.trim_start())?;
        pairs.push((keyword.to_owned(), value));
        rest = behind.trim_start();
    }
    Ok(Conninfo(pairs))
}

/// A value, in single quotes or up to the next space; a backslash takes the next character as it is in both.
fn take_value(text: &str) -> Result<(String, &str), NoConninfo> {
    let (is_quoted, body) = text.strip_prefix('\'').map_or((false, text), |body| (true, body));
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, next)| next)),
            '\'' if is_quoted => return Ok((value, &body[at + 1..])),
            c if !is_quoted && c.is_ascii_whitespace() => return Ok((value, &body[at..])),
            c => value.push(c),
        }
    }
    if is_quoted { Err(NoConninfo) } else { Ok((value, "")) }
}

/// `[user[:password]@][host[:port][,…]][/database][?keyword=value&…]`, without what comes before.
fn parse_uri(text: &str) -> Result<Conninfo, NoConninfo> {
    let (text, parameters) = text.split_once('?').unwrap_or((text, ""));
    let (text, database) = text.split_once('/').unwrap_or((text, ""));
    let (login, hosts) = text.rsplit_once('@').unwrap_or(("", text));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let after_bracket = host.rfind(']').map_or(0, |at| at + 1);
        let colon = host[after_bracket..].find(':').map(|at| after_bracket + at);
        let (name, port) = colon.map_or((host, ""), |at| (&host[..at], &host[at + 1..]));
        names.push(decode(name.trim_start_matches('[').trim_end_matches(']'))?);
        ports.push(decode(port)?);
    }
    let mut all = Conninfo::default();
    let single = [("user", user), ("password", password), ("dbname", database)];
    for (keyword, value) in single {
        if !value.is_empty() {
            all.set(keyword, decode(value)?);
        }
    }
    for (keyword, values) in [("host", names), ("port", ports)] {
        if values.iter().any(|value| !value.is_empty()) {
            all.set(keyword, values.join(","));
        }
    }
    for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
        let (keyword, value) = pair.split_once('=').ok_or(NoConninfo)?;
        all.set(&decode(keyword)?, decode(value)?);
    }
    Ok(all)
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, NoConninfo> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(NoConninfo);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| NoConninfo)?);
    }
    String::from_utf8(bytes).map_err(|_| NoConninfo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(Conninfo::parse(text).ok().map(|all| all.to_text()).as_deref(), expected, "{text}");
    }

    #[test]
    fn pairs_are_read_as_libpq_reads_them() {
        check("", Some(""));
        check("host=a port=5432", Some("host=a port=5432"));
        check("  host = 'a b'  password='it\\'s \\\\'", Some(r"host='a b' password='it\'s \\'"));
        check("user=a\\ b sslmode=require", Some("user='a b' sslmode=require"));
        check("password=''", Some("password=''"));
        for wrong in ["host", "=a", "host='a", "ho st=a"] {
            check(wrong, None);
        }
    }

    #[test]
    fn uris_are_read_too() {
        check(
            "postgresql://re%20pl:p%40ss@[::1]:5433,b/db?sslmode=verify-full&application_name=eu",
            Some(
                "user='re pl' password='p@ss' dbname=db host=::1,b port=5433, sslmode=verify-full application_name=eu",
            ),
        );
        check("postgres://", Some(""));
        check("postgres://u@h?x", None);
        check("postgres://u%4", None);
        check("postgres://u%ff@h", None);
    }

    #[test]
    fn another_host_leaves_the_rest_as_it_was() {
        let mut own = Conninfo::parse("user=r password='s e' host=old sslrootcert=/x host=older").unwrap();
        own.set("host", "new");
        own.set_missing("user", "other");
        own.set_missing("sslmode", "require");
        assert_eq!(own.to_text(), "user=r password='s e' sslrootcert=/x host=new sslmode=require");
        assert!(!format!("{own:?}").contains("s e"));
    }
}

//! What a request asks: method, path and query of its first line.

use percent_encoding::percent_decode_str;

/// Longest request that is read, in bytes: a line and the headers of a check.
pub(super) const REQUEST_MAX: usize = 8 * 1024;

/// What an answer has beside its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// GET: a body.
    Get,
    /// HEAD: the headers of one.
    Head,
    /// OPTIONS, which load balancers use for checks: nothing.
    Options,
}

/// Why a request is not answered as it was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misunderstood {
    #[error("this is no HTTP request")]
    Malformed,
    #[error("only GET, HEAD and OPTIONS")]
    Method,
    #[error("lag is a number of bytes, or one of kB, MB, GB or TB such as 16MB")]
    Lag,
    #[error("mode is apply or write")]
    Mode,
}

/// Which of a standby's positions its lag is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    /// What it has replayed.
    #[default]
    Apply,
    /// What it has received.
    Write,
}

/// The query: what a check demands beside what its path says. Names and units are those of Patroni's REST API; what is not
/// known is ignored, as there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Demands {
    /// Most bytes that a standby may be behind the primary.
    pub(super) lag: Option<u64>,
    pub(super) mode: Mode,
    /// `replication_state`.
    pub(super) replication_state: Option<String>,
    /// `tag_…`: names and values.
    pub(super) tags: Vec<(String, String)>,
    /// The one cluster that is asked about.
    pub(super) cluster: Option<String>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) method: Method,
    /// The path's parts, decoded; those that are empty are left out.
    pub(super) path: Vec<String>,
    pub(super) demands: Demands,
}

impl Question {
    /// Reads the first line of a request.
    ///
    /// # Errors
    /// [`Misunderstood`]
    pub(super) fn read(request: &[u8]) -> Result<Self, Misunderstood> {
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| Misunderstood::Malformed)?;
        let mut words = line.split(' ');
        let method = match words.next() {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some("OPTIONS") => Method::Options,
            _ => return Err(Misunderstood::Method),
        };
        let target = words.next().filter(|target| target.starts_with('/')).ok_or(Misunderstood::Malformed)?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        Ok(Self { method, path, demands: Demands::read(query)? })
    }
}

impl Demands {
    fn read(query: &str) -> Result<Self, Misunderstood> {
        let mut demands = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key), decode(&value.replace('+', " ")));
            match (&*key, key.strip_prefix("tag_")) {
                ("lag", _) => demands.lag = Some(bytes(&value).ok_or(Misunderstood::Lag)?),
                ("mode", _) => {
                    demands.mode = match &*value {
                        "apply" => Mode::Apply,
                        "write" => Mode::Write,
                        _ => return Err(Misunderstood::Mode),
                    }
                }
                ("replication_state", _) => demands.replication_state = Some(value),
                ("cluster", _) => demands.cluster = Some(value),
                (_, Some(tag)) => demands.tags.push((tag.to_owned(), value)),
                _ => {}
            }
        }
        Ok(demands)
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A number of bytes with one of PostgreSQL's units of memory, or with none.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "kb" => 10,
        "mb" => 20,
        "gb" => 30,
        "tb" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(bytes(text), expected, "{text}");
    }

    #[test]
    fn lag_is_in_bytes_or_in_units() {
        check("1048576", Some(1 << 20));
        check("16kB", Some(16 << 10));
        check("16MB", Some(16 << 20));
        check(" 1 gb ", Some(1 << 30));
        check("2TB", Some(2 << 40));
        check("7B", Some(7));
        check("0", Some(0));
        for wrong in ["", "MB", "1.5MB", "-1", "10m", "1PB", "99999999999999999999", "99999999999TB"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_first_line_is_taken_apart() {
        let question =
            Question::read(b"OPTIONS /node/eu%201:5432//replica?lag=1kB&tag_region=eu&x HTTP/1.0\r\n\r\n");
        let question = question.unwrap();
        assert_eq!(question.method, Method::Options);
        assert_eq!(question.path, ["node", "eu 1:5432", "replica"]);
        assert_eq!(question.demands.lag, Some(1024));
        assert_eq!(question.demands.tags, [("region".to_owned(), "eu".to_owned())]);
        assert_eq!(Question::read(b"GET / HTTP/1.1\r\n").unwrap().path, Vec::<String>::new());
        for (wrong, why) in [
            ("", Misunderstood::Method),
            ("POST / HTTP/1.1", Misunderstood::Method),
            ("GET", Misunderstood::Malformed),
            ("GET http://a/ HTTP/1.1", Misunderstood::Malformed),
            ("GET /replica?lag=much HTTP/1.1", Misunderstood::Lag),
            ("GET /readiness?mode=flush HTTP/1.1", Misunderstood::Mode),
        ] {
            assert_eq!(Question::read(wrong.as_bytes()), Err(why), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200), query in ".*") {
            let _ = Question::read(&bytes);
            let _ = Question::read(format!("GET /?lag=1&{query}").as_bytes());
        }
    }
}

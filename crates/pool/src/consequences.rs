//! What a setting means for how its session is served.

use crate::{Replay, state::CLIENT_ENCODING};

/// Client-only encodings whose second bytes may look like ASCII (manual, "Supported Character Sets"), without the
/// separators that PostgreSQL ignores in their names.
const UNSAFE_ENCODINGS: [&str; 11] = [
    "sjis",
    "shiftjis",
    "mskanji",
    "shiftjis2004",
    "big5",
    "gbk",
    "win936",
    "windows936",
    "uhc",
    "johab",
    "gb18030",
];

/// Whether texts cannot be read by the rules that classification assumes.
pub(crate) fn breaks_lexing(name: &[u8], replay: &Replay) -> bool {
    let (Replay::Value(text) | Replay::Statement(text)) = replay;
    match name {
        b"standard_conforming_strings" => true,
        CLIENT_ENCODING => {
            let folded: String = String::from_utf8_lossy(text)
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .map(|c| c.to_ascii_lowercase())
                .collect();
            UNSAFE_ENCODINGS.iter().any(|encoding| folded.ends_with(encoding))
        }
        _ => false,
    }
}

/// Whether transactions are SERIALIZABLE.
pub(crate) fn is_serializable(name: &[u8], replay: &Replay) -> bool {
    const SERIALIZABLE: &[u8] = b"serializable";
    let (Replay::Value(text) | Replay::Statement(text)) = replay;
    name == b"default_transaction_isolation"
        && text.windows(SERIALIZABLE.len()).any(|word| word.eq_ignore_ascii_case(SERIALIZABLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Replay {
        Replay::Value(text.as_bytes().into())
    }

    #[test]
    fn an_encoding_in_which_a_quote_may_be_half_a_character_is_known() {
        for (text, breaks) in
            [("SJIS", true), ("gb18030", true), ("Shift_JIS", true), ("UTF8", false), ("latin1", false)]
        {
            assert_eq!(breaks_lexing(CLIENT_ENCODING, &value(text)), breaks, "{text}");
        }
        let statement = Replay::Statement(b"SET NAMES 'BIG5'".as_slice().into());
        assert!(breaks_lexing(CLIENT_ENCODING, &statement));
        assert!(breaks_lexing(b"standard_conforming_strings", &value("off")));
        assert!(!breaks_lexing(b"application_name", &value("sjis")));
    }

    #[test]
    fn serializable_is_an_isolation_level() {
        const NAME: &[u8] = b"default_transaction_isolation";
        let statement =
            Replay::Statement(b"SET default_transaction_isolation = 'Serializable'".as_slice().into());
        assert!(is_serializable(NAME, &statement) && is_serializable(NAME, &value("serializable")));
        assert!(!is_serializable(NAME, &value("repeatable read")));
        assert!(!is_serializable(b"application_name", &value("serializable")));
    }
}

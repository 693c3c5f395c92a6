//! What a startup packet asks for.

use wire::{
    SqlState,
    message::{error::ErrorMessage, startup},
};

use crate::{
    client::{Purpose, Setting},
    standing_hint::StandingHint,
};

/// The parameters of a startup packet, sorted by what they are for.
#[derive(Debug)]
pub(crate) struct StartupParameters {
    pub(crate) user: Box<str>,
    pub(crate) database: Box<str>,
    pub(crate) purpose: Purpose,
    /// Settings for the session, those from `options` first, as PostgreSQL applies them.
    pub(crate) settings: Vec<Setting>,
    /// Protocol options (`_pq_.…`), none of which is known here.
    pub(crate) unknown_options: Vec<Box<[u8]>>,
}

/// The longest role or database name (NAMEDATALEN less its NUL); PostgreSQL cuts longer ones.
const NAME_MAX: usize = 63;

impl StartupParameters {
    /// Reads what follows the protocol version.
    ///
    /// # Errors
    /// The FATAL that the client is to be told.
    pub(crate) fn read(parameters: &[u8]) -> Result<Self, ErrorMessage> {
        let violation = |text: &'static str| ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, text);
        let mut user = None;
        let mut database = None;
        let mut purpose = Purpose::Session;
        let mut from_options = Vec::new();
        let mut settings = Vec::new();
        let mut unknown_options = Vec::new();
        for pair in startup::parameters(parameters) {
            let (name, value) = pair.map_err(|_| violation("invalid startup packet layout"))?;
            match name {
                b"user" => user = Some(role_name(value)?),
                b"database" => database = Some(role_name(value)?),
                b"replication" => purpose = replication(value)?,
                b"options" => from_options = parse_options(value)?,
                _ if name.starts_with(b"_pq_.") => unknown_options.push(name.into()),
                _ => settings.push((name.to_ascii_lowercase().into(), value.into())),
            }
        }
        let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
            ErrorMessage::fatal(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "no PostgreSQL user name specified in startup packet",
            )
        })?;
        let database = database.filter(|database| !database.is_empty()).unwrap_or_else(|| user.clone());
        from_options.append(&mut settings);
        if let Some((name, _)) = from_options.iter().find(|(name, _)| is_reserved(name)) {
            let text = format!("unrecognized configuration parameter \"{}\"", String::from_utf8_lossy(name));
            return Err(ErrorMessage::fatal(SqlState::UNDEFINED_OBJECT, text));
        }
        StandingHint::take_from(&mut from_options.clone())?;
        Ok(Self { user, database, purpose, settings: from_options, unknown_options })
    }
}

/// Names that are no settings, but would be taken for what they say in the startup packet of a server connection: who
/// the session is, and where.
fn is_reserved(name: &[u8]) -> bool {
    matches!(name, b"user" | b"database" | b"replication" | b"options") || name.starts_with(b"_pq_.")
}

/// The parameter `replication`: a Boolean as in any setting, or the word `database`.
fn replication(value: &[u8]) -> Result<Purpose, ErrorMessage> {
    let value = value.to_ascii_lowercase();
    // any beginning of a word that is not the beginning of another
    let is = |word: &[u8], least: usize| value.len() >= least && word.starts_with(&value);
    if value == b"database" {
        Ok(Purpose::LogicalReplication)
    } else if is(b"true", 1) || is(b"yes", 1) || is(b"on", 2) || value == b"1" {
        Ok(Purpose::PhysicalReplication)
    } else if is(b"false", 1) || is(b"no", 1) || is(b"off", 2) || value == b"0" {
        Ok(Purpose::Session)
    } else {
        let text =
            format!("invalid value for parameter \"replication\": \"{}\"", String::from_utf8_lossy(&value));
        let error = ErrorMessage::fatal(SqlState::INVALID_PARAMETER_VALUE, text);
        Err(error.with_hint("Valid values are: \"false\", 0, \"true\", 1, \"database\"."))
    }
}

fn role_name(value: &[u8]) -> Result<Box<str>, ErrorMessage> {
    let text = std::str::from_utf8(value).map_err(|_| {
        ErrorMessage::fatal(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "role and database names must be UTF-8",
        )
    })?;
    let mut end = text.len().min(NAME_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(text[..end].into())
}

/// The settings in an `options` parameter: `-c name=value`, `-cname=value` and `--name=value`, words split at white
/// space that no backslash escapes (manual, "Parameter Interaction via the Shell").
fn parse_options(value: &[u8]) -> Result<Vec<Setting>, ErrorMessage> {
    let refused = |word: &[u8]| {
        let text =
            format!("invalid command-line argument for server process: {}", String::from_utf8_lossy(word));
        ErrorMessage::fatal(SqlState::SYNTAX_ERROR, text)
            .with_hint("The proxy understands -c name=value and --name=value.")
    };
    let mut settings = Vec::new();
    let mut words = split_words(value).into_iter();
    while let Some(word) = words.next() {
        let assignment = match &*word {
            b"-c" => words.next().ok_or_else(|| refused(&word))?,
            [b'-', b'c' | b'-', rest @ ..] if !rest.is_empty() => rest.to_vec(),
            _ => return Err(refused(&word)),
        };
        let at = assignment.iter().position(|&b| b == b'=').ok_or_else(|| refused(&assignment))?;
        let (name, value) = (&assignment[..at], &assignment[at + 1..]);
        let name: Vec<u8> =
            name.iter().map(|b| if *b == b'-' { b'_' } else { b.to_ascii_lowercase() }).collect();
        settings.push((name.into(), value.into()));
    }
    Ok(settings)
}

fn split_words(value: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => word.extend(bytes.next()),
            _ if byte.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(byte),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<StartupParameters, ErrorMessage> {
        let mut bytes = Vec::new();
        for (name, value) in pairs {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        }
        bytes.push(0);
        StartupParameters::read(&bytes)
    }

    #[test]
    fn the_database_is_the_users_unless_another_is_named() {
        assert_eq!(&*read(&[("user", "app")]).unwrap().database, "app");
        assert_eq!(&*read(&[("user", "app"), ("database", "shop")]).unwrap().database, "shop");
        assert_eq!(read(&[("database", "shop")]).unwrap_err().code.as_str(), "28000");
    }

    #[test]
    fn options_are_settings_and_come_before_the_others() {
        let parameters = read(&[
            ("user", "a"),
            ("DateStyle", "ISO"),
            ("options", "-c search_path=a\\ b --work-mem=1MB -cx.y=z"),
        ]);
        let names: Vec<_> = parameters
            .unwrap()
            .settings
            .into_iter()
            .map(|(n, v)| format!("{}={}", String::from_utf8_lossy(&n), String::from_utf8_lossy(&v)))
            .collect();
        assert_eq!(names, ["search_path=a b", "work_mem=1MB", "x.y=z", "datestyle=ISO"]);
        assert!(read(&[("user", "a"), ("options", "-d 5")]).is_err());
        assert!(read(&[("user", "a"), ("options", "-c")]).is_err());
    }

    #[test]
    fn replication_is_a_boolean_or_a_database() {
        let asked =
            |value| read(&[("user", "a"), ("replication", value)]).map(|parameters| parameters.purpose);
        for value in ["true", "on", "yes", "1", "t", "TRUE", "Ye"] {
            assert_eq!(asked(value), Ok(Purpose::PhysicalReplication), "{value}");
        }
        for value in ["false", "off", "no", "0", "f", "N", "of"] {
            assert_eq!(asked(value), Ok(Purpose::Session), "{value}");
        }
        assert_eq!(asked("database"), Ok(Purpose::LogicalReplication));
        for value in ["", "o", "2", "data", "truee"] {
            assert_eq!(asked(value).unwrap_err().code.as_str(), "22023", "{value}");
        }
    }

    #[test]
    fn an_unknown_protocol_option_is_no_setting() {
        let parameters = read(&[("user", "a"), ("_pq_.x", "1")]).unwrap();
        assert_eq!(parameters.unknown_options, [Box::<[u8]>::from(&b"_pq_.x"[..])]);
        assert!(parameters.settings.is_empty());
    }

    #[test]
    fn who_the_session_is_and_where_is_no_setting() {
        for (name, value) in [
            ("options", "-c user=other"),
            ("options", "--data\\base=other"),
            ("options", "-cReplication=true"),
            ("options", "-c _pq_.x=1"),
            ("USER", "other"),
            ("Database", "other"),
            ("OPTIONS", "-c x=y"),
        ] {
            let refused = read(&[("user", "a"), (name, value)]).unwrap_err();
            assert_eq!(refused.code.as_str(), "42704", "{name}={value}");
        }
    }

    #[test]
    fn a_long_name_is_cut_as_postgresql_cuts_it() {
        assert_eq!(read(&[("user", &"ä".repeat(40))]).unwrap().user.len(), 62);
    }
}

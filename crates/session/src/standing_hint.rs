//! What a client asks of routing for its whole session, in its startup packet: `options=-c pgherd.target=replica`.

use std::time::Duration;

use routing::{Hint, Target};
use wire::{SqlState, message::error::ErrorMessage};

use crate::client::Setting;

/// Names of settings that are the proxy's own begin so.
const PREFIX: &[u8] = b"pgherd.";

/// A hint for every request of a session. What a comment asks for goes before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StandingHint {
    target: Option<Target>,
    region: Option<Box<str>>,
    max_lag: Option<Duration>,
}

impl StandingHint {
    /// Takes the settings that are the proxy's own out of those of a startup packet; no server hears of them. `None`:
    /// there are none.
    ///
    /// # Errors
    /// The FATAL that the client is to be told of a name or value that means nothing.
    pub(crate) fn take_from(settings: &mut Vec<Setting>) -> Result<Option<Box<Self>>, ErrorMessage> {
        let mut hint = None;
        for (name, value) in settings.extract_if(.., |(name, _)| name.starts_with(PREFIX)) {
            hint.get_or_insert_with(Box::<Self>::default).set(&name, &value)?;
        }
        Ok(hint)
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), ErrorMessage> {
        let key = name.strip_prefix(PREFIX).unwrap_or(name);
        let text = |bytes| String::from_utf8_lossy(bytes);
        if !matches!(key, b"target" | b"region" | b"max_lag") {
            let error = format!("unrecognized configuration parameter \"{}\"", text(name));
            return Err(ErrorMessage::fatal(SqlState::UNDEFINED_OBJECT, error)
                .with_hint("The proxy knows pgherd.target, pgherd.region and pgherd.max_lag."));
        }
        let Some(read) = sql::Hint::setting(key, value) else {
            let error = format!("invalid value for parameter \"{}\": \"{}\"", text(name), text(value));
            return Err(ErrorMessage::fatal(SqlState::INVALID_PARAMETER_VALUE, error).with_hint(
                "A target is primary or replica; a lag is a whole number with us, ms, s, min or h behind it.",
            ));
        };
        let Hint { target, region, max_lag } = as_routing_hint(read);
        // the last value holds, as of any setting
        self.target = target.or(self.target);
        self.region = region.map(Box::from).or(self.region.take());
        self.max_lag = max_lag.or(self.max_lag);
        Ok(())
    }
}

/// What is asked for by `said`, in a comment, and where that leaves something open, by the session.
pub(crate) fn with_standing<'a>(
    said: Option<sql::Hint<'a>>,
    standing: Option<&'a StandingHint>,
) -> Option<Hint<'a>> {
    let said = said.map(as_routing_hint);
    let Some(standing) = standing else { return said };
    let said = said.unwrap_or_default();
    Some(Hint {
        target: said.target.or(standing.target),
        region: said.region.or(standing.region.as_deref()),
        max_lag: said.max_lag.or(standing.max_lag),
    })
}

fn as_routing_hint(hint: sql::Hint<'_>) -> Hint<'_> {
    Hint {
        target: hint.target.map(|target| match target {
            sql::HintTarget::Primary => Target::Primary,
            sql::HintTarget::Replica => Target::Replica,
        }),
        region: hint.region,
        max_lag: hint.max_lag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<(Option<Box<StandingHint>>, Vec<Setting>), ErrorMessage> {
        let pair = |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        let mut settings: Vec<Setting> = settings.iter().map(pair).collect();
        StandingHint::take_from(&mut settings).map(|hint| (hint, settings))
    }

    #[test]
    fn settings_of_the_proxys_own_are_taken_out() {
        let (hint, left) =
            read(&[("pgherd.target", "replica"), ("search_path", "a"), ("pgherd.region", "eu")]).unwrap();
        let hint = hint.unwrap();
        assert_eq!((hint.target, hint.region.as_deref()), (Some(Target::Replica), Some("eu")));
        assert_eq!(left.len(), 1);
        assert_eq!(read(&[("search_path", "a")]).unwrap().0, None);
        for (name, value, code) in [
            ("pgherd.target", "leader", "22023"),
            ("pgherd.region", "", "22023"),
            ("pgherd.max_lag", "soon", "22023"),
            ("pgherd.lag", "1s", "42704"),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().code.as_str(), code, "{name}={value}");
        }
    }

    #[test]
    fn a_comment_goes_before_what_holds_for_the_session() {
        let (hint, _) = read(&[("pgherd.target", "primary"), ("pgherd.max_lag", "250ms")]).unwrap();
        let said = sql::hint(b"/* pgherd: replica, region=us */ select 1");
        let both = with_standing(said, hint.as_deref()).unwrap();
        assert_eq!((both.target, both.region), (Some(Target::Replica), Some("us")));
        assert_eq!(both.max_lag, Some(Duration::from_millis(250)));
        assert_eq!(with_standing(None, None), None);
    }
}

use failover::Window;

use super::{Value, Wrong};
use crate::tree::Node;

/// "off", or a part of each day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffOrWindow(pub(crate) Option<Window>);

impl Value for OffOrWindow {
    fn expected() -> String {
        "\"off\" or a part of the day such as \"02:00-04:00\" (UTC) or \"02:00-04:00 +01:00\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        if text == "off" {
            return Ok(Self(None));
        }
        let (window, zone) = text.split_once(' ').unwrap_or((text, "+00:00"));
        let (from, until) = window.split_once('-').ok_or_else(Wrong::default)?;
        let (Some(from), Some(until)) = (minutes(from), minutes(until)) else {
            return Err(Wrong::because("times are from 00:00 to 24:00"));
        };
        let offset = offset(zone).ok_or_else(|| Wrong::because("the time zone is as in \"+01:00\""))?;
        Ok(Self(Some(Window { from, until, offset })))
    }

    fn show(&self) -> String {
        let Some(Window { from, until, offset }) = self.0 else { return "off".to_owned() };
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let window = format!("{}-{}", time(from), time(until));
        match offset {
            0 => window,
            _ => format!("{window} {}{}", if offset < 0 { '-' } else { '+' }, time(offset.unsigned_abs())),
        }
    }
}

/// Hours and minutes, with two digits each, as minutes.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let is_one = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_one.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
    Some(hours * 60 + minutes).filter(|minutes| *minutes <= 24 * 60)
}

/// A time zone as what is added to UTC, in minutes.
fn offset(text: &str) -> Option<i16> {
    let (sign, time) = match text.split_at_checked(1)? {
        ("+", time) => (1, time),
        ("-", time) => (-1, time),
        _ => return None,
    };
    let minutes = minutes(time).filter(|minutes| *minutes <= 14 * 60)?;
    Some(sign * i16::try_from(minutes).ok()?)
}

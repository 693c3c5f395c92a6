use std::time::Duration;

use super::{Value, Wrong};
use crate::tree::{Kind, Node};

/// A whole number within bounds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> Value for Count<MIN, MAX> {
    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let value = match &node.kind {
            Kind::Integer(value) => u32::try_from(*value).ok(),
            Kind::Untyped(text) => text.parse().ok(),
            Kind::String(_) => return Err(Wrong::because("without quotes")),
            Kind::Other(_) | Kind::List(_) | Kind::Table(_) => None,
        };
        value.filter(|value| (MIN..=MAX).contains(value)).map(Self).ok_or_else(Wrong::default)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// A duration from `MIN` to `MAX` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time<const MIN: u64, const MAX: u64>(pub(crate) Duration);

/// Units of time and their milliseconds, largest first.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

impl<const MIN: u64, const MAX: u64> Value for Time<MIN, MAX> {
    fn expected() -> String {
        format!("a duration from \"{}\" to \"{}\"", in_units(MIN, &TIME_UNITS), in_units(MAX, &TIME_UNITS))
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let millis = quantity(node, &TIME_UNITS, "the unit is missing: ms, s, min, h or d")?;
        if !(MIN..=MAX).contains(&millis) {
            return Err(Wrong::default());
        }
        Ok(Self(Duration::from_millis(millis)))
    }

    fn show(&self) -> String {
        in_units(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS)
    }
}

/// A number of bytes within bounds, both included. Units are powers of 1024, as in PostgreSQL's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size<const MIN: u64, const MAX: u64>(pub(crate) u64);

/// Units of size and their bytes, largest first.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];

impl<const MIN: u64, const MAX: u64> Value for Size<MIN, MAX> {
    fn expected() -> String {
        format!("a size from \"{}\" to \"{}\"", in_units(MIN, &SIZE_UNITS), in_units(MAX, &SIZE_UNITS))
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let bytes = quantity(node, &SIZE_UNITS, "the unit is missing: B, kB, MB, GB or TB")?;
        if (MIN..=MAX).contains(&bytes) { Ok(Self(bytes)) } else { Err(Wrong::default()) }
    }

    fn show(&self) -> String {
        in_units(self.0, &SIZE_UNITS)
    }
}

/// A number and its unit, whose case does not count.
fn quantity(node: &Node, units: &[(&str, u64)], unit_missing: &'static str) -> Result<u64, Wrong> {
    let text = match &node.kind {
        Kind::Untyped(text) | Kind::String(text) => text.trim(),
        Kind::Integer(_) => return Err(Wrong::because(unit_missing)),
        Kind::Other(_) | Kind::List(_) | Kind::Table(_) => return Err(Wrong::default()),
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| Wrong::default())?;
    let unit = unit.trim_start().to_ascii_lowercase();
    if unit.is_empty() {
        return Err(Wrong::because(unit_missing));
    }
    let unit = match unit.as_str() {
        "m" => "min",
        "k" | "kib" => "kb",
        "mib" => "mb",
        "g" | "gib" => "gb",
        "t" | "tib" => "tb",
        other => other,
    };
    let (_, factor) =
        units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(Wrong::default)?;
    number.checked_mul(*factor).ok_or_else(Wrong::default)
}

/// The shortest exact spelling.
fn in_units(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| value >= *factor && value.is_multiple_of(*factor);
    match units.iter().find(fits) {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => format!("0{}", units.iter().rev().nth(1).map_or("", |(name, _)| name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mistake::Origin;

    type AnyTime = Time<0, { 30 * 86_400_000 }>;
    type AnySize = Size<0, { 1 << 40 }>;

    #[track_caller]
    fn time(text: &str, expected: Option<(u64, &str)>) {
        let read = AnyTime::read(&Node::untyped(Origin::Default, text)).ok();
        assert_eq!(
            read.map(|time| (time.0.as_millis() as u64, time.show())),
            expected.map(|(ms, s)| (ms, s.into()))
        );
    }

    #[track_caller]
    fn size(text: &str, expected: Option<(u64, &str)>) {
        let read = AnySize::read(&Node::untyped(Origin::Default, text)).ok();
        assert_eq!(read.map(|size| (size.0, size.show())), expected.map(|(bytes, s)| (bytes, s.into())));
    }

    #[test]
    fn durations_have_a_unit_and_are_shown_shortest() {
        time("500ms", Some((500, "500ms")));
        time("90s", Some((90_000, "90s")));
        time("3600 s", Some((3_600_000, "1h")));
        time("5m", Some((300_000, "5min")));
        time("5min", Some((300_000, "5min")));
        time("2d", Some((172_800_000, "2d")));
        time("0s", Some((0, "0s")));
        for wrong in [
            "",
            "s",
            "5",
            "-5s",
            "1.5s",
            "5 parsecs",
            "5si",
            "5miB",
            "99999999999999999999s",
            "9999999999d",
            "5éé",
        ] {
            time(wrong, None);
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        size("16MB", Some((16 << 20, "16MB")));
        size("16 mib", Some((16 << 20, "16MB")));
        size("1024kB", Some((1 << 20, "1MB")));
        size("1K", Some((1024, "1kB")));
        size("1500B", Some((1500, "1500B")));
        for wrong in ["", "MB", "5", "-1MB", "1.5GB", "2TB", "5s", "5i", "5iB"] {
            size(wrong, None);
        }
    }

    #[test]
    fn a_bare_number_is_told_that_its_unit_is_missing() {
        let node = Node { origin: Origin::Default, kind: Kind::Integer(30) };
        assert_eq!(AnyTime::read(&node), Err(Wrong::because("the unit is missing: ms, s, min, h or d")));
    }
}

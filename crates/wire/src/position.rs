use std::{fmt, num::ParseIntError, str::FromStr};

/// A position in the write-ahead log, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Bytes from `earlier` to here; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn bytes_since(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Not of the form `16/B374D848` (manual, "pg_lsn Type").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseLsnError {
    /// No slash between the halves.
    #[error("an LSN has two hexadecimal halves with a slash between them")]
    Shape,
    /// A half is no hexadecimal number of at most 32 bits.
    #[error(transparent)]
    Half(#[from] ParseIntError),
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (high, low) = text.split_once('/').ok_or(ParseLsnError::Shape)?;
        let (high, low) = (u32::from_str_radix(high, 16)?, u32::from_str_radix(low, 16)?);
        Ok(Lsn((u64::from(high) << 32) | u64::from(low)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A branch of WAL history; a promotion starts a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimelineId(pub u32);

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_survives_the_round_trip_through_text() {
        for text in ["0/0", "0/3000148", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1/", "/1", "1/100000000", "x/1", "-1/1"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }
}

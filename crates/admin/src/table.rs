//! Columns and rows, and how they go over the wire: as text, or in binary where a driver asks for it.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use wire::message::backend::{ColumnType, data_row, finish};

use crate::clock::{postgres_micros, timestamp_text};

/// Name and type.
pub(crate) type Column = (&'static str, ColumnType);

/// A result has at most this many rows; a notice says when it would have more.
pub(crate) const ROWS_MAX: usize = 100_000;

/// A constant list of columns: `columns![database Text, cl_active Int4]`.
macro_rules! columns {
    ($($name:ident $kind:ident),* $(,)?) => {
        &[$((stringify!($name), wire::message::backend::ColumnType::$kind)),*]
    };
}
pub(crate) use columns;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Int(u64),
    /// A number of which this is a thousandth: 12345 reads 12.345.
    Thousandths(u64),
    Text(Cow<'static, str>),
    Time(SystemTime),
}

/// How a column's values are sent (manual, "Formats and Format Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    Binary,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) columns: Cow<'static, [Column]>,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// Rows were left out.
    pub(crate) cut: bool,
}

impl Table {
    pub(crate) fn new(columns: impl Into<Cow<'static, [Column]>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new(), cut: false }
    }

    pub(crate) fn push(&mut self, row: impl Into<Vec<Cell>>) {
        if self.rows.len() < ROWS_MAX {
            self.rows.push(row.into());
        } else {
            self.cut = true;
        }
    }

    /// Appends the DataRow of row `at`.
    pub(crate) fn write_row(&self, at: usize, formats: &Formats, out: &mut Vec<u8>) {
        let Some(row) = self.rows.get(at) else { return };
        let values: Vec<_> = row
            .iter()
            .zip(&*self.columns)
            .enumerate()
            .map(|(at, (cell, (_, kind)))| match formats.of(at) {
                Format::Text => cell.text().map(|text| text.into_owned().into_bytes()),
                Format::Binary => cell.binary(*kind),
            })
            .collect();
        data_row(values.iter().map(Option::as_deref), out);
    }
}

/// The formats that a Bind asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Formats(pub(crate) Vec<Format>);

impl Formats {
    /// None given: all text; one: it holds for all columns; else each for its column.
    fn of(&self, column: usize) -> Format {
        match &*self.0 {
            [] => Format::Text,
            [all] => *all,
            each => each.get(column).copied().unwrap_or_default(),
        }
    }
}

/// Appends a RowDescription.
pub(crate) fn row_description(columns: &[Column], formats: &Formats, out: &mut Vec<u8>) {
    finish(out, b'T', |out| {
        out.extend_from_slice(&u16::try_from(columns.len()).unwrap_or(u16::MAX).to_be_bytes());
        for (at, (name, kind)) in columns.iter().enumerate() {
            let (oid, len) = kind.oid_and_len();
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&[0; 1 + 6]); // end of the name; no table, no column number
            out.extend_from_slice(&oid.to_be_bytes());
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes()); // no type modifier
            out.extend_from_slice(&u16::from(formats.of(at) == Format::Binary).to_be_bytes());
        }
    });
}

impl Cell {
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => Cow::Borrowed(if *value { "t" } else { "f" }),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Thousandths(value) => Cow::Owned(format!("{}.{:03}", value / 1000, value % 1000)),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Time(time) => Cow::Owned(timestamp_text(*time)),
        })
    }

    /// `None` for NULL, and for a value that a column of this type cannot hold.
    pub(crate) fn binary(&self, kind: ColumnType) -> Option<Vec<u8>> {
        Some(match (kind, self) {
            (ColumnType::Text, cell) => cell.text()?.into_owned().into_bytes(),
            (ColumnType::Bool, Self::Bool(value)) => vec![u8::from(*value)],
            (ColumnType::Int4, Self::Int(value)) => {
                i32::try_from(*value).unwrap_or(i32::MAX).to_be_bytes().to_vec()
            }
            (ColumnType::Int8, Self::Int(value)) => {
                i64::try_from(*value).unwrap_or(i64::MAX).to_be_bytes().to_vec()
            }
            (ColumnType::Numeric, Self::Int(value)) => numeric(*value, 0, 0),
            (ColumnType::Numeric, Self::Thousandths(value)) => numeric(value / 1000, value % 1000, 3),
            (ColumnType::Timestamptz, Self::Time(time)) => postgres_micros(*time).to_be_bytes().to_vec(),
            _ => return None,
        })
    }
}

/// A binary `numeric`: digits of base 10,000, the weight of the first one, sign and decimals. `fraction` counts
/// thousandths.
fn numeric(whole: u64, fraction: u64, decimals: u16) -> Vec<u8> {
    let mut digits = Vec::new();
    let mut rest = whole;
    while rest > 0 {
        digits.push((rest % 10_000) as u16);
        rest /= 10_000;
    }
    digits.reverse();
    let whole_digits = i16::try_from(digits.len()).unwrap_or(i16::MAX); // at most five
    if fraction > 0 {
        digits.push((fraction % 1000 * 10) as u16);
    }
    let mut out = Vec::new();
    out.extend_from_slice(&u16::try_from(digits.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&(whole_digits - 1).to_be_bytes());
    out.extend_from_slice(&0_u16.to_be_bytes()); // positive
    out.extend_from_slice(&decimals.to_be_bytes());
    digits.iter().for_each(|digit| out.extend_from_slice(&digit.to_be_bytes()));
    out
}

impl From<&'static str> for Cell {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<&Arc<str>> for Cell {
    fn from(text: &Arc<str>) -> Self {
        Self::Text(Cow::Owned(text.to_string()))
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Int(u64::from(value))
    }
}

impl From<u16> for Cell {
    fn from(value: u16) -> Self {
        Self::Int(u64::from(value))
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        Self::Int(value as u64)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<SystemTime> for Cell {
    fn from(time: SystemTime) -> Self {
        Self::Time(time)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_is_sent_in_base_ten_thousand() {
        let head = |digits: u8, weight: i16, scale: u8| {
            let weight = weight.to_be_bytes();
            vec![0, digits, weight[0], weight[1], 0, 0, 0, scale]
        };
        let with = |mut head: Vec<u8>, digits: &[u16]| {
            digits.iter().for_each(|digit| head.extend_from_slice(&digit.to_be_bytes()));
            head
        };
        assert_eq!(numeric(0, 0, 0), head(0, -1, 0));
        assert_eq!(numeric(123_456_789, 0, 0), with(head(3, 2, 0), &[1, 2345, 6789]));
        assert_eq!(numeric(12, 345, 3), with(head(2, 0, 3), &[12, 3450]));
        assert_eq!(numeric(0, 5, 3), with(head(1, -1, 3), &[50]));
    }

    #[test]
    fn a_result_has_a_bound() {
        let mut table = Table::new(columns![n Int4]);
        (0..=ROWS_MAX).for_each(|n| table.push([n.into()]));
        assert!(table.cut);
        assert_eq!(table.rows.len(), ROWS_MAX);
    }

    #[test]
    fn one_format_holds_for_all_columns_and_none_means_text() {
        assert_eq!(Formats::default().of(7), Format::Text);
        assert_eq!(Formats(vec![Format::Binary]).of(7), Format::Binary);
        assert_eq!(Formats(vec![Format::Binary, Format::Text]).of(1), Format::Text);
    }
}

//! Medians.

/// A median and how far the values lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    /// The lowest value.
    pub(super) lowest: f64,
    /// The median.
    pub(super) median: f64,
    /// The highest value.
    pub(super) highest: f64,
}

impl Spread {
    /// Of values in any order; `None` without any.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) { *values.get(middle.checked_sub(1)?)? } else { upper };
        Some(Self { lowest: *values.first()?, median: f64::midpoint(lower, upper), highest: *values.last()? })
    }

    /// For a table.
    pub(super) fn show(&self, decimals: usize) -> String {
        let Self { lowest, median, highest } = self;
        if lowest >= highest {
            return format!("{median:.decimals$}");
        }
        format!("{median:.decimals$} ({lowest:.decimals$}–{highest:.decimals$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of(vec![]), None);
        let three = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!(three, Spread { lowest: 1.0, median: 2.0, highest: 3.0 });
        assert_eq!(three.show(1), "2.0 (1.0–3.0)");
        assert_eq!(Spread::of(vec![7.0]).unwrap().show(0), "7");
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
    }
}

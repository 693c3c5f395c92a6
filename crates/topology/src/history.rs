use std::str::FromStr;

use wire::{Lsn, ParseLsnError, TimelineId};

/// Where one timeline ended and its child began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The parent timeline.
    pub timeline: TimelineId,
    /// Where the child left it: WAL of the parent past this position is not part of the child.
    pub switch_lsn: Lsn,
}

/// The ancestors of one timeline, oldest first: a parsed `.history` file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History(Vec<Fork>);

/// A history file that PostgreSQL would refuse as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseHistoryError {
    /// A line without the two leading fields.
    #[error("a history line begins with a timeline and a switch point")]
    Shape,
    /// The first field is no timeline.
    #[error("a history line's timeline is no number")]
    Timeline,
    /// The second field is no LSN.
    #[error("a history line's switch point is no LSN")]
    SwitchPoint(#[from] ParseLsnError),
    /// The ids do not grow from line to line.
    #[error("the timelines of a history grow from line to line")]
    Order,
}

impl History {
    /// Of the ancestors in order, oldest first.
    #[must_use]
    pub fn new(forks: Vec<Fork>) -> Self {
        Self(forks)
    }

    /// The ancestors, oldest first.
    #[must_use]
    pub fn forks(&self) -> &[Fork] {
        &self.0
    }

    /// Where the way to this history's timeline left `ancestor`; `None` if it never was on it.
    #[must_use]
    pub fn left(&self, ancestor: TimelineId) -> Option<Lsn> {
        self.0.iter().find(|fork| fork.timeline == ancestor).map(|fork| fork.switch_lsn)
    }

    /// Where `timeline` began: `own`, which this is the history of, or an ancestor. `None` for one without a parent.
    #[must_use]
    pub fn began(&self, own: TimelineId, timeline: TimelineId) -> Option<Fork> {
        let is_known = timeline == own || self.left(timeline).is_some();
        self.0.iter().rev().find(|fork| is_known && fork.timeline < timeline).copied()
    }
}

impl FromStr for History {
    type Err = ParseHistoryError;

    /// Reads the content that `TIMELINE_HISTORY` returns: a line is `timeline TAB lsn TAB reason`; `#` begins a
    /// comment line (PostgreSQL's `readTimeLineHistory`).
    fn from_str(content: &str) -> Result<Self, Self::Err> {
        let mut forks: Vec<Fork> = Vec::new();
        for line in
            content.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let mut fields = line.split_whitespace();
            let (Some(timeline), Some(switch)) = (fields.next(), fields.next()) else {
                return Err(ParseHistoryError::Shape);
            };
            let timeline = TimelineId(timeline.parse().map_err(|_| ParseHistoryError::Timeline)?);
            if forks.last().is_some_and(|last| last.timeline >= timeline) {
                return Err(ParseHistoryError::Order);
            }
            forks.push(Fork { timeline, switch_lsn: switch.parse()? });
        }
        Ok(Self(forks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_file_names_each_ancestor_and_where_it_was_left() {
        let history: History =
            "1\t0/3000148\tno recovery target specified\n\n2\t16/B374D848\tbefore 2000-01-01\n"
                .parse()
                .unwrap();
        assert_eq!(history.left(TimelineId(1)), Some(Lsn(0x300_0148)));
        assert_eq!(history.left(TimelineId(2)), Some(Lsn(0x16_B374_D848)));
        assert_eq!(history.left(TimelineId(3)), None);
        let began = |timeline| history.began(TimelineId(5), TimelineId(timeline)).map(|fork| fork.timeline.0);
        assert_eq!([1, 2, 3, 5].map(began), [None, Some(1), None, Some(2)]);
    }

    #[test]
    fn a_broken_history_file_is_refused_with_the_reason() {
        for (text, expected) in [
            ("1", ParseHistoryError::Shape),
            ("x\t0/1\t", ParseHistoryError::Timeline),
            ("2\t0/1\tr\n2\t0/2\tr", ParseHistoryError::Order),
        ] {
            assert_eq!(text.parse::<History>(), Err(expected), "{text}");
        }
        assert!(matches!("1\t01\tr".parse::<History>(), Err(ParseHistoryError::SwitchPoint(_))));
    }
}

//! Statements that look like reads and that a standby refused, such as a SELECT from a view that calls nextval.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
};

use sql::{Class, Kind};

/// Shapes that are remembered; beyond that everything is forgotten and learned again, one rerun each.
const SHAPES_MAX: usize = 10_000;

/// The shapes of refused texts: their tokens without literals.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    shapes: RefCell<HashSet<u64, foldhash::fast::RandomState>>,
    /// High bits, so that it does not meet the versions of function catalogs.
    version: Cell<u64>,
}

impl Refused {
    /// Remembers the shape of `text`.
    pub(crate) fn remember(&self, text: &[u8]) {
        let mut shapes = self.shapes.borrow_mut();
        if shapes.len() >= SHAPES_MAX {
            shapes.clear();
        }
        if shapes.insert(sql::shape(text)) {
            self.version.set(self.version.get().wrapping_add(1 << 32));
        }
    }

    /// `class`, unless it is a read and texts of this shape were refused.
    pub(crate) fn judge(&self, class: Class, text: &[u8]) -> Class {
        let shapes = self.shapes.borrow();
        if class.kind == Kind::Read && !shapes.is_empty() && shapes.contains(&sql::shape(text)) {
            return Class { kind: Kind::Write, ..class };
        }
        class
    }

    /// Changes whenever a judgement may.
    pub(crate) fn version(&self) -> u64 {
        self.version.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_text_is_a_write_whatever_its_literals() {
        let refused = Refused::default();
        let kind = |text: &[u8]| refused.judge(sql::classify(text, &sql::NoFunctions), text).kind;
        assert_eq!(kind(b"select * from v where id = 1"), Kind::Read);
        let version = refused.version();
        refused.remember(b"select * from v where id = 1");
        assert_ne!(refused.version(), version);
        assert_eq!(kind(b"SELECT * FROM v WHERE id = 22"), Kind::Write);
        assert_eq!(kind(b"select * from w where id = 1"), Kind::Read);
    }
}

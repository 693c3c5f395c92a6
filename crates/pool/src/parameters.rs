use std::rc::Rc;

use crate::shared::Shared;

/// A name and a value.
type Pair = (Box<[u8]>, Box<[u8]>);

/// What ParameterStatus messages told so far, sorted by name. `in_hot_standby` is left out: it belongs to the
/// server, not to the session.
#[derive(Debug, PartialEq, Eq)]
pub struct ParameterSet {
    pairs: Vec<Pair>,
}

impl ParameterSet {
    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of `name`.
    #[must_use]
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.pairs.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        self.pairs.get(at).map(|(_, value)| &**value)
    }

    /// What a client that was told `self` has to be told to know `other`.
    pub fn changes_to<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        other.iter().filter(|&(name, value)| self.value(name) != Some(value))
    }
}

/// All the sets in use on one worker, each kept once, so that "nothing to tell" is a comparison of pointers.
#[derive(Debug, Default)]
pub struct ParameterSets {
    known: Shared<ParameterSet>,
}

impl ParameterSets {
    /// The set of these pairs; later pairs of the same name win.
    pub fn intern(&self, pairs: impl IntoIterator<Item = Pair>) -> Rc<ParameterSet> {
        let mut sorted: Vec<Pair> = Vec::new();
        for (name, value) in pairs {
            if *name == *b"in_hot_standby" {
                continue;
            }
            match sorted.binary_search_by(|(n, _)| n.cmp(&name)) {
                Ok(at) => sorted[at].1 = value,
                Err(at) => sorted.insert(at, (name, value)),
            }
        }
        self.known.intern(sorted, |kept, pairs| kept.pairs == *pairs, |pairs| ParameterSet { pairs })
    }

    /// `base` with `name` changed to `value`.
    pub fn with(&self, base: &Rc<ParameterSet>, name: &[u8], value: &[u8]) -> Rc<ParameterSet> {
        if name == b"in_hot_standby" || base.value(name) == Some(value) {
            return Rc::clone(base);
        }
        let pairs = base.iter().chain([(name, value)]);
        self.intern(pairs.map(|(n, v)| (n.into(), v.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (Box<[u8]>, Box<[u8]>) {
        (name.as_bytes().into(), value.as_bytes().into())
    }

    #[test]
    fn equal_sets_are_the_same_set_and_the_role_of_the_server_is_no_part_of_it() {
        let sets = ParameterSets::default();
        let a =
            sets.intern([pair("TimeZone", "UTC"), pair("DateStyle", "ISO"), pair("in_hot_standby", "on")]);
        let b = sets.intern([pair("DateStyle", "ISO"), pair("TimeZone", "CET"), pair("TimeZone", "UTC")]);
        assert!(Rc::ptr_eq(&a, &b));
        assert!(Rc::ptr_eq(&a, &sets.with(&a, b"in_hot_standby", b"off")));
    }

    #[test]
    fn a_client_is_told_only_what_differs() {
        let sets = ParameterSets::default();
        let told = sets.intern([pair("TimeZone", "UTC"), pair("DateStyle", "ISO")]);
        let now = sets.with(&told, b"TimeZone", b"CET");
        assert_eq!(told.changes_to(&now).collect::<Vec<_>>(), [(&b"TimeZone"[..], &b"CET"[..])]);
        assert_eq!(told.changes_to(&told).count(), 0);
    }
}

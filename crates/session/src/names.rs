use std::{collections::HashMap, rc::Rc};

use pool::{SessionState, Statement};
use sql::Kind;
use wire::message::frontend::Parse;

use crate::{local::Meaning, pool_set::PoolSet};

type Named = HashMap<Box<[u8]>, Rc<Statement>, foldhash::fast::RandomState>;

/// Statements under names that are not empty.
#[derive(Debug, Default)]
struct Kept {
    by_name: Named,
    /// Their texts and names, in bytes, as if nobody shared them.
    bytes: usize,
    /// Since when there are any, one of them was given.
    given: Given,
}

/// How names were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Given {
    /// All by Parse.
    #[default]
    ByParse,
    /// By SQL PREPARE too, so that SQL in code may use them.
    BySql,
}

/// A client's prepared statements under the client's own names. Costs one pointer until the first named one.
#[derive(Debug, Default)]
pub(crate) struct Names {
    unnamed: Option<Rc<Statement>>,
    named: Option<Box<Kept>>,
}

impl Names {
    /// The statement of this name; the empty name is the unnamed statement.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Rc<Statement>> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.as_ref()?.by_name.get(name) }
    }

    /// Gives `statement` a name. The empty name replaces the unnamed statement.
    pub(crate) fn insert(&mut self, name: &[u8], statement: Rc<Statement>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
            return;
        }
        let named = self.named.get_or_insert_default();
        named.bytes = named.bytes.saturating_add(cost(name, &statement));
        if let Some(before) = named.by_name.insert(name.into(), statement) {
            named.bytes = named.bytes.saturating_sub(cost(name, &before));
        }
    }

    /// The same, for SQL PREPARE and a name that is not empty.
    pub(crate) fn insert_by_sql(&mut self, name: &[u8], statement: Rc<Statement>) {
        self.insert(name, statement);
        if let Some(named) = &mut self.named {
            named.given = Given::BySql;
        }
    }

    /// Whether `text` runs code that may EXECUTE one of them, as `f('EXECUTE name')` does.
    pub(crate) fn are_in_code(&self, text: &[u8]) -> bool {
        self.named.as_ref().is_some_and(|named| {
            named.given == Given::BySql
                && sql::names_in_code(text)
                    .any(|name| name.is_none_or(|name| named.by_name.contains_key(&*name)))
        })
    }

    /// The names that are not empty.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.named.iter().flat_map(|named| named.by_name.keys()).map(|name| &**name)
    }

    /// Makes this the unnamed statement, or leaves none; what was it before.
    pub(crate) fn set_unnamed(&mut self, statement: Option<Rc<Statement>>) -> Option<Rc<Statement>> {
        std::mem::replace(&mut self.unnamed, statement)
    }

    /// Puts `new`, which has the same text and types, wherever `old` is.
    pub(crate) fn replace(&mut self, old: &Rc<Statement>, new: &Rc<Statement>) {
        let named = self.named.iter_mut().flat_map(|named| named.by_name.values_mut());
        for statement in named.chain(&mut self.unnamed).filter(|statement| Rc::ptr_eq(statement, old)) {
            *statement = Rc::clone(new);
        }
    }

    /// Takes a name away.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Rc<Statement>> {
        if name.is_empty() {
            return self.unnamed.take();
        }
        self.take_entry(name).map(|(_, statement)| statement)
    }

    /// Takes a name that is not empty away: it, and what it stood for.
    pub(crate) fn take_entry(&mut self, name: &[u8]) -> Option<(Box<[u8]>, Rc<Statement>)> {
        let named = self.named.as_mut()?;
        let removed = named.by_name.remove_entry(name);
        if let Some((name, statement)) = &removed {
            named.bytes = named.bytes.saturating_sub(cost(name, statement));
        }
        if named.by_name.is_empty() {
            self.named = None;
        }
        removed
    }

    /// Takes all names away, but not the unnamed statement: what they stood for.
    pub(crate) fn take_named(&mut self) -> Self {
        Self { unnamed: None, named: self.named.take() }
    }

    /// Puts back what [`Names::take_named`] took.
    pub(crate) fn put_named(&mut self, taken: Self) {
        self.named = taken.named;
    }

    /// How many named statements there are.
    pub(crate) fn len(&self) -> usize {
        self.named.as_ref().map_or(0, |named| named.by_name.len())
    }

    /// What the named statements cost at most, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.named.as_ref().map_or(0, |named| named.bytes)
    }
}

/// What a name and its statement cost if nobody shares it, in bytes.
pub(crate) fn cost(name: &[u8], statement: &Statement) -> usize {
    /// A statement's struct, its server's name, and two map entries.
    const OVERHEAD: usize = 300;
    name.len() + statement.text().len() + statement.parameter_types().len() + OVERHEAD
}

/// What a client's texts and names mean while the proxy itself answers.
pub(crate) struct Dictionary<'a> {
    pub(crate) pools: &'a PoolSet,
    pub(crate) state: &'a Rc<SessionState>,
    pub(crate) names: &'a mut Names,
}

impl Meaning for Dictionary<'_> {
    fn kind(&self, text: &[u8]) -> Kind {
        self.pools.classify(text).kind
    }

    fn statement(&self, parse: &Parse<'_>) -> Rc<Statement> {
        self.pools.intern(parse.query, parse.parameter_types, self.state)
    }

    fn names(&mut self) -> &mut Names {
        self.names
    }
}

#[cfg(test)]
mod tests {
    use pool::{Interner, SessionStates};

    use super::*;

    #[test]
    fn what_comes_and_goes_is_counted_in_bytes() {
        let (interner, empty) = (Interner::new(1 << 20), SessionStates::default().empty());
        let classify = |text: &[u8]| sql::classify(text, &sql::NoFunctions);
        let statement = |text: &[u8]| interner.intern(text, &[0, 0], &empty, 1, classify);
        let mut names = Names::default();
        names.insert(b"", statement(b"select 0"));
        assert_eq!(names.bytes(), 0);
        names.insert(b"a", statement(b"select 1"));
        let one = names.bytes();
        names.insert(b"a", statement(b"select 1000"));
        assert_eq!(names.bytes(), one + 3);
        names.insert(b"b", statement(b"select 1"));
        assert_eq!(names.bytes(), 2 * one + 3);
        let taken = names.take_named();
        assert_eq!(names.bytes(), 0);
        names.put_named(taken);
        names.remove(b"a");
        assert_eq!(names.bytes(), one);
        names.remove(b"b");
        assert_eq!(names.bytes(), 0);
    }
}

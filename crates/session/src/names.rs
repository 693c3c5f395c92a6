use std::{collections::HashMap, rc::Rc};

use pool::Statement;

type Named = HashMap<Box<[u8]>, Rc<Statement>, foldhash::fast::RandomState>;

/// A client's prepared statements under the client's own names. Costs one pointer until the first named one.
#[derive(Debug, Default)]
pub(crate) struct Names {
    unnamed: Option<Rc<Statement>>,
    named: Option<Box<Named>>,
}

impl Names {
    /// The statement of this name; the empty name is the unnamed statement.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Rc<Statement>> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.as_ref()?.get(name) }
    }

    /// Gives `statement` a name. The empty name replaces the unnamed statement.
    pub(crate) fn insert(&mut self, name: &[u8], statement: Rc<Statement>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else {
            self.named.get_or_insert_default().insert(name.into(), statement);
        }
    }

    /// Puts `new` wherever `old` is.
    pub(crate) fn replace(&mut self, old: &Rc<Statement>, new: &Rc<Statement>) {
        let named = self.named.iter_mut().flat_map(|named| named.values_mut());
        for statement in named.chain(&mut self.unnamed).filter(|statement| Rc::ptr_eq(statement, old)) {
            *statement = Rc::clone(new);
        }
    }

    /// Takes a name away.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Rc<Statement>> {
        if name.is_empty() {
            return self.unnamed.take();
        }
        let named = self.named.as_mut()?;
        let removed = named.remove(name);
        if named.is_empty() {
            self.named = None;
        }
        removed
    }

    /// Takes all names away.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many named statements there are.
    pub(crate) fn len(&self) -> usize {
        self.named.as_ref().map_or(0, |named| named.len())
    }
}

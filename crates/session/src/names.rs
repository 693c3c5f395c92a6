use std::{collections::HashMap, rc::Rc};

use pool::{SessionState, Statement};
use sql::Kind;
use wire::message::frontend::Parse;

use crate::{local::Meaning, pool_set::PoolSet};

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
        self.take_entry(name).map(|(_, statement)| statement)
    }

    /// Takes a name that is not empty away: it, and what it stood for.
    pub(crate) fn take_entry(&mut self, name: &[u8]) -> Option<(Box<[u8]>, Rc<Statement>)> {
        let named = self.named.as_mut()?;
        let removed = named.remove_entry(name);
        if named.is_empty() {
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
        self.named.as_ref().map_or(0, |named| named.len())
    }
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

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    rc::{Rc, Weak},
};

use foldhash::fast::RandomState;
use sql::Class;

use crate::SessionState;

/// Tells prepared statements apart on one worker; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementId(u64);

/// A prepared statement as clients sent it, shared by all clients of a database that sent the same.
#[derive(Debug)]
pub struct Statement {
    id: StatementId,
    text: Box<[u8]>,
    parameter_types: Box<[u8]>,
    server_name: Box<[u8]>,
    class: Cell<Class>,
    class_version: Cell<u64>,
    /// The session state under which a server last accepted it.
    accepted_under: RefCell<Weak<SessionState>>,
}

impl Statement {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> StatementId {
        self.id
    }

    /// The statement's text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Count and OIDs of the declared parameter types, as in Parse.
    #[must_use]
    pub fn parameter_types(&self) -> &[u8] {
        &self.parameter_types
    }

    /// What it is called on servers, whatever clients call it.
    #[must_use]
    pub fn server_name(&self) -> &[u8] {
        &self.server_name
    }

    /// Notes that a server in this session state accepted it.
    pub fn accept(&self, state: &Rc<SessionState>) {
        let mut accepted = self.accepted_under.borrow_mut();
        if accepted.as_ptr() != Rc::as_ptr(state) {
            *accepted = Rc::downgrade(state);
        }
    }

    /// Whether a server in this very session state accepted it before, so that preparing it again can be put off
    /// until it is used. Names in it mean the same then: they depend on the state, as `search_path` does.
    #[must_use]
    pub fn is_accepted(&self, state: &Rc<SessionState>) -> bool {
        let accepted = self.accepted_under.borrow();
        accepted.strong_count() > 0 && accepted.as_ptr() == Rc::as_ptr(state)
    }

    /// What it does.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class.get()
    }
}

/// All prepared statements of one database on one worker, by text and parameter types.
#[derive(Debug)]
pub struct Interner {
    hasher: RandomState,
    by_hash: RefCell<HashMap<u64, Vec<Rc<Statement>>, RandomState>>,
    bytes: Cell<usize>,
    bytes_limit: usize,
    next_id: Cell<u64>,
}

/// Prefix of statement names on servers; a client's own name that begins so is sent as it is and may clash.
const SERVER_NAME_PREFIX: &str = "pgherd_";

/// What a statement costs besides its texts, in bytes: its struct, its map entry and its server name.
const STATEMENT_OVERHEAD: usize = 200;

impl Interner {
    /// Keeps at most about `bytes_limit` bytes of statements that nobody uses at the moment.
    #[must_use]
    pub fn new(bytes_limit: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            by_hash: RefCell::default(),
            bytes: Cell::new(0),
            bytes_limit,
            next_id: Cell::new(1),
        }
    }

    /// The statement of this text and these types. Allocates only when it is new. `version` is that of what
    /// `classify` knows: a statement classified under another one is classified again.
    pub fn intern(
        &self,
        text: &[u8],
        parameter_types: &[u8],
        version: u64,
        classify: impl FnOnce(&[u8]) -> Class,
    ) -> Rc<Statement> {
        let hash = self.hash(text, parameter_types);
        let mut by_hash = self.by_hash.borrow_mut();
        let same = by_hash.entry(hash).or_default();
        if let Some(found) = same.iter().find(|s| *s.text == *text && *s.parameter_types == *parameter_types)
        {
            if found.class_version.replace(version) != version {
                found.class.set(classify(text));
            }
            return Rc::clone(found);
        }
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let statement = Rc::new(Statement {
            id: StatementId(id),
            text: text.into(),
            parameter_types: parameter_types.into(),
            server_name: format!("{SERVER_NAME_PREFIX}{id}").into_bytes().into(),
            class: Cell::new(classify(text)),
            class_version: Cell::new(version),
            accepted_under: RefCell::default(),
        });
        same.push(Rc::clone(&statement));
        self.bytes.set(self.bytes.get() + cost(&statement));
        if self.bytes.get() > self.bytes_limit {
            self.forget_unused(&mut by_hash);
        }
        statement
    }

    /// Makes the same text and types a new statement from now on. Those who have `statement` keep it.
    pub fn forget(&self, statement: &Statement) {
        let hash = self.hash(&statement.text, &statement.parameter_types);
        let mut by_hash = self.by_hash.borrow_mut();
        let Some(same) = by_hash.get_mut(&hash) else { return };
        let before = same.len();
        same.retain(|kept| kept.id != statement.id);
        if same.len() < before {
            self.bytes.set(self.bytes.get().saturating_sub(cost(statement)));
        }
        if same.is_empty() {
            by_hash.remove(&hash);
        }
    }

    /// Makes every text a new statement from now on. Those who have one keep it.
    pub fn forget_all(&self) {
        self.by_hash.borrow_mut().clear();
        self.bytes.set(0);
    }

    fn hash(&self, text: &[u8], parameter_types: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(text);
        hasher.write(parameter_types);
        hasher.finish()
    }

    /// Bytes kept, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    fn forget_unused(&self, by_hash: &mut HashMap<u64, Vec<Rc<Statement>>, RandomState>) {
        by_hash.retain(|_, same| {
            same.retain(|s| Rc::strong_count(s) > 1);
            !same.is_empty()
        });
        self.bytes.set(by_hash.values().flatten().map(|s| cost(s)).sum());
    }
}

fn cost(statement: &Statement) -> usize {
    statement.text.len() + statement.parameter_types.len() + STATEMENT_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intern(interner: &Interner, text: &str) -> Rc<Statement> {
        interner.intern(text.as_bytes(), &[0, 0], 1, |text| sql::classify(text, &sql::NoFunctions))
    }

    #[test]
    fn the_same_text_and_types_are_one_statement() {
        let interner = Interner::new(1 << 20);
        let first = intern(&interner, "select 1");
        assert!(Rc::ptr_eq(&first, &intern(&interner, "select 1")));
        assert!(!Rc::ptr_eq(&first, &intern(&interner, "select 2")));
        let typed = interner
            .intern(b"select 1", &[0, 1, 0, 0, 0, 23], 1, |text| sql::classify(text, &sql::NoFunctions));
        assert!(!Rc::ptr_eq(&first, &typed));
    }

    #[test]
    fn a_forgotten_statement_is_another_one_next_time() {
        let interner = Interner::new(1 << 20);
        let first = intern(&interner, "select 1");
        interner.forget(&first);
        let second = intern(&interner, "select 1");
        assert_ne!(first.id(), second.id());
        let bytes = interner.bytes();
        interner.forget(&first);
        assert_eq!(interner.bytes(), bytes);
        assert!(Rc::ptr_eq(&second, &intern(&interner, "select 1")));
        interner.forget_all();
        assert_eq!(interner.bytes(), 0);
        assert_ne!(second.id(), intern(&interner, "select 1").id());
    }

    #[test]
    fn a_million_texts_that_nobody_uses_do_not_pile_up() {
        let interner = Interner::new(100_000);
        let kept = intern(&interner, "select 'kept'");
        for n in 0..100_000 {
            intern(&interner, &format!("select {n}"));
            assert!(interner.bytes() <= 101_000);
        }
        assert!(Rc::ptr_eq(&kept, &intern(&interner, "select 'kept'")));
    }
}

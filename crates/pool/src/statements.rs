use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    rc::Rc,
};

use foldhash::fast::RandomState;
use sql::Class;

use crate::SessionState;

/// Tells prepared statements apart on one worker; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementId(u64);

/// A prepared statement as clients sent it, shared by all clients of a database that sent the same under the same
/// settings.
#[derive(Debug)]
pub struct Statement {
    id: StatementId,
    text: Box<[u8]>,
    parameter_types: Box<[u8]>,
    server_name: Box<[u8]>,
    class: Cell<Class>,
    class_version: Cell<u64>,
    /// The settings that it is to be read and planned under.
    state: Rc<SessionState>,
    /// A server that had these settings accepted it.
    accepted: Cell<bool>,
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

    /// The settings that it is to be read and planned under, as far as they bear on that.
    #[must_use]
    pub fn state(&self) -> &Rc<SessionState> {
        &self.state
    }

    /// Whether it is at home in this session state: what a server reads and plans in it, others in it may use.
    #[must_use]
    pub fn is_at_home(&self, state: &Rc<SessionState>) -> bool {
        Rc::ptr_eq(&self.state, state.planning())
    }

    /// Notes that a server accepted it where it is at home.
    pub fn accept(&self) {
        self.accepted.set(true);
    }

    /// Whether a server accepted it before where it is at home, so that preparing it again can be put off until it is
    /// used.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.accepted.get()
    }

    /// What it does, as far as was known when it was last classified.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class.get()
    }

    /// Classifies it again if it was classified under another `version` of what `classify` knows.
    pub fn reclassify(&self, version: u64, classify: impl FnOnce(&[u8]) -> Class) {
        if self.class_version.replace(version) != version {
            self.class.set(classify(&self.text));
        }
    }
}

/// All prepared statements of one database on one worker, by text, parameter types and settings.
#[derive(Debug)]
pub struct Interner {
    hasher: RandomState,
    by_hash: RefCell<HashMap<u64, Vec<Rc<Statement>>, RandomState>>,
    bytes: Cell<usize>,
    bytes_limit: usize,
    /// Bytes at which those that nobody uses are looked for again: as many may have come as are to be kept. What is in use
    /// does not count, or each new one would be a reason to look at all.
    look_at: Cell<usize>,
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
            look_at: Cell::new(bytes_limit),
            next_id: Cell::new(1),
        }
    }

    /// The statement of this text and these types in a session of this state. Allocates only when it is new.
    /// `version` is that of what `classify` knows: a statement classified under another one is classified again.
    pub fn intern(
        &self,
        text: &[u8],
        parameter_types: &[u8],
        state: &Rc<SessionState>,
        version: u64,
        classify: impl FnOnce(&[u8]) -> Class,
    ) -> Rc<Statement> {
        let hash = self.hash(text, parameter_types, state.planning());
        let mut by_hash = self.by_hash.borrow_mut();
        let same = by_hash.entry(hash).or_default();
        let is_same = |s: &&Rc<Statement>| {
            *s.text == *text && *s.parameter_types == *parameter_types && s.is_at_home(state)
        };
        if let Some(found) = same.iter().find(is_same) {
            found.reclassify(version, classify);
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
            state: Rc::clone(state.planning()),
            accepted: Cell::default(),
        });
        same.push(Rc::clone(&statement));
        self.bytes.set(self.bytes.get() + cost(&statement));
        if self.bytes.get() > self.look_at.get() {
            self.forget_unused(&mut by_hash);
        }
        statement
    }

    /// Makes the same text and types a new statement from now on. Those who have `statement` keep it.
    pub fn forget(&self, statement: &Statement) {
        let hash = self.hash(&statement.text, &statement.parameter_types, &statement.state);
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
        self.look_at.set(self.bytes_limit);
    }

    fn hash(&self, text: &[u8], parameter_types: &[u8], state: &SessionState) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(text);
        hasher.write(parameter_types);
        hasher.write_u64(state.serial());
        hasher.finish()
    }

    /// Bytes kept, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Calls `visit` for each statement that the next client to send it would share.
    pub fn for_each(&self, visit: impl FnMut(&Rc<Statement>)) {
        self.by_hash.borrow().values().flatten().for_each(visit);
    }

    fn forget_unused(&self, by_hash: &mut HashMap<u64, Vec<Rc<Statement>>, RandomState>) {
        by_hash.retain(|_, same| {
            same.retain(|s| Rc::strong_count(s) > 1);
            !same.is_empty()
        });
        self.bytes.set(by_hash.values().flatten().map(|s| cost(s)).sum());
        self.look_at.set(self.bytes.get().saturating_add(self.bytes_limit));
    }
}

fn cost(statement: &Statement) -> usize {
    statement.text.len() + statement.parameter_types.len() + STATEMENT_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Replay, SessionStates};

    struct Known {
        interner: Interner,
        states: SessionStates,
        empty: Rc<SessionState>,
    }

    fn known(bytes_limit: usize) -> Known {
        let states = SessionStates::default();
        Known { interner: Interner::new(bytes_limit), empty: states.empty(), states }
    }

    impl Known {
        fn intern(&self, text: &str, types: &[u8], state: &Rc<SessionState>) -> Rc<Statement> {
            let classify = |text: &[u8]| sql::classify(text, &sql::NoFunctions);
            self.interner.intern(text.as_bytes(), types, state, 1, classify)
        }

        fn plain(&self, text: &str) -> Rc<Statement> {
            self.intern(text, &[0, 0], &self.empty)
        }
    }

    #[test]
    fn the_same_text_and_types_are_one_statement() {
        let known = known(1 << 20);
        let first = known.plain("select 1");
        assert!(Rc::ptr_eq(&first, &known.plain("select 1")));
        assert!(!Rc::ptr_eq(&first, &known.plain("select 2")));
        let typed = known.intern("select 1", &[0, 1, 0, 0, 0, 23], &known.empty);
        assert!(!Rc::ptr_eq(&first, &typed));
    }

    #[test]
    fn the_same_text_under_other_settings_is_another_statement() {
        let known = known(1 << 20);
        let with =
            |name: &[u8]| known.states.with(&known.empty, name, Replay::Statement(b"SET".as_slice().into()));
        let first = known.plain("select 1");
        let zone = known.intern("select 1", &[0, 0], &with(b"timezone"));
        assert_ne!(first.id(), zone.id());
        assert!(!zone.is_at_home(&known.empty));
        let named = known.intern("select 1", &[0, 0], &with(b"application_name"));
        assert!(Rc::ptr_eq(&first, &named));
        known.interner.forget(&zone);
        assert!(Rc::ptr_eq(&first, &known.plain("select 1")));
    }

    #[test]
    fn a_forgotten_statement_is_another_one_next_time() {
        let known = known(1 << 20);
        let first = known.plain("select 1");
        known.interner.forget(&first);
        let second = known.plain("select 1");
        assert_ne!(first.id(), second.id());
        let bytes = known.interner.bytes();
        known.interner.forget(&first);
        assert_eq!(known.interner.bytes(), bytes);
        assert!(Rc::ptr_eq(&second, &known.plain("select 1")));
        known.interner.forget_all();
        assert_eq!(known.interner.bytes(), 0);
        assert_ne!(second.id(), known.plain("select 1").id());
    }

    #[test]
    fn what_is_in_use_takes_no_room_from_what_is_not() {
        let known = known(10_000);
        let used: Vec<_> = (0..100).map(|n| known.plain(&format!("select 'used {n}'"))).collect();
        assert!(known.interner.bytes() > 20_000);
        let id = known.plain("select 'unused'").id();
        known.plain("select 'another'");
        assert_eq!(known.plain("select 'unused'").id(), id);
        drop(used);
        (0..200).for_each(|n| drop(known.plain(&format!("select {n}"))));
        assert!(known.interner.bytes() < 22_000);
        assert_ne!(known.plain("select 'unused'").id(), id);
    }

    #[test]
    fn a_million_texts_that_nobody_uses_do_not_pile_up() {
        let known = known(100_000);
        let kept = known.plain("select 'kept'");
        for n in 0..100_000 {
            known.plain(&format!("select {n}"));
            assert!(known.interner.bytes() <= 101_000);
        }
        assert!(Rc::ptr_eq(&kept, &known.plain("select 'kept'")));
    }
}

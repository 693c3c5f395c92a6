use std::collections::HashMap;

use crate::{Statement, StatementId};

/// The settings that a statement is prepared or wanted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Under {
    /// Its own: where it is at home.
    Own,
    /// Others, which have this number: those of a session that was in another state when it prepared the statement, or
    /// those of one transaction. What was prepared under them is of use under them alone.
    Other(u64),
}

impl Under {
    /// Whether what was prepared under these settings is what is wanted under `wanted`.
    fn serves(self, wanted: Self) -> bool {
        self == Self::Own || self == wanted
    }
}

/// Which statements one server connection has prepared, and which of them was used longest ago.
#[derive(Debug, Default)]
pub struct Prepared {
    named: HashMap<StatementId, Entry, foldhash::fast::RandomState>,
    unnamed: Option<StatementId>,
    uses: u64,
}

/// A statement that is about to be closed on its server, to make room.
#[derive(Debug)]
pub struct Evicted {
    id: StatementId,
    entry: Entry,
}

impl Evicted {
    /// Which statement.
    #[must_use]
    pub fn id(&self) -> StatementId {
        self.id
    }

    /// What it is called on servers.
    #[must_use]
    pub fn server_name(&self) -> &[u8] {
        &self.entry.server_name
    }
}

#[derive(Debug)]
struct Entry {
    last_use: u64,
    under: Under,
    server_name: Box<[u8]>,
}

impl Prepared {
    /// Whether `statement` is there under its server name and is what is wanted under these settings; counts as a use.
    pub fn contains(&mut self, statement: &Statement, wanted: Under) -> bool {
        self.uses += 1;
        match self.named.get_mut(&statement.id()) {
            Some(entry) if entry.under.serves(wanted) => {
                entry.last_use = self.uses;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Notes that `statement` was prepared under its server name, under these settings.
    pub fn insert(&mut self, statement: &Statement, under: Under) {
        self.uses += 1;
        let entry = Entry { last_use: self.uses, under, server_name: statement.server_name().into() };
        self.named.insert(statement.id(), entry);
    }

    /// Takes out what is there under the name of `statement`, to be closed before it is prepared anew.
    pub fn displace(&mut self, statement: StatementId) -> Option<Evicted> {
        self.named.remove(&statement).map(|entry| Evicted { id: statement, entry })
    }

    /// Notes that the server lost `statement`, or never got it.
    pub fn remove(&mut self, statement: StatementId) {
        self.named.remove(&statement);
    }

    /// Takes out the statement used longest ago if there are more than `limit`, to be closed. Only one that `may` go.
    pub fn evict(&mut self, limit: u32, may: impl Fn(StatementId) -> bool) -> Option<Evicted> {
        if self.named.len() <= limit as usize {
            return None;
        }
        let may_go = self.named.iter().filter(|&(&id, _)| may(id));
        let id = may_go.min_by_key(|(_, entry)| entry.last_use).map(|(&id, _)| id)?;
        self.displace(id)
    }

    /// Notes that the server kept a statement that it was to close: it is the first to be closed next time.
    pub fn restore(&mut self, evicted: Evicted) {
        self.named.insert(evicted.id, Entry { last_use: 0, ..evicted.entry });
    }

    /// The named statements.
    pub fn ids(&self) -> impl Iterator<Item = StatementId> {
        self.named.keys().copied()
    }

    /// The statement that the unnamed one is at present.
    #[must_use]
    pub fn unnamed(&self) -> Option<StatementId> {
        self.unnamed
    }

    /// Notes what the unnamed statement is now.
    pub fn set_unnamed(&mut self, statement: Option<StatementId>) {
        self.unnamed = statement;
    }

    /// Forgets everything, as DISCARD ALL and DEALLOCATE ALL do.
    pub fn clear(&mut self) {
        self.named.clear();
        self.unnamed = None;
    }

    /// How many named statements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Whether there is no named statement.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interner, SessionStates};

    fn statements() -> [std::rc::Rc<Statement>; 3] {
        let (interner, states) = (Interner::new(1 << 20), SessionStates::default());
        ["a", "b", "c"].map(|text| {
            let classify = |text: &[u8]| sql::classify(text, &sql::NoFunctions);
            interner.intern(text.as_bytes(), &[0, 0], &states.empty(), 1, classify)
        })
    }

    #[test]
    fn the_statement_used_longest_ago_is_evicted_first() {
        let [a, b, c] = statements();
        let mut prepared = Prepared::default();
        for statement in [&a, &b, &c] {
            prepared.insert(statement, Under::Own);
        }
        assert!(prepared.contains(&a, Under::Own));
        let evicted = prepared.evict(2, |_| true).unwrap();
        assert_eq!(evicted.server_name(), b.server_name());
        assert!(prepared.evict(2, |_| true).is_none());
        assert!(!prepared.contains(&b, Under::Own));
        prepared.restore(evicted);
        assert!(prepared.contains(&b, Under::Own));
        assert_eq!(prepared.evict(2, |id| id != c.id()).unwrap().id(), a.id());
    }

    #[test]
    fn what_was_prepared_under_other_settings_is_of_use_under_them_alone() {
        let [a, b, _] = statements();
        let mut prepared = Prepared::default();
        prepared.insert(&a, Under::Other(1));
        prepared.insert(&b, Under::Own);
        assert!(prepared.contains(&a, Under::Other(1)));
        assert!(!prepared.contains(&a, Under::Other(2)) && !prepared.contains(&a, Under::Own));
        // as in PostgreSQL, where a later SET leaves a statement what it was
        assert!(prepared.contains(&b, Under::Other(1)));
        let displaced = prepared.displace(a.id()).unwrap();
        assert!(!prepared.contains(&a, Under::Other(1)));
        prepared.restore(displaced);
        assert!(prepared.contains(&a, Under::Other(1)));
    }
}

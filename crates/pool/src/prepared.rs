use std::collections::HashMap;

use crate::{Statement, StatementId};

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
    server_name: Box<[u8]>,
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
        &self.server_name
    }
}

#[derive(Debug)]
struct Entry {
    last_use: u64,
    server_name: Box<[u8]>,
}

impl Prepared {
    /// Whether `statement` is there under its server name; counts as a use.
    pub fn contains(&mut self, statement: &Statement) -> bool {
        self.uses += 1;
        match self.named.get_mut(&statement.id()) {
            Some(entry) => {
                entry.last_use = self.uses;
                true
            }
            None => false,
        }
    }

    /// Notes that `statement` was prepared under its server name.
    pub fn insert(&mut self, statement: &Statement) {
        self.uses += 1;
        let entry = Entry { last_use: self.uses, server_name: statement.server_name().into() };
        self.named.insert(statement.id(), entry);
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
        self.named.remove(&id).map(|entry| Evicted { id, server_name: entry.server_name })
    }

    /// Notes that the server kept a statement that it was to close: it is the first to be closed next time.
    pub fn restore(&mut self, evicted: Evicted) {
        self.named.insert(evicted.id, Entry { last_use: 0, server_name: evicted.server_name });
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
    use crate::Interner;

    #[test]
    fn the_statement_used_longest_ago_is_evicted_first() {
        let interner = Interner::new(1 << 20);
        let [a, b, c] = ["a", "b", "c"].map(|t| {
            interner.intern(t.as_bytes(), &[0, 0], 1, |text| sql::classify(text, &sql::NoFunctions))
        });
        let mut prepared = Prepared::default();
        for statement in [&a, &b, &c] {
            prepared.insert(statement);
        }
        assert!(prepared.contains(&a));
        let evicted = prepared.evict(2, |_| true).unwrap();
        assert_eq!(evicted.server_name(), b.server_name());
        assert!(prepared.evict(2, |_| true).is_none());
        assert!(!prepared.contains(&b));
        prepared.restore(evicted);
        assert!(prepared.contains(&b));
        assert_eq!(prepared.evict(2, |id| id != c.id()).unwrap().id(), a.id());
    }
}

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
};

/// Databases that take no new clients until somebody says otherwise; only logins look here.
#[derive(Debug, Default)]
pub struct Disabled(RwLock<BTreeSet<Box<str>>>);

impl Disabled {
    /// Takes no more clients for the database that clients call `name`.
    pub fn disable(&self, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name.into());
    }

    /// Takes clients for it again.
    pub fn enable(&self, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether it takes no new clients.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasher, Hash},
    rc::{Rc, Weak},
};

/// Values that are kept once however many use them, and dropped with their last user, so that equality is a
/// comparison of pointers.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    hasher: foldhash::fast::RandomState,
    by_hash: RefCell<HashMap<u64, Vec<Weak<T>>, foldhash::fast::RandomState>>,
    kept: Cell<usize>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { hasher: Default::default(), by_hash: RefCell::default(), kept: Cell::new(0) }
    }
}

/// Entries whose value is gone are swept when this many were added since the last sweep.
const SWEEP_AFTER: usize = 256;

impl<T> Shared<T> {
    /// The kept value with this key, or the one that `make` makes.
    pub(crate) fn intern<K: Hash>(
        &self,
        key: K,
        is_same: impl Fn(&T, &K) -> bool,
        make: impl FnOnce(K) -> T,
    ) -> Rc<T> {
        let hash = self.hasher.hash_one(&key);
        let mut by_hash = self.by_hash.borrow_mut();
        let same = by_hash.entry(hash).or_default();
        if let Some(found) = same.iter().filter_map(Weak::upgrade).find(|kept| is_same(kept, &key)) {
            return found;
        }
        let value = Rc::new(make(key));
        same.push(Rc::downgrade(&value));
        self.kept.set(self.kept.get() + 1);
        if self.kept.get() >= SWEEP_AFTER.max(2 * by_hash.len()) {
            self.kept.set(0);
            by_hash.retain(|_, same| {
                same.retain(|weak| weak.strong_count() > 0);
                !same.is_empty()
            });
        }
        value
    }
}

//! The bookkeeping of a [`super::Quota`]: who has how many places, who waits for one, and which pool's idle connection
//! makes room. Values in and out; no clock, no lock.

mod shortage;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use slab::Slab;
use tokio::time::Instant;

use super::{Bounds, Order, Reached, Scope, Usage};

/// What each connection counts towards, in the order of [`Bounds`]; the last only while it is being made.
pub(super) const SCOPES: usize = 6;
/// Where the bound over everything is: whatever makes room elsewhere makes room there too.
const TOTAL: usize = 0;
/// Where the bound on logins is: closing a connection makes no room there.
const LOGINS: usize = 5;

/// How long a node is left alone after a dial that did not reach it; twice as long after each further one.
const REST_MIN: Duration = Duration::from_millis(50);
/// At most so long.
const REST_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Bound {
    scope: Scope,
    cap: Option<u32>,
    used: u32,
    /// Accounts that count towards it.
    accounts: u32,
    /// Of logins: how often in a row the node was not reached.
    failures: u32,
    /// Of logins: there are none before this instant.
    rests_until: Option<Instant>,
}

/// The account of a pool.
#[derive(Debug)]
struct Entry {
    worker: usize,
    /// Keys into the bounds.
    bounds: [usize; SCOPES],
    /// Places taken or granted.
    used: u32,
    /// Places granted and not yet taken.
    granted: u32,
    /// Connections that are to be closed for somebody else, and have not been yet.
    closing: u32,
    /// Those of `closing` that the pool has not been told of.
    orders: u32,
    /// Since when the client has waited that a place is asked for.
    wants: Option<Instant>,
    /// Since when the connection that is idle for longest has been so, as its worker told last.
    idle_since: Option<Instant>,
    /// Its pool exists.
    open: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Book {
    bounds: Slab<Bound>,
    keys: HashMap<Scope, usize>,
    accounts: Slab<Entry>,
    workers: usize,
    /// Workers that told of their idle connections since the shortage changed.
    answered: HashSet<usize>,
    asked_at: Option<Instant>,
    /// The oldest request, and in which of its scopes it found no room since it became that: what becomes free there
    /// is kept for it, so that two bounds which others keep full in turn do not make it wait for ever.
    head: Option<(usize, [bool; SCOPES])>,
    unmet: usize,
    news: bool,
}

impl Book {
    pub(super) fn enroll(&mut self) {
        self.workers += 1;
    }

    pub(super) fn open(&mut self, worker: usize, bounds: Bounds) -> usize {
        let bounds = bounds.0.map(|(scope, cap)| self.hold(scope, cap));
        self.accounts.insert(Entry {
            worker,
            bounds,
            used: 0,
            granted: 0,
            closing: 0,
            orders: 0,
            wants: None,
            idle_since: None,
            open: true,
        })
    }

    fn hold(&mut self, scope: Scope, cap: Option<u32>) -> usize {
        let key = *self.keys.entry(scope.clone()).or_insert_with(|| {
            self.bounds.insert(Bound { scope, cap, used: 0, accounts: 0, failures: 0, rests_until: None })
        });
        if let Some(bound) = self.bounds.get_mut(key) {
            bound.cap = cap;
            bound.accounts += 1;
        }
        key
    }

    /// The bounds of an account's scopes are others now.
    pub(super) fn rebound(&mut self, account: usize, bounds: Bounds) {
        let Some(keys) = self.accounts.get(account).map(|entry| entry.bounds) else { return };
        for (key, (scope, cap)) in keys.into_iter().zip(bounds.0) {
            if let Some(bound) = self.bounds.get_mut(key).filter(|bound| bound.scope == scope) {
                bound.cap = cap;
            }
        }
    }

    /// It takes no more places; those that it has count until they are given back.
    pub(super) fn close(&mut self, account: usize) {
        if let Some(entry) = self.accounts.get_mut(account) {
            (entry.open, entry.wants, entry.idle_since) = (false, None, None);
        }
        self.give_back_granted(account);
    }

    /// Forgets an account that has no place any more, and bounds with their last account.
    pub(super) fn forget(&mut self, account: usize) {
        self.close(account);
        for key in self.accounts.remove(account).bounds {
            let Some(bound) = self.bounds.get_mut(key) else { continue };
            bound.accounts -= 1;
            if bound.accounts == 0 {
                let bound = self.bounds.remove(key);
                self.keys.remove(&bound.scope);
            }
        }
    }

    /// A place at once, if one was granted or there is room.
    pub(super) fn take(&mut self, account: usize, now: Instant) -> bool {
        let Some(entry) = self.accounts.get_mut(account).filter(|entry| entry.open) else { return false };
        if entry.granted > 0 {
            entry.granted -= 1;
            return true;
        }
        let fits = self.fits(account, now);
        if fits {
            self.count(account);
        }
        fits
    }

    /// Asks for a place for a client that has waited since then; `None`: none is needed any more.
    pub(super) fn want(&mut self, account: usize, since: Option<Instant>) {
        if let Some(entry) = self.accounts.get_mut(account).filter(|entry| entry.open) {
            entry.wants = since;
        }
    }

    pub(super) fn give_back_granted(&mut self, account: usize) {
        let granted = self.accounts.get_mut(account).map_or(0, |entry| std::mem::take(&mut entry.granted));
        for _ in 0..granted {
            self.release(account);
            self.end_login(account);
        }
    }

    /// A login is over, whatever became of it.
    pub(super) fn end_login(&mut self, account: usize) {
        let Some(entry) = self.accounts.get_mut(account) else { return };
        if let Some(bound) = self.bounds.get_mut(entry.bounds[LOGINS]) {
            bound.used -= 1;
        }
    }

    /// Whether a node was reached. After a failure nobody dials it for a moment, which grows with each further one;
    /// `fraction`, from 0 to 1, spreads what happened together over half of that.
    pub(super) fn login_ended(&mut self, account: usize, reached: Reached, fraction: f64, now: Instant) {
        let key = self.accounts.get(account).map(|entry| entry.bounds[LOGINS]);
        let Some(bound) = key.and_then(|key| self.bounds.get_mut(key)) else { return };
        match reached {
            Reached::Yes => (bound.failures, bound.rests_until) = (0, None),
            // those that were on their way together fail together, and count once
            Reached::No if bound.rests_until.is_none_or(|until| until <= now) => {
                let rest = (REST_MIN * 2_u32.pow(bound.failures.min(10))).min(REST_MAX);
                bound.failures += 1;
                bound.rests_until = Some(now + rest.mul_f64(1.0 - fraction.clamp(0.0, 1.0) / 2.0));
            }
            Reached::No => {}
        }
    }

    fn rests_until(&self, account: usize) -> Option<Instant> {
        self.bounds.get(self.accounts.get(account)?.bounds[LOGINS])?.rests_until
    }

    fn count(&mut self, account: usize) {
        let Some(entry) = self.accounts.get_mut(account) else { return };
        entry.used += 1;
        for key in entry.bounds {
            if let Some(bound) = self.bounds.get_mut(key) {
                bound.used += 1;
            }
        }
    }

    /// A connection is gone.
    pub(super) fn release(&mut self, account: usize) {
        let Some(entry) = self.accounts.get_mut(account) else { return };
        entry.used -= 1;
        entry.closing = entry.closing.saturating_sub(1);
        for key in &entry.bounds[..LOGINS] {
            if let Some(bound) = self.bounds.get_mut(*key) {
                bound.used -= 1;
            }
        }
    }

    /// Which of an account's scopes have no room, if these many places more were free in each bound.
    fn full(&self, account: usize, spare: &HashMap<usize, i64>) -> [bool; SCOPES] {
        let Some(entry) = self.accounts.get(account) else { return [true; SCOPES] };
        entry.bounds.map(|key| {
            let Some(Bound { cap: Some(cap), used, .. }) = self.bounds.get(key) else { return false };
            i64::from(*used) - spare.get(&key).unwrap_or(&0) >= i64::from(*cap)
        })
    }

    /// Whether there is room for one more connection of this account.
    fn fits(&self, account: usize, now: Instant) -> bool {
        if self.rests_until(account).is_some_and(|until| until > now) {
            return false;
        }
        let mut kept = HashMap::new();
        if let Some((head, scopes)) = self.head.filter(|(head, _)| *head != account)
            && let Some(entry) = self.accounts.get(head)
        {
            for (key, _) in entry.bounds.into_iter().zip(scopes).filter(|(_, kept)| *kept) {
                kept.insert(key, -1);
            }
        }
        !self.full(account, &kept).contains(&true)
    }

    /// Accounts that ask for a place, those whose client has waited longest first.
    fn waiting(&self) -> Vec<(Instant, usize)> {
        let mut waiting: Vec<_> =
            self.accounts.iter().filter_map(|(id, entry)| Some((entry.wants?, id))).collect();
        waiting.sort_unstable();
        waiting
    }

    /// Grants what there is room for and notes what is news.
    pub(super) fn settle(&mut self, now: Instant) {
        let mut waiting = self.waiting();
        waiting.retain(|(_, id)| {
            let fits = self.fits(*id, now);
            if fits {
                self.head = self.head.filter(|(head, _)| head != id); // nothing needs to be kept for it
                self.count(*id);
                if let Some(entry) = self.accounts.get_mut(*id) {
                    (entry.wants, entry.granted) = (None, entry.granted + 1);
                }
                self.news = true;
            }
            !fits
        });
        self.head = waiting.first().map(|(_, id)| {
            let mut found = self.full(*id, &HashMap::new());
            (found[TOTAL], found[LOGINS]) = (false, false);
            let before = self.head.filter(|(head, _)| head == id).map(|(_, scopes)| scopes);
            for (now, before) in found.iter_mut().zip(before.unwrap_or_default()) {
                *now |= before;
            }
            (*id, found)
        });
        let unmet = if waiting.is_empty() { 0 } else { self.unmet(&waiting).len() };
        if unmet > self.unmet || (unmet == 0) != (self.unmet == 0) {
            (self.news, self.asked_at) = (true, Some(now));
            self.answered.clear();
        }
        self.unmet = unmet;
    }

    /// Whether there is something to tell the workers since the last call.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// The bounds that have a cap, and how far each is used.
    pub(super) fn usage(&self) -> Vec<Usage> {
        let bounds = self.bounds.iter().map(|(_, bound)| bound);
        bounds
            .filter_map(|bound| Some(Usage { scope: bound.scope.clone(), used: bound.used, cap: bound.cap? }))
            .collect()
    }

    /// The first bound that keeps this account from one more connection.
    pub(super) fn obstacle(&self, account: usize) -> Option<Usage> {
        let full = self.full(account, &HashMap::new());
        let entry = self.accounts.get(account)?;
        let (key, _) = entry.bounds.into_iter().zip(full).take(LOGINS).find(|(_, full)| *full)?;
        let bound = self.bounds.get(key)?;
        Some(Usage { scope: bound.scope.clone(), used: bound.used, cap: bound.cap? })
    }
}

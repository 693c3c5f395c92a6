//! The bookkeeping of a [`super::Quota`]: who has how many places, who waits for one, and which pool's idle connection
//! makes room. Values in and out; no clock, no lock.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use slab::Slab;
use tokio::time::Instant;

use super::{Bounds, Order, Scope, Usage};

/// What each connection counts towards, in the order of [`Bounds`]; the last only while it is being made.
pub(super) const SCOPES: usize = 6;
/// Where the bound over everything is: whatever makes room elsewhere makes room there too.
const TOTAL: usize = 0;
/// Where the bound on logins is: closing a connection makes no room there.
const LOGINS: usize = 5;

/// Requests that are served by closing idle connections at a time; the next look serves the next ones.
const EVICTIONS_AT_A_TIME: usize = 16;

/// A worker that has not told of its idle connections for so long is not waited for.
const OFFERS_WITHIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Bound {
    scope: Scope,
    cap: Option<u32>,
    used: u32,
    /// Accounts that count towards it.
    accounts: u32,
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

/// A request that nothing under way will satisfy.
#[derive(Debug)]
struct Unmet {
    account: usize,
    since: Instant,
    full: [bool; SCOPES],
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
        let key = *self
            .keys
            .entry(scope.clone())
            .or_insert_with(|| self.bounds.insert(Bound { scope, cap, used: 0, accounts: 0 }));
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
    pub(super) fn take(&mut self, account: usize) -> bool {
        let Some(entry) = self.accounts.get_mut(account).filter(|entry| entry.open) else { return false };
        if entry.granted > 0 {
            entry.granted -= 1;
            return true;
        }
        let fits = self.fits(account);
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
    fn fits(&self, account: usize) -> bool {
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
            let fits = self.fits(*id);
            if fits {
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

    /// Whether somebody waits for a place that nothing under way will bring.
    pub(super) fn is_short(&self) -> bool {
        self.unmet > 0
    }

    fn unmet(&self, waiting: &[(Instant, usize)]) -> Vec<Unmet> {
        let mut spare = HashMap::<usize, i64>::new();
        for (_, entry) in self.accounts.iter().filter(|(_, entry)| entry.closing > 0) {
            for key in &entry.bounds[..LOGINS] {
                *spare.entry(*key).or_default() += i64::from(entry.closing);
            }
        }
        let mut unmet = Vec::new();
        for (since, account) in waiting.iter().copied() {
            let full = self.full(account, &spare);
            if full[..LOGINS].contains(&true) {
                unmet.push(Unmet { account, since, full });
            } else if let Some(entry) = self.accounts.get(account) {
                entry.bounds.iter().for_each(|key| *spare.entry(*key).or_default() -= 1);
            }
        }
        unmet
    }

    /// A worker's idle connections: since when each account's has been idle that has been so for longest. When all
    /// workers have told, those that were idle for longest are to be closed.
    pub(super) fn offer(&mut self, worker: usize, idle: &[(usize, Instant)], now: Instant) {
        for (_, entry) in self.accounts.iter_mut().filter(|(_, entry)| entry.worker == worker) {
            entry.idle_since = None;
        }
        for (account, since) in idle {
            if let Some(entry) = self.accounts.get_mut(*account) {
                entry.idle_since = Some(*since);
            }
        }
        self.answered.insert(worker);
        let late = self.asked_at.is_none_or(|asked| now.duration_since(asked) >= OFFERS_WITHIN);
        if self.answered.len() >= self.workers || late {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let waiting = self.waiting();
        for _ in 0..EVICTIONS_AT_A_TIME {
            let unmet = self.unmet(&waiting);
            let Some(victims) = unmet.iter().find_map(|unmet| self.victims(unmet)) else { return };
            for victim in victims {
                if let Some(entry) = self.accounts.get_mut(victim) {
                    entry.closing += 1;
                    entry.orders += 1;
                    entry.idle_since = None; // there may be more; the next offer tells
                }
            }
            self.news = true;
        }
    }

    /// The accounts whose idle connections make room for a request, in each full scope the one that was idle for
    /// longest; `None` if that would not do.
    fn victims(&self, unmet: &Unmet) -> Option<Vec<usize>> {
        let wanted = self.accounts.get(unmet.account)?.bounds;
        let mut victims: Vec<usize> = Vec::new();
        for scope in (0..LOGINS).filter(|scope| unmet.full[*scope]) {
            let shares = |entry: &Entry| entry.bounds[scope] == wanted[scope];
            if victims.iter().any(|victim| self.accounts.get(*victim).is_some_and(shares)) {
                continue;
            }
            let idle = self.accounts.iter().filter(|(id, entry)| *id != unmet.account && shares(entry));
            let idle = idle.filter_map(|(id, entry)| Some((entry.idle_since?, id)));
            victims.push(idle.min()?.1);
        }
        Some(victims)
    }

    /// Whether a connection that comes back to this account is to be closed for a client that has waited longer,
    /// elsewhere, than the first of its own pool.
    pub(super) fn yields(&mut self, account: usize, own: Option<Instant>) -> bool {
        let waiting = self.waiting();
        let Some(bounds) = self.accounts.get(account).map(|entry| entry.bounds) else { return false };
        let unmet = self.unmet(&waiting);
        let older = unmet.iter().take_while(|unmet| own.is_none_or(|own| unmet.since < own));
        let yields = older.filter(|unmet| unmet.account != account).any(|unmet| {
            let Some(entry) = self.accounts.get(unmet.account) else { return false };
            let helps = |scope: usize| unmet.full[scope] && entry.bounds[scope] == bounds[scope];
            let is_head = self.head.is_some_and(|(head, _)| head == unmet.account);
            let is_enough = (0..LOGINS).all(|scope| !unmet.full[scope] || helps(scope));
            // a part is enough for the first in line: it is kept for it until the rest is free too
            is_enough || is_head && (TOTAL + 1..LOGINS).any(helps)
        });
        if yields && let Some(entry) = self.accounts.get_mut(account) {
            entry.closing += 1;
        }
        yields
    }

    /// What a worker's pools have to do.
    pub(super) fn take_orders(&mut self, worker: usize) -> Vec<(usize, Order)> {
        let own = self.accounts.iter_mut().filter(|(_, entry)| entry.worker == worker);
        own.filter(|(_, entry)| entry.orders > 0 || entry.granted > 0)
            .map(|(id, entry)| {
                (id, Order { close: std::mem::take(&mut entry.orders), granted: entry.granted })
            })
            .collect()
    }

    /// So many connections that were to be closed are in use again, or gone.
    pub(super) fn not_closed(&mut self, account: usize, count: u32) {
        if let Some(entry) = self.accounts.get_mut(account) {
            entry.closing = entry.closing.saturating_sub(count);
        }
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

//! Who waits for a place that only the end of a connection brings, and whose connection that is.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{Book, Entry, LOGINS, Order, SCOPES, TOTAL};

/// Requests that are served by closing idle connections at a time; the next look serves the next ones.
const EVICTIONS_AT_A_TIME: usize = 16;

/// A worker that has not told of its idle connections for so long is not waited for.
const OFFERS_WITHIN: Duration = Duration::from_millis(100);

/// A request that nothing under way will satisfy.
#[derive(Debug)]
pub(super) struct Unmet {
    account: usize,
    since: Instant,
    full: [bool; SCOPES],
}

impl Book {
    /// Whether somebody waits for a place that nothing under way will bring.
    pub(in crate::quota) fn is_short(&self) -> bool {
        self.unmet > 0
    }

    pub(super) fn unmet(&self, waiting: &[(Instant, usize)]) -> Vec<Unmet> {
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
    pub(in crate::quota) fn offer(&mut self, worker: usize, idle: &[(usize, Instant)], now: Instant) {
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
            // its own as well: they are of no use to one whose connection is never pooled
            let idle = self.accounts.iter().filter(|(_, entry)| shares(entry));
            let idle = idle.filter_map(|(id, entry)| Some((entry.idle_since?, id)));
            victims.push(idle.min()?.1);
        }
        Some(victims)
    }

    /// Whether a connection that comes back to this account is to be closed for somebody who has waited longer than the
    /// first client of its own pool: elsewhere, or here for a connection that is never pooled.
    pub(in crate::quota) fn yields(&mut self, account: usize, own: Option<Instant>) -> bool {
        let waiting = self.waiting();
        let Some(bounds) = self.accounts.get(account).map(|entry| entry.bounds) else { return false };
        let unmet = self.unmet(&waiting);
        let older = unmet.iter().take_while(|unmet| own.is_none_or(|own| unmet.since < own));
        let yields = older.into_iter().any(|unmet| {
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
    pub(in crate::quota) fn take_orders(&mut self, worker: usize) -> Vec<(usize, Order)> {
        let own = self.accounts.iter_mut().filter(|(_, entry)| entry.worker == worker);
        own.filter(|(_, entry)| entry.orders > 0 || entry.granted > 0)
            .map(|(id, entry)| {
                (id, Order { close: std::mem::take(&mut entry.orders), granted: entry.granted })
            })
            .collect()
    }

    /// So many connections that were to be closed are in use again, or gone.
    pub(in crate::quota) fn not_closed(&mut self, account: usize, count: u32) {
        if let Some(entry) = self.accounts.get_mut(account) {
            entry.closing = entry.closing.saturating_sub(count);
        }
    }
}

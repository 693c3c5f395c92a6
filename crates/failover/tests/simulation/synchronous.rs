//! Worlds in which the primary waits for standbys before it acknowledges anything.
//!
//! A change of the set that it waits for takes effect there once pgherd has heard of it, or while no pgherd runs: what
//! changes between the last answer of a primary and its end nobody can know.

use topology::{Epoch, Fenced, Receiver, Replication, SyncMethod, SyncNames, SyncState};
use wire::Lsn;

use crate::{dice::Dice, truth::Truth, world::World};

/// A setting for a world of so many servers, the first of which is the primary.
pub(crate) fn setting(count: usize, dice: &mut Dice) -> String {
    let names: Vec<String> = (1..count).map(|index| format!("n{index}")).collect();
    let how_many = 1 + dice.below(names.len().min(2));
    match dice.below(4) {
        0 => format!("FIRST {how_many} ({})", names.join(", ")),
        1 => format!("ANY {how_many} (*)"),
        _ => format!("ANY {how_many} ({})", names.join(", ")),
    }
}

impl Truth {
    /// What is in force on a server.
    fn names(&self, index: usize) -> Option<SyncNames> {
        let server = &self.servers[index];
        if server.is_fenced {
            return Some(SyncNames::fence(Epoch(server.tag), Fenced::Here(&server.sync_names)));
        }
        SyncNames::parse(&server.sync_names).expect("as written here or by the manager")
    }

    fn receives(&self, standby: usize, from: usize, now: u64) -> bool {
        let is_connected = self.servers[standby].receiver.is_some_and(|receiver| {
            receiver.upstream == from && receiver.incarnation == self.servers[from].incarnation
        });
        is_connected && self.servers[standby].is_running() && self.are_linked(standby, from, now)
    }

    /// Who receives from a server, and how it treats them.
    fn receivers(&self, index: usize, now: u64) -> Vec<(usize, SyncState)> {
        let names = self.names(index);
        let place = |standby: usize, names: &SyncNames| {
            names.names.iter().position(|name| name == "*" || *name == format!("n{standby}"))
        };
        let mut all: Vec<usize> =
            (0..self.servers.len()).filter(|standby| self.receives(*standby, index, now)).collect();
        if let Some(names) = &names {
            all.sort_by_key(|standby| place(*standby, names).unwrap_or(usize::MAX));
        }
        let state = |(at, standby): (usize, &usize)| match &names {
            Some(names) if place(*standby, names).is_some() => match names.method {
                SyncMethod::Any => SyncState::Quorum,
                SyncMethod::First if at < names.count => SyncState::Sync,
                SyncMethod::First => SyncState::Potential,
            },
            Some(_) | None => SyncState::Async,
        };
        all.iter().enumerate().map(|(at, standby)| (*standby, state((at, standby)))).collect()
    }

    /// What a server says of its part in replication.
    pub(crate) fn replication(&self, index: usize, now: u64) -> Replication {
        let server = &self.servers[index];
        let receiver = |(standby, state): (usize, SyncState)| Receiver {
            name: format!("n{standby}").into(),
            address: None,
            state,
            flushed: Lsn(self.servers[standby].lsn),
        };
        let sync_names = self.names(index).map_or_else(String::new, |names| names.to_string());
        let receivers = self.receivers(index, now).into_iter().filter(|_| server.is_primary).map(receiver);
        Replication {
            name: Some(format!("n{index}").into()),
            receivers: receivers.collect(),
            sync_names: Some(sync_names.into()),
        }
    }

    /// From now on a server waits for those who were synchronous when it said so.
    pub(crate) fn wait_for(&mut self, index: usize, said: &Replication) {
        let synchronous = said.receivers.iter().filter(|one| one.state.is_synchronous());
        self.servers[index].waits_for =
            synchronous.map(|one| one.name[1..].parse().expect("n and a number")).collect();
    }

    /// Whether a commit that ends at `lsn` is acknowledged by its server.
    pub(crate) fn lets_commit(&self, index: usize, lsn: u64, now: u64) -> bool {
        let server = &self.servers[index];
        let count = self.names(index).map_or(0, |names| names.count);
        let has_it = |standby: &&usize| {
            self.receives(**standby, index, now) && self.has(**standby, (server.branch, lsn))
        };
        !server.is_fenced && server.waits_for.iter().filter(has_it).count() >= count
    }
}

impl World {
    /// What a new primary is to be set to, as the order to promote it says.
    pub(crate) fn value_for_promotion(&self, node: topology::NodeId) -> Option<String> {
        let synchrony = self.herd.as_ref()?.published.synchrony.clone()?;
        Some(synchrony.value_for(node)?.to_string())
    }

    /// pgherd has an answer of a server. Whom one waits for that another is promoted in place of, nobody goes by any more.
    pub(crate) fn heard_of_synchronous(&mut self, node: topology::NodeId, server: usize, said: &Replication) {
        let known = self.herd.as_ref().and_then(|herd| herd.published.synchrony.as_ref());
        if known.is_some_and(|known| known.primary == Some(node)) && !self.watch.is_being_replaced(server) {
            self.truth.wait_for(server, said);
        }
    }

    /// No acknowledged commit is lost where the primary waited for standbys, unless somebody had it so.
    pub(crate) fn keeps_what_was_acknowledged(&mut self, server: usize) {
        if !self.is_synchronous || self.watch.was_forced() {
            return;
        }
        for (index, branch) in self.truth.branches.iter().enumerate() {
            let acked = branch.acked_by_any;
            assert!(
                acked == 0 || self.truth.has(server, (index, acked)),
                "n{server} is promoted without commits of branch {index} up to {acked} that were acknowledged: {:?}",
                self.herd.as_ref().map(|herd| herd.published.synchrony.clone())
            );
        }
        self.tally.count("promoted with all that standbys had confirmed");
    }
}

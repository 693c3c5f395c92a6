//! What the supervisor does of a cluster that Patroni manages.

use std::sync::Arc;

use failover::Command;
use tokio::time::Instant;
use topology::{Epoch, Mandate};

use super::{Following, Heard, Reply};
use crate::supervisor::Supervisor;

impl Supervisor {
    /// An operator asks for something: the manager's business, or Patroni's.
    pub(crate) fn order(&mut self, command: Command, reply: Reply, now: std::time::Instant) {
        match (&mut self.managed, &mut self.following) {
            (Some(managed), _) => managed.command(command, reply, now),
            (None, Some(following)) => {
                let planned = self.settings.planned.clone();
                following.carry_out(command, reply, &self.name, planned, &self.shared);
            }
            (None, None) => drop(reply), // which says so
        }
    }

    /// Patroni said something, or did.
    pub(crate) fn heed(&mut self, heard: Heard) {
        let (now, Some(following)) = (Instant::now().into_std(), &mut self.following) else { return };
        match heard {
            Heard::Sighting(sighting) => {
                following.take_in(&self.name, &sighting, &mut self.cluster, now);
                self.shared.patroni.store(Some(Arc::new(following.report().clone())));
            }
            Heard::Mandate(mandate) => self.cluster.set_mandate(mandate, Epoch(0), now),
            Heard::Ended(ended) => {
                self.cluster.set_mandate(Mandate::Open, Epoch(0), now);
                // Who asked may have gone.
                ended.map(|(reply, result)| reply.send(result));
            }
        }
    }

    /// Goes on with what a reload says of Patroni.
    pub(crate) fn follow(&mut self, following: Option<Following>) {
        self.shared.control.store(following.as_ref().map(|following| Arc::new(following.control.clone())));
        let previous = std::mem::replace(&mut self.following, following);
        match (&mut self.following, previous) {
            (Some(following), Some(previous)) => following.go_on(previous),
            (Some(_), None) | (None, None) => {}
            (None, Some(_)) => {
                let now = Instant::now().into_std();
                self.cluster.forget_hints(now);
                self.cluster.set_mandate(Mandate::Open, Epoch(0), now);
                self.shared.patroni.store(None);
            }
        }
    }
}

/// Waits for Patroni to say something; for ever if it is not asked.
pub(crate) async fn heard(following: &mut Option<Following>) -> Option<Heard> {
    match following {
        Some(following) => following.next().await,
        None => std::future::pending().await,
    }
}

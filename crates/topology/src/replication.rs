//! Who receives WAL from whom, and for whom commits wait.

use std::net::IpAddr;

use wire::Lsn;

/// How the primary treats a standby that receives from it: `sync_state` of `pg_stat_replication`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncState {
    /// No commit waits for it.
    Async,
    /// None waits for it now, but it takes the place of a synchronous one that fails.
    Potential,
    /// Commits wait for it.
    Sync,
    /// Commits wait for some of those that are so.
    Quorum,
}

impl SyncState {
    /// The word in the console, and in `pg_stat_replication`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Potential => "potential",
            Self::Sync => "sync",
            Self::Quorum => "quorum",
        }
    }

    /// Reads the word; `None` if it is none of them.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Async, Self::Potential, Self::Sync, Self::Quorum]
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Whether commits may wait for the standby.
    #[must_use]
    pub fn is_synchronous(self) -> bool {
        matches!(self, Self::Sync | Self::Quorum)
    }
}

/// One that receives WAL from a node, as a row of `pg_stat_replication` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its `application_name`, by which `synchronous_standby_names` knows it.
    pub name: Box<str>,
    /// From where it is connected; `None`: by a Unix-domain socket.
    pub address: Option<IpAddr>,
    /// How it is treated.
    pub state: SyncState,
    /// The end of the WAL that it has on its disk, as it said.
    pub flushed: Lsn,
}

/// What a node says of its part in replication.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replication {
    /// The `application_name` of its own WAL receiver, or the one that it would have; `None`: not known.
    pub name: Option<Box<str>>,
    /// Its own `synchronous_standby_names`; `None`: not read.
    pub sync_names: Option<Box<str>>,
    /// Who receives from it.
    pub receivers: Vec<Receiver>,
}

impl Replication {
    /// Goes on from what was known. The name stays when the WAL receiver ends: it is what the primary last knew it by.
    pub(crate) fn update(&mut self, said: Self) {
        self.receivers = said.receivers;
        self.sync_names = said.sync_names;
        if said.name.is_some() {
            self.name = said.name;
        }
    }

    /// How this node treats the standby at `host` that said `standby` of itself; `None`: it does not receive from here, or
    /// several have that name, and their addresses do not tell them apart either.
    pub(crate) fn state_of(&self, host: &str, standby: &Self) -> Option<SyncState> {
        let name = standby.name.as_deref()?;
        let address = host.parse::<IpAddr>().ok();
        let named = || self.receivers.iter().filter(|receiver| *receiver.name == *name);
        let there = named().filter(|receiver| address.is_some() && receiver.address == address);
        agreed(named()).or_else(|| agreed(there))
    }
}

/// The state that all of them have.
fn agreed<'a>(mut receivers: impl Iterator<Item = &'a Receiver>) -> Option<SyncState> {
    let state = receivers.next()?.state;
    receivers.all(|receiver| receiver.state == state).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(name: &str) -> Replication {
        Replication { name: Some(name.into()), ..Replication::default() }
    }

    #[track_caller]
    fn check(receivers: &[(&str, &str, SyncState)], host: &str, name: &str, expected: Option<SyncState>) {
        let receivers = receivers.iter().map(|(name, address, state)| Receiver {
            name: (*name).into(),
            address: address.parse().ok(),
            state: *state,
            flushed: Lsn(0),
        });
        let primary = Replication { receivers: receivers.collect(), ..Replication::default() };
        assert_eq!(primary.state_of(host, &called(name)), expected, "{name} at {host}");
    }

    #[test]
    fn a_standby_is_known_by_its_name_and_else_by_its_address() {
        use SyncState::{Async, Potential, Sync};
        let named = [("us", "10.0.0.2", Sync), ("ap", "10.0.0.3", Async)];
        check(&named, "us.example", "us", Some(Sync));
        check(&named, "10.9.9.9", "ap", Some(Async));
        check(&named, "10.0.0.3", "eu", None);
        let nameless = [("walreceiver", "10.0.0.2", Sync), ("walreceiver", "10.0.0.3", Potential)];
        check(&nameless, "10.0.0.3", "walreceiver", Some(Potential));
        check(&nameless, "us.example", "walreceiver", None);
        let alike = [("walreceiver", "127.0.0.1", Async), ("walreceiver", "127.0.0.1", Async)];
        check(&alike, "127.0.0.1", "walreceiver", Some(Async));
        let unlike = [("walreceiver", "127.0.0.1", Sync), ("walreceiver", "127.0.0.1", Potential)];
        check(&unlike, "127.0.0.1", "walreceiver", None);
    }

    #[test]
    fn a_name_is_kept_when_the_receiver_ends() {
        let mut known = called("us");
        known.update(Replication::default());
        assert_eq!(known.name.as_deref(), Some("us"));
    }

    #[test]
    fn words_are_those_of_postgresql() {
        for word in ["async", "potential", "sync", "quorum"] {
            assert_eq!(SyncState::of_word(word).map(SyncState::as_str), Some(word));
        }
        assert_eq!(SyncState::of_word("Sync"), None);
    }
}

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use topology::{Epoch, Event, Snapshot};

/// Events that are kept.
const EVENTS_LIMIT: usize = 1000;

/// Something that happened, for people.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// When, by the wall clock.
    pub at: SystemTime,
    /// The epoch after it.
    pub epoch: Epoch,
    /// What.
    pub event: Event,
}

/// Logs an event, an alarm as an error.
pub(crate) fn log(cluster: &str, snapshot: &Snapshot, event: &Event) {
    let (epoch, name) = (snapshot.epoch, event.name());
    if event.is_alarm() {
        tracing::error!(%cluster, %epoch, event = name, "{event}");
    } else {
        tracing::info!(%cluster, %epoch, event = name, "{event}");
    }
}

/// The last events, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<VecDeque<EventRecord>>);

impl Events {
    pub(crate) fn push(&self, epoch: Epoch, event: Event) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= EVENTS_LIMIT {
            events.pop_front();
        }
        events.push_back(EventRecord { at: wall_clock(), epoch, event });
    }

    pub(crate) fn all(&self) -> Vec<EventRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads the wall clock, for display"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_make_room() {
        let events = Events::default();
        let node = topology::Named { id: topology::NodeId(0), name: "a".into() };
        for epoch in 0..1001 {
            events.push(Epoch(epoch), Event::NodeSuspect { node: node.clone() });
        }
        let all = events.all();
        assert_eq!((all.len(), all[0].epoch, all[999].epoch), (1000, Epoch(1), Epoch(1000)));
    }
}

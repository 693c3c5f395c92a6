use std::collections::BTreeMap;

/// How often each thing happened, so that one sees where the schedules have been, and the first seed where it did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) seed: u64,
    pub(crate) counts: BTreeMap<String, (u64, u64)>,
}

impl Tally {
    pub(crate) fn add(&mut self, what: impl Into<String>, count: u64) {
        self.counts.entry(what.into()).or_insert((0, self.seed)).0 += count;
    }

    pub(crate) fn count(&mut self, what: impl Into<String>) {
        self.add(what, 1);
    }

    pub(crate) fn merge(&mut self, other: Tally) {
        for (what, (count, seed)) in other.counts {
            let entry = self.counts.entry(what).or_insert((0, seed));
            *entry = (entry.0 + count, entry.1.min(seed));
        }
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).map_or(0, |(count, _)| *count)
    }
}

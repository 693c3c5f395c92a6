//! One case: clients at work, a fault, and what it cost them.

use std::time::Duration;

use e2e::Herd;

use super::idle::Idle;
use crate::{
    load::{Ledger, Load},
    topology::events,
};

/// What may go wrong at most, apart from times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// No error and no lost row.
    Nothing,
    /// Writes under way are in doubt (08007), and the new primary may lack what the old one had not sent.
    Doubts,
}

/// Longest times without a write and without a read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bars {
    pub(super) write_gap: Duration,
    pub(super) read_gap: Duration,
}

impl Bars {
    pub(super) const fn of_ms(write_gap: u64, read_gap: u64) -> Self {
        Self { write_gap: Duration::from_millis(write_gap), read_gap: Duration::from_millis(read_gap) }
    }
}

/// That an event of this name has not come.
pub(super) fn assert_never(herd: &Herd, event: &str) {
    let events = events(herd);
    assert!(!events.iter().any(|(name, _)| name == event), "{events:?}");
}

/// See the module.
pub(super) struct Case {
    what: &'static str,
    allowed: Allowed,
    bars: Bars,
    pub(super) load: Load,
    idle: Idle,
}

impl Case {
    /// Six writers, two readers and idle clients begin.
    pub(super) fn begin(what: &'static str, allowed: Allowed, bars: Bars, herd: &Herd, idle: usize) -> Self {
        let idle = Idle::start(&herd.app(), idle);
        Self { what, allowed, bars, load: Load::start(herd, 6, 2), idle }
    }

    /// The fault is over, and `primary` the one that is written to: they work on for a while and are asked how it was.
    pub(super) fn end(self, herd: &Herd, primary: usize) -> Ledger {
        self.load.wait_for_writes(200);
        self.load.wait_for_reads(50);
        assert_eq!(herd.cluster().primary().unwrap(), primary, "another one is the primary");
        let ledger = self.load.stop();
        let lost = ledger.count_missing(herd, primary);
        let (idle, disturbed) = (self.idle.count(), self.idle.count_disturbed());
        let gap = |gap: Duration, bar: Duration| {
            let verdict = if gap <= bar { "of" } else { "ABOVE" };
            format!("{:.2} s ({verdict} {:.1})", gap.as_secs_f64(), bar.as_secs_f64())
        };
        println!(
            "| {} | W {} | E writes {:?}, reads {:?} | D {disturbed} of {idle} | L {lost} of {} | X 0 | R {} |",
            self.what,
            gap(ledger.write_gap(), self.bars.write_gap),
            ledger.write_errors,
            ledger.read_errors,
            ledger.acknowledged.len(),
            gap(ledger.read_gap(), self.bars.read_gap),
        );
        assert_eq!(disturbed, 0, "idle clients");
        match self.allowed {
            Allowed::Nothing => {
                ledger.assert_no_errors();
                assert_eq!(lost, 0, "rows");
            }
            Allowed::Doubts => ledger.assert_only_doubts(),
        }
        ledger
    }
}

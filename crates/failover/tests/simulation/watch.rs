//! What must hold whatever happens, and what it needs of the past.

use std::collections::BTreeMap;

use failover::{Answer, Command, Done, Hindrance, Kind, Note, Order, OrderId, Outcome, Phase, Record, Step};
use topology::{NoPrimary, Reads, Snapshot, Writable};

use crate::{
    herd::Disk,
    truth::{Power, Truth},
    world::{SECOND, World},
};

/// A primary that has been as it should for so long is known to be.
const KNOWN_GOOD: u64 = 3 * SECOND;

/// A standby, and the end of its WAL: branch and position.
type Recruited = (usize, (usize, u64));

#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The highest epoch that was published, in any life of pgherd.
    epoch: u64,
    reigns: BTreeMap<u64, usize>,
    recorded: u64,
    /// Whom the last record lets be promoted.
    promoting: Option<usize>,
    /// When each timeline was written to last.
    routed_to: BTreeMap<usize, u64>,
    /// Since when it is certain that a node may be promoted: epoch, address, time.
    intended: Option<(u64, String, u64)>,
    last_routed: BTreeMap<usize, u64>,
    /// How far a standby truly was when it was recruited, by order.
    recruiting: BTreeMap<OrderId, (u64, usize, (usize, u64))>,
    recruited: BTreeMap<u64, Vec<Recruited>>,
    /// Those who had answered when one of them was chosen, by epoch.
    chosen_from: BTreeMap<u64, Vec<Recruited>>,
    kind: Option<Kind>,
    from: Option<usize>,
    begun: u64,
    /// The branch, and what of it was acknowledged to anybody, when the old primary was halted.
    halted: Option<(usize, u64)>,
    is_forced: bool,
    /// Somebody has accepted that commits are lost, or has put another primary in place, or changed who belongs to it.
    was_forced: bool,
    is_maintenance: bool,
    last_by_hand: Option<u64>,
    last_reload: Option<u64>,
    held_since: Option<u64>,
    pub(crate) longest_hold: u64,
}

fn port_of(address: &str) -> usize {
    address.rsplit(':').next().and_then(|port| port.parse::<usize>().ok()).expect("h:port") - 5000
}

impl Watch {
    pub(crate) fn herd_starts(&mut self, _disk: &Disk, _now: u64) {
        self.recruiting.clear();
    }

    pub(crate) fn herd_dies(&mut self) {
        (self.kind, self.from, self.halted) = (None, None, None);
        self.is_maintenance = false;
        self.recruiting.clear();
    }

    pub(crate) fn commanded(&mut self, command: Command, _now: u64) {
        match command {
            Command::Failover { force, .. } => {
                self.is_forced = force;
                self.was_forced |= force;
            }
            Command::MaintenanceOn => self.is_maintenance = true,
            Command::MaintenanceOff => self.is_maintenance = false,
            Command::Switchover { .. } | Command::Restart(_) | Command::RestartAll | Command::Restore => {}
        }
    }

    pub(crate) fn was_forced(&self) -> bool {
        self.was_forced
    }

    pub(crate) fn by_hand(&mut self, now: u64) {
        self.was_forced = true;
        self.last_by_hand = Some(now);
    }

    pub(crate) fn reloaded(&mut self, now: u64) {
        self.was_forced = true;
        self.last_reload = Some(now);
    }

    pub(crate) fn held(&mut self, now: u64) {
        let since = *self.held_since.get_or_insert(now);
        self.longest_hold = self.longest_hold.max(now - since);
    }

    pub(crate) fn served(&mut self, _now: u64) {
        self.held_since = None;
    }

    pub(crate) fn storing(&mut self, record: &Record) {
        assert!(record.epoch.0 >= self.recorded, "a recorded epoch never decreases: {record:?}");
    }

    pub(crate) fn stored(&mut self, record: &Record, now: u64) {
        assert!(record.epoch.0 >= self.recorded, "a recorded epoch never decreases: {record:?}");
        self.recorded = record.epoch.0;
        self.promoting = None;
        if let Phase::Promoting { node, .. } = &record.phase {
            self.promoting = Some(port_of(node));
            let is_same = self
                .intended
                .as_ref()
                .is_some_and(|(epoch, known, _)| *epoch == record.epoch.0 && **known == **node);
            if !is_same {
                self.intended = Some((record.epoch.0, node.to_string(), now));
            }
        }
    }

    pub(crate) fn recruiting(&mut self, order: &Order, server: usize, truth: &Truth) {
        let at = (truth.servers[server].branch, truth.servers[server].lsn);
        self.recruiting.insert(order.id, (order.epoch.0, server, at));
    }

    /// True if a standby has now been recruited, as far as pgherd knows.
    pub(crate) fn answered(
        &mut self,
        id: OrderId,
        answer: &Answer,
        _truth: &Truth,
        _generation: u64,
    ) -> bool {
        let Ok(Done::Position { .. }) = answer else { return false };
        let Some((epoch, server, at)) = self.recruiting.remove(&id) else { return false };
        self.recruited.entry(epoch).or_default().push((server, at));
        true
    }

    pub(crate) fn halted(&mut self, server: usize, truth: &Truth) {
        let branch = truth.servers[server].branch;
        self.halted = Some((branch, truth.branches[branch].acked_by_any));
    }

    /// A promotion of this epoch comes late: another decision stands.
    pub(crate) fn is_superseded(&self, epoch: u64) -> bool {
        self.recorded > epoch || self.intended.as_ref().is_some_and(|(intended, ..)| *intended > epoch)
    }

    /// It is recorded that another may be promoted, and not yet how that ended.
    pub(crate) fn is_being_replaced(&self, server: usize) -> bool {
        self.promoting.is_some_and(|node| node != server)
    }

    /// A promotion is about to happen.
    pub(crate) fn promoting(
        &mut self,
        server: usize,
        order: &Order,
        truth: &Truth,
        published: Option<&Snapshot>,
        now: u64,
    ) {
        let epoch = order.epoch.0;
        for (other, what) in self.chosen_from.get(&epoch).into_iter().flatten() {
            // what stood on a timeline that was left before does not count
            let is_left = truth.servers[server].branch != what.0
                && truth.descends(truth.servers[server].branch, what.0);
            assert!(
                is_left || truth.has(server, *what),
                "n{server} is promoted without what n{other} had: {what:?}"
            );
        }
        let view = published.and_then(|published| {
            published.nodes.iter().find(|node| usize::from(node.port) - 5000 == server)
        });
        let (intended, address, since) = self.intended.clone().expect("recorded before it is done");
        assert!(intended >= epoch, "recorded before it is done");
        if self.is_superseded(epoch) {
            return;
        }
        assert!(view.is_none_or(|view| view.reads != Reads::Detached), "n{server} is detached and promoted");
        assert_eq!(port_of(&address), server, "as recorded");
        for (other, at) in &self.last_routed {
            assert!(
                *other == server || *at <= since,
                "n{other} was written to at {at} after it was recorded at {since} that n{server} may be promoted"
            );
        }
        if matches!(self.kind, Some(Kind::Switchover | Kind::Failback))
            && let Some((branch, by_any)) = self.halted
            && self.last_by_hand.is_none_or(|at| at < self.begun)
        {
            let acked = truth.branches[branch].acked.max(by_any);
            assert!(truth.has(server, (branch, acked)), "a switchover loses acknowledged writes");
        }
        if self.kind == Some(Kind::Automatic)
            && let Some(published) = published
            && let Some((_, had)) = published.primary_wal.last()
            && published.primary_wal.timeline().map(|timeline| timeline.0) == Some(truth.number(server))
        {
            let lost = had.0.saturating_sub(truth.servers[server].lsn);
            assert!(lost <= 6_000, "{lost} bytes of what was sampled are lost at {now}");
        }
    }

    /// A write goes to `server`.
    pub(crate) fn routed(&mut self, server: usize, truth: &Truth, now: u64) {
        if !truth.servers[server].is_running() || !truth.servers[server].is_primary {
            return; // it will not be taken
        }
        self.last_routed.insert(server, now);
        let branch = truth.servers[server].branch;
        for (before, at) in &self.routed_to {
            assert!(
                truth.descends(branch, *before) || self.is_forced,
                "n{server} is written to, whose timeline does not descend from that which was written to at {at}"
            );
            let is_left = *before != branch && truth.branches[branch].maker.is_some();
            assert!(
                !is_left || *at <= truth.branches[branch].born,
                "n{server} is written to, and the one that it replaces still was after its promotion"
            );
        }
        self.routed_to.insert(branch, now);
    }
}

impl World {
    /// After every input.
    pub(crate) fn check(&mut self, notes: &[Note]) {
        let Some(herd) = &self.herd else { return };
        let published = herd.published.clone();
        let watch = &mut self.watch;
        assert!(published.epoch.0 >= watch.epoch, "an epoch never decreases, over restarts too");
        watch.epoch = published.epoch.0;
        if let Writable::Primary(node) = published.writable {
            let server = usize::from(published.node(node).expect("configured").port) - 5000;
            let reign = *watch.reigns.entry(published.epoch.0).or_insert(server);
            assert_eq!(reign, server, "two nodes are writable in epoch {}", published.epoch);
        }
        for note in notes {
            self.noted(note);
        }
    }

    fn noted(&mut self, note: &Note) {
        let server = note.node.and_then(|node| self.server_of(node));
        self.say(|| {
            format!("  [{}] {} {}", note.epoch, server.map_or(String::new(), |s| format!("n{s}")), note.step)
        });
        match &note.step {
            Step::Begun(kind) => {
                (self.watch.kind, self.watch.from, self.watch.begun) = (Some(*kind), server, self.now);
                self.watch.halted = None;
                self.tally.count(format!("begun: {}", kind.as_str()));
                if matches!(kind, Kind::Automatic | Kind::Failback) {
                    assert!(!self.watch.is_maintenance, "nothing begins by itself in maintenance");
                }
                if *kind == Kind::Automatic {
                    self.abandons(server);
                }
            }
            Step::Chosen => {
                let epoch = note.epoch.0;
                let answered = self.watch.recruited.get(&epoch).cloned().unwrap_or_default();
                self.watch.chosen_from.insert(epoch, answered);
                if self.watch.kind == Some(Kind::Automatic) {
                    self.abandons(self.watch.from);
                }
            }
            Step::Ended(outcome) => {
                let kind = self.watch.kind.take().map_or("taken up", |kind| kind.as_str());
                let how = match outcome {
                    Outcome::Done => "done".to_owned(),
                    Outcome::RolledBack(why) => format!("rolled back: {}", first_words(why)),
                    Outcome::Abandoned(why) => format!("abandoned: {}", first_words(why)),
                };
                self.tally.count(format!("{kind} {how}"));
            }
            Step::Rejoined => self.tally.count("note: rejoined"),
            Step::Followed => self.tally.count("note: followed"),
            _ => {}
        }
    }

    /// The primary is given up without anybody's command.
    fn abandons(&self, server: Option<usize>) {
        // once somebody may have been promoted there is no way back
        let is_to_go_on = matches!(self.disk.record.phase, Phase::Promoting { .. });
        let server = server.filter(|_| !is_to_go_on);
        let Some(server) = server.map(|index| (index, &self.truth.servers[index])) else { return };
        let (index, server) = server;
        let is_good = server.is_running() && server.is_primary && self.truth.herd_cut[index] <= self.now;
        let is_known = self.now.saturating_sub(server.troubled) > KNOWN_GOOD;
        assert!(!(is_good && is_known), "n{index} is alive and within reach, and abandoned");
    }

    /// What is not in order, if anything.
    pub(crate) fn trouble(&self) -> Option<String> {
        let Some(herd) = &self.herd else { return Some("no pgherd".to_owned()) };
        if herd.manager.is_running() {
            return Some(format!("a run has not ended: {:?}", herd.manager));
        }
        if !self.tickets.is_empty() {
            return Some(format!("commands without an answer: {:?}", self.tickets));
        }
        let Some(primary) = self.primary() else {
            return Some(format!("there is no primary: {:?}", herd.manager.hindrance(self.instant())));
        };
        let server = &self.truth.servers[primary];
        if !server.is_running() || !server.is_primary {
            return Some(format!("n{primary} is no primary"));
        }
        if server.is_fenced {
            return Some(format!("n{primary} lets no commit succeed"));
        }
        (0..self.truth.servers.len())
            .filter(|index| *index != primary)
            .find_map(|index| self.astray(index, primary))
    }

    /// Whether a node ought to follow the primary, and does not.
    fn astray(&self, index: usize, primary: usize) -> Option<String> {
        let server = &self.truth.servers[index];
        let record = self.herd.as_ref()?.manager.record();
        let is_deposed = record.deposed.iter().any(|address| port_of(address) == index);
        let follows = server.receiver.is_some() && server.branch == self.truth.servers[primary].branch;
        let can_be_made_to = match (server.power, server.is_primary) {
            (Power::Running, true) | (Power::Stopped, _) => is_deposed && server.has_agent,
            (Power::Running, false) => {
                server.has_agent || self.truth.has(primary, (server.branch, server.lsn))
            }
            (Power::Starting(_) | Power::Frozen, _) => true,
        };
        // it streams from another one that was promoted to the same number: nothing that it says tells
        let follows_namesake =
            server.receiver.is_some() && self.truth.number(index) == self.truth.number(primary);
        (!follows && can_be_made_to && !follows_namesake)
            .then(|| format!("n{index} does not follow n{primary}: {server:?} {record:?}"))
    }

    /// Why it may stay as it is until a person decides.
    pub(crate) fn excuse(&self) -> Option<&'static str> {
        let herd = self.herd.as_ref()?;
        if herd.manager.is_running() || !self.tickets.is_empty() || self.primary().is_some() {
            return None;
        }
        let primaries: Vec<usize> = (0..self.truth.servers.len())
            .filter(|index| self.truth.servers[*index].is_running() && self.truth.servers[*index].is_primary)
            .collect();
        match herd.manager.hindrance(self.instant())? {
            Hindrance::InDoubt(NoPrimary::SplitBrain) if primaries.len() > 1 => Some("split brain"),
            Hindrance::InDoubt(NoPrimary::Unproven) if !primaries.is_empty() => Some("unproven"),
            Hindrance::InDoubt(NoPrimary::OnlyStale) if !primaries.is_empty() => Some("only stale primaries"),
            Hindrance::NeverKnown if primaries.is_empty() => Some("never known"),
            Hindrance::Unresolved(address) => {
                let is_there = self.truth.servers[port_of(&address)].is_running();
                (!is_there).then_some("may have been promoted, and is dead")
            }
            Hindrance::Uncovered(..) => Some("commits may be on nobody who is there"),
            Hindrance::WouldLose(..) => Some("would lose too much"),
            Hindrance::NoCandidate if primaries.is_empty() && !self.has_candidate() => Some("no candidate"),
            _ => None,
        }
    }

    fn has_candidate(&self) -> bool {
        let timeline = self.herd.as_ref().and_then(|herd| herd.published.timeline).map(|timeline| timeline.0);
        (0..self.truth.servers.len()).any(|index| {
            let server = &self.truth.servers[index];
            let is_current = Some(self.truth.number(index)) == timeline;
            server.is_running() && !server.is_primary && self.nodes[index].priority > 0 && is_current
        })
    }
}

/// Enough of a reason to count it by.
fn first_words(why: &str) -> String {
    why.split([' ', ':']).take(6).collect::<Vec<_>>().join(" ")
}

//! A seeded simulation: a true cluster that crashes, promotes, splits and heals, seen through probes that are late,
//! lost or refused; after every input the invariants of the published snapshots are checked.
#![expect(clippy::disallowed_methods, reason = "an arbitrary beginning; only the simulation moves the clock")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use topology::*;
use wire::{Lsn, TimelineId};

const SYSTEM: u64 = 42;

/// SplitMix64: small, seeded, good enough to choose faults.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % limit as u64).expect("below a usize")
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a server truly is.
#[derive(Debug, Clone)]
struct Server {
    state: State,
    primary: bool,
    system_id: u64,
    timeline: u32,
    lsn: u64,
    /// Of its timeline.
    history: Vec<Fork>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Running,
    Stopped,
    Starting,
    CutOff,
}

struct World {
    dice: Dice,
    now: Instant,
    servers: Vec<Server>,
    next_timeline: u32,
    cluster: Cluster,
    remembered: Option<Remembered>,
    watch: Watch,
}

/// What the invariants need of the past.
#[derive(Default)]
struct Watch {
    epoch: u64,
    timeline: u32,
    reigns: BTreeMap<u64, (NodeId, TimelineId)>,
    /// Who was last written to, on which timeline, and where that truly began.
    written: Option<(NodeId, u32, Option<Fork>)>,
    /// Claims of each node as last answered to the cluster.
    said: BTreeMap<NodeId, (Role, u32, u64)>,
    writable_for: usize,
    held_for: usize,
    alarms: BTreeSet<&'static str>,
}

fn settings(count: usize) -> Settings {
    let node = |index| NodeSettings {
        name: format!("n{index}"),
        host: "h".to_owned(),
        port: 5000 + index,
        region: "r".to_owned(),
        zone: None,
        priority: 100,
        service: Service::Always,
    };
    Settings {
        cluster: "main".to_owned(),
        nodes: (0..u16::try_from(count).expect("a handful")).map(node).collect(),
        down_after_probes: 3,
        crash_grace: Duration::from_secs(5),
        spares: SpareSettings::default(),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let count = 3 + dice.below(3);
        let server = |index| Server {
            state: State::Running,
            primary: index == 0,
            system_id: SYSTEM,
            timeline: 1,
            lsn: 1000,
            history: Vec::new(),
        };
        let now = Instant::now();
        Self {
            dice,
            now,
            servers: (0..count).map(server).collect(),
            next_timeline: 2,
            cluster: Cluster::new(settings(count), None, now),
            remembered: None,
            watch: Watch::default(),
        }
    }

    /// Something happens to a server.
    fn fate(&mut self) {
        let index = self.dice.below(self.servers.len());
        let source = self.dice.below(self.servers.len());
        let leader = self.servers[source].clone();
        let same_number = self.dice.one_in(12);
        let what = self.dice.below(12);
        let server = &mut self.servers[index];
        match what {
            0 => server.state = State::Stopped,
            1 => server.state = State::CutOff,
            2 => server.state = State::Starting,
            3..=6 => server.state = State::Running,
            // A standby is promoted, now and then to a number that another branch uses as well.
            7 | 8 if !server.primary && server.state != State::Stopped => {
                server
                    .history
                    .push(Fork { timeline: TimelineId(server.timeline), switch_lsn: Lsn(server.lsn) });
                if same_number {
                    server.timeline += 1;
                    self.next_timeline = self.next_timeline.max(server.timeline + 1);
                } else {
                    server.timeline = self.next_timeline;
                    self.next_timeline += 1;
                }
                server.primary = true;
            }
            // A server is rewound to follow another.
            9 | 10 if index != source && leader.system_id == server.system_id => {
                *server = Server { primary: false, state: State::Running, ..leader };
            }
            11 if self.dice.one_in(20) => server.system_id = SYSTEM + 1,
            _ => {}
        }
    }

    /// Primaries write, standbys follow.
    fn flow(&mut self) {
        for index in 0..self.servers.len() {
            if self.servers[index].primary {
                self.servers[index].lsn += self.dice.roll() % 500;
            } else if let Some(source) = self.servers.iter().find(|server| {
                server.primary
                    && server.state == State::Running
                    && server.history.iter().any(|fork| fork.timeline.0 == self.servers[index].timeline)
                        | (server.timeline == self.servers[index].timeline)
            }) {
                let (timeline, lsn, history) = (source.timeline, source.lsn, source.history.clone());
                let server = &mut self.servers[index];
                (server.timeline, server.lsn, server.history) = (timeline, server.lsn.max(lsn), history);
            }
        }
    }

    fn probe(&mut self, node: NodeId) {
        let server = &self.servers[usize::from(node.0)];
        let result = match server.state {
            State::Stopped => ProbeResult::Refused,
            State::Starting => ProbeResult::Starting,
            State::CutOff => ProbeResult::NoAnswer,
            State::Running if self.dice.one_in(15) => ProbeResult::NoAnswer,
            State::Running if self.dice.one_in(50) => ProbeResult::Unusable(Unusable::Query),
            State::Running => {
                let role = if server.primary { Role::Primary } else { Role::Standby };
                self.watch.said.insert(node, (role, server.timeline, server.system_id));
                let sent_at = self.now;
                self.now += Duration::from_millis(1);
                ProbeResult::Answered(Sample {
                    sent_at,
                    received_at: self.now,
                    role,
                    system_id: server.system_id,
                    timeline: TimelineId(server.timeline),
                    wal_lsn: Lsn(server.lsn),
                    replay_lsn: Lsn(server.lsn),
                    streaming: !server.primary && self.dice.one_in(2),
                    upstream_silence: None,
                    server_version: 150_000,
                })
            }
        };
        self.cluster.handle_probe(node, result, self.now);
        self.check();
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.dice.roll() % 300);
        if self.dice.one_in(6) {
            self.fate();
        }
        self.flow();
        let node = NodeId(u16::try_from(self.dice.below(self.servers.len())).expect("a handful"));
        match self.dice.below(20) {
            0 => self.cluster.handle_report(node, Report::Crashed, self.now),
            1 => self.cluster.handle_report(node, Report::RoleChanged, self.now),
            2 if self.dice.one_in(30) => self.restart_proxy(),
            3 if self.dice.one_in(10) => {
                self.cluster.replace_settings(settings(self.servers.len()), self.now);
            }
            _ => self.probe(node),
        }
        self.check();
        if self.cluster.poll_timeout().is_some_and(|due| due <= self.now) {
            self.cluster.handle_timeout(self.now);
            self.check();
            assert!(self.cluster.poll_timeout().is_none_or(|due| due > self.now), "no busy loop");
        }
        self.drain();
    }

    fn drain(&mut self) {
        let mut queued = 0;
        while let Some(action) = self.cluster.poll_action() {
            queued += 1;
            assert!(queued < 100, "actions breed actions");
            match action {
                Action::ProbeNow(node) => {
                    if self.dice.one_in(2) {
                        self.probe(node);
                    }
                }
                Action::ReadHistory(node, timeline) => {
                    let server = &self.servers[usize::from(node.0)];
                    if server.state == State::Running && server.timeline == timeline.0 {
                        let history = History::new(server.history.clone());
                        self.cluster.handle_history(node, timeline, history, self.now);
                        self.check();
                    }
                }
                Action::AskLeader => {}
                Action::Remember(what) => {
                    if let Some(before) = &self.remembered {
                        assert!(what.epoch >= before.epoch && what.timeline >= before.timeline);
                        assert_eq!(what.system_id, before.system_id);
                    }
                    self.remembered = Some(what);
                }
            }
        }
        while let Some(event) = self.cluster.poll_event() {
            self.watch.alarms.insert(event.name());
            assert!(!event.to_string().is_empty());
        }
    }

    fn restart_proxy(&mut self) {
        self.drain();
        self.cluster = Cluster::new(settings(self.servers.len()), self.remembered.clone(), self.now);
        self.watch.said.clear();
    }

    fn check(&mut self) {
        let snapshot = self.cluster.snapshot(self.now);
        let watch = &mut self.watch;
        assert!(snapshot.epoch.0 >= watch.epoch, "an epoch never decreases");
        watch.epoch = snapshot.epoch.0;
        let Writable::Primary(id) = snapshot.writable else {
            watch.held_for += 1;
            assert!(snapshot.primary().is_none());
            return;
        };
        watch.writable_for += 1;
        let node = snapshot.primary().expect("the writable node is configured");
        assert!(matches!(node.health, Health::Up | Health::Suspect), "{node:?}");
        assert_eq!(node.role, Role::Primary);
        assert_eq!(Some(node.timeline), snapshot.timeline);
        assert!(node.timeline.0 >= watch.timeline, "the written timeline never decreases");
        watch.timeline = node.timeline.0;
        let reign = *watch.reigns.entry(snapshot.epoch.0).or_insert((id, node.timeline));
        assert_eq!(reign, (id, node.timeline), "one reign per epoch");
        let said = watch.said[&id];
        let server = &self.servers[usize::from(id.0)];
        let began = Some(server).filter(|server| server.timeline == node.timeline.0);
        if let Some(began) = began.map(|server| server.history.last().copied()) {
            let same =
                watch.written.filter(|(before, timeline, _)| *before != id && *timeline == node.timeline.0);
            assert!(same.is_none_or(|(_, _, fork)| fork == began), "another timeline of the same number");
            watch.written = Some((id, node.timeline.0, began));
        }
        assert_eq!((said.0, said.1), (Role::Primary, node.timeline.0), "written only on its own word");
        for (other, (role, timeline, system_id)) in &watch.said {
            let rival = *other != id && *role == Role::Primary && *system_id == said.2;
            let up = snapshot.node(*other).is_some_and(|other| other.health != Health::Down);
            assert!(
                !(rival && up && *timeline >= node.timeline.0),
                "a rival on the same or a higher timeline"
            );
        }
        for node in &snapshot.nodes {
            let usable = snapshot.admits(&snapshot.stamp(node.id), false);
            assert!(!(usable && matches!(node.health, Health::Stale | Health::Foreign | Health::Down)));
            assert_eq!(snapshot.admits(&snapshot.stamp(node.id), true), node.id == id);
        }
    }
}

fn simulate(seed: u64, steps: usize) -> Watch {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.watch
}

#[test]
fn invariants_hold_through_thousands_of_faults() {
    let (mut writable, mut held, mut events) = (0, 0, BTreeSet::new());
    for seed in 0..150 {
        let watch = simulate(seed, 600);
        writable += watch.writable_for;
        held += watch.held_for;
        events.extend(watch.alarms);
    }
    // The walk must have been everywhere, or the invariants were not tried.
    assert!(writable > 1_000 && held > 1_000, "{writable} writable, {held} held");
    for name in [
        "primary_found",
        "primary_back",
        "promoted",
        "tail_counted",
        "primary_lost",
        "split_brain",
        "unproven_primary",
        "stale_primary",
        "foreign_node",
        "node_up",
        "node_suspect",
        "node_recovering",
        "node_down",
        "role_changed",
    ] {
        assert!(events.contains(name), "{name} never happened: {events:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_for_any_seed(seed: u64) {
        simulate(seed, 300);
    }

    #[test]
    fn no_history_file_panics_the_parser(content in "[0-9/\\t\\n A-Fx#]{0,80}") {
        let _ = content.parse::<History>();
    }
}

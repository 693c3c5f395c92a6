//! One schedule: servers, one pgherd after the other, clients, operators and faults under one clock.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::{Duration, Instant},
};

use failover::{Answer, Command, Failure, Order, OrderId, Reply, Task, Ticket};
use topology::{
    NodeId, NodeSettings, ProbeResult, Replication, Report, Role, Sample, Stamp, Unusable, Writable,
};
use wire::{Lsn, TimelineId};

use crate::{
    dice::Dice,
    herd::{Disk, Herd, topology_settings},
    synchronous,
    tally::Tally,
    truth::{Power, Truth},
    watch::Watch,
};

pub(crate) const SYSTEM: u64 = 42;
pub(crate) const MS: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000_000;
/// Time for everything to be in order again once the faults have ended.
const HEALING: u64 = 120 * SECOND;
const MAX_LOST_BYTES: u64 = 6_000;

/// What happens at an instant.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Flow,
    Client,
    Fault,
    /// A server is started.
    Start(usize),
    Thaw(usize),
    HerdStarts,
    ProbeDue {
        node: NodeId,
        serial: u64,
    },
    ProbeReads {
        node: NodeId,
        serial: u64,
        sent_at: u64,
    },
    Probed {
        node: NodeId,
        serial: u64,
        result: ProbeResult,
        said: Box<Replication>,
    },
    HistoryRead {
        node: NodeId,
        timeline: TimelineId,
    },
    Stored {
        answer: bool,
    },
    Executed(Order),
    Answered {
        id: OrderId,
        answer: Answer,
    },
    TimeIsUp(OrderId),
    /// An agent is done with a server.
    Agent {
        server: usize,
        incarnation: u64,
        generation: u64,
        order: Order,
    },
    RequestEnds(usize),
}

/// Something that a client has under way.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) server: usize,
    pub(crate) incarnation: u64,
    pub(crate) stamp: Stamp,
    pub(crate) is_transaction: bool,
    /// Written, and not yet told so, for no commit succeeds.
    pub(crate) hangs_at: Option<(usize, u64)>,
    pub(crate) generation: u64,
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    base: Instant,
    /// In microseconds since the beginning.
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<(u64, u64), (Option<u64>, Event)>,
    serial: u64,
    pub(crate) truth: Truth,
    pub(crate) nodes: Vec<NodeSettings>,
    /// Which of the servers are configured.
    pub(crate) configured: Vec<bool>,
    pub(crate) settings: failover::Settings,
    pub(crate) herd: Option<Herd>,
    pub(crate) generation: u64,
    pub(crate) disk: Disk,
    /// Whether primaries wait for standbys.
    pub(crate) is_synchronous: bool,
    /// What a promotion of this epoch sets, by which a new primary waits as the old one did.
    pub(crate) values: BTreeMap<u64, String>,
    pub(crate) requests: BTreeMap<usize, Request>,
    next_request: usize,
    pub(crate) tickets: BTreeMap<Ticket, Command>,
    pub(crate) next_ticket: u64,
    pub(crate) faults_end: u64,
    /// Of so many probes one is lost.
    pub(crate) loss: usize,
    /// pgherd dies, or the node that an order goes to, at this many orders from now.
    pub(crate) herd_dies_in: Option<u64>,
    pub(crate) node_dies_in: Option<u64>,
    pub(crate) unusable_until: Vec<u64>,
    pub(crate) watch: Watch,
    pub(crate) tally: Tally,
    pub(crate) steps: u64,
    is_loud: bool,
}

impl World {
    #[expect(
        clippy::disallowed_methods,
        reason = "an arbitrary beginning; only the simulation moves the clock"
    )]
    pub(crate) fn new(seed: u64, is_loud: bool) -> Self {
        let mut dice = Dice(seed);
        let count = 2 + dice.below(4);
        let mut truth = Truth::new(count, &mut dice);
        let is_synchronous = seed % 3 == 1;
        if is_synchronous {
            truth.servers[0].sync_names = synchronous::setting(count, &mut dice);
        }
        let node = |index: usize, dice: &mut Dice| NodeSettings {
            name: format!("n{index}"),
            host: "h".to_owned(),
            port: 5000 + u16::try_from(index).expect("a handful"),
            region: format!("r{}", dice.below(3)),
            zone: None,
            priority: if dice.one_in(6) { 0 } else { u16::try_from(50 * dice.between(1, 4)).expect("small") },
            service: match dice.below(8) {
                0 if index > 0 => topology::Service::Spare,
                1 if index > 0 => topology::Service::Buildable,
                _ => topology::Service::Always,
            },
        };
        let nodes: Vec<_> = (0..count).map(|index| node(index, &mut dice)).collect();
        let settings = failover::Settings {
            regions: vec!["r1".into(), "r0".into()],
            max_lost_bytes: MAX_LOST_BYTES,
            damping: Duration::from_secs(if dice.one_in(2) { 60 } else { 5 }),
            failback: dice.one_in(3).then_some(failover::Window { from: 0, until: 0, offset: 0 }),
            ..failover::Settings::default()
        };
        let faults_end = dice.between(5, 40) * SECOND;
        let loss = [400, 50, 15][dice.below(3)];
        let mut world = Self {
            dice,
            base: Instant::now(),
            now: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            serial: 0,
            truth,
            nodes,
            configured: vec![true; count],
            settings,
            herd: None,
            generation: 0,
            disk: Disk::default(),
            is_synchronous,
            values: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            faults_end,
            loss,
            herd_dies_in: None,
            node_dies_in: None,
            unusable_until: vec![0; count],
            watch: Watch::default(),
            tally: Tally { seed, ..Tally::default() },
            steps: 0,
            is_loud,
        };
        world.at(0, Event::Flow);
        world.at(10 * MS, Event::Client);
        let first = world.dice.between(200 * MS, 4 * SECOND);
        world.at(first, Event::Fault);
        world.start_herd();
        world
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.is_loud {
            println!("{:>12.6} {}", self.now as f64 / 1e6, what());
        }
    }

    pub(crate) fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now)
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_micros()).expect("a short simulation")
    }

    /// An event for whichever pgherd runs then.
    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.push(at, None, event);
    }

    /// An event that is nothing to a later pgherd.
    pub(crate) fn at_for_herd(&mut self, at: u64, event: Event) {
        self.push(at, Some(self.generation), event);
    }

    fn push(&mut self, at: u64, generation: Option<u64>, event: Event) {
        self.serial += 1;
        let key = (at.max(self.now), self.serial);
        self.queue.push(Reverse(key));
        self.events.insert(key, (generation, event));
    }

    /// Runs to the end, which is when all is in order again.
    pub(crate) fn run(mut self) -> Tally {
        let mut is_healing = false;
        let mut quiet = 0;
        let mut next_look = self.faults_end;
        loop {
            if !is_healing && self.now >= self.faults_end {
                is_healing = true;
                self.heal();
            }
            if is_healing && self.now >= next_look {
                next_look = self.now + 500 * MS;
                let trouble = self.trouble();
                quiet = if trouble.is_none() { quiet + 1 } else { 0 };
                if quiet >= 3 {
                    break;
                }
                if self.now > self.faults_end + HEALING {
                    let trouble = trouble.unwrap_or_default();
                    match self.excuse() {
                        Some(excuse) => self.tally.count(format!("end: {excuse}")),
                        None => panic!("not in order {HEALING} µs after the last fault: {trouble}"),
                    }
                    break;
                }
            }
            self.step();
        }
        self.tally.count("schedules");
        let hold = match self.watch.longest_hold / SECOND {
            0 => "up to 1 s",
            1..5 => "up to 5 s",
            5..30 => "up to 30 s",
            _ => "longer than 30 s",
        };
        self.tally.count(format!("longest hold: {hold}"));
        self.tally.add("steps", self.steps);
        self.tally
    }

    fn step(&mut self) {
        self.steps += 1;
        let due = self.herd.as_ref().and_then(|herd| herd.due()).map(|due| self.micros(due));
        let first = self.queue.peek().map(|Reverse((at, _))| *at).expect("there is always a next flow");
        if let Some(due) = due.filter(|due| *due <= first) {
            self.now = self.now.max(due);
            self.wake();
            return;
        }
        let Some(Reverse(key)) = self.queue.pop() else { return };
        let (generation, event) = self.events.remove(&key).expect("queued with its key");
        self.now = key.0;
        let is_stale = generation
            .is_some_and(|generation| self.herd.as_ref().is_none_or(|herd| herd.generation != generation));
        if !is_stale {
            self.handle(event);
        } else if let Event::Executed(order) = event {
            // its bytes were on their way when it died
            if self.dice.one_in(2) {
                self.execute(order, false);
            }
        }
    }

    fn wake(&mut self) {
        let now = self.instant();
        let Some(herd) = &mut self.herd else { return };
        if herd.cluster.poll_timeout().is_some_and(|due| due <= now) {
            herd.cluster.handle_timeout(now);
        }
        if herd.manager.poll_timeout().is_some_and(|due| due <= now) {
            herd.manager.handle_timeout(now);
        }
        self.follow_up();
        let due = self.herd.as_ref().and_then(|herd| herd.due());
        if let Some(herd) = self.herd.as_ref().filter(|_| due.is_some_and(|due| due <= now)) {
            panic!("a busy loop: {:?} {:?}", herd.cluster.poll_timeout().map(|at| at <= now), herd.manager);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Flow => {
                self.truth.flow(self.now, &mut self.dice);
                for server in (0..self.truth.servers.len()).filter(|_| self.herd.is_none()) {
                    let said = self.truth.replication(server, self.now);
                    self.truth.wait_for(server, &said);
                }
                self.at(self.now + 40 * MS, Event::Flow);
            }
            Event::Client => self.client(),
            Event::RequestEnds(id) => self.request_ends(id),
            Event::Fault => self.fault(),
            Event::Start(server) => self.start_server(server),
            Event::Thaw(server) => self.thaw(server),
            Event::HerdStarts => self.start_herd(),
            Event::ProbeDue { node, serial } => self.probe(node, Some(serial)),
            Event::ProbeReads { node, serial, sent_at } => self.probe_reads(node, serial, sent_at),
            Event::Probed { node, serial, result, said } => self.probed(node, serial, result, *said),
            Event::HistoryRead { node, timeline } => self.history_read(node, timeline),
            Event::Stored { answer } => self.stored(answer),
            Event::Executed(order) => self.execute(order, true),
            Event::Agent { server, incarnation, generation, order } => {
                self.agent_ends(server, incarnation, generation, order);
            }
            Event::Answered { id, answer } => self.answered(id, answer),
            Event::TimeIsUp(id) => {
                let is_waiting = self.herd.as_ref().is_some_and(|herd| herd.waiting.contains(&id));
                if is_waiting {
                    self.answered(id, Err(Failure::Uncertain("no answer in time".to_owned())));
                }
            }
        }
    }

    // pgherd

    pub(crate) fn start_herd(&mut self) {
        if self.herd.is_some() {
            return;
        }
        self.generation += 1;
        let now = self.instant();
        let nodes = self.wanted_nodes();
        let phase = format!("{:?}", self.disk.record.phase);
        let phase = phase.split([' ', '{']).next().unwrap_or_default().to_owned();
        self.say(|| format!("pgherd starts with {:?} {:?}", self.disk.record, self.disk.remembered));
        self.tally.count(format!("start: {phase}"));
        self.watch.herd_starts(&self.disk, self.now);
        self.herd = Some(Herd::start(self.generation, &nodes, self.settings.clone(), &self.disk, now));
        self.keep_probers();
        self.follow_up();
    }

    pub(crate) fn kill_herd(&mut self, pause: u64) {
        let Some(mut herd) = self.herd.take() else { return };
        self.say(|| "pgherd is killed".to_owned());
        let stage = if herd.manager.is_running() { "in a run" } else { "at rest" };
        self.tally.count(format!("killed: {stage}"));
        // of what was being written some may have been
        let written = self.dice.below(herd.stores.len() + 1);
        for _ in 0..written {
            let (_, record) = herd.stores.pop_front().expect("counted");
            self.watch.stored(&record, self.now);
            self.disk.record = record;
        }
        self.requests.clear();
        self.tickets.clear();
        self.watch.herd_dies();
        self.at(self.now + pause, Event::HerdStarts);
    }

    pub(crate) fn wanted_nodes(&self) -> Vec<NodeSettings> {
        let nodes = self.nodes.iter().zip(&self.configured);
        nodes.filter(|(_, configured)| **configured).map(|(node, _)| node.clone()).collect()
    }

    pub(crate) fn reload(&mut self) {
        let nodes = self.wanted_nodes();
        let now = self.instant();
        let Some(herd) = &mut self.herd else { return };
        herd.cluster.replace_settings(topology_settings(&nodes), now);
        herd.probers.clear();
        self.follow_up();
        self.keep_probers();
    }

    /// Has one prober for each configured node.
    fn keep_probers(&mut self) {
        let Some(herd) = &mut self.herd else { return };
        let ids: Vec<NodeId> = herd.published.nodes.iter().map(|node| node.id).collect();
        herd.probers.retain(|id, _| ids.contains(id));
        let new: Vec<NodeId> = ids.into_iter().filter(|id| !herd.probers.contains_key(id)).collect();
        for id in new {
            self.serial += 1;
            let serial = self.serial;
            if let Some(herd) = &mut self.herd {
                herd.probers.insert(id, crate::herd::Prober { serial, is_under_way: false });
            }
            self.probe(id, None);
        }
    }

    /// Carries out what an input has led to.
    pub(crate) fn follow_up(&mut self) {
        let now = self.instant();
        let Some(herd) = &mut self.herd else { return };
        let work = herd.settle(&mut self.disk, now);
        for event in &work.events {
            self.say(|| format!("  {event}"));
            self.tally.count(format!("event: {}", event.name()));
        }
        self.check(&work.notes);
        for reply in work.replies {
            self.replied(reply);
        }
        for node in work.probes {
            self.probe(node, None);
        }
        for (node, timeline) in work.histories {
            let at = self.now + self.dice.hop();
            self.at_for_herd(at, Event::HistoryRead { node, timeline });
        }
        for order in work.orders {
            self.dispatch(order);
        }
    }

    fn replied(&mut self, reply: Reply) {
        let command = self.tickets.remove(&reply.ticket).expect("each command is answered once");
        self.say(|| format!("  {command:?} ends: {:?}", reply.result));
        let word = format!("{command:?}");
        let word = word.split([' ', '(']).next().unwrap_or_default().to_owned();
        let how = match &reply.result {
            Ok(()) => "ok".to_owned(),
            Err(refusal) => format!("{refusal:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
        };
        self.tally.count(format!("command: {word} {how}"));
    }

    pub(crate) fn command(&mut self, command: Command) {
        let now = self.instant();
        let Some(herd) = &mut self.herd else { return };
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, command);
        herd.manager.handle_command(ticket, command, now);
        self.say(|| format!("an operator says {command:?}"));
        self.watch.commanded(command, self.now);
        self.follow_up();
    }

    /// The server behind an id.
    pub(crate) fn server_of(&self, node: NodeId) -> Option<usize> {
        let herd = self.herd.as_ref()?;
        herd.published.node(node).map(|node| usize::from(node.port) - 5000)
    }

    // probes

    fn probe(&mut self, node: NodeId, due: Option<u64>) {
        let now = self.now;
        let Some(herd) = &mut self.herd else { return };
        let Some(prober) = herd.probers.get_mut(&node) else { return };
        if prober.is_under_way || due.is_some_and(|serial| serial != prober.serial) {
            return;
        }
        self.serial += 1;
        prober.serial = self.serial;
        prober.is_under_way = true;
        let serial = prober.serial;
        let at = now + self.dice.hop() / 2;
        self.at_for_herd(at, Event::ProbeReads { node, serial, sent_at: now });
    }

    fn probe_reads(&mut self, node: NodeId, serial: u64, sent_at: u64) {
        let Some(index) = self.server_of(node) else { return };
        let is_lost = self.now < self.faults_end && self.dice.one_in(self.loss);
        let is_cut = self.truth.herd_cut[index] > self.now;
        let timeout = sent_at + 500 * MS;
        if is_lost {
            self.trouble_until(index, self.now);
        }
        let server = &self.truth.servers[index];
        let back = self.now + self.dice.hop();
        let result = match server.power {
            _ if is_lost || is_cut => ProbeResult::NoAnswer,
            Power::Frozen => ProbeResult::NoAnswer,
            Power::Stopped => ProbeResult::Refused,
            Power::Starting(_) => ProbeResult::Starting,
            Power::Running if self.unusable_until[index] > self.now => {
                ProbeResult::Unusable(Unusable::TooManyConnections)
            }
            Power::Running => {
                let received_at = self.base + Duration::from_micros(back);
                ProbeResult::Answered(self.sample(index, sent_at, received_at))
            }
        };
        let at = if result == ProbeResult::NoAnswer || back > timeout { timeout.max(self.now) } else { back };
        let result = if back > timeout { ProbeResult::NoAnswer } else { result };
        if back > timeout {
            self.trouble_until(index, self.now);
        }
        let said = Box::new(self.truth.replication(index, self.now));
        self.at_for_herd(at, Event::Probed { node, serial, result, said });
    }

    fn sample(&mut self, index: usize, sent_at: u64, received_at: Instant) -> Sample {
        let unflushed = if self.dice.one_in(3) { self.dice.between(0, 200) } else { 0 };
        let server = &self.truth.servers[index];
        let silence = server.receiver.map(|receiver| {
            let silence = i64::try_from(self.now - receiver.heard).expect("short") + server.clock_jump;
            Duration::from_micros(u64::try_from(silence).unwrap_or(0))
        });
        let wal = if server.is_primary { server.lsn + unflushed } else { server.lsn };
        Sample {
            sent_at: self.base + Duration::from_micros(sent_at),
            received_at,
            role: if server.is_primary { Role::Primary } else { Role::Standby },
            system_id: SYSTEM,
            timeline: TimelineId(self.truth.number(index)),
            wal_lsn: Lsn(wal),
            replay_lsn: Lsn(server.lsn),
            streaming: server.receiver.is_some(),
            upstream_silence: silence,
            server_version: 150_020,
        }
    }

    fn probed(&mut self, node: NodeId, serial: u64, result: ProbeResult, said: Replication) {
        let now = self.instant();
        let server = self.server_of(node);
        let Some(herd) = &mut self.herd else { return };
        let Some(prober) = herd.probers.get_mut(&node).filter(|prober| prober.serial == serial) else {
            return;
        };
        prober.is_under_way = false;
        if let ProbeResult::Answered(_) = result {
            herd.cluster.handle_replication(node, said.clone());
        }
        herd.cluster.handle_probe(node, result, now);
        // the same once more, late: it changes nothing
        if self.dice.one_in(60) {
            let Some(herd) = &mut self.herd else { return };
            if let ProbeResult::Answered(sample) = result {
                let older = Sample { sent_at: sample.sent_at - Duration::from_millis(1), ..sample };
                herd.cluster.handle_probe(node, ProbeResult::Answered(older), now);
            }
        }
        let next = self.now + self.dice.between(450, 550) * MS;
        self.at_for_herd(next, Event::ProbeDue { node, serial });
        self.follow_up();
        if let (ProbeResult::Answered(_), Some(server)) = (result, server) {
            self.heard_of_synchronous(node, server, &said);
        }
    }

    fn history_read(&mut self, node: NodeId, timeline: TimelineId) {
        let Some(index) = self.server_of(node) else { return };
        let server = &self.truth.servers[index];
        if server.is_running()
            && self.truth.herd_cut[index] <= self.now
            && self.truth.number(index) == timeline.0
        {
            let (history, now) = (self.truth.history(index), self.instant());
            if let Some(herd) = &mut self.herd {
                herd.cluster.handle_history(node, timeline, history, now);
            }
            self.follow_up();
        }
    }

    // orders

    fn dispatch(&mut self, order: Order) {
        self.say(|| format!("  order {} in epoch {}: {:?}", order.id.0, order.epoch, order.task));
        let name = format!("{:?}", order.task);
        let name = name.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
        self.tally.count(format!("order: {name}"));
        let strikes = |left: &mut Option<u64>| match left {
            Some(0) => left.take().is_some(),
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if let Task::Promote(node) = order.task
            && let Some(value) = self.value_for_promotion(node)
        {
            self.values.insert(order.epoch.0, value);
        }
        let Some(herd) = &mut self.herd else { return };
        herd.waiting.insert(order.id);
        let id = order.id;
        let limit = match &order.task {
            Task::Store(record) => {
                self.watch.storing(record);
                let fails = self.now < self.faults_end && self.dice.one_in(150);
                if fails {
                    let at = self.now + self.dice.hop();
                    self.at_for_herd(
                        at,
                        Event::Answered { id, answer: Err(Failure::Failed("disk full".into())) },
                    );
                } else {
                    herd.stores.push_back((id, record.clone()));
                    let at = self.now + self.dice.hop();
                    self.at_for_herd(at, Event::Stored { answer: true });
                }
                u64::MAX / 2
            }
            Task::Rejoin { .. } => 40 * SECOND,
            Task::Restart(_) | Task::Resume(_) | Task::Halt(_) => 30 * SECOND,
            _ => 5 * SECOND,
        };
        if !matches!(order.task, Task::Store(_)) {
            let at = self.now + self.dice.hop();
            self.at_for_herd(at, Event::Executed(order.clone()));
            self.at_for_herd(self.now + limit, Event::TimeIsUp(id));
        }
        if strikes(&mut self.herd_dies_in) {
            let pause = self.dice.between(20 * MS, 3 * SECOND);
            self.kill_herd(pause);
        } else if strikes(&mut self.node_dies_in)
            && let Some(server) = self.target(&order.task)
        {
            self.crash(server);
        }
    }

    /// The server that an order goes to.
    pub(crate) fn target(&self, task: &Task) -> Option<usize> {
        let node = match task {
            Task::Recruit(node)
            | Task::CatchUp { node, .. }
            | Task::Promote(node)
            | Task::Follow { node, .. }
            | Task::Settle(node)
            | Task::Rejoin { node, .. }
            | Task::DropSlots { node, .. }
            | Task::Checkpoint(node)
            | Task::CountBusy(node)
            | Task::Halt(node)
            | Task::Resume(node)
            | Task::Restart(node) => *node,
            Task::Store(_) | Task::Release => return None,
        };
        self.server_of(node)
    }

    fn stored(&mut self, answer: bool) {
        let Some((id, record)) = self.herd.as_mut().and_then(|herd| herd.stores.pop_front()) else { return };
        self.watch.stored(&record, self.now);
        self.disk.record = record;
        if answer {
            let at = self.now + self.dice.hop() / 4;
            self.at_for_herd(at, Event::Answered { id, answer: Ok(failover::Done::Done) });
        }
    }

    pub(crate) fn answer_later(&mut self, id: OrderId, answer: Answer, delay: u64) {
        // now and then it is not heard, or twice
        if self.now < self.faults_end && self.dice.one_in(100) {
            return;
        }
        if self.dice.one_in(50) {
            let again = self.now + delay + self.dice.hop();
            self.at_for_herd(again, Event::Answered { id, answer: answer.clone() });
        }
        self.at_for_herd(self.now + delay, Event::Answered { id, answer });
    }

    fn answered(&mut self, id: OrderId, answer: Answer) {
        let now = self.instant();
        self.say(|| format!("  order {} ends: {answer:?}", id.0));
        if self.watch.answered(id, &answer, &self.truth, self.generation) {
            self.tally.count("recruited");
        }
        let Some(herd) = &mut self.herd else { return };
        herd.waiting.remove(&id);
        herd.manager.handle_answer(id, answer, now);
        self.follow_up();
    }

    // clients

    fn client(&mut self) {
        let pause = self.dice.between(10, 80) * MS;
        self.at(self.now + pause, Event::Client);
        if self.dice.one_in(8) {
            self.direct_write();
        }
        let Some(herd) = &self.herd else { return };
        let Writable::Primary(node) = herd.published.writable else {
            self.watch.held(self.now);
            return;
        };
        let stamp = herd.published.stamp(node);
        let is_transaction = self.dice.one_in(3);
        if is_transaction && herd.published.draining {
            return;
        }
        assert!(herd.published.admits(&stamp, true), "a fresh connection to the primary is good for writes");
        let Some(server) = self.server_of(node) else { return };
        self.watch.routed(server, &self.truth, self.now);
        self.tally.count("routed");
        let (id, incarnation) = (self.next_request, self.truth.servers[server].incarnation);
        self.next_request += 1;
        let generation = self.generation;
        self.requests
            .insert(id, Request { server, incarnation, stamp, is_transaction, hangs_at: None, generation });
        let lasts = if is_transaction && self.dice.one_in(10) { 4 * SECOND } else { 2 * self.dice.hop() };
        self.at(self.now + lasts, Event::RequestEnds(id));
    }

    fn direct_write(&mut self) {
        let server = self.dice.below(self.truth.servers.len());
        let size = self.dice.between(10, 400);
        let server = &mut self.truth.servers[server];
        if server.is_running() && server.is_primary {
            server.lsn += size;
            if !server.is_fenced && server.sync_names.is_empty() {
                let branch = &mut self.truth.branches[server.branch];
                branch.acked_by_any = branch.acked_by_any.max(server.lsn);
            }
        }
    }

    /// The server executes it, and its answer is on the way.
    fn request_ends(&mut self, id: usize) {
        let Some(request) = self.requests.get(&id).cloned() else { return };
        let server = &self.truth.servers[request.server];
        let is_cut = self.truth.herd_cut[request.server] > self.now;
        if server.power == Power::Frozen || is_cut {
            // it may go on later
            self.at(self.now + 300 * MS, Event::RequestEnds(id));
            let is_lost = self.herd.as_ref().is_none_or(|herd| {
                !matches!(herd.published.writable, Writable::Primary(node) if node == request.stamp.node)
            });
            if is_lost && self.dice.one_in(3) {
                self.requests.remove(&id); // 08007
            }
            return;
        }
        if server.incarnation != request.incarnation || !server.is_primary {
            self.requests.remove(&id);
            self.report(request.server, Report::Crashed);
            return;
        }
        if let Some((branch, lsn)) = request.hangs_at {
            if !self.truth.lets_commit(request.server, lsn, self.now) {
                self.at(self.now + 40 * MS, Event::RequestEnds(id));
                return;
            }
            self.requests.remove(&id);
            self.acknowledge(branch, lsn, request.generation);
            return;
        }
        let size = self.dice.between(40, 300);
        let server = &mut self.truth.servers[request.server];
        server.lsn += size;
        let (branch, lsn) = (server.branch, server.lsn);
        if !self.truth.lets_commit(request.server, lsn, self.now) {
            if let Some(request) = self.requests.get_mut(&id) {
                request.hangs_at = Some((branch, lsn));
            }
            self.at(self.now + 40 * MS, Event::RequestEnds(id));
        } else {
            self.requests.remove(&id);
            self.acknowledge(branch, lsn, request.generation);
        }
    }

    fn acknowledge(&mut self, branch: usize, lsn: u64, generation: u64) {
        let branch = &mut self.truth.branches[branch];
        branch.acked_by_any = branch.acked_by_any.max(lsn);
        if generation == self.generation {
            branch.acked = branch.acked.max(lsn);
            self.watch.served(self.now);
            self.tally.count("acknowledged");
        }
    }

    pub(crate) fn report(&mut self, server: usize, report: Report) {
        let now = self.instant();
        let Some(herd) = &mut self.herd else { return };
        let node = herd.published.nodes.iter().find(|node| usize::from(node.port) - 5000 == server);
        if let Some(node) = node.map(|node| node.id) {
            herd.cluster.handle_report(node, report, now);
            self.follow_up();
        }
    }

    pub(crate) fn primary(&self) -> Option<usize> {
        let published = Arc::clone(&self.herd.as_ref()?.published);
        published.primary().map(|node| usize::from(node.port) - 5000)
    }
}

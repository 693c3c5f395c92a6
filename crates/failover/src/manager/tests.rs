#![expect(clippy::disallowed_methods, reason = "an arbitrary beginning; no time passes in these tests")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use topology::{
    Cluster, DownReason, Epoch, Fork, History, Mandate, NoPrimary, NodeId, NodeSettings, ProbeResult, Reads,
    Receiver, Replication, Role, Sample, SyncState, Unusable, Writable,
};
use wire::{Lsn, TimelineId};

use crate::*;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);
const ONE: TimelineId = TimelineId(1);

fn node(name: &str, region: &str, priority: u16) -> NodeSettings {
    NodeSettings {
        name: name.to_owned(),
        host: name.to_owned(),
        port: 5432,
        region: region.to_owned(),
        zone: None,
        priority,
        service: topology::Service::Always,
    }
}

fn nodes() -> Vec<NodeSettings> {
    vec![node("a", "eu", 100), node("b", "eu", 100), node("c", "us", 100)]
}

fn serving(name: &str, timeline: u32) -> Record {
    let node = format!("{name}:5432").into();
    Record {
        epoch: Epoch(7),
        phase: Phase::Serving { node, timeline: TimelineId(timeline) },
        deposed: vec![],
    }
}

fn topology_settings(nodes: Vec<NodeSettings>) -> topology::Settings {
    topology::Settings {
        cluster: "main".to_owned(),
        nodes,
        down_after_probes: 3,
        crash_grace: Duration::from_secs(5),
        spares: topology::SpareSettings::default(),
    }
}

/// Topology and manager wired as the shell does it, and a clock that only the test moves.
struct Scene {
    cluster: Cluster,
    manager: Manager,
    now: Instant,
    /// Orders that were given and not answered.
    orders: Vec<Order>,
    notes: Vec<Note>,
    replies: Vec<Reply>,
}

impl Scene {
    fn new(nodes: Vec<NodeSettings>, record: Record) -> Self {
        let now = Instant::now();
        let cluster = Cluster::new(topology_settings(nodes), None, now);
        let wanted = Settings { regions: vec!["us".into(), "eu".into()], ..Settings::default() };
        let manager = Manager::new(wanted, record, Arc::new(cluster.snapshot(now)), now);
        let mut scene = Self { cluster, manager, now, orders: vec![], notes: vec![], replies: vec![] };
        scene.settle();
        scene
    }

    /// a is the primary of timeline 1 at 1000; b and c follow.
    fn running() -> Self {
        let mut scene = Self::new(nodes(), Record::default());
        scene.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
        assert_eq!(scene.writable(), Ok(A));
        scene.done(|task| matches!(task, Task::Store(_)));
        scene.notes.clear();
        scene
    }

    /// a is dead, and the failover is recorded.
    fn fencing() -> Self {
        let mut scene = Self::running();
        scene.refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
        scene.done(|task| matches!(task, Task::Store(_)));
        scene
    }

    /// c is being promoted.
    fn promoting() -> Self {
        let mut scene = Self::fencing();
        scene.recruited(B, 1000).recruited(C, 1000);
        scene.done(|task| matches!(task, Task::Store(_)));
        scene
    }

    fn settle(&mut self) {
        for _ in 0..5 {
            self.manager.handle_snapshot(Arc::new(self.cluster.snapshot(self.now)), self.now);
            self.cluster.rest(self.manager.resting());
            let (mandate, epoch) = self.manager.mandate();
            self.cluster.depose(self.manager.deposed());
            self.cluster.set_mandate(mandate, epoch, self.now);
        }
        while self.cluster.poll_action().is_some() {}
        self.orders.extend(std::iter::from_fn(|| self.manager.poll_order()));
        self.notes.extend(std::iter::from_fn(|| self.manager.poll_note()));
        self.replies.extend(std::iter::from_fn(|| self.manager.poll_reply()));
    }

    /// The same cluster with these nodes from now on.
    fn reload(&mut self, nodes: Vec<NodeSettings>) -> &mut Self {
        let settings = topology_settings(nodes);
        self.cluster.replace_settings(settings, self.now);
        self.settle();
        self
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.cluster.handle_timeout(self.now);
        self.manager.handle_timeout(self.now);
        self.settle();
        self
    }

    fn probe(&mut self, node: NodeId, result: ProbeResult) -> &mut Self {
        self.cluster.handle_probe(node, result, self.now);
        self.settle();
        self
    }

    fn says(&mut self, node: NodeId, role: Role, timeline: u32, lsn: u64, silence: Option<u64>) -> &mut Self {
        let sent_at = self.now;
        self.now += Duration::from_millis(2);
        let sample = Sample {
            sent_at,
            received_at: self.now,
            role,
            system_id: 42,
            timeline: TimelineId(timeline),
            wal_lsn: Lsn(lsn),
            replay_lsn: Lsn(lsn),
            streaming: role == Role::Standby,
            upstream_silence: silence.map(Duration::from_millis),
            server_version: 150_020,
        };
        self.probe(node, ProbeResult::Answered(sample))
    }

    fn primary(&mut self, node: NodeId, timeline: u32, lsn: u64) -> &mut Self {
        self.says(node, Role::Primary, timeline, lsn, None)
    }

    fn standby(&mut self, node: NodeId, timeline: u32, lsn: u64) -> &mut Self {
        self.says(node, Role::Standby, timeline, lsn, Some(5_000))
    }

    /// A standby without a WAL receiver.
    fn astray(&mut self, node: NodeId, timeline: u32, lsn: u64) -> &mut Self {
        let sent_at = self.now;
        self.now += Duration::from_millis(2);
        let sample = Sample {
            sent_at,
            received_at: self.now,
            role: Role::Standby,
            system_id: 42,
            timeline: TimelineId(timeline),
            wal_lsn: Lsn(lsn),
            replay_lsn: Lsn(lsn),
            streaming: false,
            upstream_silence: None,
            server_version: 150_020,
        };
        self.probe(node, ProbeResult::Answered(sample))
    }

    fn refused(&mut self, node: NodeId) -> &mut Self {
        for _ in 0..3 {
            self.now += Duration::from_millis(50);
            self.probe(node, ProbeResult::Refused);
        }
        self
    }

    fn silent(&mut self, node: NodeId) -> &mut Self {
        for _ in 0..3 {
            self.now += Duration::from_millis(500);
            self.probe(node, ProbeResult::NoAnswer);
        }
        self
    }

    fn say(&mut self, command: Command) -> &mut Self {
        let ticket = Ticket(self.replies.len() as u64);
        self.manager.handle_command(ticket, command, self.now);
        self.settle();
        self
    }

    fn reads(&self, node: NodeId) -> Reads {
        self.cluster.snapshot(self.now).node(node).unwrap().reads
    }

    fn writable(&self) -> Result<NodeId, NoPrimary> {
        match self.cluster.snapshot(self.now).writable {
            Writable::Primary(node) => Ok(node),
            Writable::None { reason, .. } => Err(reason),
        }
    }

    /// Answers the first such order that is not answered yet.
    #[track_caller]
    fn answer(&mut self, wanted: impl Fn(&Task) -> bool, answer: Answer) -> &mut Self {
        let at = self.orders.iter().position(|order| wanted(&order.task));
        let order = self.orders.remove(at.unwrap_or_else(|| panic!("not ordered: {:?}", self.orders)));
        self.manager.handle_answer(order.id, answer, self.now);
        self.settle();
        self
    }

    #[track_caller]
    fn done(&mut self, wanted: impl Fn(&Task) -> bool) -> &mut Self {
        self.answer(wanted, Ok(Done::Done))
    }

    #[track_caller]
    fn stored(&mut self) -> &mut Self {
        self.done(|task| matches!(task, Task::Store(_)))
    }

    #[track_caller]
    fn recruited(&mut self, node: NodeId, lsn: u64) -> &mut Self {
        let position = Done::Position { timeline: ONE, received: Lsn(lsn), began: None };
        self.answer(|task| *task == Task::Recruit(node), Ok(position))
    }

    #[track_caller]
    fn promoted(&mut self, node: NodeId) -> &mut Self {
        self.answer(|task| *task == Task::Promote(node), Ok(Done::Promoted(TimelineId(2))))
    }

    fn is_ordered(&self, wanted: impl Fn(&Task) -> bool) -> bool {
        self.orders.iter().any(|order| wanted(&order.task))
    }

    fn hindrance(&self) -> Option<Hindrance> {
        self.manager.hindrance(self.now)
    }

    /// All are heard again, a as the primary.
    fn back(&mut self, lsn: u64) -> &mut Self {
        self.standby(B, 1, 1000).standby(C, 1, 1000).primary(A, 1, lsn)
    }

    fn ended(&self) -> Option<Outcome> {
        self.notes.iter().rev().find_map(|note| match &note.step {
            Step::Ended(outcome) => Some(outcome.clone()),
            Step::Begun(_)
            | Step::TakenUp
            | Step::Draining
            | Step::Closed
            | Step::Halted
            | Step::Fenced
            | Step::Recruited
            | Step::Chosen
            | Step::Promoted
            | Step::Serving
            | Step::Waiting(_)
            | Step::Followed
            | Step::Rejoining
            | Step::Rejoined
            | Step::SetAside
            | Step::Restarted
            | Step::Failed(_) => None,
        })
    }
}

fn is_rejoin(node: NodeId) -> impl Fn(&Task) -> bool {
    move |task| matches!(task, Task::Rejoin { node: other, .. } if *other == node)
}

fn is_follow(node: NodeId) -> impl Fn(&Task) -> bool {
    move |task| matches!(task, Task::Follow { node: other, .. } if *other == node)
}

// failovers

#[test]
fn a_dead_primary_is_replaced_step_by_step() {
    let mut scene = Scene::running();
    scene.refused(A);
    assert!(!scene.manager.is_running(), "the others are asked first");
    scene.standby(B, 1, 1000).standby(C, 1, 1000);
    assert!(scene.is_ordered(|task| matches!(task, Task::Store(record)
        if record.phase == Phase::Fencing { from: Some("a:5432".into()) })));
    assert!(!scene.is_ordered(|task| matches!(task, Task::Recruit(_))), "recorded before it is begun");
    scene.stored().recruited(B, 1000).recruited(C, 1000);
    assert!(!scene.is_ordered(|task| matches!(task, Task::Promote(_))), "recorded before it is done");
    scene.stored();
    assert_eq!(scene.manager.mandate().0, Mandate::Only(C), "its region is the first");
    scene.promoted(C).primary(C, 2, 1010);
    assert_eq!((scene.writable(), scene.ended()), (Ok(C), Some(Outcome::Done)));
    assert_eq!(scene.manager.record().deposed, ["a:5432".into()]);
    assert!(scene.is_ordered(|task| *task == Task::Settle(C)) && scene.is_ordered(is_follow(B)));
}

#[test]
fn a_promotion_is_noticed_without_its_answer() {
    let mut scene = Scene::promoting();
    scene.primary(C, 2, 1010);
    assert_eq!((scene.writable(), scene.ended()), (Ok(C), Some(Outcome::Done)));
}

#[test]
fn a_primary_that_is_back_before_anybody_is_chosen_goes_on() {
    let mut scene = Scene::fencing();
    scene.recruited(B, 1000).primary(A, 1, 1000);
    assert!(matches!(scene.ended(), Some(Outcome::RolledBack(_))));
    assert_eq!(scene.writable(), Ok(A));
    scene.astray(B, 1, 1000).wait(Duration::from_secs(2)).astray(B, 1, 1000);
    assert!(scene.is_ordered(is_follow(B)), "who was cut off is told to follow it again");
}

#[test]
fn a_primary_that_is_back_after_somebody_may_have_been_promoted_does_not_go_on() {
    let mut scene = Scene::promoting();
    scene.answer(|task| *task == Task::Promote(C), Err(Failure::Uncertain("time is up".to_owned())));
    scene.primary(A, 1, 1000);
    assert_eq!(scene.writable(), Err(NoPrimary::Replacing));
    assert!(matches!(&scene.manager.record().phase, Phase::Promoting { node, .. } if **node == *"c:5432"));
    scene.stored().wait(Duration::from_secs(2));
    scene.answer(|task| *task == Task::Recruit(B), Err(Failure::Failed("refused".to_owned())));
    scene.answer(|task| *task == Task::Recruit(C), Err(Failure::Failed("refused".to_owned())));
    assert!(matches!(scene.ended(), Some(Outcome::Abandoned(_))), "{:?}", scene.ended());
    scene.refused(B).refused(C).primary(A, 1, 1000);
    assert_eq!(scene.writable(), Err(NoPrimary::Replacing), "not after the attempt has ended, either");
    assert_eq!(scene.manager.mandate().0, Mandate::Above(ONE));
    scene.wait(Duration::from_secs(2));
    assert_eq!(scene.hindrance(), Some(Hindrance::Unresolved("c:5432".into())));
    scene.say(Command::Failover { to: A, force: true });
    assert_eq!(scene.replies.last().map(|reply| reply.result.clone()), Some(Ok(())));
    assert!(scene.manager.record().deposed.contains(&"c:5432".into()));
    assert!(scene.is_ordered(|task| *task == Task::Resume(A)), "it may have been halted before");

    scene.stored().done(|task| *task == Task::Resume(A));
    scene.stored().primary(A, 1, 2000);
    assert_eq!(scene.writable(), Ok(A));
    scene.primary(C, 2, 1010);
    let history = "1\t0/3F2\tno recovery target\n".parse::<History>().unwrap();
    scene.cluster.handle_history(C, TimelineId(2), history, scene.now);
    scene.settle();
    assert_eq!(scene.writable(), Ok(A), "it was promoted after all, and given up");
    scene.say(Command::Failover { to: C, force: true });
    assert_eq!(scene.replies.last().map(|reply| reply.result.clone()), Some(Ok(())));
    assert_eq!(scene.writable(), Ok(C), "an operator's word");
}

#[test]
fn who_may_have_been_promoted_is_found_out_though_the_primary_was_first_seen_after() {
    let mut scene = Scene::new(nodes(), Record::default());
    scene.standby(B, 1, 1000).standby(C, 1, 1000);
    scene.say(Command::Failover { to: B, force: true });
    scene.stored().recruited(B, 1000).recruited(C, 1000).stored();
    scene.answer(|task| *task == Task::Promote(B), Err(Failure::Uncertain("time is up".to_owned())));
    scene.primary(A, 1, 1000);
    assert_eq!(scene.writable(), Err(NoPrimary::Replacing));
    scene.stored().recruited(B, 1000).back(1000);
    assert_eq!(scene.writable(), Ok(A), "{:?}", scene.hindrance());
}

#[test]
fn who_is_cut_off_anew_was_not_promoted() {
    let mut scene = Scene::promoting();
    scene.answer(|task| *task == Task::Promote(C), Err(Failure::Uncertain("time is up".to_owned())));
    scene.stored().recruited(C, 1000).primary(A, 1, 1000);
    assert!(matches!(scene.ended(), Some(Outcome::RolledBack(_))), "{:?}", scene.ended());
}

#[test]
fn a_promotion_that_was_certainly_not_done_leaves_the_way_back_open() {
    let mut scene = Scene::promoting();
    scene.answer(|task| *task == Task::Promote(C), Err(Failure::Failed("refused".to_owned())));
    scene.primary(A, 1, 1000);
    assert!(matches!(scene.ended(), Some(Outcome::RolledBack(_))), "{:?}", scene.ended());
}

#[test]
fn a_second_candidate_is_tried_in_an_epoch_of_its_own() {
    let mut scene = Scene::promoting();
    let first = scene.manager.mandate().1;
    scene.answer(|task| *task == Task::Promote(C), Err(Failure::Uncertain("time is up".to_owned())));
    scene
        .stored()
        .recruited(B, 1000)
        .answer(|task| *task == Task::Recruit(C), Err(Failure::Failed("refused".to_owned())));
    assert!(scene.is_ordered(
        |task| matches!(task, Task::Store(Record { phase: Phase::Promoting { node, earlier, .. }, .. })
        if **node == *"b:5432" && *earlier == ["c:5432".into()])
    ));
    scene.stored().promoted(B).primary(B, 2, 1010);
    assert!(scene.manager.record().epoch > first);
    assert_eq!(
        scene.manager.record().deposed,
        ["a:5432".into(), "c:5432".into()],
        "c may have been promoted"
    );
}

#[test]
fn a_record_that_cannot_be_stored_stops_the_failover() {
    let mut scene = Scene::running();
    scene.refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    scene.answer(|task| matches!(task, Task::Store(_)), Err(Failure::Failed("disk full".to_owned())));
    assert!(matches!(scene.ended(), Some(Outcome::RolledBack(_))));
    assert!(!scene.is_ordered(|task| matches!(task, Task::Recruit(_))));
    assert!(matches!(scene.hindrance(), Some(Hindrance::Failed(_))));
    scene.wait(Duration::from_secs(1)).standby(B, 1, 1000).standby(C, 1, 1000);
    assert!(scene.manager.is_running(), "tried again");
}

#[test]
fn a_record_of_a_primary_that_cannot_be_stored_is_stored_later() {
    let mut scene = Scene::new(nodes(), Record::default());
    scene.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
    scene.answer(|task| matches!(task, Task::Store(_)), Err(Failure::Failed("disk full".to_owned())));
    assert!(!scene.is_ordered(|task| matches!(task, Task::Store(_))));
    scene.wait(Duration::from_secs(1));
    scene.stored();
}

#[test]
fn nobody_is_promoted_beyond_what_may_be_lost_after_the_best_has_gone() {
    let mut scene = Scene::running();
    scene.primary(A, 1, 3 << 20).standby(B, 1, 3 << 20).standby(C, 1, 1000);
    scene.refused(A).standby(B, 1, 3 << 20).standby(C, 1, 1000).stored();
    scene.recruited(C, 1000).wait(Duration::from_secs(1));
    assert!(matches!(scene.ended(), Some(Outcome::RolledBack(why)) if why.contains("max_lost_bytes")));
}

#[test]
fn somebody_elses_promotion_ends_a_failover() {
    let mut scene = Scene::fencing();
    scene.primary(B, 2, 1010);
    assert!(matches!(scene.ended(), Some(Outcome::RolledBack(why)) if why.contains("somebody else")));
    assert_eq!(scene.writable(), Ok(B));
}

// hindrances

#[test]
fn in_maintenance_nothing_begins() {
    let mut scene = Scene::running();
    scene.say(Command::MaintenanceOn).refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    assert_eq!(scene.hindrance(), Some(Hindrance::Maintenance));
    scene.say(Command::MaintenanceOff);
    assert!(scene.manager.is_running());
}

#[test]
fn a_superseded_manager_does_nothing_until_an_operator_has_looked() {
    let mut scene = Scene::fencing();
    scene.answer(|task| *task == Task::Recruit(B), Err(Failure::Superseded(Epoch(99))));
    assert!(matches!(scene.ended(), Some(Outcome::Abandoned(_))));
    scene.wait(Duration::from_secs(5)).standby(B, 1, 1000).standby(C, 1, 1000);
    assert_eq!(scene.hindrance(), Some(Hindrance::Superseded(Epoch(99))));
    assert!(!scene.manager.is_running() && !scene.is_ordered(|task| matches!(task, Task::Store(_))));
    scene.say(Command::MaintenanceOff);
    assert!(scene.manager.is_running());
}

#[test]
fn a_cluster_without_a_known_primary_is_left_alone() {
    let mut scene = Scene::new(nodes(), Record::default());
    scene.standby(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
    assert_eq!(scene.hindrance(), Some(Hindrance::NeverKnown));
    scene.say(Command::Failover { to: B, force: false });
    assert!(scene.manager.is_running(), "an operator decides it");
}

#[test]
fn no_doubt_is_decided() {
    let mut scene = Scene::running();
    scene.refused(B).refused(A).primary(B, 3, 1000);
    assert!(
        matches!(scene.hindrance(), Some(Hindrance::InDoubt(NoPrimary::Unproven))),
        "{:?}",
        scene.hindrance()
    );
    let mut scene = Scene::running();
    scene.probe(A, ProbeResult::Starting);
    assert_eq!(scene.hindrance(), Some(Hindrance::InDoubt(NoPrimary::Starting)));
}

#[test]
fn a_primary_that_cannot_be_read_is_not_dead() {
    let mut scene = Scene::running();
    for _ in 0..3 {
        scene.wait(Duration::from_millis(50)).probe(A, ProbeResult::Unusable(Unusable::TooManyConnections));
    }
    scene.standby(B, 1, 1000).standby(C, 1, 1000);
    assert_eq!(scene.hindrance(), Some(Hindrance::Unusable("a".into(), Unusable::TooManyConnections)));
}

#[test]
fn everybody_is_asked_after_the_primary_was_lost() {
    let mut scene = Scene::running();
    scene.refused(A).standby(B, 1, 1000);
    assert_eq!(scene.hindrance(), Some(Hindrance::Asking("c".into())));
    scene.refused(C);
    assert!(scene.manager.is_running(), "who is down is not waited for");
}

#[test]
fn nobody_without_priority_is_a_candidate() {
    let mut nodes = nodes();
    nodes[1].priority = 0;
    nodes[2].priority = 0;
    let mut scene = Scene::new(nodes, Record::default());
    scene.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
    scene.refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    assert_eq!(scene.hindrance(), Some(Hindrance::NoCandidate));
    scene.stored().say(Command::Failover { to: B, force: false });
    scene.stored().recruited(B, 1000).recruited(C, 1000).stored();
    assert!(scene.is_ordered(|task| *task == Task::Promote(B)), "an operator may want it");
}

#[test]
fn a_primary_that_its_standby_hears_is_merely_out_of_reach() {
    let mut scene = Scene::running();
    scene.silent(A).standby(B, 1, 1000).says(C, Role::Standby, 1, 1000, Some(200));
    assert_eq!(scene.hindrance(), Some(Hindrance::StillHeard("c".into())));
    scene.standby(C, 1, 1000);
    assert!(scene.manager.is_running());
    let mut scene = Scene::running();
    scene.refused(A).standby(B, 1, 1000).says(C, Role::Standby, 1, 1000, Some(200));
    assert!(scene.manager.is_running(), "what c hears of a dead primary is another standby");
}

/// Two nodes that were promoted one after the other, neither hearing of the other, are on timelines of one number.
#[test]
fn who_followed_a_twin_of_the_last_timeline_is_not_chosen() {
    let began = |lsn| Some(Fork { timeline: ONE, switch_lsn: Lsn(lsn) });
    for (of_a, chosen) in [(1010, A), (1005, B)] {
        let mut scene = Scene::promoting();
        scene.promoted(C).primary(C, 2, 1020);
        let history = "1\t0/3F2\tno recovery target\n".parse::<History>().unwrap();
        scene.cluster.handle_history(C, TimelineId(2), history, scene.now);
        while !scene.orders.is_empty() {
            scene.done(|_| true);
        }
        scene.standby(A, 2, 1500).standby(B, 2, 1020).refused(C).standby(A, 2, 1500).standby(B, 2, 1020);
        while scene.is_ordered(|task| matches!(task, Task::Store(_))) {
            scene.stored();
        }
        for (node, lsn, fork) in [(A, 1500, of_a), (B, 1020, 1010)] {
            let position = Done::Position { timeline: TimelineId(2), received: Lsn(lsn), began: began(fork) };
            scene.answer(|task| *task == Task::Recruit(node), Ok(position));
        }
        scene.stored();
        assert!(scene.is_ordered(|task| *task == Task::Promote(chosen)), "{of_a}: {:?}", scene.orders);
    }
}

#[test]
fn a_second_failover_so_soon_needs_a_certain_death() {
    for (how, begins) in [(DownReason::Silent, false), (DownReason::Refused, true)] {
        let mut scene = Scene::promoting();
        scene.promoted(C).primary(C, 2, 1010).standby(B, 2, 1010).standby(B, 2, 1010);
        if how == DownReason::Refused {
            scene.refused(C)
        } else {
            scene.silent(C)
        };
        scene.standby(B, 2, 1010);
        assert_eq!(scene.manager.is_running(), begins, "{how:?}");
        if !begins {
            assert!(matches!(scene.hindrance(), Some(Hindrance::Damped(_))), "{:?}", scene.hindrance());
            scene.wait(Duration::from_secs(60)).standby(B, 2, 1010);
            assert!(scene.manager.is_running());
        }
    }
}

#[test]
fn more_than_may_be_lost_is_not_lost_without_an_operator() {
    let mut scene = Scene::running();
    scene.primary(A, 1, 3 << 20).refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    assert!(matches!(scene.hindrance(), Some(Hindrance::WouldLose(..))));
    scene.say(Command::Failover { to: B, force: false });
    assert!(matches!(scene.replies.last().unwrap().result, Err(Refusal::Unfit(..))));
    scene
        .say(Command::Failover { to: B, force: true })
        .stored()
        .recruited(B, 1000)
        .recruited(C, 1000)
        .stored();
    assert!(scene.is_ordered(|task| *task == Task::Promote(B)));
}

#[test]
fn every_hindrance_reads_as_a_sentence() {
    for hindrance in [
        Hindrance::Maintenance,
        Hindrance::Superseded(Epoch(3)),
        Hindrance::Unresolved("a:5432".into()),
        Hindrance::WouldLose("a".into(), 7),
    ] {
        assert!(hindrance.to_string().contains(' '));
    }
}

// planned moves

impl Scene {
    /// a is halted at 1000, for c.
    fn halted(kind: Command) -> Self {
        let mut scene = Self::running();
        scene.say(kind).halt();
        scene
    }

    /// A planned run has begun, and goes on until a is to be halted.
    #[track_caller]
    fn halt(&mut self) -> &mut Self {
        self.done(|task| *task == Task::Checkpoint(A));
        assert!(self.cluster.snapshot(self.now).draining);
        let idle = Done::Busy { transactions: 0, requests: 0 };
        self.answer(|task| *task == Task::CountBusy(A), Ok(idle));
        assert_eq!(self.writable(), Err(NoPrimary::Replacing));
        self.answer(|task| *task == Task::CountBusy(A), Ok(idle));
        assert!(!self.is_ordered(|task| matches!(task, Task::Halt(A) | Task::Restart(A))), "recorded first");
        self.stored();
        assert_eq!(self.manager.record().phase, Phase::Halting { from: "a:5432".into() });
        self
    }
}

#[test]
fn a_switchover_waits_for_what_is_under_way_and_for_the_last_byte() {
    let mut scene = Scene::running();
    scene.say(Command::Switchover { to: None }).done(|task| *task == Task::Checkpoint(A));
    let busy = |transactions, requests| Ok(Done::Busy { transactions, requests });
    scene.answer(|task| *task == Task::CountBusy(A), busy(1, 1));
    assert_eq!(scene.writable(), Ok(A));
    scene.wait(Duration::from_millis(5)).answer(|task| *task == Task::CountBusy(A), busy(0, 1));
    scene.answer(|task| *task == Task::CountBusy(A), busy(0, 0)).stored();
    scene.answer(|task| *task == Task::Halt(A), Ok(Done::Halted { lsn: Lsn(1200), is_stopped: true }));
    assert!(!scene.is_ordered(|task| matches!(task, Task::Recruit(_))));
    scene.standby(C, 1, 1200).recruited(B, 1000).recruited(C, 1200).stored().promoted(C).primary(C, 2, 1210);
    assert_eq!((scene.writable(), scene.ended()), (Ok(C), Some(Outcome::Done)));
    assert_eq!(scene.replies.last().map(|reply| reply.result.clone()), Some(Ok(())));
}

#[test]
fn why_nobody_could_be_cut_off_is_told_in_the_end() {
    let mut scene = Scene::fencing();
    let refused = || Err(Failure::Failed("permission denied for function pg_promote".to_owned()));
    scene.answer(|task| *task == Task::Recruit(B), refused());
    scene.answer(|task| *task == Task::Recruit(C), Err(Failure::Uncertain("no answer in time".to_owned())));
    let expected = "no standby could be cut off that may be promoted (b: permission denied for function pg_promote; \
                    c: no answer in time)";
    assert_eq!(scene.ended(), Some(Outcome::RolledBack(expected.to_owned())));
}

#[test]
fn a_switchover_that_nobody_can_follow_is_rolled_back() {
    let mut scene = Scene::halted(Command::Switchover { to: None });
    scene.answer(|task| *task == Task::Halt(A), Ok(Done::Halted { lsn: Lsn(9000), is_stopped: false }));
    scene.wait(Duration::from_secs(5)).done(|task| *task == Task::Resume(A));
    assert!(matches!(scene.ended(), Some(Outcome::RolledBack(_))));
    scene.back(9000);
    assert_eq!(scene.writable(), Ok(A));
    assert!(matches!(scene.replies.last().unwrap().result, Err(Refusal::RolledBack(_))));
}

#[test]
fn a_primary_that_cannot_be_halted_is_resumed_until_that_has_succeeded() {
    let mut scene = Scene::halted(Command::Switchover { to: None });
    scene.answer(|task| *task == Task::Halt(A), Err(Failure::Uncertain("time is up".to_owned())));
    scene.answer(|task| *task == Task::Resume(A), Err(Failure::Failed("refused".to_owned())));
    assert!(matches!(scene.ended(), Some(Outcome::RolledBack(_))));
    scene.wait(Duration::from_secs(1)).back(1000);
    assert_eq!(scene.writable(), Err(NoPrimary::Replacing), "commits may hang on it");
    scene.done(|task| *task == Task::Resume(A)).back(1000);
    assert_eq!(scene.writable(), Ok(A));
}

#[test]
fn a_primary_that_dies_while_it_is_drained_is_replaced_at_once() {
    let mut scene = Scene::running();
    scene.say(Command::Switchover { to: Some(B) }).done(|task| *task == Task::Checkpoint(A));
    scene.refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    assert!(matches!(scene.replies.last().unwrap().result, Err(Refusal::RolledBack(_))));
    assert!(scene.manager.is_running());
    assert!(matches!(scene.notes.last().unwrap().step, Step::Begun(Kind::Automatic)));
}

#[test]
fn a_restart_waits_for_the_primary_to_return_and_for_its_standbys_to_follow_it() {
    let mut scene = Scene::halted(Command::Restart(A));
    scene.done(|task| *task == Task::Restart(A)).back(1000);
    assert_eq!((scene.writable(), scene.ended()), (Ok(A), Some(Outcome::Done)));
    assert_eq!(scene.replies.len(), 0, "who asks for the next restart now would be refused it");
    scene.wait(Duration::from_secs(1)).standby(B, 1, 1000).astray(C, 1, 1000);
    assert_eq!(scene.replies.len(), 0);
    scene.standby(C, 1, 1000);
    assert_eq!(scene.replies.pop().unwrap().result, Ok(()));
}

#[test]
fn a_standby_that_does_not_follow_a_restarted_primary_is_not_waited_for_without_end() {
    let mut scene = Scene::halted(Command::Restart(A));
    scene.done(|task| *task == Task::Restart(A)).back(1000).astray(C, 1, 1000);
    scene.wait(Duration::from_secs(15)).standby(B, 1, 1000);
    assert_eq!(scene.replies.pop().unwrap().result, Ok(()));
    let step = &scene.notes.last().unwrap().step;
    assert_eq!(step, &Step::Failed("it does not follow the restarted primary yet".to_owned()));
}

#[test]
fn a_standby_is_read_from_by_nobody_while_it_is_restarted_and_until_it_follows() {
    let mut scene = Scene::running();
    scene.say(Command::Restart(B));
    assert_eq!((scene.reads(B), scene.reads(C)), (Reads::Resting, Reads::Offered));
    scene.answer(|task| *task == Task::CountBusy(B), Ok(Done::Busy { transactions: 1, requests: 2 }));
    scene.wait(Duration::from_millis(5));
    scene.answer(|task| *task == Task::CountBusy(B), Ok(Done::Busy { transactions: 0, requests: 0 }));
    scene.done(|task| *task == Task::Restart(B)).astray(B, 1, 1000);
    assert_eq!((scene.reads(B), scene.replies.len()), (Reads::Resting, 0));
    scene.standby(B, 1, 1000);
    assert_eq!((scene.reads(B), scene.replies.pop().unwrap().result), (Reads::Offered, Ok(())));
    assert_eq!((scene.writable(), scene.ended()), (Ok(A), None), "nobody was replaced");
}

#[test]
fn a_standby_that_comes_back_as_a_primary_is_not_waited_for() {
    let mut scene = Scene::running();
    scene.say(Command::Restart(B)).done(|task| *task == Task::CountBusy(B)).wait(Duration::from_secs(3));
    scene.done(|task| *task == Task::Restart(B)).primary(B, 1, 900);
    let refusal = Refusal::Failed("it came back as a primary".to_owned());
    assert_eq!(scene.replies.pop().unwrap().result, Err(refusal));
}

#[test]
fn all_nodes_are_restarted_one_after_the_other_and_the_primary_last() {
    let mut scene = Scene::running();
    scene.say(Command::RestartAll);
    for node in [B, C] {
        scene.wait(Duration::from_secs(3)).done(|task| *task == Task::Restart(node)).standby(node, 1, 1000);
    }
    scene.halt();
    scene.done(|task| *task == Task::Restart(A));
    assert_eq!(scene.replies.len(), 0);
    scene.back(1000).wait(Duration::from_secs(1)).standby(B, 1, 1000).standby(C, 1, 1000);
    assert_eq!((scene.writable(), scene.replies.pop().unwrap().result), (Ok(A), Ok(())));
}

#[test]
fn restarts_end_where_one_fails_and_that_is_told() {
    let mut scene = Scene::running();
    scene.say(Command::RestartAll).wait(Duration::from_secs(3));
    scene.done(|task| *task == Task::Restart(B)).standby(B, 1, 1000).wait(Duration::from_secs(3));
    scene.answer(|task| *task == Task::Restart(C), Err(Failure::Failed("no disk".to_owned())));
    let result = scene.replies.pop().unwrap().result;
    let (at, why, done) = ("c".into(), "no disk".to_owned(), vec!["b".into()]);
    assert_eq!(result, Err(Refusal::Halfway { at, why, done }));
    assert_eq!(scene.reads(C), Reads::Offered);
    // and a dead primary is more urgent than any of them
    scene.say(Command::RestartAll).refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    assert!(matches!(scene.replies.pop().unwrap().result, Err(Refusal::Halfway { .. })));
    assert!(scene.manager.is_running());
    assert_eq!(scene.reads(B), Reads::Offered, "it is a candidate like any other");
}

#[test]
fn an_operator_has_the_primary_put_where_it_belongs() {
    let mut scene = Scene::running();
    scene.astray(C, 1, 900).say(Command::Restore);
    assert_eq!((scene.replies.len(), scene.manager.is_running()), (0, false), "it is waited for");
    scene.standby(C, 1, 1000);
    assert!(scene.manager.is_running());
    scene.halt();
    scene.answer(|task| *task == Task::Halt(A), Ok(Done::Halted { lsn: Lsn(1000), is_stopped: true }));
    scene.recruited(B, 1000).recruited(C, 1000).done(|task| matches!(task, Task::Store(_)));
    scene.answer(|task| *task == Task::Promote(C), Ok(Done::Promoted(TimelineId(2))));
    scene.primary(C, 2, 1010);
    assert_eq!((scene.writable(), scene.replies.pop().unwrap().result), (Ok(C), Ok(())));
    scene.say(Command::Restore);
    assert_eq!(scene.replies.pop().unwrap().result, Ok(()), "it is there");
    // of a node that is in no state for it the reason is told in the end
    let mut scene = Scene::running();
    scene.refused(C).say(Command::Restore).wait(Duration::from_secs(60));
    assert!(matches!(scene.replies.pop().unwrap().result, Err(Refusal::Unfit(..))));
}

#[test]
fn the_primary_goes_home_by_itself_only_in_the_window_and_when_all_is_calm() {
    let minute = Duration::from_secs(60);
    let calm = |scene: &mut Scene| {
        for _ in 0..2 {
            scene.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000).wait(minute);
        }
        scene.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
        scene.manager.is_running()
    };
    let (inside, outside) = (3 * 3600, 5 * 3600);
    let mut scene = Scene::running();
    scene.manager.tell_time(inside);
    assert!(!calm(&mut scene), "it is off");
    let window = Some(Window { from: 120, until: 240, offset: 0 });
    let settings =
        Settings { regions: vec!["us".into(), "eu".into()], failback: window, ..Settings::default() };
    scene.manager.replace_settings(settings.clone());
    scene.manager.tell_time(outside);
    assert!(!calm(&mut scene));
    scene.manager.tell_time(inside);
    scene.say(Command::MaintenanceOn);
    assert!(!calm(&mut scene));
    scene.say(Command::MaintenanceOff);
    assert!(scene.manager.is_running());
    // what could not be done is not tried again at once
    let begun = Step::Begun(Kind::Failback);
    assert!(scene.notes.iter().any(|note| note.step == begun));
    scene.refused(A).primary(A, 1, 1000);
    scene.notes.clear();
    assert!(!calm(&mut scene) || scene.notes.iter().all(|note| note.step != begun));
    // nor while another node is not well
    let mut scene = Scene::running();
    scene.manager.replace_settings(settings);
    scene.manager.tell_time(inside);
    scene.refused(B);
    for _ in 0..3 {
        scene.primary(A, 1, 1000).standby(C, 1, 1000).wait(minute);
    }
    assert!(!scene.manager.is_running());
}

#[test]
fn who_is_detached_is_neither_promoted_nor_rewound() {
    let mut scene = Scene::running();
    scene.cluster.detach(C, scene.now).unwrap();
    scene.settle();
    scene.say(Command::Switchover { to: Some(C) });
    assert!(matches!(scene.replies.pop().unwrap().result, Err(Refusal::Unfit(..))));
    scene.refused(A).standby(B, 1, 1000).standby(C, 1, 1000).done(|task| matches!(task, Task::Store(_)));
    scene.recruited(B, 900).recruited(C, 1000);
    let caught_up = Done::Position { timeline: ONE, received: Lsn(1000), began: None };
    scene.answer(|task| matches!(task, Task::CatchUp { node: B, upstream: C, .. }), Ok(caught_up));
    scene.done(|task| matches!(task, Task::Store(_)));
    scene.answer(|task| *task == Task::Promote(B), Ok(Done::Promoted(TimelineId(2)))).primary(B, 2, 1010);
    scene.done(is_follow(C)).refused(C);
    for _ in 0..4 {
        scene.wait(Duration::from_secs(60)).primary(B, 2, 1010);
    }
    assert!(!scene.orders.iter().any(|order| is_rejoin(C)(&order.task)));
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let mut scene = Scene::running();
    let result = |scene: &mut Scene, command| scene.say(command).replies.pop().unwrap().result;
    assert!(matches!(result(&mut scene, Command::Switchover { to: Some(A) }), Err(Refusal::IsPrimary(_))));
    assert_eq!(result(&mut scene, Command::Switchover { to: Some(NodeId(9)) }), Err(Refusal::NoNode));
    assert_eq!(result(&mut scene, Command::Restart(NodeId(9))), Err(Refusal::NoNode));
    let failover = Command::Failover { to: B, force: false };
    assert!(matches!(result(&mut scene, failover), Err(Refusal::PrimaryThere(_))));
    scene.say(Command::Switchover { to: None });
    assert_eq!(result(&mut scene, Command::Switchover { to: None }), Err(Refusal::Busy));
}

// after a restart of pgherd

#[test]
fn a_failover_of_which_nobody_was_chosen_begins_anew() {
    let phase = Phase::Fencing { from: Some("a:5432".into()) };
    let mut scene = Scene::new(nodes(), Record { epoch: Epoch(7), phase, deposed: vec![] });
    scene.refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    assert!(scene.manager.is_running() && scene.manager.record().epoch > Epoch(7));
    let phase = Phase::Fencing { from: Some("a:5432".into()) };
    let mut scene = Scene::new(nodes(), Record { epoch: Epoch(7), phase, deposed: vec![] });
    scene.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
    assert_eq!(scene.writable(), Ok(A), "or the primary goes on");
}

#[test]
fn a_promotion_that_was_recorded_is_brought_to_an_end() {
    let phase =
        Phase::Promoting { node: "c:5432".into(), above: ONE, from: Some("a:5432".into()), earlier: vec![] };
    let record = Record { epoch: Epoch(7), phase, deposed: vec![] };
    let mut scene = Scene::new(nodes(), record.clone());
    scene.primary(C, 2, 1010).refused(A).standby(B, 1, 1000);
    assert_eq!((scene.writable(), scene.ended()), (Ok(C), Some(Outcome::Done)), "it was promoted");
    assert_eq!(scene.manager.record().deposed, ["a:5432".into()]);

    let mut scene = Scene::new(nodes(), record);
    scene.primary(A, 1, 1000).standby(B, 1, 1000);
    assert_eq!(scene.writable(), Err(NoPrimary::Replacing), "c has not been heard");
    scene.standby(C, 1, 1000).stored().recruited(B, 1000).recruited(C, 1000);
    scene.primary(A, 1, 1000);
    assert_eq!(scene.writable(), Err(NoPrimary::Replacing), "it may have been halted");
    scene.done(|task| *task == Task::Resume(A)).back(1000);
    assert_eq!(scene.writable(), Ok(A), "it was not promoted, and cannot be any more");
}

#[test]
fn a_primary_that_a_predecessor_halted_is_brought_back() {
    let phase = Phase::Halting { from: "a:5432".into() };
    let mut scene = Scene::new(nodes(), Record { epoch: Epoch(7), phase, deposed: vec![] });
    assert!(scene.orders.iter().any(|order| order.task == Task::Resume(A) && order.epoch > Epoch(7)));
    scene.done(|task| *task == Task::Resume(A)).primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
    assert_eq!(scene.writable(), Ok(A));
}

#[test]
fn nothing_planned_begins_while_the_primary_is_left_halted() {
    let phase = Phase::Halting { from: "a:5432".into() };
    let mut scene = Scene::new(nodes(), Record { epoch: Epoch(7), phase, deposed: vec![] });
    scene.answer(|task| *task == Task::Resume(A), Err(Failure::Failed("57P03".to_owned()))).back(1000);
    assert_eq!(scene.writable(), Ok(A));
    scene.say(Command::Restart(A));
    assert_eq!(scene.replies.pop().unwrap().result, Err(Refusal::Busy), "or it would stay halted");
    scene.wait(Duration::from_secs(5)).done(|task| *task == Task::Resume(A)).back(1000);
    scene.say(Command::Restart(A));
    assert!(scene.manager.is_running());
}

#[test]
fn who_is_recorded_as_the_primary_wins_against_its_namesake() {
    let mut scene = Scene::new(nodes(), serving("b", 2));
    scene.primary(C, 2, 1010).refused(A).primary(B, 2, 1000);
    assert_eq!(scene.writable(), Ok(B));
}

// keepers

#[test]
fn a_former_primary_is_made_a_standby_and_then_forgotten() {
    let mut scene = Scene::promoting();
    scene.promoted(C).primary(C, 2, 1010).wait(Duration::from_millis(500));
    scene.done(is_rejoin(A)).standby(A, 2, 1010);
    assert!(scene.manager.record().deposed.is_empty());
    assert!(scene.notes.iter().any(|note| note.step == Step::Rejoined));
    // once, whatever comes of it
    let failure = Err(Failure::Failed("refused".to_owned()));
    scene.answer(|task| *task == Task::DropSlots { node: A, upstream: C }, failure).standby(A, 2, 1010);
    assert!(!scene.is_ordered(|task| matches!(task, Task::DropSlots { .. })));
}

#[test]
fn a_standby_that_cannot_be_brought_in_line_is_tried_ever_more_rarely() {
    let mut scene = Scene::running();
    let mut pauses = Vec::new();
    scene.astray(B, 1, 1000);
    let mut last = scene.now;
    for attempt in 0..9 {
        while !scene.is_ordered(|task| is_follow(B)(task) || is_rejoin(B)(task)) {
            let due = scene.manager.poll_timeout().unwrap();
            assert!(due > scene.now, "no busy loop");
            scene.wait(due - scene.now);
        }
        pauses.push((scene.now - last).as_secs());
        last = scene.now;
        assert_eq!(scene.is_ordered(is_rejoin(B)), attempt % 3 == 2, "attempt {attempt}");
        let failure = Err(Failure::Failed("refused".to_owned()));
        scene.answer(|task| is_follow(B)(task) || is_rejoin(B)(task), failure);
    }
    assert_eq!(pauses, [2, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn who_could_not_be_made_a_standby_is_told_whom_to_follow_once_somebody_has_started_it() {
    let mut scene = Scene::promoting();
    scene.promoted(C).primary(C, 2, 1010).wait(Duration::from_millis(500));
    scene.answer(is_rejoin(A), Err(Failure::Impossible("no agent".to_owned())));
    scene.astray(A, 1, 1000).wait(Duration::from_secs(2));
    scene.answer(is_follow(A), Err(Failure::Failed("refused".to_owned()))).astray(A, 1, 1000);
    scene.wait(Duration::from_secs(2)).answer(is_follow(A), Err(Failure::Failed("refused".to_owned())));
    // what no telling mends is tried the other way, and that not without end
    scene.astray(A, 1, 1000).wait(Duration::from_secs(4));
    scene.answer(is_rejoin(A), Err(Failure::Impossible("no agent".to_owned()))).astray(A, 1, 1000);
    scene.wait(Duration::from_secs(30)).astray(A, 1, 1000);
    assert!(!scene.is_ordered(|task| is_follow(A)(task) || is_rejoin(A)(task)));
    scene.wait(Duration::from_secs(30)).done(is_follow(A));
}

#[test]
fn nobody_is_told_anything_in_an_epoch_that_could_not_be_stored() {
    let mut scene = Scene::new(nodes(), Record::default());
    scene.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
    scene.answer(|task| matches!(task, Task::Store(_)), Err(Failure::Failed("disk full".to_owned())));
    scene.astray(C, 1, 1000).wait(Duration::from_secs(3));
    assert!(!scene.is_ordered(is_follow(C)), "a successor would come in an earlier epoch");
    scene.stored().wait(Duration::from_secs(2));
    assert!(scene.is_ordered(is_follow(C)));
}

#[test]
fn a_standby_that_follows_again_begins_at_the_first_pause() {
    let mut scene = Scene::running();
    scene.astray(B, 1, 1000).wait(Duration::from_secs(2));
    scene.answer(is_follow(B), Err(Failure::Failed("refused".to_owned())));
    scene.standby(B, 1, 1000).astray(B, 1, 1000).wait(Duration::from_secs(2));
    scene.answer(is_follow(B), Err(Failure::Failed("refused".to_owned())));
    scene.wait(Duration::from_secs(2));
    assert!(scene.is_ordered(is_follow(B)));
}

#[test]
fn a_standby_that_does_not_stream_after_it_was_told_is_told_again() {
    let mut scene = Scene::running();
    scene.astray(B, 1, 1000).wait(Duration::from_secs(2)).done(is_follow(B));
    scene.wait(Duration::from_secs(10)).astray(B, 1, 1000);
    assert!(!scene.is_ordered(is_follow(B)));
    scene.wait(Duration::from_secs(2));
    assert!(scene.is_ordered(is_follow(B)));
}

#[test]
fn an_old_primary_that_is_removed_while_it_is_replaced_is_not_forgotten() {
    let mut scene = Scene::fencing();
    let others = nodes().into_iter().filter(|node| node.name != "a").collect();
    scene.reload(others).recruited(B, 1000).recruited(C, 1000);
    assert_eq!(scene.manager.reigned_at().map(|place| &**place), Some("a:5432"));
    scene.stored();
    scene.answer(|task| matches!(task, Task::Promote(_)), Err(Failure::Uncertain("no answer".to_owned())));
    scene.reload(nodes()).stored();
    let a = scene.manager.snapshot().nodes.iter().find(|node| *node.name == *"a").unwrap().id;
    assert_ne!(a, A, "it has another id now");
    scene.recruited(B, 1000).recruited(C, 1000);
    assert_eq!(scene.manager.reigned_at().map(|place| &**place), Some("a:5432"));
}

#[test]
fn a_stopped_standby_is_left_to_those_who_stopped_it() {
    let mut scene = Scene::running();
    scene.refused(B).wait(Duration::from_secs(60));
    assert!(!scene.is_ordered(|task| is_follow(B)(task) || is_rejoin(B)(task)));
}

// synchronous replication

impl Scene {
    /// The same as `running`; a waits for b or c.
    fn waiting_for(sync_names: &str, states: [SyncState; 2]) -> Self {
        let mut scene = Self::running();
        for _ in 0..4 {
            scene.waits_for(A, sync_names, &[("b", states[0]), ("c", states[1])]).primary(A, 1, 1000);
        }
        scene
    }

    fn waits_for(&mut self, primary: NodeId, sync_names: &str, receivers: &[(&str, SyncState)]) -> &mut Self {
        for (node, name) in [(A, "a"), (B, "b"), (C, "c")] {
            let receiver = |(name, state): &(&str, SyncState)| Receiver {
                name: (*name).into(),
                address: None,
                state: *state,
                flushed: Lsn(1000),
            };
            let is_primary = node == primary;
            let said = Replication {
                name: Some(name.into()),
                receivers: receivers.iter().filter(|_| is_primary).map(receiver).collect(),
                sync_names: Some(if is_primary { sync_names.into() } else { "".into() }),
            };
            self.cluster.handle_replication(node, said);
        }
        self
    }

    /// a is lost, and with it this one; the other is there.
    fn lost_with(&mut self, node: NodeId) -> &mut Self {
        let other = if node == B { C } else { B };
        self.refused(A).refused(node).standby(other, 1, 1000)
    }
}

#[test]
fn nobody_is_promoted_when_who_has_the_last_commits_died_with_the_primary() {
    use SyncState::{Potential, Quorum, Sync};
    let mut scene = Scene::waiting_for("FIRST 1 (b, c)", [Sync, Potential]);
    scene.lost_with(B);
    let hindrance = scene.hindrance();
    assert!(matches!(&hindrance, Some(Hindrance::Uncovered(node, _)) if **node == *"c"), "{hindrance:?}");
    let text = hindrance.unwrap().to_string();
    assert!(text.ends_with("missing: 1 of b; FAILOVER TO c FORCE accepts that"), "{text}");
    scene.say(Command::Failover { to: C, force: false });
    let refused = scene.replies.pop().map(|reply| reply.result);
    assert!(matches!(refused, Some(Err(Refusal::Uncovered(..)))), "{refused:?}");
    scene.say(Command::Failover { to: C, force: true });
    scene.stored().recruited(C, 1000).stored().promoted(C);
    let mut scene = Scene::waiting_for("ANY 1 (b, c)", [Quorum, Quorum]);
    scene.lost_with(C);
    assert!(matches!(scene.hindrance(), Some(Hindrance::Uncovered(..))));
    scene.standby(C, 1, 1000).standby(B, 1, 1000);
    assert!(scene.manager.is_running(), "it is back");
}

#[test]
fn a_standby_that_has_every_commit_is_enough() {
    use SyncState::{Potential, Quorum, Sync};
    for (sync_names, states) in
        [("FIRST 1 (c, b)", [Potential, Sync]), ("ANY 2 (b, c)", [Quorum, Quorum]), ("2 (*)", [Sync, Sync])]
    {
        let mut scene = Scene::waiting_for(sync_names, states);
        scene.lost_with(B);
        assert!(scene.manager.is_running(), "{sync_names}: {:?}", scene.hindrance());
        scene.stored().recruited(C, 1000).stored().promoted(C);
    }
}

#[test]
fn who_could_not_be_cut_off_does_not_count_as_having_a_commit() {
    let mut scene = Scene::waiting_for("ANY 1 (b, c)", [SyncState::Quorum; 2]);
    scene.refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    scene.stored().recruited(C, 1000);
    scene.answer(|task| *task == Task::Recruit(B), Err(Failure::Failed("refused".to_owned())));
    assert!(!scene.is_ordered(|task| matches!(task, Task::Store(_) | Task::Promote(_))));
    let Some(Outcome::RolledBack(why)) = scene.ended() else { panic!("{:?}", scene.ended()) };
    assert!(why.contains("missing: 1 of b"), "{why}");
    scene.wait(Duration::from_secs(2)).stored().recruited(C, 1000).recruited(B, 1000).stored();
    assert!(scene.is_ordered(|task| matches!(task, Task::Promote(_))), "{:?}", scene.orders);
}

#[test]
fn what_a_first_new_primary_had_alone_is_not_lost_when_it_dies_before_anybody_follows() {
    let mut scene = Scene::waiting_for("ANY 1 (b, c)", [SyncState::Quorum; 2]);
    scene.refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    scene.stored().recruited(B, 900).recruited(C, 1000).stored().promoted(C);
    scene.waits_for(C, "ANY 1 (b, a)", &[]).primary(C, 2, 1010);
    assert_eq!((scene.writable(), scene.ended()), (Ok(C), Some(Outcome::Done)));
    let waiting = |note: &Note| note.step == Step::Waiting("ANY 1 (b, a)".into());
    assert!(scene.notes.iter().any(waiting), "it is told that commits wait: {:?}", scene.notes);
    scene.stored().refused(C).standby(B, 2, 1005);
    assert!(matches!(scene.hindrance(), Some(Hindrance::Uncovered(..))), "{:?}", scene.hindrance());
}

#[test]
fn a_switchover_proves_otherwise_that_nothing_is_lost() {
    let mut scene = Scene::waiting_for("ANY 1 (b, c)", [SyncState::Quorum; 2]);
    scene.say(Command::Switchover { to: Some(B) });
    scene.done(|task| *task == Task::Checkpoint(A));
    for _ in 0..2 {
        let idle = Done::Busy { transactions: 0, requests: 0 };
        scene.answer(|task| *task == Task::CountBusy(A), Ok(idle));
    }
    scene.stored();
    let halted = Done::Halted { lsn: Lsn(1000), is_stopped: true };
    scene.answer(|task| *task == Task::Halt(A), Ok(halted)).refused(C);
    scene.recruited(B, 1000);
    if scene.is_ordered(|task| *task == Task::Recruit(C)) {
        scene.answer(|task| *task == Task::Recruit(C), Err(Failure::Failed("refused".to_owned())));
    }
    scene.stored();
    assert!(scene.is_ordered(|task| *task == Task::Promote(B)), "{:?}", scene.notes);
}

// spares

impl Scene {
    /// a is the primary of timeline 1 at 1000, b follows; c is a spare that does not run, which an agent can make a standby.
    fn with_spare() -> Self {
        let mut nodes = nodes();
        nodes[2].service = topology::Service::Buildable;
        let mut scene = Self::new(nodes, Record::default());
        scene.primary(A, 1, 1000).standby(B, 1, 1000).refused(C).stored();
        scene
    }
}

#[test]
fn a_spare_is_promoted_only_if_nobody_else_can_be() {
    let mut scene = Scene::with_spare();
    scene.standby(C, 1, 1000).refused(A).standby(B, 1, 1000).standby(C, 1, 1000).stored();
    scene.recruited(B, 1000).recruited(C, 1010);
    let caught_up = Ok(Done::Position { timeline: ONE, received: Lsn(1010), began: None });
    scene.answer(|task| matches!(task, Task::CatchUp { node: B, upstream: C, .. }), caught_up);
    assert!(
        scene.stored().is_ordered(|task| *task == Task::Promote(B)),
        "although its region is not the first"
    );

    let mut scene = Scene::with_spare();
    scene.standby(C, 1, 1000).refused(B).say(Command::Switchover { to: None });
    assert!(matches!(scene.replies[0].result, Err(Refusal::Unfit(..))), "the primary can go on");
    scene.refused(A).standby(C, 1, 1000).stored().recruited(C, 1000).stored().promoted(C).primary(C, 2, 1010);
    assert_eq!((scene.writable(), scene.ended()), (Ok(C), Some(Outcome::Done)));
    // and it goes home when the operator wants it to
    scene.wait(Duration::from_millis(500)).done(is_rejoin(A)).standby(A, 2, 1010).standby(B, 2, 1010);
    scene.say(Command::Restore).wait(Duration::from_millis(10));
    assert!(scene.is_ordered(|task| *task == Task::Checkpoint(C)), "{:?}", scene.replies);
}

#[test]
fn a_spare_that_does_not_run_is_left_alone_until_it_is_called_and_then_made_a_standby() {
    let mut scene = Scene::with_spare();
    scene.wait(Duration::from_secs(300)).primary(A, 1, 1000).standby(B, 1, 1000);
    assert!(!scene.is_ordered(is_rejoin(C)));
    scene.say(Command::RestartAll).wait(Duration::from_millis(1));
    assert!(!scene.is_ordered(is_rejoin(C)) && scene.replies.is_empty(), "it is not in the way");

    let mut scene = Scene::with_spare();
    scene.refused(B).wait(Duration::from_secs(59)).primary(A, 1, 1000).wait(Duration::from_secs(2));
    assert!(!scene.is_ordered(is_rejoin(C)));
    scene.primary(A, 1, 1000).wait(Duration::from_secs(2));
    assert!(scene.is_ordered(is_rejoin(C)) && !scene.is_ordered(is_rejoin(B)), "{:?}", scene.orders);
    scene.done(is_rejoin(C)).standby(C, 1, 1000).wait(Duration::from_secs(60)).primary(A, 1, 1000);
    assert!(!scene.is_ordered(is_rejoin(C)));
    assert_eq!(scene.reads(C), Reads::Offered);
}

#![expect(clippy::disallowed_methods, reason = "an arbitrary beginning; no time passes in these tests")]

mod spares;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{Lsn, TimelineId};

use crate::*;

const SYSTEM: u64 = 7_000_000_000_000_000_001;
const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);

fn settings(names: &[&str]) -> Settings {
    let node = |name: &&str| NodeSettings {
        name: (*name).to_owned(),
        host: format!("{name}.example"),
        port: 5432,
        region: "eu".to_owned(),
        zone: None,
        priority: 100,
        service: Service::Always,
    };
    Settings {
        cluster: "main".to_owned(),
        nodes: names.iter().map(node).collect(),
        down_after_probes: 3,
        crash_grace: Duration::from_secs(5),
        spares: SpareSettings::default(),
    }
}

/// A cluster of a, b and c under a clock that only the test moves.
struct Scene {
    cluster: Cluster,
    now: Instant,
}

impl Scene {
    fn new(remembered: Option<Remembered>) -> Self {
        let now = Instant::now();
        let mut scene = Self { cluster: Cluster::new(settings(&["a", "b", "c"]), remembered, now), now };
        assert_eq!(scene.actions(), [A, B, C].map(Action::ProbeNow), "each node is probed first");
        scene
    }

    /// a is the primary of timeline 1 at 1000; b and c follow.
    fn running() -> Self {
        let mut scene = Self::new(None);
        scene.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
        assert_eq!(scene.writable(), Ok(A));
        scene.events();
        scene.actions();
        scene
    }

    fn wait(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self
    }

    fn probe(&mut self, node: NodeId, result: ProbeResult) -> &mut Self {
        self.cluster.handle_probe(node, result, self.now);
        self
    }

    /// A probe that takes 2 ms.
    fn says(&mut self, node: NodeId, role: Role, system_id: u64, timeline: u32, lsn: u64) -> &mut Self {
        let sent_at = self.now;
        self.now += Duration::from_millis(2);
        let sample = Sample {
            sent_at,
            received_at: self.now,
            role,
            system_id,
            timeline: TimelineId(timeline),
            wal_lsn: Lsn(lsn),
            replay_lsn: Lsn(lsn),
            streaming: role == Role::Standby,
            upstream_silence: None,
            server_version: 150_020,
        };
        self.probe(node, ProbeResult::Answered(sample))
    }

    fn primary(&mut self, node: NodeId, timeline: u32, lsn: u64) -> &mut Self {
        self.says(node, Role::Primary, SYSTEM, timeline, lsn)
    }

    fn standby(&mut self, node: NodeId, timeline: u32, lsn: u64) -> &mut Self {
        self.says(node, Role::Standby, SYSTEM, timeline, lsn)
    }

    fn refused(&mut self, node: NodeId) -> &mut Self {
        for _ in 0..3 {
            self.probe(node, ProbeResult::Refused).wait(50);
        }
        self
    }

    fn silent(&mut self, node: NodeId) -> &mut Self {
        for _ in 0..3 {
            self.wait(500).probe(node, ProbeResult::NoAnswer);
        }
        self
    }

    fn history(&mut self, node: NodeId, timeline: u32, forks: &[(u32, u64)]) -> &mut Self {
        let fork =
            |(timeline, lsn): &(u32, u64)| Fork { timeline: TimelineId(*timeline), switch_lsn: Lsn(*lsn) };
        let history = History::new(forks.iter().map(fork).collect());
        self.cluster.handle_history(node, TimelineId(timeline), history, self.now);
        self
    }

    fn tick(&mut self, ms: u64) -> &mut Self {
        self.wait(ms);
        self.cluster.handle_timeout(self.now);
        self
    }

    fn snapshot(&self) -> Snapshot {
        self.cluster.snapshot(self.now)
    }

    fn writable(&self) -> Result<NodeId, NoPrimary> {
        match self.snapshot().writable {
            Writable::Primary(node) => Ok(node),
            Writable::None { reason, .. } => Err(reason),
        }
    }

    fn epoch(&self) -> u64 {
        self.snapshot().epoch.0
    }

    fn health(&self, node: NodeId) -> Health {
        self.snapshot().node(node).unwrap().health
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.cluster.poll_event()).collect()
    }

    fn names(&mut self) -> Vec<&'static str> {
        self.events().iter().map(Event::name).collect()
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.cluster.poll_action()).collect()
    }
}

#[test]
fn the_first_primary_waits_until_every_node_was_heard_once() {
    let mut scene = Scene::new(None);
    scene.primary(A, 1, 1000).standby(B, 1, 1000);
    assert_eq!(scene.writable(), Err(NoPrimary::NotFoundYet), "c may have been promoted since");
    scene.probe(C, ProbeResult::NoAnswer);
    assert_eq!(scene.writable(), Ok(A));
    assert_eq!(scene.names(), ["node_up", "node_up", "primary_found", "node_suspect"]);
    let others = ["b.example:5432".into(), "c.example:5432".into()].into();
    let branch = Branch { address: "a.example:5432".into(), others, wal_lsn: Lsn(1000), fork: None };
    let remembered = Remembered {
        system_id: SYSTEM,
        timeline: TimelineId(1),
        branch: Some(branch),
        sync_names: None,
        epoch: Epoch(1),
    };
    assert!(scene.actions().contains(&Action::Remember(remembered)));
}

#[test]
fn a_promoted_standby_takes_over_at_once_even_while_the_old_primary_answers() {
    let mut scene = Scene::running();
    scene.primary(A, 1, 1500).primary(B, 2, 1100);
    assert_eq!((scene.writable(), scene.epoch()), (Ok(B), 2));
    assert_eq!(scene.health(A), Health::Stale);
    assert_eq!(scene.names(), ["role_changed", "promoted", "stale_primary"]);
    let actions = scene.actions();
    assert!(actions.contains(&Action::ReadHistory(B, TimelineId(2))), "to count what was lost: {actions:?}");
    scene.history(B, 2, &[(1, 1050)]);
    assert_eq!(scene.names(), [""; 0], "a may have gone on since it was asked");
    scene.primary(A, 1, 1600);
    let events = scene.events();
    assert!(
        matches!(events[..], [Event::TailCounted { lost_bytes: 550, switch_lsn: Lsn(1050), .. }]),
        "{events:?}"
    );
}

#[test]
fn the_cost_of_a_promotion_is_told_when_the_old_primary_is_gone_for_good() {
    let mut scene = Scene::running();
    scene.primary(A, 1, 1500).primary(B, 2, 1100).history(B, 2, &[(1, 1050)]);
    scene.events();
    scene.refused(A);
    let events = scene.events();
    let counted = events.iter().any(|event| matches!(event, Event::TailCounted { lost_bytes: 450, .. }));
    assert!(counted, "{events:?}");
}

#[test]
fn a_clean_switchover_loses_nothing_and_costs_one_epoch() {
    let mut scene = Scene::running();
    scene.refused(A);
    assert_eq!((scene.writable(), scene.epoch()), (Err(NoPrimary::Down), 2));
    scene.primary(B, 2, 1000).history(B, 2, &[(1, 1000)]);
    assert_eq!((scene.writable(), scene.epoch()), (Ok(B), 2));
    let events = scene.events();
    assert!(
        events.iter().any(|event| matches!(event, Event::TailCounted { lost_bytes: 0, .. })),
        "{events:?}"
    );
    scene.standby(A, 2, 1000);
    assert_eq!(scene.health(A), Health::Up);
    assert_eq!(scene.writable(), Ok(B));
}

#[test]
fn three_refusals_are_needed_before_the_primary_is_lost() {
    let mut scene = Scene::running();
    for _ in 0..2 {
        scene.probe(A, ProbeResult::Refused);
        assert_eq!(scene.writable(), Ok(A));
    }
    assert!(scene.cluster.poll_timeout().unwrap() <= scene.now + Duration::from_millis(50));
    scene.probe(A, ProbeResult::Refused);
    assert_eq!(scene.writable(), Err(NoPrimary::Down));
    assert_eq!(scene.names(), ["node_suspect", "primary_lost", "node_down"]);
}

#[test]
fn silence_takes_as_many_probes_as_the_settings_say_and_an_answer_starts_over() {
    let mut scene = Scene::running();
    scene.probe(A, ProbeResult::NoAnswer).probe(A, ProbeResult::NoAnswer).primary(A, 1, 1000);
    scene.probe(A, ProbeResult::NoAnswer).probe(A, ProbeResult::NoAnswer);
    assert_eq!((scene.writable(), scene.health(A)), (Ok(A), Health::Suspect));
    scene.probe(A, ProbeResult::NoAnswer);
    assert_eq!(scene.writable(), Err(NoPrimary::Down));
}

#[test]
fn a_crash_restart_holds_writes_and_keeps_the_epoch() {
    let mut scene = Scene::running();
    scene.probe(A, ProbeResult::Starting);
    assert_eq!((scene.writable(), scene.health(A)), (Err(NoPrimary::Starting), Health::Recovering));
    scene.standby(B, 1, 1000).standby(C, 1, 1000).primary(A, 1, 1000);
    assert_eq!((scene.writable(), scene.epoch()), (Ok(A), 1));
    assert_eq!(scene.names(), ["primary_lost", "node_recovering", "primary_back", "node_up"]);
}

#[test]
fn recovery_beyond_the_grace_period_is_down_and_costs_the_epoch() {
    let mut scene = Scene::running();
    scene.probe(A, ProbeResult::Starting).tick(4999);
    assert_eq!(scene.writable(), Err(NoPrimary::Starting));
    scene.tick(1);
    assert_eq!((scene.writable(), scene.epoch()), (Err(NoPrimary::Down), 2));
    scene.probe(A, ProbeResult::Starting);
    assert_eq!(scene.health(A), Health::Down, "it does not flap");
    scene.standby(B, 1, 1000).standby(C, 1, 1000).primary(A, 1, 1000);
    assert_eq!((scene.writable(), scene.epoch()), (Ok(A), 2));
}

#[test]
fn a_restarted_primary_waits_for_a_word_of_those_who_might_have_been_promoted() {
    let mut scene = Scene::running();
    scene.refused(A).primary(A, 1, 1000);
    assert_eq!(scene.writable(), Err(NoPrimary::Down));
    scene.standby(B, 1, 1000).probe(C, ProbeResult::NoAnswer);
    assert_eq!((scene.writable(), scene.epoch()), (Ok(A), 2));
    let found = scene.names();
    assert_eq!(found.last(), Some(&"node_suspect"));
    assert!(found.contains(&"primary_back"), "{found:?}");
}

#[test]
fn an_old_primary_that_returns_is_never_written() {
    let mut scene = Scene::running();
    scene.refused(A).primary(B, 2, 1100).history(B, 2, &[(1, 1000)]);
    scene.events();
    scene.primary(A, 1, 1200);
    assert_eq!((scene.writable(), scene.health(A)), (Ok(B), Health::Stale));
    let events = scene.events();
    assert!(matches!(events[..], [Event::StalePrimary { beyond_fork: Some(200), .. }]), "{events:?}");
    scene.refused(B);
    assert_eq!(scene.writable(), Err(NoPrimary::OnlyStale));
    let snapshot = scene.snapshot();
    assert!(!snapshot.admits(&snapshot.stamp(A), true) && !snapshot.admits(&snapshot.stamp(A), false));
}

#[test]
fn two_primaries_on_one_timeline_stop_all_writes_until_one_gives_way() {
    let mut scene = Scene::running();
    scene.primary(B, 1, 1000);
    assert_eq!((scene.writable(), scene.epoch()), (Err(NoPrimary::SplitBrain), 2));
    scene.primary(A, 1, 1000).primary(B, 1, 1000);
    assert_eq!(scene.names(), ["role_changed", "primary_lost", "split_brain"], "told once");
    scene.silent(B).standby(C, 1, 1000).primary(A, 1, 1000);
    assert_eq!(
        scene.writable(),
        Err(NoPrimary::SplitBrain),
        "a silent rival may still be written to by others"
    );
    scene.refused(B).standby(C, 1, 1000).primary(A, 1, 1000);
    assert_eq!((scene.writable(), scene.epoch()), (Ok(A), 2));
}

#[test]
fn a_claimant_never_seen_as_a_standby_must_show_its_history() {
    let mut scene = Scene::running();
    scene.refused(C).primary(C, 2, 1100);
    assert_eq!(scene.writable(), Err(NoPrimary::Unproven));
    assert!(scene.actions().contains(&Action::ReadHistory(C, TimelineId(2))));
    scene.history(C, 2, &[(1, 1000)]);
    assert_eq!((scene.writable(), scene.health(A)), (Ok(C), Health::Stale));
    assert!(!scene.names().contains(&"split_brain"), "no alarm while the history is being read");
}

#[test]
fn an_unrelated_or_unknown_history_is_split_brain() {
    for known in [true, false] {
        let mut scene = Scene::running();
        scene.refused(C).primary(C, 3, 1100);
        if known {
            scene.history(C, 3, &[(2, 1000)]);
        } else {
            scene.tick(1000);
        }
        assert_eq!(scene.writable(), Err(NoPrimary::SplitBrain));
        assert!(scene.names().contains(&"split_brain"));
        scene.refused(C).standby(B, 1, 1000).primary(A, 1, 1000);
        assert_eq!(scene.writable(), Ok(A), "the intruder is gone");
    }
}

#[test]
fn two_primaries_at_the_start_are_put_in_order_by_history_alone() {
    for (history, expected) in
        [([(1, 10), (2, 1000)], Ok(B)), ([(1, 10), (3, 1000)], Err(NoPrimary::SplitBrain))]
    {
        let mut scene = Scene::new(None);
        scene.primary(A, 2, 2000).primary(B, 4, 1500).standby(C, 2, 2000);
        assert_eq!(scene.writable(), Err(NoPrimary::Unproven));
        scene.history(B, 4, &history);
        assert_eq!(scene.writable(), expected);
    }
}

#[test]
fn a_remembered_timeline_survives_a_restart_of_the_proxy() {
    let known = Remembered {
        system_id: SYSTEM,
        timeline: TimelineId(3),
        branch: None,
        sync_names: None,
        epoch: Epoch(9),
    };
    let mut scene = Scene::new(Some(known));
    scene.primary(A, 2, 5000).probe(B, ProbeResult::NoAnswer).probe(C, ProbeResult::NoAnswer);
    assert_eq!((scene.writable(), scene.health(A)), (Err(NoPrimary::OnlyStale), Health::Stale));
    scene.primary(B, 4, 5000);
    assert_eq!(scene.writable(), Err(NoPrimary::Unproven));
    scene.history(B, 4, &[(1, 10), (2, 20)]);
    assert!(scene.names().contains(&"unproven_primary"));
    scene.primary(C, 3, 5000).refused(B).primary(C, 3, 5000);
    assert_eq!((scene.writable(), scene.epoch()), (Ok(C), 10));
}

#[test]
fn a_standby_that_streams_a_higher_timeline_unmasks_a_stale_primary() {
    let mut scene = Scene::running();
    scene.probe(B, ProbeResult::NoAnswer).standby(C, 2, 1100);
    assert_eq!((scene.writable(), scene.health(A)), (Err(NoPrimary::OnlyStale), Health::Stale));
    scene.primary(B, 2, 1200);
    assert_eq!(scene.writable(), Ok(B));
}

#[test]
fn a_node_of_another_cluster_is_never_used() {
    let mut scene = Scene::new(None);
    scene.says(A, Role::Primary, 666, 9, 1000).primary(B, 1, 1000).standby(C, 1, 1000);
    assert_eq!((scene.writable(), scene.health(A)), (Ok(B), Health::Foreign));
    assert!(scene.names().contains(&"foreign_node"));
    let snapshot = scene.snapshot();
    assert!(!snapshot.admits(&snapshot.stamp(A), false));
}

#[test]
fn reports_ask_for_probes_and_move_nothing() {
    use Report::*;
    for report in [DialRefused, Shutdown, Crashed, Starting, ReadOnly, RoleChanged] {
        let mut scene = Scene::running();
        for _ in 0..100 {
            scene.cluster.handle_report(A, report, scene.now);
        }
        assert_eq!((scene.writable(), scene.epoch()), (Ok(A), 1), "{report:?}");
        assert_eq!(scene.actions(), [A, B, C].map(Action::ProbeNow), "a storm of reports is one burst");
        scene.tick(50);
        assert_eq!(scene.actions(), [A, B, C].map(Action::ProbeNow));
        for _ in 0..3 {
            scene.tick(50);
        }
        assert!(scene.cluster.poll_timeout().is_none(), "the burst ends");
    }
}

#[test]
fn without_a_primary_all_nodes_are_probed_every_fifty_milliseconds() {
    let mut scene = Scene::running();
    scene.refused(A);
    scene.actions();
    for _ in 0..4 {
        assert!(scene.cluster.poll_timeout().unwrap() <= scene.now + Duration::from_millis(50));
        scene.tick(50);
        assert_eq!(scene.actions(), [A, B, C].map(Action::ProbeNow));
    }
}

#[test]
fn lag_is_measured_against_the_primary_and_frozen_while_there_is_none() {
    let mut scene = Scene::running();
    scene.standby(C, 1, 900).wait(996).primary(A, 1, 3000).wait(498).standby(B, 1, 2000);
    let snapshot = scene.snapshot();
    let (b, c) = (snapshot.node(B).unwrap(), snapshot.node(C).unwrap());
    assert_eq!(b.lag_bytes, Some(1000));
    assert_eq!(b.lag.map(|lag| lag.as_millis() / 100), Some(10), "passed halfway through the first second");
    assert_eq!(c.lag, None, "behind all that was ever sampled: unknown");
    assert_eq!(b.rtt, Some(Duration::from_millis(2)));
    scene.refused(A).wait(60_000).standby(B, 1, 2000);
    let lag = scene.snapshot().node(B).unwrap().lag.unwrap();
    assert!(lag < Duration::from_secs(2), "{lag:?}");
}

#[test]
fn a_standby_of_unknown_lag_is_asked_again_soon_but_not_for_ever() {
    let mut scene = Scene::running();
    scene.standby(C, 1, 900);
    assert_eq!(scene.snapshot().node(C).unwrap().lag, None);
    assert_eq!(scene.tick(50).actions(), [Action::ProbeNow(C)]);
    scene.standby(C, 1, 1000);
    assert_eq!(scene.snapshot().node(C).unwrap().lag, Some(Duration::ZERO));
    scene.tick(50).actions();
    assert_eq!(scene.cluster.poll_timeout(), None, "it is known now");

    let mut scene = Scene::running();
    for _ in 0..100 {
        scene.standby(C, 1, 900).tick(50);
    }
    scene.actions();
    assert_eq!(scene.cluster.poll_timeout(), None, "it is far behind: its regular probes will do");
}

#[test]
fn stamps_of_standbys_outlive_an_epoch_and_stamps_of_primaries_do_not() {
    let mut scene = Scene::running();
    let before = scene.snapshot();
    let (a, b, c) = (before.stamp(A), before.stamp(B), before.stamp(C));
    assert!(before.admits(&a, true) && before.admits(&a, false) && before.admits(&b, false));
    assert!(!before.admits(&b, true));
    scene.primary(B, 2, 1100);
    let after = scene.snapshot();
    assert!(!after.admits(&a, true) && !after.admits(&a, false));
    assert!(
        !after.admits(&b, true) && after.admits(&b, false),
        "it has not itself said that it is the primary"
    );
    assert!(after.admits(&c, false));
    assert!(after.admits(&after.stamp(B), true));
}

#[test]
fn a_reload_keeps_what_is_known_by_host_and_port() {
    let mut scene = Scene::running();
    let mut wanted = settings(&["d", "b", "a"]);
    wanted.nodes[1].region = "us".to_owned();
    scene.cluster.replace_settings(wanted, scene.now);
    let snapshot = scene.snapshot();
    assert_eq!((scene.writable(), scene.epoch()), (Ok(A), 1));
    assert_eq!(snapshot.nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [NodeId(3), B, A]);
    assert_eq!(snapshot.node(B).map(|b| (&*b.region, b.health)), Some(("us", Health::Up)));
    assert!(snapshot.node(C).is_none());
    let actions = scene.actions();
    assert_eq!(actions[0], Action::ProbeNow(NodeId(3)));
    assert!(matches!(&actions[1..], [Action::Remember(_)]), "d is another server than a: {actions:?}");
    scene.cluster.replace_settings(settings(&["b", "d"]), scene.now);
    assert_eq!((scene.writable(), scene.epoch()), (Err(NoPrimary::Down), 2), "the primary was removed");
    assert!(scene.names().contains(&"primary_lost"));
}

#[test]
fn an_answer_that_was_overtaken_is_ignored() {
    let mut scene = Scene::running();
    let late = scene.cluster.snapshot(scene.now);
    scene.wait(100).primary(B, 2, 1100).standby(A, 2, 1100);
    let sample = Sample {
        sent_at: late.built_at,
        received_at: scene.now,
        role: Role::Primary,
        system_id: SYSTEM,
        timeline: TimelineId(1),
        wal_lsn: Lsn(1),
        replay_lsn: Lsn(1),
        streaming: false,
        upstream_silence: None,
        server_version: 0,
    };
    scene.probe(A, ProbeResult::Answered(sample));
    assert_eq!(scene.snapshot().node(A).unwrap().role, Role::Standby);
}

#[test]
fn events_read_as_sentences() {
    let mut scene = Scene::running();
    scene.primary(B, 2, 1100).history(B, 2, &[(1, 950)]).primary(A, 1, 1000);
    let said: Vec<String> = scene.events().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "b is a primary now, on timeline 2",
            "b was promoted to timeline 2 (epoch 2) in place of a",
            "a is a primary of the abandoned timeline 1 and is not used",
            "b left timeline 1 at 0/3B6; 50 bytes of WAL were left behind",
        ]
    );
}

/// b was promoted to timeline 2, written to up to 2000, and is gone; c has not heard of timeline 2.
fn after_b() -> Scene {
    let mut scene = Scene::running();
    scene.refused(A).primary(B, 2, 1100).history(B, 2, &[(1, 1050)]).primary(B, 2, 2000).refused(B);
    assert_eq!(scene.writable(), Err(NoPrimary::Down));
    scene.events();
    scene
}

impl Scene {
    /// What was last remembered.
    fn remembered(&mut self) -> Remembered {
        let remembered = |action| match action {
            Action::Remember(what) => Some(what),
            Action::ProbeNow(_) | Action::ReadHistory(..) | Action::AskLeader => None,
        };
        self.actions().into_iter().filter_map(remembered).next_back().unwrap()
    }

    /// A proxy that is started anew with what the last one remembered.
    fn restarted(&mut self) -> Scene {
        Scene::new(Some(self.remembered()))
    }
}

#[test]
fn how_far_the_primary_was_outlives_it_and_the_proxy() {
    let mut scene = Scene::running();
    scene.actions();
    let far = super::reign::REMEMBER_BYTES + 1000;
    scene.tick(5000).primary(A, 1, far - 1);
    let is_remembered =
        |scene: &mut Scene| scene.actions().iter().any(|action| matches!(action, Action::Remember(_)));
    assert!(!is_remembered(&mut scene), "not for a few bytes");
    scene.primary(A, 1, far).tick(1).primary(A, 1, far * 2);
    let mut later = scene.restarted();
    assert_eq!(later.snapshot().written, Some(Lsn(far)));
    scene.tick(4000).primary(A, 1, far * 2 + 1);
    assert!(!is_remembered(&mut scene), "nor all the time");
    later.primary(B, 1, 10);
    assert_eq!(later.snapshot().written, Some(Lsn(far)), "until there is a primary");
}

#[test]
fn a_second_promotion_to_the_same_timeline_is_no_heir_of_the_first() {
    for (history, lsn) in [(Some(1000), 3000), (Some(1050), 1100), (Some(1050), 3000), (None, 3000)] {
        let mut scene = after_b();
        scene.primary(C, 2, lsn);
        assert_eq!(scene.writable(), Err(NoPrimary::Unproven));
        assert!(scene.actions().contains(&Action::ReadHistory(C, TimelineId(2))));
        match history {
            Some(switch) => scene.history(C, 2, &[(1, switch)]),
            None => scene.tick(1000),
        };
        assert_eq!(scene.writable(), Err(NoPrimary::Unproven), "{history:?}");
        let events = scene.events();
        assert!(events.iter().any(|event| event.name() == "unproven_primary"), "{events:?}");
        scene.refused(C).primary(B, 2, 1990);
        assert_eq!(scene.writable(), Ok(B), "it lost the end of its WAL in the crash, and is the same");
    }
}

#[test]
fn nobody_inherits_a_timeline_of_which_it_is_not_known_where_it_began() {
    let mut scene = Scene::running();
    scene.refused(A).primary(B, 2, 1100);
    assert!(scene.actions().contains(&Action::ReadHistory(B, TimelineId(2))));
    scene.refused(B).primary(C, 2, 3000).history(C, 2, &[(1, 1050)]);
    assert_eq!(scene.writable(), Err(NoPrimary::Unproven));
}

#[test]
fn descendants_of_a_second_promotion_to_the_same_timeline_are_none_of_the_first() {
    let mut scene = after_b();
    scene.refused(C).primary(C, 3, 3000).history(C, 3, &[(1, 1000), (2, 1500)]);
    assert_eq!(scene.writable(), Err(NoPrimary::Unproven));
    scene.refused(C).primary(A, 3, 3000).history(A, 3, &[(1, 1050), (2, 1900)]);
    assert_eq!(scene.writable(), Ok(A));
}

#[test]
fn a_server_that_moved_to_another_address_is_known_by_its_history() {
    for switch in [1050, 1049] {
        let mut scene = after_b();
        scene.cluster.replace_settings(settings(&["a", "moved", "c"]), scene.now);
        let moved = NodeId(3);
        scene.standby(C, 1, 1000).primary(moved, 2, 2000).history(moved, 2, &[(1, switch)]);
        assert_eq!(scene.writable().is_ok(), switch == 1050, "{switch}");
        if switch == 1050 {
            assert_eq!(&*scene.remembered().branch.unwrap().address, "moved.example:5432");
        }
    }
    let mut scene = Scene::running();
    scene.refused(A);
    scene.cluster.replace_settings(settings(&["moved", "b", "c"]), scene.now);
    scene.standby(B, 1, 1000).standby(C, 1, 1000).primary(NodeId(3), 1, 1000);
    assert_eq!(scene.writable(), Ok(NodeId(3)), "timeline 1 has no history");
}

#[test]
fn who_was_another_server_on_the_timeline_before_has_not_moved() {
    let mut scene = Scene::running();
    scene.cluster.replace_settings(settings(&["a", "b"]), scene.now);
    scene.refused(A).primary(B, 2, 1100).history(B, 2, &[(1, 1050)]);
    assert_eq!(scene.writable(), Ok(B));
    scene.refused(B);
    scene.cluster.replace_settings(settings(&["a", "b", "c"]), scene.now);
    let back = NodeId(3);
    scene.primary(back, 2, 3000).history(back, 2, &[(1, 1050)]);
    assert_eq!(scene.writable(), Err(NoPrimary::Unproven), "promoted to the same number by somebody");
    let mut scene = scene.restarted();
    scene.primary(C, 2, 3000).history(C, 2, &[(1, 1050)]);
    assert_eq!(scene.writable(), Err(NoPrimary::Unproven));
}

#[test]
fn a_restarted_proxy_knows_the_timeline_by_where_it_began() {
    let mut scene = after_b().restarted();
    scene.probe(A, ProbeResult::Refused).probe(B, ProbeResult::Refused).primary(C, 2, 3000);
    scene.history(C, 2, &[(1, 1050)]);
    assert_eq!(scene.writable(), Err(NoPrimary::Unproven));
    let mut scene = after_b().restarted();
    scene.probe(A, ProbeResult::Refused).standby(C, 1, 1000).primary(B, 2, 1990);
    assert_eq!(scene.writable(), Ok(B));
}

#[test]
fn a_history_that_was_read_before_a_node_was_down_proves_nothing_after() {
    let mut scene = after_b();
    scene.cluster.replace_settings(settings(&["a", "moved", "c"]), scene.now);
    let moved = NodeId(3);
    scene.primary(moved, 2, 1500).history(moved, 2, &[(1, 1050)]);
    assert_eq!(scene.writable(), Err(NoPrimary::Unproven), "an older copy");
    scene.refused(moved).actions();
    scene.standby(C, 1, 1000).primary(moved, 2, 3000);
    assert_eq!(scene.writable(), Err(NoPrimary::Unproven));
    assert!(scene.actions().contains(&Action::ReadHistory(moved, TimelineId(2))));
}

#[test]
fn the_branch_of_an_older_state_file_is_learned() {
    let known = Remembered {
        system_id: SYSTEM,
        timeline: TimelineId(2),
        branch: None,
        sync_names: None,
        epoch: Epoch(9),
    };
    let mut scene = Scene::new(Some(known));
    scene.primary(B, 2, 1100).probe(A, ProbeResult::Refused).standby(C, 2, 1100);
    assert_eq!(scene.writable(), Ok(B));
    assert!(scene.actions().contains(&Action::ReadHistory(B, TimelineId(2))));
    scene.history(B, 2, &[(1, 1050)]);
    let fork = Fork { timeline: TimelineId(1), switch_lsn: Lsn(1050) };
    assert_eq!(scene.remembered().branch.unwrap().fork, Some(fork));
}

impl Scene {
    /// Patroni was asked now.
    fn hint(&mut self, leader: HintedLeader) -> &mut Self {
        self.cluster.handle_hint(LeaderHint { leader, asked_at: self.now }, self.now);
        self
    }

    /// When a node is probed next in haste, and how often within 100 ms.
    fn chased(&mut self, node: NodeId) -> usize {
        self.actions();
        let mut probes = 0;
        for _ in 0..100 {
            self.tick(1);
            probes += self.actions().iter().filter(|action| **action == Action::ProbeNow(node)).count();
        }
        probes
    }
}

#[test]
fn a_named_leader_is_probed_in_haste_until_it_says_so_itself() {
    let mut scene = Scene::running();
    scene.hint(HintedLeader::Node(A));
    assert_eq!(scene.actions(), [], "it is the primary");
    scene.hint(HintedLeader::Node(B));
    assert_eq!(scene.writable(), Ok(A), "a word is no proof");
    assert_eq!(scene.names(), ["leader_named", "leader_named"]);
    scene.standby(A, 1, 1000).wait(200).hint(HintedLeader::Node(B)).actions();
    assert!(scene.chased(B) >= 6, "every 15 ms");
    scene.primary(B, 2, 1000);
    assert_eq!(scene.writable(), Ok(B));
    assert!(scene.tick(20).chased(B) <= 2, "a burst at most");
}

#[test]
fn a_promotion_that_never_ends_is_not_chased_for_ever() {
    let mut scene = Scene::running();
    scene.hint(HintedLeader::Node(B)).tick(60_000).actions();
    for _ in 0..10 {
        scene.tick(50).primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000);
    }
    assert_eq!((scene.writable(), scene.chased(B)), (Ok(A), 0));
}

#[test]
fn a_missing_leader_key_proves_nothing() {
    let mut scene = Scene::running();
    scene.hint(HintedLeader::Node(A)).events();
    scene.hint(HintedLeader::Nobody);
    assert_eq!(scene.actions(), [A, B, C].map(Action::ProbeNow), "but it is worth a look");
    assert_eq!(scene.names(), ["leader_named"]);
    scene.primary(A, 1, 1100).standby(B, 1, 1100).standby(C, 1, 1100).tick(60_000);
    assert_eq!((scene.writable(), scene.epoch()), (Ok(A), 1));
    scene.hint(HintedLeader::Elsewhere).primary(A, 1, 1200);
    assert_eq!((scene.writable(), scene.epoch()), (Ok(A), 1));
}

#[test]
fn who_was_promoted_against_the_leader_key_is_not_taken_while_the_leader_claims() {
    let mut scene = Scene::running();
    scene.hint(HintedLeader::Node(A)).wait(100).primary(A, 1, 1100).events();
    scene.primary(B, 2, 1100);
    assert_eq!(scene.writable(), Ok(A), "the hint is older than the claim: a newer one is waited for");
    assert!(scene.actions().contains(&Action::AskLeader));
    scene.hint(HintedLeader::Node(A)).primary(A, 1, 1200).primary(B, 2, 1200);
    assert_eq!((scene.writable(), scene.epoch(), scene.health(A)), (Ok(A), 1, Health::Up));
    assert_eq!(scene.names(), ["role_changed", "contradicted_primary"], "told once");
    let snapshot = scene.snapshot();
    assert!(!snapshot.admits(&snapshot.stamp(B), true) && !snapshot.admits(&snapshot.stamp(B), false));
    scene.hint(HintedLeader::Node(B));
    assert_eq!((scene.writable(), scene.health(A)), (Ok(B), Health::Stale), "Patroni has followed");
}

#[test]
fn an_old_hint_does_not_stand_against_a_proven_promotion_for_long() {
    let mut scene = Scene::running();
    scene.hint(HintedLeader::Node(A)).wait(5000).primary(A, 1, 1100).primary(B, 2, 1100);
    assert_eq!(scene.writable(), Ok(A));
    let due = scene.cluster.poll_timeout().unwrap();
    assert!(due <= scene.now + Duration::from_millis(300));
    scene.tick(300);
    assert_eq!(scene.writable(), Ok(B), "Patroni cannot be asked");
}

#[test]
fn a_leader_that_is_gone_or_that_the_cluster_has_left_is_not_kept() {
    let mut scene = Scene::running();
    scene.hint(HintedLeader::Node(A)).refused(A).primary(B, 2, 1100).hint(HintedLeader::Node(A));
    assert_eq!(scene.writable(), Ok(B), "it does not claim");

    let mut scene = Scene::running();
    scene.primary(B, 2, 1100).hint(HintedLeader::Node(A)).primary(A, 1, 1200);
    assert_eq!(scene.writable(), Err(NoPrimary::SplitBrain), "b was written to, so a cannot be");
    assert!(scene.names().contains(&"contradicted_primary"));

    let mut scene = Scene::running();
    scene.hint(HintedLeader::Node(A)).standby(C, 2, 1100).primary(B, 2, 1200);
    scene.hint(HintedLeader::Node(A));
    assert_eq!(scene.writable(), Err(NoPrimary::SplitBrain), "c follows b");
}

#[test]
fn a_hint_that_was_overtaken_is_ignored() {
    let mut scene = Scene::running();
    let late = LeaderHint { leader: HintedLeader::Node(A), asked_at: scene.now };
    scene.wait(10).hint(HintedLeader::Node(B)).events();
    scene.cluster.handle_hint(late, scene.now);
    assert_eq!(scene.names(), [""; 0]);
}

#[test]
fn nodes_that_are_set_aside_say_so_in_the_snapshot() {
    let mut scene = Scene::running();
    scene.cluster.withhold_reads(&[C]);
    let reads = |scene: &Scene| [A, B, C].map(|id| scene.snapshot().node(id).unwrap().reads);
    assert_eq!(reads(&scene), [Reads::Offered, Reads::Offered, Reads::Withheld]);
    scene.cluster.withhold_reads(&[]);
    assert_eq!(reads(&scene), [Reads::Offered; 3]);
}

#[test]
fn a_detached_node_is_not_read_from_until_it_is_attached_or_the_primary() {
    let mut scene = Scene::running();
    let reads = |scene: &Scene| [A, B, C].map(|id| scene.snapshot().node(id).unwrap().reads);
    assert_eq!(scene.cluster.detach(A, scene.now), Err(DetachError::IsPrimary("a".into())));
    assert_eq!(scene.cluster.detach(NodeId(9), scene.now), Err(DetachError::NoNode));
    scene.events();
    assert_eq!(scene.cluster.detach(B, scene.now), Ok(()));
    assert_eq!(scene.cluster.detach(B, scene.now), Ok(()));
    assert_eq!(reads(&scene), [Reads::Offered, Reads::Detached, Reads::Offered]);
    assert_eq!(scene.names(), ["node_detached"]);
    let stamp = scene.snapshot().stamp(B);
    assert!(
        !scene.snapshot().admits(&stamp, false) && scene.snapshot().admits(&scene.snapshot().stamp(C), false)
    );
    // a reload keeps it, and forgets it with the node
    let kept = scene.cluster.detached().to_vec();
    scene.cluster.remember_detached(vec!["gone:5432".into(), Arc::clone(&kept[0])]);
    assert_eq!(scene.cluster.detached(), kept);
    assert!(scene.cluster.attach(B, scene.now) && !scene.cluster.attach(B, scene.now));
    scene.cluster.detach(B, scene.now).unwrap();
    scene.refused(A).primary(B, 2, 1000);
    assert_eq!((scene.writable(), scene.cluster.detached().len()), (Ok(B), 0));
    scene.mandate(Mandate::Closed);
    assert_eq!(scene.cluster.detach(C, scene.now), Err(DetachError::Moving));
    scene.cluster.rest(Some(C));
    assert_eq!(reads(&scene)[2], Reads::Resting);
}

impl Scene {
    fn mandate(&mut self, mandate: Mandate) -> &mut Self {
        self.cluster.set_mandate(mandate, self.cluster.snapshot(self.now).epoch, self.now);
        self
    }
}

#[test]
fn while_somebody_may_have_been_promoted_the_primary_before_is_not_written_to() {
    let mut scene = Scene::running();
    scene.mandate(Mandate::Above(TimelineId(1)));
    assert_eq!((scene.writable(), scene.epoch()), (Err(NoPrimary::Replacing), 2));
    scene.standby(B, 1, 1000).standby(C, 1, 1000).primary(A, 1, 1000);
    assert_eq!(scene.writable(), Err(NoPrimary::Replacing));
    scene.primary(B, 2, 1010);
    assert_eq!(scene.writable(), Ok(B), "whoever it is");
}

#[test]
fn of_two_primaries_on_one_timeline_the_recorded_one_is_written_to() {
    for mandate in [Mandate::Recorded(B, TimelineId(2)), Mandate::Only(B)] {
        let mut scene = Scene::running();
        scene.refused(A).mandate(mandate).primary(B, 2, 1010).primary(C, 2, 1020);
        assert_eq!((scene.writable(), scene.health(C)), (Ok(B), Health::Stale), "{mandate:?}");
        assert!(!scene.names().contains(&"split_brain"));
    }
    let mut scene = Scene::running();
    scene.refused(A).mandate(Mandate::Recorded(B, TimelineId(1))).primary(B, 2, 1010).primary(C, 2, 1020);
    assert_eq!(scene.writable(), Err(NoPrimary::SplitBrain), "another timeline is recorded");
}

#[test]
fn the_claim_of_a_node_that_was_given_up_counts_for_nothing() {
    let mut scene = Scene::running();
    scene.cluster.depose(vec![B]);
    scene.primary(B, 2, 1010).history(B, 2, &[(1, 1005)]);
    assert_eq!((scene.writable(), scene.health(B)), (Ok(A), Health::Stale));
    scene.refused(A);
    assert!(scene.writable().is_err());
    scene.cluster.depose(vec![]);
    scene.primary(B, 2, 1010);
    assert_eq!(scene.writable(), Ok(B));
}

#[test]
fn an_epoch_that_a_mandate_raises_survives_a_restart() {
    let mut scene = Scene::running();
    scene.refused(A).actions();
    scene.cluster.set_mandate(Mandate::Closed, Epoch(9), scene.now);
    assert_eq!((scene.epoch(), scene.remembered().epoch), (9, Epoch(9)));
}

fn told(name: &str, receivers: &[(&str, SyncState)], flushed: u64, sync_names: &str) -> Replication {
    let receiver = |(name, state): &(&str, SyncState)| Receiver {
        name: (*name).into(),
        address: None,
        state: *state,
        flushed: Lsn(flushed),
    };
    Replication {
        name: (!name.is_empty()).then(|| name.into()),
        receivers: receivers.iter().map(receiver).collect(),
        sync_names: Some(sync_names.into()),
    }
}

impl Scene {
    /// a is the primary and says so of its standbys, b and c, who are called n1 and n2, often enough.
    fn waits_for(&mut self, sync_names: &str, receivers: &[(&str, SyncState)]) -> &mut Self {
        for _ in 0..4 {
            self.waits_at(1000, sync_names, receivers);
        }
        self
    }

    /// It says so once, and that they have flushed so much.
    fn waits_at(&mut self, flushed: u64, sync_names: &str, receivers: &[(&str, SyncState)]) -> &mut Self {
        self.cluster.handle_replication(A, told("", receivers, flushed, sync_names));
        self.cluster.handle_replication(B, told("n1", &[], 0, ""));
        self.cluster.handle_replication(C, told("n2", &[], 0, ""));
        self.primary(A, 1, 1000).standby(B, 1, 1000).standby(C, 1, 1000)
    }

    /// Who is missing when only these are there: how many of which nodes, and of how many others.
    #[track_caller]
    fn misses(&self, present: &[NodeId], expected: Option<(usize, &[NodeId], usize)>) {
        let synchrony = self.snapshot().synchrony.unwrap();
        let found = synchrony.is_covered_by(present, &[B, C]).err();
        let expected =
            expected.map(|(needed, of, strangers)| Uncovered { needed, of: of.to_vec(), strangers });
        assert_eq!(found, expected, "{synchrony:?}");
    }
}

#[test]
fn of_the_first_standbys_any_that_was_synchronous_has_every_commit() {
    use SyncState::{Potential, Sync};
    let mut scene = Scene::new(None);
    scene.waits_for("FIRST 1 (n1, n2)", &[("n1", Sync), ("n2", Potential)]);
    scene.misses(&[B], None);
    scene.misses(&[B, C], None);
    scene.misses(&[C], Some((1, &[B], 0)));
    scene.waits_for("2 (n1, n2)", &[("n1", Sync), ("n2", Sync)]).misses(&[C], None);
    scene.misses(&[], Some((1, &[B, C], 0)));
}

#[test]
fn of_a_quorum_so_many_are_needed_that_no_commit_is_on_others_alone() {
    use SyncState::Quorum;
    let mut scene = Scene::new(None);
    scene.waits_for("ANY 1 (n1, n2)", &[("n1", Quorum), ("n2", Quorum)]);
    scene.misses(&[B, C], None);
    scene.misses(&[B], Some((1, &[C], 0)));
    scene.waits_for("ANY 1 (*)", &[("n1", Quorum), ("n2", Quorum), ("archive", Quorum)]);
    scene.misses(&[B, C], Some((1, &[], 1)));
    scene
        .waits_for("ANY 2 (*)", &[("n1", Quorum), ("n2", Quorum), ("archive", Quorum)])
        .misses(&[B, C], None);
}

#[test]
fn while_too_few_are_synchronous_those_count_who_were_when_there_were_enough() {
    use SyncState::{Async, Quorum, Sync};
    let mut scene = Scene::new(None);
    scene.waits_for("FIRST 1 (n1)", &[("n1", Sync), ("n2", Async)]);
    scene.waits_for("FIRST 1 (n1)", &[("n2", Async)]).misses(&[C], Some((1, &[B], 0)));
    // a fence is nobody's setting, and nothing is acknowledged under it
    scene.waits_for("ANY 1 (\"pgherd_fenced_e3 x\")", &[]).misses(&[C], Some((1, &[B], 0)));
    assert_eq!(&*scene.snapshot().synchrony.unwrap().text, "FIRST 1 (n1)");
    scene.waits_for("ANY 1 (n1, n2)", &[("n2", Quorum)]).misses(&[C], None);
    scene.refused(A).misses(&[B], Some((1, &[C], 0)));
    let mut scene = Scene::new(None);
    scene.waits_for("FIRST 2 (n1, n2)", &[("n1", Sync)]).misses(&[B], Some((1, &[C], 0)));
    scene.misses(&[B, C], None);
    scene.waits_for("", &[("n1", Async)]).misses(&[], None);
}

#[test]
fn those_who_became_synchronous_count_alone_once_they_have_what_was_before() {
    use SyncState::{Async, Quorum};
    let mut scene = Scene::new(None);
    let (only_b, only_c) = ([("n1", Quorum), ("n2", Async)], [("n1", Async), ("n2", Quorum)]);
    scene.waits_for("ANY 1 (n1, n2)", &only_b).misses(&[B], None);
    for _ in 0..5 {
        scene.waits_at(999, "ANY 1 (n1, n2)", &only_c);
        scene.misses(&[B], Some((1, &[C], 0)));
        scene.misses(&[C], Some((1, &[B], 0)));
    }
    scene.waits_at(1000, "ANY 1 (n1, n2)", &only_c).misses(&[C], None);
    for _ in 0..4 {
        scene.waits_at(999, "ANY 1 (n1, n2)", &only_b).waits_at(999, "ANY 1 (n1, n2)", &only_c);
    }
    scene.misses(&[C], Some((1, &[B], 0)));
    scene.waits_for("ANY 1 (n1, n2)", &only_c).misses(&[C], None);
}

#[test]
fn what_commits_waited_for_outlasts_a_restart_and_then_takes_everybody() {
    let mut scene = Scene::new(None);
    scene.waits_for("ANY 1 (n1, n2)", &[("n1", SyncState::Quorum), ("n2", SyncState::Quorum)]);
    let known = scene.remembered();
    assert_eq!(known.sync_names.as_deref(), Some("ANY 1 (n1, n2)"));
    let mut scene = Scene::new(Some(known));
    scene.cluster.handle_replication(B, told("n1", &[], 0, ""));
    scene.refused(A).standby(B, 1, 1000).standby(C, 1, 1000);
    scene.misses(&[B], Some((1, &[C], 0)));
    scene.misses(&[B, C], None);
    let value = scene.snapshot().synchrony.unwrap().value_for(B);
    assert_eq!(value.as_deref(), Some("ANY 1 (a, n2)"));
}

#[test]
fn a_new_primary_is_to_wait_for_the_old_one_in_its_own_place() {
    let mut scene = Scene::new(None);
    scene.waits_for("FIRST 1 (n1, n2)", &[("n1", SyncState::Sync)]).refused(A);
    let value =
        |scene: &Scene, node| scene.snapshot().synchrony.unwrap().value_for(node).unwrap().to_string();
    assert_eq!(value(&scene, B), "FIRST 1 (a, n2)");
    assert_eq!(value(&scene, C), "FIRST 1 (n1, a)");
    assert_eq!(value(&scene, A), "FIRST 1 (n1, n2)");
}

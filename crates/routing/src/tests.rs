#![expect(clippy::disallowed_methods, reason = "an arbitrary beginning; no time passes in these tests")]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use topology::{
    Cluster, Epoch, Health, NoPrimary, NodeId, NodeSettings, NodeView, PrimaryWal, ProbeResult, Reads, Role,
    Sample, Snapshot, Writable,
};
use wire::{Lsn, TimelineId};

use crate::*;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);
const TIMELINE: TimelineId = TimelineId(3);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn settings() -> Settings {
    Settings {
        region: "eu".to_owned(),
        zone: None,
        max_lag_bytes: 1000,
        max_lag: Duration::from_secs(10),
        max_sample_age: Duration::from_secs(3),
        read_your_writes: ReadYourWrites::Session,
        read_only_fallback: ReadOnlyFallback::Primary,
    }
}

fn node(id: u16, role: Role, region: &str, rtt: u64, now: Instant) -> NodeView {
    NodeView {
        id: NodeId(id),
        name: "n".into(),
        host: "h".into(),
        port: 5432,
        region: region.into(),
        zone: None,
        role,
        health: Health::Up,
        down: None,
        priority: 100,
        timeline: TIMELINE,
        wal_lsn: Lsn(5000),
        replay_lsn: Lsn(5000),
        lag_bytes: Some(0),
        lag: Some(Duration::ZERO),
        rtt: Some(ms(rtt)),
        sampled_at: Some(now),
        streaming: role == Role::Standby,
        upstream_silence: None,
        sync_state: None,
        server_version: 150_000,
        reads: Reads::Offered,
        duty: topology::Duty::Member,
    }
}

/// a in eu is the primary; b in us at 80 ms and c in ap at 150 ms follow. The proxy stands in eu.
struct Scene {
    snapshot: Snapshot,
    settings: Settings,
    now: Instant,
    busy: [u32; 8],
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let nodes = [
            node(0, Role::Primary, "eu", 1, now),
            node(1, Role::Standby, "us", 80, now),
            node(2, Role::Standby, "ap", 150, now),
        ];
        let snapshot = Snapshot {
            epoch: Epoch(1),
            writable: Writable::Primary(A),
            draining: false,
            timeline: Some(TIMELINE),
            nodes: nodes.into(),
            fork: None,
            written: None,
            primary_wal: PrimaryWal::default(),
            synchrony: None,
            built_at: now,
        };
        Self { snapshot, settings: settings(), now, busy: [0; 8] }
    }

    fn without_primary() -> Self {
        let mut scene = Self::new();
        scene.snapshot.writable = Writable::None { since: scene.now, reason: NoPrimary::Down };
        scene.snapshot.nodes[0].health = Health::Down;
        scene
    }

    fn node(&mut self, id: NodeId) -> &mut NodeView {
        &mut self.snapshot.nodes[usize::from(id.0)]
    }

    fn no_replica(mut self) -> Self {
        self.node(B).health = Health::Down;
        self.node(C).health = Health::Suspect;
        self
    }

    #[track_caller]
    fn check(&self, request: &Request<'_>, expected: Decision) {
        for random in [0, 1, 7 << 32, u64::MAX] {
            let busy = |id: NodeId| self.busy[usize::from(id.0)];
            let decision = decide(request, &self.settings, &self.snapshot, self.now, busy, random);
            assert_eq!(decision, expected, "{request:?}");
        }
    }
}

fn wants(wants: Wants) -> Request<'static> {
    Request { wants, policy: Policy::Smart, written: None, hint: None }
}

fn read() -> Request<'static> {
    wants(Wants::Replica)
}

fn hinted(hint: Hint<'_>) -> Request<'_> {
    Request { hint: Some(hint), ..read() }
}

fn under(policy: Policy, wants: Wants) -> Request<'static> {
    Request { wants, policy, written: None, hint: None }
}

fn to(node: NodeId, reason: Reason) -> Decision {
    Decision::Use { node, reason }
}

#[test]
fn writes_go_to_the_primary_and_reads_to_the_nearest_replica() {
    let scene = Scene::new();
    scene.check(&wants(Wants::Primary), to(A, Reason::NeedsPrimary));
    scene.check(&read(), to(B, Reason::NearestReplica));
    scene.check(&wants(Wants::Any), to(A, Reason::Anywhere));
}

#[test]
fn a_replica_in_the_region_comes_before_a_nearer_one_elsewhere_and_one_in_the_zone_before_both() {
    let mut scene = Scene::new();
    scene.node(C).region = "eu".into();
    scene.check(&read(), to(C, Reason::SameRegion));
    scene.settings.zone = Some("z1".to_owned());
    scene.node(B).region = "eu".into();
    scene.node(C).zone = Some("z1".into());
    scene.check(&read(), to(C, Reason::SameZone));
    scene.node(C).region = "ap".into();
    scene.check(&read(), to(B, Reason::SameRegion));
}

#[test]
fn of_equally_near_replicas_the_less_busy_is_taken() {
    let mut scene = Scene::new();
    scene.node(C).rtt = Some(ms(96));
    scene.busy = [0, 5, 4, 0, 0, 0, 0, 0];
    scene.check(&read(), to(C, Reason::NearestReplica));
    scene.node(C).rtt = Some(ms(97));
    scene.check(&read(), to(B, Reason::NearestReplica));
    scene.node(B).rtt = Some(Duration::from_micros(100));
    scene.node(C).rtt = Some(Duration::from_micros(1000));
    scene.check(&read(), to(C, Reason::NearestReplica));
}

#[test]
fn chance_spreads_reads_over_equally_busy_replicas() {
    let mut scene = Scene::new();
    scene.node(C).rtt = scene.node(B).rtt;
    let chosen = |random| decide(&read(), &scene.settings, &scene.snapshot, scene.now, |_| 0, random);
    assert_ne!(chosen(0), chosen(1));
}

#[test]
fn a_replica_that_is_behind_old_silent_or_unknown_is_not_read_from() {
    type Fault = fn(&mut NodeView);
    let faults: [(Fault, Unfit); 9] = [
        (|b| b.health = Health::Suspect, Unfit::NotUp(Health::Suspect)),
        (|b| b.health = Health::Foreign, Unfit::NotUp(Health::Foreign)),
        (|b| b.role = Role::Unknown, Unfit::NotStandby),
        (|b| b.timeline = TimelineId(2), Unfit::OtherTimeline),
        (|b| b.sampled_at = None, Unfit::SampleTooOld),
        (|b| b.lag = None, Unfit::LagUnknown),
        (|b| b.lag_bytes = None, Unfit::LagUnknown),
        (|b| b.lag_bytes = Some(1001), Unfit::LagBytes),
        (|b| b.lag = Some(ms(10_001)), Unfit::Lag),
    ];
    for (fault, expected) in faults {
        let mut scene = Scene::new();
        fault(scene.node(B));
        scene.check(&read(), to(C, Reason::NearestReplica));
        let verdicts: Vec<_> = explain(&read(), &scene.settings, &scene.snapshot, scene.now).collect();
        assert_eq!(verdicts[0].verdict, Verdict::Primary);
        assert_eq!(verdicts[1].verdict, Verdict::Unfit(expected));
        assert_eq!(verdicts[2].verdict, Verdict::Fit(Proximity::Elsewhere));
    }
}

#[test]
fn the_age_of_a_sample_counts_as_lag() {
    let mut scene = Scene::new();
    scene.node(B).lag = Some(ms(8000));
    scene.now += ms(2000);
    scene.check(&read(), to(B, Reason::NearestReplica));
    scene.now += ms(1);
    scene.check(&read(), to(C, Reason::NearestReplica));
    scene.now += ms(1000);
    scene.check(&read(), to(A, Reason::NoReplicaFit));
}

#[test]
fn without_a_fit_replica_the_primary_reads() {
    Scene::new().no_replica().check(&read(), to(A, Reason::NoReplicaFit));
}

#[test]
fn nothing_is_read_from_a_node_that_is_set_aside() {
    for aside in [Reads::Withheld, Reads::Resting, Reads::Detached] {
        let mut scene = Scene::new();
        scene.node(B).reads = aside;
        scene.check(&read(), to(C, Reason::NearestReplica));
        scene.node(C).reads = aside;
        scene.check(&read(), to(A, Reason::NoReplicaFit));
        scene.node(A).reads = aside;
        scene.check(&wants(Wants::Primary), to(A, Reason::NeedsPrimary));
    }
}

#[test]
fn hints_choose_target_region_and_bound() {
    let scene = Scene::new();
    let target = |target| hinted(Hint { target: Some(target), ..Hint::default() });
    scene.check(&target(Target::Primary), to(A, Reason::HintPrimary));
    let unknown = Request { wants: Wants::Primary, ..target(Target::Replica) };
    scene.check(&unknown, to(A, Reason::NeedsPrimary));
    scene.check(&target(Target::Replica), to(B, Reason::HintReplica));
    scene.check(&hinted(Hint { region: Some("ap"), ..Hint::default() }), to(C, Reason::HintRegion));
    let mut scene = Scene::new();
    scene.node(B).lag = Some(ms(500));
    let at_most = |lag| hinted(Hint { max_lag: Some(ms(lag)), ..Hint::default() });
    scene.check(&at_most(500), to(B, Reason::NearestReplica));
    scene.check(&at_most(499), to(C, Reason::NearestReplica));
    scene.node(B).lag = Some(ms(15_000));
    scene.check(&at_most(60_000), to(C, Reason::NearestReplica));
}

#[test]
fn policies_pin_and_hints_cannot_undo_them() {
    let scene = Scene::new();
    let replica = Some(Hint { target: Some(Target::Replica), ..Hint::default() });
    let primary = Some(Hint { target: Some(Target::Primary), ..Hint::default() });
    let pinned = under(Policy::ReadWrite, Wants::Replica);
    scene.check(&Request { hint: replica, ..pinned }, to(A, Reason::PolicyReadWrite));
    let pinned = under(Policy::ReadOnly, Wants::Primary);
    scene.check(&Request { hint: primary, ..pinned }, to(B, Reason::PolicyReadOnly));
}

#[test]
fn a_read_only_session_falls_back_as_configured_and_never_with_a_write() {
    let mut scene = Scene::new().no_replica();
    let (write, read) = (under(Policy::ReadOnly, Wants::Primary), under(Policy::ReadOnly, Wants::Replica));
    scene.check(&read, to(A, Reason::ReadOnlyFallback));
    scene.check(&write, Decision::Refuse(RefuseReason::MightWrite));
    scene.settings.read_only_fallback = ReadOnlyFallback::Refuse;
    scene.check(&read, Decision::Refuse(RefuseReason::NoReplicaFit));
}

#[test]
fn while_there_is_no_primary_writes_wait_and_reads_go_on() {
    let scene = Scene::without_primary();
    scene.check(&wants(Wants::Primary), Decision::Hold(HoldReason::NoPrimary(NoPrimary::Down)));
    scene.check(&read(), to(B, Reason::NearestReplica));
    scene.check(&wants(Wants::Any), to(B, Reason::Anywhere));
    let scene = scene.no_replica();
    scene.check(&read(), Decision::Hold(HoldReason::NoReplicaFit(NoPrimary::Down)));
}

#[test]
fn reads_see_the_sessions_own_writes() {
    let mut scene = Scene::new();
    let at = |lsn, timeline| Request { written: Some(Written::At { lsn: Lsn(lsn), timeline }), ..read() };
    scene.check(&at(5000, TIMELINE), to(B, Reason::NearestReplica));
    scene.node(B).replay_lsn = Lsn(4999);
    scene.check(&at(5000, TIMELINE), to(C, Reason::NearestReplica));
    scene.check(&at(5001, TIMELINE), to(A, Reason::ReadYourWrites));
    scene.check(&at(10, TimelineId(2)), to(A, Reason::ReadYourWrites));
    let after = Request { written: Some(Written::After(scene.now)), ..read() };
    scene.check(&after, to(A, Reason::ReadYourWrites));
    scene.settings.read_your_writes = ReadYourWrites::Off;
    scene.check(&after, to(B, Reason::NearestReplica));
}

#[test]
fn an_instant_becomes_a_position_by_the_first_sample_after_it_and_survives_a_promotion() {
    let mut now = Instant::now();
    let place = |port: u16| NodeSettings {
        name: port.to_string(),
        host: "h".to_owned(),
        port,
        region: "eu".to_owned(),
        zone: None,
        priority: 100,
        service: topology::Service::Always,
    };
    let watched = topology::Settings {
        cluster: "main".to_owned(),
        nodes: vec![place(1), place(2)],
        down_after_probes: 3,
        crash_grace: Duration::from_secs(5),
        spares: topology::SpareSettings::default(),
    };
    let mut cluster = Cluster::new(watched, None, now);
    let mut probe = |node, role, timeline, lsn| {
        now += ms(10);
        let sample = Sample {
            sent_at: now,
            received_at: now,
            role,
            system_id: 1,
            timeline: TimelineId(timeline),
            wal_lsn: Lsn(lsn),
            replay_lsn: Lsn(lsn),
            streaming: role == Role::Standby,
            upstream_silence: None,
            server_version: 150_000,
        };
        cluster.handle_probe(node, ProbeResult::Answered(sample), now);
        (cluster.snapshot(now), now)
    };
    probe(B, Role::Standby, 1, 100);
    let (snapshot, wrote_at) = probe(A, Role::Primary, 1, 100);
    let written = Written::After(wrote_at);
    assert_eq!(resolve_written(written, &snapshot), written, "no sample since");
    let (snapshot, _) = probe(A, Role::Primary, 1, 150);
    let resolved = resolve_written(written, &snapshot);
    assert_eq!(resolved, Written::At { lsn: Lsn(150), timeline: TimelineId(1) });
    let (snapshot, _) = probe(B, Role::Primary, 2, 170);
    let moved = Written::At { lsn: Lsn(170), timeline: TimelineId(2) };
    assert_eq!(resolve_written(resolved, &snapshot), moved, "past the fork");
    assert_eq!(resolve_written(moved, &snapshot), moved);
}

#[test]
fn every_reason_has_its_own_word() {
    let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
}

fn any_node(now: Instant) -> impl Strategy<Value = NodeView> {
    use Health::*;
    let roles =
        prop::sample::select(vec![Role::Standby, Role::Standby, Role::Standby, Role::Primary, Role::Unknown]);
    let healths =
        prop::sample::select(vec![Up, Up, Up, Up, Suspect, Down, Recovering, Stale, Foreign, Unknown]);
    let regions = prop::sample::select(vec!["eu", "us"]);
    let place = (roles, healths, regions, 2_u32..5);
    let position =
        (0..4000_u64, 4990..5010_u64, prop::option::of(0..1100_u64), prop::option::of(0..11_000_u64));
    (place, position, prop::option::of(0..200_u64)).prop_map(move |(place, position, rtt)| {
        let (role, health, region, timeline) = place;
        let (age, replayed, lag_bytes, lag) = position;
        NodeView {
            health,
            timeline: TimelineId(timeline),
            replay_lsn: Lsn(replayed),
            lag_bytes,
            lag: lag.map(ms),
            rtt: rtt.map(ms),
            sampled_at: Some(now - ms(age)),
            ..node(0, role, region, 0, now)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the snapshot, a chosen node is the writable primary or a replica within all bounds; and the best
    /// place that has a fit replica wins.
    #[test]
    fn no_decision_names_an_unfit_node(
        mut nodes in prop::collection::vec(any_node(Instant::now() + Duration::from_secs(60)), 1..7),
        vacant: bool,
        policy in prop::sample::select(vec![Policy::Smart, Policy::ReadWrite, Policy::ReadOnly]),
        wants in prop::sample::select(vec![Wants::Primary, Wants::Replica, Wants::Any]),
        written in prop::option::of((4990..5010_u64, 2_u32..5)),
        max_lag in prop::option::of(0..20_000_u64),
        busy: [u32; 8],
        random: u64,
    ) {
        let now = nodes.iter().filter_map(|node| node.sampled_at).max().unwrap();
        for (id, node) in nodes.iter_mut().enumerate() {
            node.id = NodeId(u16::try_from(id).unwrap());
        }
        let writable = match nodes.iter().find(|node| node.role == Role::Primary && node.health == Health::Up) {
            Some(node) if !vacant => Writable::Primary(node.id),
            _ => Writable::None { since: now, reason: NoPrimary::Down },
        };
        let wal = PrimaryWal::default();
        let snapshot = Snapshot {
            epoch: Epoch(1), writable, draining: false, timeline: Some(TIMELINE), fork: None, nodes: nodes.into(), written: None, primary_wal: wal, synchrony: None, built_at: now,
        };
        let written = written.map(|(lsn, timeline)| Written::At { lsn: Lsn(lsn), timeline: TimelineId(timeline) });
        let hint = Some(Hint { max_lag: max_lag.map(ms), ..Hint::default() });
        let request = Request { wants, policy, written, hint };
        let settings = settings();
        let decision = decide(&request, &settings, &snapshot, now, |id| busy[usize::from(id.0)], random);
        let fit: Vec<_> = explain(&request, &settings, &snapshot, now)
            .filter_map(|line| match line.verdict {
                Verdict::Fit(proximity) => Some((line.node, proximity)),
                Verdict::Primary | Verdict::Unfit(_) => None,
            })
            .collect();
        let Decision::Use { node: id, reason } = decision else {
            prop_assert!(fit.is_empty() || wants == Wants::Primary || policy == Policy::ReadWrite);
            return Ok(());
        };
        let node = snapshot.node(id).unwrap();
        prop_assert_eq!(node.health, Health::Up);
        if Writable::Primary(id) == writable {
            let reads = !matches!(policy, Policy::ReadWrite) && wants == Wants::Replica;
            prop_assert!(!reads || fit.is_empty(), "a read went to the primary past a fit replica");
            prop_assert!(policy != Policy::ReadOnly || wants != Wants::Primary, "a write through read-only");
            return Ok(());
        }
        prop_assert_eq!(node.role, Role::Standby);
        if reason == Reason::Anywhere {
            return Ok(());
        }
        prop_assert!(policy != Policy::ReadWrite);
        let nearest = fit.iter().map(|(_, proximity)| *proximity).min();
        prop_assert!(fit.iter().any(|(fit, proximity)| *fit == id && Some(*proximity) == nearest));
        prop_assert_eq!(node.timeline, TIMELINE);
        let staleness = node.staleness(now).unwrap();
        prop_assert!(staleness <= settings.max_lag.min(max_lag.map_or(Duration::MAX, ms)));
        if let Some(Written::At { lsn, timeline }) = written {
            prop_assert!(node.timeline == timeline && node.replay_lsn >= lsn);
        }
    }
}

#[test]
fn replicas_that_commits_wait_for_are_told_from_the_others() {
    use topology::SyncState::{Async, Potential, Quorum, Sync};
    let mut scene = Scene::new();
    let sync = under(Policy::Sync, Wants::Primary);
    let not_sync = under(Policy::Async, Wants::Replica);
    scene.check(&not_sync, to(B, Reason::PolicyReadOnly));
    scene.check(&under(Policy::Sync, Wants::Replica), to(A, Reason::ReadOnlyFallback));
    scene.check(&sync, Decision::Refuse(RefuseReason::MightWrite));
    for (state, synchronous) in [(Sync, true), (Quorum, true), (Potential, false), (Async, false)] {
        scene.node(B).sync_state = Some(state);
        scene.check(&not_sync, to(if synchronous { C } else { B }, Reason::PolicyReadOnly));
        scene.settings.read_only_fallback = ReadOnlyFallback::Hold;
        let expected = if synchronous {
            to(B, Reason::PolicyReadOnly)
        } else {
            Decision::Hold(HoldReason::AwaitsReplica)
        };
        scene.check(&sync, expected);
        scene.settings.read_only_fallback = ReadOnlyFallback::Refuse;
        let refused = Decision::Refuse(RefuseReason::NoReplicaFit);
        scene.check(&sync, if synchronous { expected } else { refused });
    }
    scene.node(B).sync_state = Some(Sync);
    scene.check(&under(Policy::ReadOnly, Wants::Replica), to(B, Reason::PolicyReadOnly));
}
